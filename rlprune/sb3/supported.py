"""Which agents can be pruned: what cannot is refused in one line, before anything is changed."""

from itertools import chain

from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    ContinuousCritic,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import MlpExtractor
from stable_baselines3.dqn import policies as dqn
from stable_baselines3.sac import policies as sac
from stable_baselines3.td3 import policies as td3
from torch import nn

from rlprune.nets import accepted
from rlprune.pruning.groups import Anatomy
from rlprune.training import networks

_ALGORITHMS = (A2C, PPO, DQN, SAC, TD3, DDPG)
_POLICIES = (
    *(ActorCriticPolicy, ActorCriticCnnPolicy, MultiInputActorCriticPolicy),
    *(
        module_class
        for module in (dqn, sac, td3)
        for module_class in (module.MlpPolicy, module.CnnPolicy, module.MultiInputPolicy)
    ),
)
_WHAT = "rlprune prunes A2C, PPO, DQN, SAC, TD3 and DDPG agents with Stable-Baselines3's own policies"


def supported(model: BaseAlgorithm) -> None:
    """Refuse an agent that cannot be pruned.

    Raises:
        ValueError: what about it cannot, and what can.
    """
    kind = type(model).__name__
    if not isinstance(model, _ALGORITHMS):
        raise ValueError(f"{_WHAT}; {kind} is not supported yet")
    if type(model).train not in [algorithm.train for algorithm in _ALGORITHMS]:
        raise ValueError(f"{_WHAT}; {kind} trains in a way of its own, whose loss is not known")
    if model.use_sde:
        raise ValueError(f"{_WHAT}; state-dependent exploration (use_sde=True) is not supported yet")
    policy = model.policy
    if type(policy) not in _POLICIES:
        raise ValueError(f"{_WHAT}; this one is a {type(policy).__name__}")
    for part, wanted in _parts(policy):
        if type(part) is not wanted:
            raise ValueError(f"{_WHAT}; this one has a {type(part).__name__} for a {wanted.__name__}")
    _whole(policy)
    bare = networks.Bare(policy)
    with networks.named_as_in(policy, bare):
        accepted.prunable(bare, None)


def _parts(policy: nn.Module) -> list[tuple[nn.Module, type[nn.Module]]]:
    """Return parts of a policy, and the kind that each has to be for its networks to be known."""
    match policy:
        case ActorCriticPolicy():
            heads: list[nn.Module] = [policy.action_net, policy.value_net]
            return [(policy.mlp_extractor, MlpExtractor), *((head, nn.Linear) for head in heads)]
        case dqn.DQNPolicy():
            return [(policy.q_net, dqn.QNetwork), (policy.q_net.q_net, nn.Sequential)]
        case sac.SACPolicy():
            heads = [policy.actor.get_submodule("mu"), policy.actor.get_submodule("log_std")]
            return [(policy.actor, sac.Actor), (policy.critic, ContinuousCritic), *((head, nn.Linear) for head in heads)]
        case td3.TD3Policy():
            return [(policy.actor, td3.Actor), (policy.actor.mu, nn.Sequential), (policy.critic, ContinuousCritic)]
        case _:
            return []


def _whole(policy: nn.Module) -> None:
    """Raise a ValueError where a weight is shared beyond a features extractor, belongs to no network, or does not learn."""
    anatomy, named = networks.anatomy(policy, channels=False), dict(policy.named_parameters())
    groups = chain.from_iterable(optimizer.param_groups for optimizer in networks.optimizers(policy))
    trained = {id(parameter) for group in groups for parameter in group["params"]}
    weights = set(anatomy.all_weights())
    for name, _ in policy.named_parameters(remove_duplicate=False):
        if name not in named and "features_extractor" not in name:
            raise ValueError(f"{_WHAT}; {name} of this one is shared")
    for name, parameter in named.items():
        if name not in weights and name not in anatomy.copies and parameter.dim() > 1 and "features_extractor" not in name:
            raise ValueError(f"{_WHAT}; {name} of this one belongs to no such layer")
        if name in weights and (not parameter.requires_grad or id(parameter) not in trained):
            raise ValueError(f"{_WHAT}, all of whose weights learn; {name} of this one is frozen or not in policy.optimizer")


def with_channels(anatomy: Anatomy, pruner: str) -> None:
    """Refuse networks whose hidden units or channels cannot all be cut out one by one.

    Raises:
        ValueError: the first that cannot.
    """
    for layer, why in anatomy.stays.items():
        kind = why.split(" '")[0]
        what = f"which {kind} does not treat each for itself" if kind.isidentifier() else f"and those of {layer} stay for {why}"
        raise ValueError(f"{pruner} cuts hidden units, {what}: take one of weights, as SNIP is")
    for network, groups in anatomy.groups.items():
        if not groups and "features" not in anatomy.groups:
            raise ValueError(f"{pruner} cuts hidden units and the {network} has none: take a pruner of weights, as SNIP is")
