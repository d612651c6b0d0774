"""What pruning needs to know of a Stable-Baselines3 actor-critic policy: its anatomy, its size, its outputs, its masks."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional

from rlprune.pruning.groups import Anatomy, chain
from rlprune.pruning.masked import Masked, Masks

if TYPE_CHECKING:
    from stable_baselines3.common.distributions import Distribution
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
    from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy

Widths: TypeAlias = dict[str, list[int]]
"""Hidden layers of the actor (``pi``) and of the critic (``vf``), as Stable-Baselines3 names them."""

_NETWORKS = {"actor": ("pi", "policy_net", "action_net"), "critic": ("vf", "value_net", "value_net")}


def anatomy(policy: "ActorCriticPolicy", dense: Widths | None = None) -> Anatomy:
    """Return the anatomy of an MLP policy with separate actor and critic.

    Every linear weight may be pruned, first and last layers included; hidden units are the channels, and each
    network's outputs (action logits, value) stay.

    Args:
        dense: hidden layers of the dense network, whose numbering the groups have; by default the present ones.
    """
    dense = dense or widths(policy)
    weights, groups = {}, {}
    for network, (key, *_) in _NETWORKS.items():
        layers = _layers(policy, network)
        weights[network] = [f"{layer}.weight" for layer in layers]
        groups[network] = [replace(group, size=size) for group, size in zip(chain(policy, layers), dense[key], strict=True)]
    return Anatomy(weights, groups, heads=[names[-1] for names in weights.values()])


def widths(policy: "ActorCriticPolicy") -> Widths:
    """Return the present sizes of the hidden layers."""
    return {
        key: [int(policy.get_submodule(layer).out_features) for layer in _layers(policy, network)[:-1]]  # type: ignore[arg-type]
        for network, (key, *_) in _NETWORKS.items()
    }


def shapes(policy: "ActorCriticPolicy", dense: Widths) -> dict[str, tuple[int, int]]:
    """Return the shape that each weight has in a network with these hidden layers."""
    found = {}
    for network, (key, _, head) in _NETWORKS.items():
        sizes = [policy.features_dim, *dense[key], int(policy.get_submodule(head).out_features)]  # type: ignore[arg-type]
        for layer, (inputs, outputs) in zip(_layers(policy, network), pairwise(sizes), strict=True):
            found[f"{layer}.weight"] = (outputs, inputs)
    return found


def networks(policy: "ActorCriticPolicy") -> dict[str, tuple[nn.Sequential, nn.Linear]]:
    """Return actor and critic, each as its hidden layers with their activations, and its last layer."""
    return {
        network: (getattr(policy.mlp_extractor, body), policy.get_submodule(head))  # type: ignore[misc]
        for network, (_, body, head) in _NETWORKS.items()
    }


class Passes:
    """What an MLP policy with its present weights computes, to the bit, in less time where it is small.

    No layer is asked for hooks, no linear one for its weights, each time; actions out of a list are drawn without an object of
    torch's distributions.
    """

    def __init__(self, policy: "ActorCriticPolicy") -> None:
        from stable_baselines3.common.distributions import CategoricalDistribution

        self._policy, self._listed = policy, isinstance(policy.action_dist, CategoricalDistribution)
        self._actor, self._critic = ([*map(_step, body), _step(head)] for body, head in networks(policy).values())

    def act(self, observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return sampled actions, values and log-probabilities, as calling the policy does."""
        features = self._features(observations)
        if self._listed:
            logits = _through(self._actor, features)
            logits = logits - logits.logsumexp(-1, keepdim=True)
            actions = torch.multinomial(logits.softmax(-1), 1, True)
            return actions[:, 0], _through(self._critic, features), logits.gather(1, actions)[:, 0]
        chosen = self._distribution(features)
        actions = chosen.get_actions().reshape((-1, *(self._policy.action_space.shape or ())))
        return actions, _through(self._critic, features), chosen.log_prob(actions)

    def judge(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return values, log-probabilities and entropies, as ``evaluate_actions`` does where entropies have a formula."""
        features = self._features(observations)
        chosen = self._distribution(features)
        log_probs, values, entropies = chosen.log_prob(actions), _through(self._critic, features), chosen.entropy()
        assert entropies is not None  # their gradients are added in this order, backwards
        return values, log_probs, entropies

    def values(self, observations: Tensor) -> Tensor:
        """Return values, as ``predict_values`` does."""
        return _through(self._critic, self._features(observations))

    def _features(self, observations: Tensor) -> Tensor:
        features = self._policy.extract_features(observations)
        assert isinstance(features, Tensor)  # one extractor for both networks
        return features

    def _distribution(self, features: Tensor) -> "Distribution":
        return self._policy._get_action_dist_from_latent(_through(self._actor[:-1], features))


def _step(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    if layer._forward_hooks or layer._forward_pre_hooks:
        return layer
    if isinstance(layer, nn.Linear):
        return partial(functional.linear, weight=layer.weight, bias=layer.bias)
    return layer.forward


def _through(steps: Iterable[Callable[[Tensor], Tensor]], features: Tensor) -> Tensor:
    for step in steps:
        features = step(features)
    return features


def _layers(policy: "ActorCriticPolicy", network: str) -> list[str]:
    _, body, head = _NETWORKS[network]
    layers = getattr(policy.mlp_extractor, body).named_children()
    return [*(f"mlp_extractor.{body}.{name}" for name, layer in layers if isinstance(layer, nn.Linear)), head]


def outputs(policy: nn.Module) -> list[Tensor]:
    """Return action logits and value of an MLP policy for one observation of ones, in the policy's own precision."""
    weight = next(policy.parameters())
    features = policy.features_extractor.features_dim  # type: ignore[union-attr]
    ones = torch.ones(1, features, dtype=weight.dtype, device=weight.device)  # type: ignore[arg-type]
    actor, critic = policy.mlp_extractor(ones)  # type: ignore[operator]
    return [policy.action_net(actor), policy.value_net(critic)]  # type: ignore[operator]


def resize(model: "OnPolicyAlgorithm") -> None:
    """Make the attributes by which Stable-Baselines3 rebuilds a policy agree with the sizes of its layers.

    After it ``model.save`` writes an agent that ``A2C.load`` builds small.
    """
    policy, sizes = model.policy, widths(model.policy)
    policy.net_arch = sizes
    policy.mlp_extractor.latent_dim_pi, policy.mlp_extractor.latent_dim_vf = (
        ([policy.features_dim, *sizes[key]])[-1] for key in ("pi", "vf")
    )
    model.policy_kwargs = {**model.policy_kwargs, "net_arch": sizes}


def redrawn(policy: "ActorCriticPolicy") -> dict[str, Tensor]:
    """Return weights for an MLP policy of any sizes as Stable-Baselines3 draws them, from torch's generator of the CPU."""
    found = {}
    for network, gain in (("actor", 0.01), ("critic", 1.0)):
        *hidden, head = _layers(policy, network)
        for name in (*hidden, head):
            outputs, inputs = policy.get_parameter(f"{name}.weight").shape
            fresh = nn.Linear(inputs, outputs)
            if policy.ortho_init:
                policy.init_weights(fresh, gain=gain if name == head else 2**0.5)
            found[f"{name}.weight"] = fresh.weight.detach()
    return found


def taken(space: spaces.Space[Any], actions: Tensor) -> Tensor:
    """Return actions out of a rollout's buffer as ``evaluate_actions`` wants them, as Stable-Baselines3 casts them."""
    return actions.long().flatten() if isinstance(space, spaces.Discrete) else actions.float()


def played(space: spaces.Space[Any], actions: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Return sampled actions as the environment may be given them: a normal distribution knows no bounds."""
    return np.clip(actions, space.low, space.high) if isinstance(space, spaces.Box) else actions


class Held:
    """A policy class whose policies keep pruned weights at zero, so that a saved agent stays pruned when it learns on.

    Stable-Baselines3 saves it with the agent, and ``load`` imports it from here. Where rlprune is not installed,
    ``custom_objects={"policy_class": ActorCriticPolicy}`` loads the same agent without its masks.

    Args:
        shapes: of parameters and buffers, where no ``policy_kwargs`` say how small a policy is.
    """

    shapes: Mapping[str, Sequence[int]] = MappingProxyType({})  # of agents that were saved before there were any

    def __init__(
        self, kind: "Held | type[BasePolicy]", masks: Masks, shapes: Mapping[str, Sequence[int]] = MappingProxyType({})
    ) -> None:
        self.kind: type[BasePolicy] = kind.kind if isinstance(kind, Held) else kind
        self.masks = {name: mask.cpu() for name, mask in masks.items()}
        self.shapes = dict(shapes)
        self.__name__ = self.kind.__name__  # Stable-Baselines3 asks every policy class for it

    def __call__(self, *args: Any, **options: Any) -> "BasePolicy":
        from rlprune.training import networks  # a second, which listing tasks must not take

        policy = self.kind(*args, **networks.unshared(options))
        networks.narrow(policy, self.shapes)
        hold(policy, Masked(policy, networks.optimizers(policy), networks.copies(policy)), self.masks)
        return policy


def hold(policy: "BasePolicy", masked: Masked, masks: Masks | None = None) -> None:
    """Let nothing that is loaded into a policy, or into its optimizers, bring pruned weights back.

    Args:
        masks: to put on once weights are there; a policy that is being built changes its device in between.
    """
    from rlprune.training import networks

    def loaded(optimizer: torch.optim.Optimizer | None = None) -> None:
        due = masked.masks or masks or {}
        due = dict(due) | {copy: due[name] for copy, name in masked.copies.items() if name in due}
        weights = ((policy.get_parameter(name), mask) for name, mask in due.items()) if masked.masks or optimizer is None else ()
        back = sum(int(weight[~mask.to(weight.device)].count_nonzero()) for weight, mask in weights)
        if masks and not masked.masks:
            masked.set(masks)
        if back:
            warnings.warn(f"{back} weights that are pruned came with what was loaded; they are zero again", stacklevel=2)
        masked.zero()

    policy.register_load_state_dict_post_hook(lambda *_: loaded())  # type: ignore[no-untyped-call]
    hook = _Loaded(loaded)
    for part in policy.modules():
        if part is not policy:
            part.register_load_state_dict_pre_hook(hook.begins)  # type: ignore[no-untyped-call]
            part.register_load_state_dict_post_hook(hook.ends)  # type: ignore[no-untyped-call]
    for optimizer in networks.optimizers(policy):
        optimizer.register_load_state_dict_post_hook(loaded)


class _Loaded:
    """Tells that something was loaded into a part of a policy by itself; of a part that is copied or pickled it tells nobody."""

    def __init__(self, tell: Callable[[], None] | None) -> None:
        self._tell = tell
        self._into: nn.Module | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _Loaded, (None,)

    def begins(self, module: nn.Module, state: object, prefix: str, *_: object) -> None:
        if not prefix:
            self._into = module

    def ends(self, module: nn.Module, keys: object) -> None:
        if module is self._into and self._tell is not None:
            self._into = None
            self._tell()


class Actor(nn.Module):
    """The actor of an MLP policy alone: observations [batch, features], flat or one-hot, to action logits (or means)."""

    def __init__(self, policy: "ActorCriticPolicy") -> None:
        super().__init__()
        self.body, self.head = policy.mlp_extractor.policy_net, policy.action_net

    def forward(self, observations: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(observations))
        return logits
