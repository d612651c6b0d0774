"""Environments of many agents by EnvPool, whose games run in C++: the same physics as Gymnasium's, other random numbers."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from copy import copy
from typing import Any, Self, TypeAlias

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from rlprune.training import noise
from rlprune.training.environments.contract import Transition

try:
    import envpool
except ModuleNotFoundError:
    raise ImportError("simulator = 'envpool' needs EnvPool: python3 -m pip install 'rlprune[envpool]'") from None

_Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


class EnvPoolEnv:
    """One EnvPool an agent, with one thread, whose environments have seeds of the agent's own; all threads play at once.

    EnvPool can save neither a world nor a generator, and only the first game of an environment has a seed. So the state is
    every action since then, a byte each, and loading plays them all again: 20 seconds for a million steps of an agent.
    """

    simulated = False

    def __init__(self, environment: str, environments: int, limit: int | None = None, device: str = "cpu") -> None:
        self.environments = environments
        self.limit = limit or gym.spec(environment).max_episode_steps or 1
        with closing(gym.make(environment)) as example:
            observations, actions = example.observation_space, example.action_space
        assert isinstance(observations, gym.spaces.Box)
        assert isinstance(actions, gym.spaces.Discrete)
        self.features, self.actions = observations.shape[0], int(actions.n)
        self._environment, self._device = environment, torch.device(device)
        self._pools: list[_Pool] = []

    @property
    def agents(self) -> int:
        return len(self._pools)

    @property
    def observations(self) -> Tensor:
        return torch.from_numpy(np.stack([pool.observations for pool in self._pools])).to(self._device)

    def reset(self, seeds: Tensor) -> Tensor:
        played = torch.empty(len(seeds), 0, self.environments, dtype=torch.int8)
        self.load_state({"key": noise.keys(seeds.cpu()), "played": played})
        return self.observations

    def step(self, actions: Tensor) -> Transition:
        chosen = actions.to("cpu", torch.int32).numpy()
        for pool, row in zip(self._pools, chosen, strict=True):
            pool.send(row)
        brought = zip(*(pool.receive() for pool in self._pools), strict=True)
        return Transition(*(torch.from_numpy(np.stack(part)).to(self._device) for part in brought))

    def state(self) -> dict[str, Tensor]:
        played = [np.frombuffer(bytes(pool.played), dtype=np.int8).reshape(-1, self.environments) for pool in self._pools]
        rows = np.full((self.agents, max(map(len, played)), self.environments), -1, dtype=np.int8)
        for row, own in zip(rows, played, strict=True):
            row[: len(own)] = own
        return {"key": torch.tensor([pool.key for pool in self._pools]), "played": torch.from_numpy(rows)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.close()
        self._pools = [_Pool(self._environment, key, self.environments, self.limit) for key in state["key"].tolist()]
        for pool, played in zip(self._pools, state["played"].to("cpu", torch.int32).numpy(), strict=True):
            for actions in played[played[:, 0] >= 0]:
                pool.send(actions)
                pool.receive()

    def keep(self, agents: Sequence[int]) -> None:
        for agent in set(range(self.agents)) - set(agents):
            self._pools[agent].close()
        self._pools = [self._pools[agent] for agent in agents]

    def take(self, other: Self) -> None:
        self._pools = self._pools + other._pools

    def split(self) -> list[Self]:
        parts = []
        for pool in self._pools:
            parts.append(copy(self))
            parts[-1]._pools = [pool]
        return parts

    def close(self) -> None:
        """Let go of the environments."""
        for pool in self._pools:
            pool.close()


class _Pool:
    """The environments of one agent.

    Attributes:
        key: what their seeds are drawn from.
        observations: float32 [E, D] that the next actions answer.
        played: the actions since the first game began, one byte each, E a step.
    """

    def __init__(self, environment: str, key: int, environments: int, limit: int) -> None:
        own = torch.arange(environments, dtype=torch.int64) << 40
        seeds = noise.words(torch.tensor(key), own) & (2**31 - 1)
        # EnvPool's clock hides a termination in the last step, so it is set too late, and time is kept here
        self._envs: Any = envpool.make_gymnasium(
            environment, num_envs=environments, seed=seeds.tolist(), num_threads=1, max_episode_steps=limit + 1
        )
        self.key, self.played = key, bytearray()
        self._limit, self._elapsed = limit, np.zeros(environments, dtype=np.int64)
        self.observations: _Array = self._envs.reset()[0]

    def send(self, actions: _Array) -> None:
        """Take actions int32 [E]; the pool's own thread plays them."""
        self.played += actions.astype(np.int8).tobytes()
        self._envs.send(actions)

    def receive(self) -> tuple[_Array, _Array, _Array, _Array, _Array]:
        """Wait for what they brought: observations, rewards, terminated, truncated and final observations."""
        final, rewards, terminated, _, _ = self._envs.recv()
        self._elapsed += 1
        truncated = self._elapsed >= self._limit
        self.observations = final
        ended = np.flatnonzero(terminated | truncated).astype(np.int32)
        if len(ended):  # else EnvPool begins the next game a step later, whose action would be lost
            begun, info = self._envs.reset(ended)
            self.observations = final.copy()
            self.observations[info["env_id"]] = begun
            self._elapsed[ended] = 0
        return self.observations, rewards, terminated, truncated, final

    def close(self) -> None:
        self._envs.close()
