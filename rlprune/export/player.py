"""What ``predict`` of a Stable-Baselines3 agent computes, as one module: observations as environments show them to actions."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor, NatureCNN
from stable_baselines3.common.vec_env import VecCheckNan, VecEnv, VecEnvWrapper, VecMonitor, VecNormalize
from stable_baselines3.dqn import policies as dqn
from stable_baselines3.sac import policies as sac
from stable_baselines3.td3 import policies as td3
from torch import Tensor, nn


class Normalise(nn.Module):
    """``clip((o - mean) / √(var + ε), ±most)``, as VecNormalize has it.

    It computes in double; here the mean is in two parts instead, for what is left when it is taken away may be small.
    """

    mean: Tensor
    rest: Tensor
    deviation: Tensor

    def __init__(self, shape: Sequence[int], most: float) -> None:
        super().__init__()
        self.shape, self.most = tuple(shape), most
        for name in ("mean", "rest", "deviation"):
            self.register_buffer(name, torch.zeros(self.shape))

    @classmethod
    def of(cls, known: VecNormalize) -> "Normalise":
        """Return it with the statistics as they are."""
        mean, var = statistics(known)
        made = cls(mean.shape, float(known.clip_obs))
        made.mean = torch.as_tensor(mean.astype(np.float32))
        made.rest = torch.as_tensor((mean - mean.astype(np.float32)).astype(np.float32))
        made.deviation = torch.as_tensor(np.sqrt(var + known.epsilon).astype(np.float32))
        return made

    def forward(self, observation: Tensor) -> Tensor:
        return ((observation.float() - self.mean - self.rest) / self.deviation).clip(-self.most, self.most)


class Numbers(nn.Module):
    """Observations as float32, divided: images by 255."""

    def __init__(self, divisor: float = 1.0) -> None:
        super().__init__()
        self.divisor = divisor

    def forward(self, observation: Tensor) -> Tensor:
        return observation.float() / self.divisor if self.divisor != 1 else observation.float()


class OneHot(nn.Module):
    """Whole numbers, each as the place of a one among so many zeros."""

    def __init__(self, counts: Sequence[int]) -> None:
        super().__init__()
        self.counts = tuple(counts)

    def forward(self, observation: Tensor) -> Tensor:
        columns = observation.reshape(-1, len(self.counts))
        hot = [columns[:, place, None] == torch.arange(count) for place, count in enumerate(self.counts)]
        return torch.cat(hot, 1).float()


class Largest(nn.Module):
    """The place of the largest output, or, of several lists one after another, of each."""

    def __init__(self, counts: Sequence[int], *, several: bool) -> None:
        super().__init__()
        self.counts, self.several = tuple(counts), several

    def forward(self, output: Tensor) -> Tensor:
        if not self.several:
            return output.argmax(1)
        return torch.stack([part.argmax(1) for part in torch.split(output, list(self.counts), 1)], 1)


class Switches(nn.Module):
    """One where an output is positive: its probability is above a half."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, output: Tensor) -> Tensor:
        return (output > 0).to(torch.int8).reshape(-1, *self.shape)


class Bounded(nn.Module):
    """Outputs in ±1 stretched to the bounds of the action space where the agent squashes them, clipped to them where not."""

    low: Tensor
    high: Tensor

    def __init__(self, shape: Sequence[int], *, squashed: bool) -> None:
        super().__init__()
        self.shape, self.squashed = tuple(shape), squashed
        for name in ("low", "high"):
            self.register_buffer(name, torch.zeros(self.shape))

    @classmethod
    def by(cls, space: spaces.Box, *, squashed: bool) -> "Bounded":
        """Return it with the bounds of a space."""
        made = cls(space.shape, squashed=squashed)
        made.low, made.high = (torch.as_tensor(np.asarray(bound, np.float32)) for bound in (space.low, space.high))
        return made

    def forward(self, output: Tensor) -> Tensor:
        output = output.reshape(-1, *self.shape)
        if self.squashed:
            return self.low + 0.5 * (output + 1.0) * (self.high - self.low)
        return torch.maximum(torch.minimum(output, self.high), self.low)


class Player(nn.Module):
    """Observations [batch, ...] to what the network puts out [batch, outputs] and to the actions that ``predict`` returns.

    Outputs are action logits, Q-values or means of actions, in ±1 where the agent squashes them.

    Args:
        about: whose it is, and what it is shown: ``algorithm``, ``shape`` and ``kind`` of one observation.
    """

    def __init__(self, layers: Sequence[nn.Module], decide: nn.Module, about: Mapping[str, Any]) -> None:
        super().__init__()
        self.layers, self.decide, self.about = nn.Sequential(*layers), decide, dict(about)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        output = self.layers(observation)
        return output, self.decide(output)

    def example(self) -> Tensor:
        """Return two observations of zeros."""
        return torch.zeros(2, *self.about["shape"], dtype=getattr(torch, self.about["kind"]))


def player(model: BaseAlgorithm, normaliser: VecNormalize | None) -> Player:
    """Return what an agent's ``predict`` computes, copied from it.

    Raises:
        ValueError: what about it is not known, and what is.
    """
    what = "rlprune takes away A2C, PPO, DQN, SAC, TD3 and DDPG agents with MlpPolicy or CnnPolicy"
    if not isinstance(model, A2C | PPO | DQN | SAC | TD3):
        raise ValueError(f"{what}; {type(model).__name__} is not known")
    policy = model.policy
    extractor, body, squashed = _network(policy, what)
    decide: nn.Module
    match policy.action_space:
        case spaces.Discrete(n=count):
            decide = Largest([int(count)], several=False)
        case spaces.MultiDiscrete(nvec=counts) if counts.ndim == 1:
            decide = Largest([int(count) for count in counts], several=True)
        case spaces.MultiBinary(shape=shape):
            decide = Switches(shape)
        case spaces.Box() as box:
            decide = Bounded.by(box, squashed=squashed)
        case space:
            raise ValueError(f"{what}; actions of {space} are not known")
    shown = policy.observation_space
    first: list[nn.Module] = []
    if normaliser is not None and normaliser.norm_obs:
        inside = vars(normaliser)["venv"].observation_space if "venv" in vars(normaliser) else shown
        if not isinstance(inside, spaces.Box) or statistics(normaliser)[0].shape != shown.shape:
            raise ValueError(f"{what}; VecNormalize has statistics of {inside}, the agent is shown {shown}")
        first, shown = [Normalise.of(normaliser)], inside
    layers = [*first, *_encoding(policy.observation_space, policy.normalize_images, what), *extractor, *body]
    kind = str(shown.dtype) if shown.dtype in (np.uint8, np.int8) else "int64" if isinstance(layers[0], OneHot) else "float32"
    if broken := [name for name, value in policy.state_dict().items() if not bool(value.isfinite().all())]:
        raise ValueError(f"{broken[0]} of this agent holds infinities or values that are not numbers")
    about = {"algorithm": type(model).__name__, "shape": list(shown.shape or ()), "kind": kind}
    return Player(copy.deepcopy(layers), decide, about).cpu().eval().requires_grad_(False)


def _network(policy: nn.Module, what: str) -> tuple[list[nn.Module], list[nn.Module], bool]:
    """Return the layers that make features of an observation, those that make outputs of them, and whether these are squashed."""
    kind = type(policy)
    if kind in (ActorCriticPolicy, ActorCriticCnnPolicy):
        assert isinstance(policy, ActorCriticPolicy)
        if type(policy.mlp_extractor) is not MlpExtractor:
            raise ValueError(f"{what}; this one has a {type(policy.mlp_extractor).__name__} for a MlpExtractor")
        squash = [nn.Tanh()] if policy.squash_output else []
        body, extractor = [*policy.mlp_extractor.policy_net, policy.action_net, *squash], policy.pi_features_extractor
    elif kind in (dqn.DQNPolicy, dqn.CnnPolicy):
        assert isinstance(policy, dqn.DQNPolicy)
        body, extractor = [policy.q_net.q_net], policy.q_net.features_extractor
    elif kind in (sac.SACPolicy, sac.CnnPolicy):
        assert isinstance(policy, sac.SACPolicy)
        body, extractor = [policy.actor.latent_pi, policy.actor.mu, nn.Tanh()], policy.actor.features_extractor
    elif kind in (td3.TD3Policy, td3.CnnPolicy):
        assert isinstance(policy, td3.TD3Policy)
        body, extractor = [policy.actor.mu], policy.actor.features_extractor
    else:
        raise ValueError(f"{what}; this one is a {kind.__name__}")
    assert extractor is not None
    found = {FlattenExtractor: ("flatten",), NatureCNN: ("cnn", "linear")}.get(type(extractor), ())
    features = [extractor.get_submodule(name) for name in found] or [extractor]
    squashed = bool(policy.squash_output)
    return _flat(features), _flat(body), squashed


def _flat(layers: Sequence[nn.Module]) -> list[nn.Module]:
    """Return layers one by one that stand in sequences."""
    found: list[nn.Module] = []
    for layer in layers:
        found += _flat(list(layer)) if type(layer) is nn.Sequential else [layer]
    return found


def _encoding(space: spaces.Space[Any], normalise_images: bool, what: str) -> list[nn.Module]:
    """Return what Stable-Baselines3 makes of observations before a network sees them."""
    match space:
        case spaces.Box() | spaces.MultiBinary():
            return [Numbers(255.0 if normalise_images and is_image_space(space) else 1.0)]
        case spaces.Discrete(n=count, start=start) if start == 0:
            return [OneHot([int(count)])]
        case spaces.MultiDiscrete(nvec=counts, start=start) if counts.ndim == 1 and not start.any():
            return [OneHot([int(count) for count in counts])]
        case _:
            raise ValueError(f"{what}; observations of {space} are not known")


def statistics(known: VecNormalize) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Return mean and variance of observations, in double."""
    found: object = known.obs_rms
    if not isinstance(found, RunningMeanStd):
        raise ValueError("VecNormalize of observations in a Dict is not known")
    return np.asarray(found.mean, np.float64), np.asarray(found.var, np.float64)


def normaliser(env: VecEnv | None) -> VecNormalize | None:
    """Return the VecNormalize around environments whose observations an agent is shown, or None.

    Raises:
        ValueError: something else between it and the agent that may change them, or another one.
    """
    above, found = [], []
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecNormalize) and env.norm_obs:
            found.append(env)
        elif not found and not isinstance(env, VecMonitor | VecCheckNan | VecNormalize):
            above.append(type(env).__name__)
        env = env.venv
    if len(found) > 1:
        raise ValueError("observations are normalised twice by VecNormalize; one is known")
    if found and above:
        raise ValueError(f"{above[0]} stands between VecNormalize and the agent: wrap VecNormalize around it instead")
    return found[0] if found else None
