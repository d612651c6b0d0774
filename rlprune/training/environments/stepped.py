"""Any Gymnasium environment for many agents, its games stepped one after another on the CPU."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from itertools import chain
from pkgutil import resolve_name
from typing import Any, Self

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from rlprune.training import noise, simulators
from rlprune.training.environments.contract import Transition
from rlprune.training.recipes import specification
from rlprune.training.spaces import FLEET


class GymnasiumEnv:
    """Single Gymnasium environments with discrete actions, stepped one after another on the CPU.

    Every game is reset with a seed of its own, so a game is told by that seed and its actions: they are the state that
    is saved, and loading plays them again. That holds for worlds that cannot be copied, such as Box2D's.
    """

    simulated = False

    def __init__(self, environment: str, environments: int, limit: int | None = None, device: str = "cpu") -> None:
        spec = specification(environment)
        self.limit = limit or spec.max_episode_steps or 1
        self._make: Callable[[], gym.Env[Any, Any]]
        if (known := simulators.of(spec)) and known.games:
            self._make = partial(resolve_name(known.games), self.limit)
        else:
            timed = {} if limit is None else {"max_episode_steps": limit}
            self._make = partial(gym.make, environment, disable_env_checker=True, **timed)
        example = self._make()
        observations, actions = example.observation_space, example.action_space
        if refusal := FLEET.refusal(environment, observations, actions):
            raise ValueError(refusal)
        assert isinstance(observations, gym.spaces.Box)
        assert isinstance(actions, gym.spaces.Discrete)
        if not str(spec.entry_point).startswith("gymnasium.envs."):
            self.limit = 1  # it may cut its games short by a clock of its own
        self.environments, self.features, self.actions = environments, observations.shape[0], int(actions.n)
        self._first, self._name = int(actions.start), environment
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
            "last": torch.from_numpy(self._last.copy()),
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
        if (last := state.get("last")) is not None and last.numpy().tobytes() != self._last.tobytes():
            raise ValueError(f"{self._name} cannot go on from a checkpoint: games of the same seeds and actions are not alike")

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
