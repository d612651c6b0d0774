"""Environments of many agents at once: CartPole and Acrobot as tensor arithmetic, any other by Gymnasium.

Shapes: P agents, E environments each, D features. A game that ends is followed by the next one in the same step. The
start of a game depends on its agent's seed, its environment and its number alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from itertools import chain
from typing import Any, Literal, NamedTuple, Protocol, Self

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from rlprune.training import noise

_LANES = 32  # whole vectors, so that no element is left to the scalar code at the end of a loop


class Transition(NamedTuple):
    """What one step of all environments brought.

    Args:
        observations: float32 [P, E, D]; where a game ended, the first one of the next game.
        rewards: float32 [P, E].
        terminated: bool [P, E], the game is over.
        truncated: bool [P, E], its time is over; both may be true.
        final: float32 [P, E, D]; where a game ended, its last observation, else as ``observations``.
    """

    observations: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    final: Tensor


class BatchedEnv(Protocol):
    """``environments`` environments for each of ``agents`` agents, with the same ``features`` and ``actions``.

    ``limit`` is the least number of steps between two truncations of an environment; a step that is ``simulated`` is
    arithmetic on the device alone, which a CUDA graph can repeat.
    """

    @property
    def simulated(self) -> bool: ...

    @property
    def agents(self) -> int: ...
    @property
    def environments(self) -> int: ...
    @property
    def features(self) -> int: ...
    @property
    def actions(self) -> int: ...
    @property
    def limit(self) -> int: ...

    @property
    def observations(self) -> Tensor:
        """The observations [P, E, D] that the next actions answer."""

    def reset(self, seeds: Tensor) -> Tensor:
        """Begin the first games of agents with these int64 seeds [P]; return their observations [P, E, D]."""

    def step(self, actions: Tensor) -> Transition:
        """Take int64 actions [P, E]."""

    def state(self) -> dict[str, Tensor]:
        """Return all there is to save, each tensor with one row an agent."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from saved rows, of as many agents as there are rows."""

    def keep(self, agents: Sequence[int]) -> None:
        """Go on with these agents only, in this order; none may be named twice."""

    def take(self, other: Self) -> None:
        """Add the agents of ``other``, which is used up."""

    def split(self) -> "Sequence[Self]":
        """Return the environments of each agent by themselves; the whole is used up."""

    def close(self) -> None:
        """Let go of the environments."""


def make(
    environment: str,
    environments: int,
    limit: int | None = None,
    device: str = "cpu",
    simulator: Literal["gymnasium", "envpool"] = "gymnasium",
) -> BatchedEnv:
    """Return the batched form of a Gymnasium environment, its time limit replaced if one is given.

    Raises:
        ValueError: actions that are not discrete or observations that are not flat.
        ImportError: a simulator that is not installed.
    """
    if simulator == "envpool":
        from rlprune.training.pooled import EnvPoolEnv

        return EnvPoolEnv(environment, environments, limit, device)
    simulations: dict[str, type[_Simulation]] = {"CartPole": CartPole, "Acrobot": Acrobot}
    spec = gym.spec(environment)
    if simulation := simulations.get(spec.name):
        return simulation(environments, limit or spec.max_episode_steps or 500, device)
    return GymnasiumEnv(environment, environments, limit, device)


def join(envs: Sequence[BatchedEnv]) -> BatchedEnv:
    """Return the environments of all agents of ``envs``, which are of one kind, as one; the parts are used up."""
    whole, *others = envs
    for env in others:
        whole.take(env)
    return whole


class _Simulation:
    """Physics as tensor arithmetic on a float64 state [4, N], one column an environment, filled up to whole vectors.

    Everything is updated in place, so that a CUDA graph can repeat a step.
    """

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


class CartPole(_Simulation):
    """Gymnasium's CartPole, operation by operation, so that whole games are equal to the bit of an observation.

    That is needed: the pole falls away from any difference, 1e-16 after 500 steps is as large as the track.
    """

    features = 4
    actions = 2

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


class Acrobot(_Simulation):
    """Gymnasium's Acrobot, the book's dynamics with its constants multiplied out; one step differs by about 1e-14.

    The motion is chaotic: long trajectories part.
    """

    features = 6
    actions = 3

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


class GymnasiumEnv:
    """Single Gymnasium environments with discrete actions, stepped one after another on the CPU.

    Every game is reset with a seed of its own, so a game is told by that seed and its actions: they are the state that
    is saved, and loading plays them again. That holds for worlds that cannot be copied, such as Box2D's.
    """

    simulated = False

    def __init__(self, environment: str, environments: int, limit: int | None = None, device: str = "cpu") -> None:
        spec = gym.spec(environment)
        self.limit = limit or spec.max_episode_steps or 1
        self._make: Callable[[], gym.Env[Any, Any]]
        if spec.id == "LunarLander-v3":
            from rlprune.training.lander import Lander  # Box2D comes with it

            self._make = partial(Lander, self.limit)
        else:
            timed = {} if limit is None else {"max_episode_steps": limit}
            self._make = partial(gym.make, environment, disable_env_checker=True, **timed)
        example = self._make()
        observations, actions = example.observation_space, example.action_space
        if (
            not isinstance(actions, gym.spaces.Discrete)
            or not isinstance(observations, gym.spaces.Box)
            or len(observations.shape) != 1
        ):
            raise ValueError(f"{environment} has {observations} and {actions}; a fleet wants a flat Box and Discrete actions")
        self.environments, self.features, self.actions = environments, observations.shape[0], int(actions.n)
        self._first = int(actions.start)
        self._device = torch.device(device)
        self._envs: list[list[gym.Env[Any, Any]]] = []
        self._last = np.empty((0, environments, self.features), dtype=np.float32)
        example.close()

    @property
    def agents(self) -> int:
        return len(self._envs)

    @property
    def observations(self) -> Tensor:
        return torch.from_numpy(self._last.copy()).to(self._device)

    def reset(self, seeds: Tensor) -> Tensor:
        own = torch.arange(self.environments, dtype=torch.int64) << 40
        keys = noise.keys(seeds.cpu())[:, None].expand(-1, self.environments)
        self.load_state(
            {"key": keys, "games": own.expand(len(seeds), -1), "played": torch.empty(len(seeds), self.environments, 0)}
        )
        return self.observations

    def step(self, actions: Tensor) -> Transition:
        chosen = (actions.cpu() + self._first).flatten().tolist()
        moved = [env.step(action) for env, action in zip(chain.from_iterable(self._envs), chosen, strict=True)]
        for game, action in zip(chain.from_iterable(self._played), chosen, strict=True):
            game.append(action)
        observations, gained, over, late, _ = zip(*moved, strict=True)
        final = np.array(observations, dtype=np.float32).reshape(self._last.shape)
        rewards = np.array(gained, dtype=np.float32).reshape(actions.shape)
        terminated, truncated = (np.array(part, dtype=np.bool_).reshape(actions.shape) for part in (over, late))
        self._last = final.copy()
        self._restart(terminated | truncated)
        brought = (self._last.copy(), rewards, terminated, truncated, final)
        return Transition(*(torch.from_numpy(part).to(self._device) for part in brought))

    def state(self) -> dict[str, Tensor]:
        longest = max(len(game) for games in self._played for game in games)
        played = [[game + [-1] * (longest - len(game)) for game in games] for games in self._played]
        shape = (self.agents, self.environments, longest)
        return {
            "key": torch.from_numpy(self._key.copy()),
            "games": torch.from_numpy(self._games.copy()) - 1,
            "played": torch.tensor(played, dtype=torch.int64).reshape(shape),
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.close()
        self._key, self._games = state["key"].numpy().copy(), state["games"].numpy().copy()
        shape = self._key.shape
        self._envs = [[self._make() for _ in range(self.environments)] for _ in range(shape[0])]
        self._last = np.empty((*shape, self.features), dtype=np.float32)
        self._played: list[list[list[int]]] = [[[] for _ in range(self.environments)] for _ in range(shape[0])]
        self._restart(np.ones(shape, dtype=np.bool_))
        for (agent, index, _), action in np.ndenumerate(state["played"].numpy()):
            if action >= 0:
                self._last[agent, index], *_ = self._envs[agent][index].step(action)
                self._played[agent][index].append(int(action))

    def keep(self, agents: Sequence[int]) -> None:
        kept = list(agents)
        for agent in set(range(self.agents)) - set(kept):
            for env in self._envs[agent]:
                env.close()
        self._envs, self._played = [self._envs[agent] for agent in kept], [self._played[agent] for agent in kept]
        self._key, self._games, self._last = self._key[kept], self._games[kept], self._last[kept]

    def take(self, other: Self) -> None:
        self._envs, self._played = self._envs + other._envs, self._played + other._played
        self._key, self._games = np.concatenate([self._key, other._key]), np.concatenate([self._games, other._games])
        self._last = np.concatenate([self._last, other._last])

    def split(self) -> list[Self]:
        parts = []
        for agent in range(self.agents):
            part = copy(self)
            own = slice(agent, agent + 1)
            part._envs, part._played = self._envs[own], self._played[own]
            part._key, part._games, part._last = self._key[own], self._games[own], self._last[own]
            parts.append(part)
        return parts

    def close(self) -> None:
        """Let go of the environments."""
        for env in (env for envs in self._envs for env in envs):
            env.close()

    def _restart(self, where: "np.ndarray[Any, np.dtype[np.bool_]]") -> None:
        words = noise.words(torch.from_numpy(self._key[where]), torch.from_numpy(self._games[where]))
        for (agent, index), word in zip(np.argwhere(where), words.tolist(), strict=True):
            self._last[agent, index], _ = self._envs[agent][index].reset(seed=word & (2**63 - 1))
            self._played[agent][index] = []
        self._games += where


class Games:
    """The returns of each agent's last ``WINDOW`` finished games, kept as tensors.

    Games that end in the same step count in the order of their environments.
    """

    WINDOW = 100

    def __init__(self, agents: int, environments: int, device: str = "cpu") -> None:
        self._running = torch.zeros(agents, environments, dtype=torch.float64, device=device)
        # one more column takes what is not to be kept
        self._returns = torch.zeros(agents, self.WINDOW + 1, dtype=torch.float64, device=device)
        self._count = torch.zeros(agents, dtype=torch.int64, device=device)

    def add(self, rewards: Tensor, ended: Tensor) -> None:
        """Count rewards and ends of games, both [P, T, E], of T steps one after another."""
        totals = torch.empty(rewards.shape, dtype=torch.float64, device=rewards.device)
        for step in range(rewards.shape[1]):
            self._running += rewards[:, step]
            totals[:, step] = self._running
            self._running *= ~ended[:, step]
        finished = ended.flatten(1)
        order = finished.cumsum(1)
        number = order[:, -1:]
        kept = finished & (order > number - self.WINDOW)
        place = torch.where(kept, (order + (self._count[:, None] - 1)) % self.WINDOW, self.WINDOW)
        self._returns.scatter_(1, place, totals.flatten(1))
        self._count += number[:, 0]

    def means(self) -> Tensor:
        """Return the mean return of the last games of each agent [P], NaN before the first."""
        return self._returns[:, : self.WINDOW].sum(1) / self._count.clamp(max=self.WINDOW)

    def state(self) -> dict[str, Tensor]:
        return {"running": self._running.clone(), "returns": self._returns.clone(), "count": self._count.clone()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        device = self._count.device
        self._running, self._returns, self._count = (
            state[name].to(device, copy=True) for name in ("running", "returns", "count")
        )

    def keep(self, agents: Sequence[int]) -> None:
        self.load_state({name: rows[list(agents)] for name, rows in self.state().items()})

    @classmethod
    def join(cls, parts: "Sequence[Games]") -> "Games":
        """Return the record of all agents of ``parts``."""
        states = [part.state() for part in parts]
        whole = cls(len(parts), parts[0]._running.shape[1], str(parts[0]._count.device))
        whole.load_state({name: torch.cat([state[name] for state in states]) for name in states[0]})
        return whole

    def split(self) -> "list[Games]":
        """Return a record for each agent."""
        parts = []
        for agent in range(len(self._count)):
            parts.append(Games(1, self._running.shape[1], str(self._count.device)))
            parts[-1].load_state({name: rows[agent : agent + 1] for name, rows in self.state().items()})
        return parts
