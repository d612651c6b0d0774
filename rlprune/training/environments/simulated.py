"""CartPole and Acrobot, all games of all agents at once: as tensor arithmetic on a GPU, compiled on a CPU."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from rlprune.training import noise
from rlprune.training.environments.contract import Transition

_LANES = 32  # whole vectors, so that no element is left to the scalar code at the end of a loop


class Simulation:
    """Physics on a float64 state [4, N], one column an environment, filled up to whole vectors.

    Everything is updated in place, so that a CUDA graph can repeat a step.
    """

    kernel: ClassVar[str]
    """What takes a step on a CPU, of ``compiled/kernels.py``."""

    simulated = True
    features: int
    actions: int

    def __init__(self, environments: int, limit: int, device: str = "cpu") -> None:
        self.environments = environments
        self.limit = limit
        self._device = torch.device(device)
        self._draw = torch.arange(4, device=self._device)[:, None]

    def reset(self, seeds: Tensor) -> Tensor:
        agents = len(seeds)
        own = torch.arange(self.environments, dtype=torch.int64, device=self._device) << 40
        blank = torch.zeros(agents, self.environments, dtype=torch.int64, device=self._device)
        keys = noise.keys(seeds.to(self._device))
        self.load_state(
            {
                "physics": torch.zeros(agents, self.environments, 4, dtype=torch.float64),
                "elapsed": blank,
                "drawn": blank + own,
                "key": keys[:, None] + blank,
            }
        )
        self._restart(torch.ones_like(self._elapsed, dtype=torch.bool))
        return self.observations

    def step(self, actions: Tensor) -> Transition:
        return self._compiled_step(actions) if self.compiled else self._tensor_step(actions)

    @property
    def compiled(self) -> bool:
        """Whether compiled code plays: on a CPU, unless somebody's class moves otherwise than the one it comes from."""
        return self._device.type == "cpu" and "kernel" in vars(type(self))

    def _compiled_step(self, actions: Tensor) -> Transition:
        from rlprune.training.compiled import kernels  # a second to import, for those who train alone in vain

        shape = self.agents, self.environments
        observations, final = (torch.empty(*shape, self.features) for _ in range(2))
        rewards = torch.empty(shape)
        terminated, truncated = (torch.empty(shape, dtype=torch.bool) for _ in range(2))
        state, *stand = self.places()
        brought = observations.flatten(0, 1), final.flatten(0, 1), rewards.flatten(), terminated.flatten(), truncated.flatten()
        getattr(kernels, self.kernel)(
            0, state, actions.flatten().numpy(), *stand, self.limit, *(part.numpy() for part in brought)
        )
        return Transition(observations, rewards, terminated, truncated, final)

    def _tensor_step(self, actions: Tensor) -> Transition:
        self._actions[: actions.numel()] = actions.flatten()
        rewards, terminated = self._advance(self._state, self._actions)
        self._elapsed += 1
        truncated = self._elapsed >= self.limit
        final = observations = self.observations
        ended = terminated | truncated
        if ended.is_cuda or bool(ended.any()):  # a GPU would wait for the answer longer than the answer saves
            self._restart(ended)
            observations = self.observations
        return Transition(observations, self._shaped(rewards), self._shaped(terminated), self._shaped(truncated), final)

    def places(self) -> "list[np.ndarray[Any, np.dtype[Any]]]":
        """Return where compiled code finds games on a CPU: the state, clocks, numbers drawn and keys of all."""
        return [tensor.numpy() for tensor in (self._state, self._elapsed, self._drawn, self._key)]

    @property
    def observations(self) -> Tensor:
        return self._shaped(self._observe(self._state))

    def state(self) -> dict[str, Tensor]:
        return {
            "physics": self._shaped(self._state.T).clone(),
            "elapsed": self._shaped(self._elapsed).clone(),
            "drawn": self._shaped(self._drawn).clone(),
            "key": self._shaped(self._key).clone(),
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.agents = len(state["key"])
        count = self.agents * self.environments
        columns = -(-count // _LANES) * _LANES
        self._state = torch.zeros(4, columns, dtype=torch.float64, device=self._device)
        self._state[:, :count] = state["physics"].reshape(count, 4).T
        self._actions, self._elapsed, self._drawn, self._key = (
            torch.zeros(columns, dtype=torch.int64, device=self._device) for _ in range(4)
        )
        self._elapsed[:count] = state["elapsed"].flatten()
        self._drawn[:count] = state["drawn"].flatten()
        self._key[:count] = state["key"].flatten()

    def keep(self, agents: Sequence[int]) -> None:
        self.load_state({name: rows[list(agents)] for name, rows in self.state().items()})

    def take(self, other: Self) -> None:
        mine, others = self.state(), other.state()
        self.load_state({name: torch.cat([rows, others[name]]) for name, rows in mine.items()})

    def split(self) -> list[Self]:
        parts = []
        for agent in range(self.agents):
            parts.append(type(self)(self.environments, self.limit, str(self._device)))
            parts[-1].load_state({name: rows[agent : agent + 1] for name, rows in self.state().items()})
        return parts

    def close(self) -> None:
        """There is nothing to let go of."""

    def _restart(self, where: Tensor) -> None:
        """Begin the next game in the environments where it is wanted; four numbers of their streams make a start."""
        words = noise.words(self._key, self._drawn + self._draw)
        start = self._start(noise.uniform(words, torch.float64))
        torch.where(where, start, self._state, out=self._state)
        self._elapsed *= ~where
        self._drawn += where * 4

    def _shaped(self, rows: Tensor) -> Tensor:
        """Return what is kept a column as [P, E, ...]."""
        return rows[: self.agents * self.environments].reshape(self.agents, self.environments, *rows.shape[1:])

    def _start(self, uniform: Tensor) -> Tensor:
        """Return the state [4, N] that uniform numbers [4, N] make a game begin with."""
        raise NotImplementedError

    def _observe(self, state: Tensor) -> Tensor:
        """Return float32 observations [N, D]."""
        raise NotImplementedError

    def _advance(self, state: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Move the state on in place; return float32 rewards and bool terminations [N]."""
        raise NotImplementedError


class CartPole(Simulation):
    """Gymnasium's CartPole, operation by operation, so that whole games are equal to the bit of an observation.

    That is needed: the pole falls away from any difference, 1e-16 after 500 steps is as large as the track.
    """

    features = 4
    actions = 2
    kernel = "cartpole"

    def _start(self, uniform: Tensor) -> Tensor:
        return uniform.sub_(0.5).mul_(0.1)

    def _observe(self, state: Tensor) -> Tensor:
        return state.T.to(torch.float32, memory_format=torch.contiguous_format)

    def _advance(self, state: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        x, _, theta, theta_dot = state
        cos, sin = theta.cos(), theta.sin()
        # not fused into addcmul: Gymnasium rounds after each operation
        push = theta_dot.square().mul_(0.05).mul_(sin).add_(actions.mul(20.0).sub_(10.0)).div_(1.1)
        inertia = cos.square().mul_(0.1).div_(1.1).neg_().add_(4.0 / 3.0).mul_(0.5)
        acceleration = torch.empty_like(state[1::2])
        x_acc, theta_acc = acceleration
        torch.div(sin.mul_(9.8).sub_(cos * push), inertia, out=theta_acc)
        torch.sub(push, (theta_acc * 0.05).mul_(cos).div_(1.1), out=x_acc)
        state[::2].add_(state[1::2] * 0.02)
        state[1::2].add_(acceleration.mul_(0.02))
        terminated = (x.abs() > 2.4).logical_or_(theta.abs() > 12 * 2 * math.pi / 360)
        return torch.ones_like(x, dtype=torch.float32), terminated


class Acrobot(Simulation):
    """Gymnasium's Acrobot, the book's dynamics with its constants multiplied out; one step differs by about 1e-14.

    The motion is chaotic: long trajectories part.
    """

    features = 6
    actions = 3
    kernel = "acrobot"

    def _start(self, uniform: Tensor) -> Tensor:
        return uniform.sub_(0.5).mul_(0.2)

    def _observe(self, state: Tensor) -> Tensor:
        angles, speeds = state[:2], state[2:]
        rows = torch.stack([angles.cos(), angles.sin()], dim=1).view(4, -1)
        return torch.cat([rows, speeds]).T.to(torch.float32, memory_format=torch.contiguous_format)

    def _advance(self, state: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        torque, step = actions.to(torch.float64) - 1, 0.2
        first = self._slope(state, torque)
        second = self._slope(torch.add(state, first, alpha=step / 2), torque)
        third = self._slope(torch.add(state, second, alpha=step / 2), torque)
        fourth = self._slope(torch.add(state, third, alpha=step), torque)
        state.add_(first.add_(second.add_(third).mul_(2)).add_(fourth), alpha=step / 6)
        angles, speeds = state[:2], state[2:]
        angles.sub_(angles.div(2 * math.pi).round_(), alpha=2 * math.pi)
        speeds[0].clamp_(-4 * math.pi, 4 * math.pi)
        speeds[1].clamp_(-9 * math.pi, 9 * math.pi)
        terminated = -angles[0].cos() - (angles[0] + angles[1]).cos() > 1
        return terminated.to(torch.float32).sub_(1), terminated

    @staticmethod
    def _slope(state: Tensor, torque: Tensor) -> Tensor:
        """``ds/dt`` for links of length 1, mass 1, centre of mass 1/2 and moment of inertia 1, g = 9.8."""
        theta1, theta2, speed1, speed2 = state
        cos2, sin2 = theta2.cos(), theta2.sin()
        d1 = cos2 + 3.5
        d2 = cos2.mul_(0.5).add_(1.25)
        phi2 = (theta1 + theta2).sin_().mul_(4.9)
        phi1 = theta1.sin().mul_(14.7).add_(phi2).sub_((speed2 * 0.5).add_(speed1).mul_(speed2).mul_(sin2))
        share = d2 / d1
        slope = torch.empty_like(state)
        slope[:2] = state[2:]
        pull = sin2.mul_(speed1.square()).mul_(0.5)
        torch.div((share * phi1).add_(torque).sub_(pull).sub_(phi2), (share * d2).neg_().add_(1.25), out=slope[3])
        torch.div(d2.mul_(slope[3]).add_(phi1).neg_(), d1, out=slope[2])
        return slope
