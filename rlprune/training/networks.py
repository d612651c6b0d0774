"""The networks of a Stable-Baselines3 policy, whichever algorithm and observations it is for: what may be cut, and its sizes."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim, preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from rlprune.nets import auto
from rlprune.nets.channels import RETURNED, Call
from rlprune.pruning import surgery
from rlprune.pruning.groups import Anatomy, Group, weights
from rlprune.pruning.probe import evaluating
from rlprune.pruning.start import drawn_anew

Shapes: TypeAlias = Mapping[str, Sequence[int]]
"""Name of a parameter or buffer to its shape."""
Arch: TypeAlias = Any
"""What Stable-Baselines3 takes as ``net_arch``: a list, or lists for ``pi`` and ``vf`` or ``qf``."""


@dataclass(frozen=True)
class Branch:
    """One network: features, hidden layers, and the layers that put out what it says; these may be the last of ``body``.

    Args:
        acts: whether it reads actions beside the features.
    """

    name: str
    extractor: nn.Module
    body: nn.Module
    heads: Sequence[nn.Module] = ()
    acts: bool = False


def branches(policy: nn.Module) -> list[Branch]:
    """Return the networks that learn, by the names that ``td.losses`` gives them.

    Raises:
        ValueError: a policy of another kind.
    """
    match policy:
        case ActorCriticPolicy(mlp_extractor=mlp):
            return [
                Branch("actor", policy.pi_features_extractor, mlp.policy_net, [policy.action_net]),
                Branch("critic", policy.vf_features_extractor, mlp.value_net, [policy.value_net]),
            ]
        case DQNPolicy(q_net=network):
            return [Branch("network", network.features_extractor, network.q_net)]
        case SACPolicy():
            actor: Any = policy.actor
            heads = [actor.mu, actor.log_std]
            return [Branch("actor", actor.features_extractor, actor.latent_pi, heads), *_critics(policy.critic)]
        case TD3Policy():
            return [Branch("actor", policy.actor.features_extractor, policy.actor.mu), *_critics(policy.critic)]
        case _:
            raise ValueError(f"what networks a {type(policy).__name__} has is not known")


def _critics(critic: Any) -> Iterator[Branch]:
    for number, body in enumerate(critic.q_networks, 1):
        name = f"critic{number}" if len(critic.q_networks) > 1 else "critic"
        yield Branch(name, critic.features_extractor, body, acts=True)


def optimizers(policy: Any) -> list[torch.optim.Optimizer]:
    """Return the optimizers that train these networks."""
    if isinstance(policy, SACPolicy | TD3Policy):
        return [policy.actor.optimizer, policy.critic.optimizer]
    return [policy.optimizer]


def copies(policy: nn.Module) -> dict[str, str]:
    """Return the tensors of target networks, each with the name of the one that it follows."""
    own = _names(policy)
    pairs = {
        f"{module}.{name}": own[id(tensor)]
        for target in ("q_net_target", "actor_target", "critic_target")
        if (module := target) in dict(policy.named_children())
        for name, tensor in surgery.named_tensors(policy.get_submodule(target.removesuffix("_target"))).items()
    }
    tensors = surgery.named_tensors(policy)
    return {own[id(tensors[name])]: of for name, of in pairs.items() if own[id(tensors[name])] != of}


def anatomy(policy: nn.Module, *, channels: bool) -> Anatomy:
    """Return what may be pruned: every weight of the networks that learn, first and last layers included.

    Hidden units, and channels of convolutions, are found by following them, and tried out on a copy.

    Args:
        channels: whether to look for them; without, there are no groups.
    """
    own, networks = _names(policy), _apart(policy)
    heads = [own[id(head)] for branch in branches(policy) for head in _last(branch)]
    found: dict[str, list[Group]] = {network: [] for network in networks}
    stays: dict[str, str] = {}
    if channels:
        bare = Bare(policy)
        tensors = surgery.named_tensors(bare)
        layers = {id(layer): path for path, layer in policy.named_modules()}
        with named_as_in(policy, bare):
            groups, left = auto.cuttable(bare, [example(policy)])
        for group in groups:
            members = tuple(replace(member, tensor=own[id(tensors[member.tensor])]) for member in group.members)
            maker = next(member.tensor for member in members if member.produces)
            network = next(name for name, names in networks.items() if maker in names)
            number = "".join(group.name.partition("/")[1:])  # of several of one layer
            found[network].append(replace(group, name=maker.rpartition(".")[0] + number, members=members))
        told = {path: _named_as_in(policy, bare, why) for path, why in left.items() if why != RETURNED}
        stays = {layers[id(bare.get_submodule(path))]: why for path, why in told.items()}
        stays = {layer: why for layer, why in stays.items() if f"{layer}.weight" not in heads}
    return Anatomy(networks, found, stays, copies(policy), heads)


def _apart(policy: nn.Module) -> dict[str, list[str]]:
    """Return the names of the weights of each network; an extractor whose features several read is one, in front of these.

    Losses of different sizes would leave one of its readers without a weight, were they ranked with one another.
    """
    own, found = _names(policy), branches(policy)
    readers: dict[int, list[Branch]] = {}
    for branch in found:
        readers.setdefault(id(branch.extractor), []).append(branch)
    networks: dict[str, list[str]] = {}
    for several in readers.values():
        if len(several) > 1 and (names := _weights(several[0].extractor, own)):
            critics = all(branch.name.startswith("critic") for branch in several)
            networks["critic features" if critics else "features"] = names
    for branch in found:
        alone = [branch.extractor] if len(readers[id(branch.extractor)]) == 1 else []
        networks[branch.name] = [name for part in (*alone, branch.body, *branch.heads) for name in _weights(part, own)]
    return networks


def _weights(part: nn.Module, own: Mapping[int, str]) -> list[str]:
    return [own[id(part.get_parameter(name))] for name in weights(part)]


def _last(branch: Branch) -> list[Tensor]:
    """Return the weights that make what a network puts out."""
    if branch.heads:
        return [head.get_parameter("weight") for head in branch.heads]
    return [[layer for layer in branch.body.modules() if isinstance(layer, nn.Linear)][-1].weight]


class Bare(nn.Module):
    """A policy's networks without the policy, whose distributions cannot be copied: observations and actions to all outputs."""

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        found = branches(policy)
        extractors = list({id(branch.extractor): branch.extractor for branch in found}.values())
        self.extractors = nn.ModuleList(extractors)
        self.bodies = nn.ModuleList([branch.body for branch in found])
        self.heads = nn.ModuleList([nn.ModuleList(branch.heads) for branch in found])
        places = [next(at for at, one in enumerate(extractors) if one is branch.extractor) for branch in found]
        self._read = [(place, branch.acts) for place, branch in zip(places, found, strict=True)]

    def forward(self, observations: Any, actions: Tensor) -> list[Tensor]:
        features, found = [extractor(observations) for extractor in self.extractors], list[Tensor]()
        for (place, acts), body, heads in zip(self._read, self.bodies, self.heads, strict=True):
            hidden = body(torch.cat([features[place], actions], 1) if acts else features[place])
            found += [head(hidden) for head in heads] or [hidden]  # type: ignore[attr-defined]
        return found


@contextmanager
def named_as_in(policy: nn.Module, bare: Bare) -> Iterator[None]:
    """Let a ValueError about ``bare`` name layers as the policy does."""
    try:
        yield
    except ValueError as error:
        raise ValueError(_named_as_in(policy, bare, str(error))) from error


def _named_as_in(policy: nn.Module, bare: Bare, text: str) -> str:
    own = {id(layer): path for path, layer in policy.named_modules()}
    for path, layer in bare.named_modules():
        text = text.replace(f"'{path}'", f"'{own.get(id(layer), path)}'")
    return text


def example(policy: Any) -> Call:
    """Return one observation of ones, as the networks are given it, and an action of ones, in the policy's own precision."""
    weight = next(policy.parameters())
    seen = tree_map(lambda part: torch.as_tensor(part)[None], _shown(policy.observation_space))
    seen = preprocess_obs(seen, policy.observation_space, normalize_images=policy.normalize_images)
    ones = tree_map(lambda part: torch.ones(part.shape, dtype=weight.dtype, device=weight.device), seen)
    acts = get_action_dim(policy.action_space) if any(branch.acts for branch in branches(policy)) else 1
    return (ones, torch.ones(1, acts, dtype=weight.dtype, device=weight.device)), {}


def acting(policy: Any) -> Callable[[], object]:
    """Return a function that chooses an action for one observation, greedily, as ``predict`` does."""
    seen = tree_map(lambda part: np.asarray(part)[None], _shown(policy.observation_space))
    observation = obs_as_tensor(seen, policy.device)

    def act() -> object:
        with torch.no_grad():
            return policy._predict(observation, deterministic=True)

    return act


def _shown(space: spaces.Space[Any]) -> Any:
    """Return one observation of a space, of ones where bounds allow: a sample of wide ones is beyond what networks can take."""
    match space:
        case spaces.Dict():
            return {name: _shown(part) for name, part in space.items()}
        case spaces.Box(low=low, high=high):
            return np.ones(space.shape, space.dtype).clip(low, high)
        case _:
            return copy.deepcopy(space).sample()  # whose generator stays where it is


def unshared(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a policy's arguments with modules of their own: what is built of these is drawn anew, masked and cut."""
    made: dict[int, nn.Module] = {}

    def own(value: Any) -> Any:
        if not isinstance(value, nn.Module):
            return value
        if id(value) not in made:
            made[id(value)] = surgery.copied(value)
        return made[id(value)]

    found: dict[str, Any] = tree_map(own, dict(options))
    return found


def forget(policy: nn.Module) -> None:
    """Let go of the graph that the last update left in a policy's distribution, with which nothing can copy the policy."""
    with evaluating(policy):
        acting(policy)()


def outputs(policy: nn.Module) -> list[Tensor]:
    """Return all that the networks put out for ``example``."""
    (observations, actions), _ = example(policy)
    found: list[Tensor] = Bare(policy)(observations, actions)
    return found


def redrawn(policy: Any, names: Sequence[str]) -> dict[str, Tensor]:
    """Return weights of these sizes as Stable-Baselines3 draws them, from torch's generator of the CPU."""
    own = _names(policy)
    bare = Bare(policy)
    inside = {own[id(tensor)]: name for name, tensor in bare.named_parameters()}
    fresh = copy.deepcopy(bare)
    drawn = drawn_anew(fresh, [inside[name] for name in names])
    if getattr(policy, "ortho_init", False):
        gains = [(fresh.extractors, 2**0.5), (fresh.bodies, 2**0.5), (fresh.heads[0], 0.01), (fresh.heads[1], 1.0)]
        for part, gain in gains:
            part.apply(lambda layer, gain=gain: policy.init_weights(layer, gain=gain))  # type: ignore[misc]
    return {name: drawn[inside[name]] for name in names}


# -- sizes -----------------------------------------------------------------------------------------------------------


def shapes(policy: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter and buffer."""
    return {name: tuple(tensor.shape) for name, tensor in surgery.named_tensors(policy).items()}


def arch(policy: nn.Module) -> Arch | None:
    """Return the ``net_arch`` of the present hidden layers, or None where there is none: twin critics of other sizes, say."""
    widths = {branch.name: _widths(branch) for branch in branches(policy)}
    if isinstance(policy, DQNPolicy):
        return widths["network"]
    critics = [sizes for name, sizes in widths.items() if name != "actor"]
    if any(sizes != critics[0] for sizes in critics):
        return None
    return {"pi": widths["actor"], "vf" if isinstance(policy, ActorCriticPolicy) else "qf": critics[0]}


def _widths(branch: Branch) -> list[int]:
    sizes = [layer.out_features for layer in branch.body.modules() if isinstance(layer, nn.Linear)]
    return sizes if branch.heads else sizes[:-1]


def features(policy: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the features extractors' tensors, which ``net_arch`` does not say."""
    own = _names(policy)
    extractors = [branch.extractor for branch in branches(policy)]
    return {own[id(tensor)]: tuple(tensor.shape) for one in extractors for tensor in surgery.named_tensors(one).values()}


def narrow(policy: nn.Module, wanted: Shapes) -> None:
    """Cut a policy that was just built to the shapes of one that is to be loaded into it; which units go is all the same."""
    now = surgery.named_tensors(policy)
    cuts: surgery.Cuts = {}
    for name, shape in wanted.items():
        for dim, size in enumerate(shape):
            if size < now[name].shape[dim]:
                cuts.setdefault(name, {})[dim] = torch.arange(now[name].shape[dim]) < size
    surgery.cut(policy, cuts, optimizers(policy))
    settled(policy)


def settled(policy: Any) -> None:
    """Bring the attributes by which a policy repeats its sizes up to date."""
    (observations, _), _ = example(policy)
    for owner in policy.modules():
        for name, extractor in owner.named_children() if isinstance(owner, BasePolicy) else ():
            if isinstance(extractor, BaseFeaturesExtractor):
                with torch.no_grad(), evaluating(extractor):  # one observation is no batch, and none of the training data
                    extractor._features_dim = int(extractor(observations).shape[1])
                if name == "features_extractor" and hasattr(owner, "features_dim"):
                    owner.features_dim = extractor.features_dim
    if isinstance(policy, ActorCriticPolicy):
        mlp, sizes = policy.mlp_extractor, {branch.name: _widths(branch) for branch in branches(policy)}
        for latent, branch in zip(("latent_dim_pi", "latent_dim_vf"), branches(policy), strict=True):
            setattr(mlp, latent, [branch.extractor.features_dim, *sizes[branch.name]][-1])
    if (found := arch(policy)) is not None:
        policy.net_arch = found


def _names(module: nn.Module) -> dict[int, str]:
    """Return every tensor's first name, by its identity."""
    found: dict[int, str] = {}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        found.setdefault(id(tensor), name)
    return found
