"""The parallel environments of one agent, by Gymnasium: with seeds of their own, saved, and played again where they cannot be."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from rlprune.training import snapshots
from rlprune.training.recipes import AgentRecipe, made
from rlprune.training.trainer import Generators


def environment(recipe: AgentRecipe) -> gym.Env[Any, Any]:
    """Return one environment; its monitor sees the unscaled rewards."""
    env: gym.Env[Any, Any] = Monitor(made(recipe.environment, recipe.max_episode_steps))
    return env if recipe.reward_scale == 1 else _Scaled(env, recipe.reward_scale)


class _Scaled(gym.RewardWrapper[Any, Any]):
    """Multiplies rewards by ``scale``, a number that a snapshot sees as it does not see into a function."""

    def __init__(self, env: gym.Env[Any, Any], scale: float) -> None:
        super().__init__(env)
        self._scale = scale

    def reward(self, reward: Any) -> float:
        return float(reward) * self._scale


class Environments(DummyVecEnv):
    """Parallel environments whose streams come from one seed sequence, none shared with another seed's.

    What was played since they began is remembered: it tells again where a game stands whose world cannot be saved.
    """

    def __init__(self, recipe: AgentRecipe, count: int, seed: np.random.SeedSequence) -> None:
        super().__init__([partial(environment, recipe)] * count)
        self._name, self._seed = recipe.environment, seed
        self._seeds = [int(word) for word in seed.generate_state(count)]
        self._played: list[np.ndarray[Any, Any]] = []

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        super().step_async(actions)
        self._played.append(np.array(actions)[None])

    def state(self) -> dict[str, Any]:
        """Return a snapshot of each environment, None where there can be none, and all actions so far [T, E, ...]."""
        played = np.concatenate(self._played) if self._played else np.empty(0)
        if isinstance(self.action_space, spaces.Discrete) and self.action_space.n < 128:
            played = played.astype(np.int8)
        self._played = [played] if len(played) else []
        return {"snapshots": [snapshots.save(env) for env in self.envs], "played": torch.from_numpy(played)}

    def load_state(self, state: Mapping[str, Any], seen: np.ndarray[Any, Any]) -> None:
        """Go to where environments of the same seed were saved; where one could not be, all play their games again.

        Args:
            state: theirs.
            seen: the observations that they showed then.

        Raises:
            ValueError: an environment that shows something else when it is played again.
        """
        played = state["played"].numpy()
        if None not in state["snapshots"]:
            self._played = [played] if len(played) else []
            for env, snapshot in zip(self.envs, state["snapshots"], strict=True):
                snapshots.load(env, snapshot)
            return
        again: Any = None
        with Generators.seeded(self._seed).owned():
            for actions in played.astype(self.action_space.dtype):
                again, *_ = self.step(actions)
        if again is not None and again.tobytes() != seen.tobytes():
            raise ValueError(
                f"{self._name} cannot go on from a checkpoint: its state cannot be saved, and played again with "
                "the same seeds and actions it shows something else; begin the cell anew"
            )


def games(
    recipe: AgentRecipe, seed: np.random.SeedSequence, act: Callable[[torch.Tensor], np.ndarray[Any, Any]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the return of each of ``evaluation_games`` games, played side by side in environments of fresh seeds.

    Args:
        act: the observations of the games that are not over, to actions as the environment takes them.
    """
    envs = [environment(recipe) for _ in range(recipe.evaluation_games)]
    observations = [env.reset(seed=int(word))[0] for env, word in zip(envs, seed.generate_state(len(envs)), strict=True)]
    playing, returns = list(range(len(envs))), np.zeros(len(envs))
    with Generators.seeded(seed).owned(), torch.no_grad():
        while playing:
            actions = act(torch.as_tensor(np.stack([observations[game] for game in playing])))
            for game, action in zip(tuple(playing), actions, strict=True):
                observations[game], reward, terminated, truncated, _ = envs[game].step(action)
                returns[game] += float(reward)
                if terminated or truncated:
                    playing.remove(game)
    for env in envs:
        env.close()
    return returns / recipe.reward_scale
