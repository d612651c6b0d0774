"""Largest: say which of four numbers is the largest; a point each time it is right, twenty times a game."""

from typing import Any

import gymnasium as gym
import numpy as np

from rlprune.api import A2CRecipe, Measure, Task


class Largest(gym.Env):
    """Four numbers are shown; an action is the place of one of them."""

    observation_space = gym.spaces.Box(-1, 1, (4,), np.float32)
    action_space = gym.spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return self._drawn(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        right = float(action == self._shown.argmax())
        return self._drawn(), right, False, False, {}

    def _drawn(self) -> np.ndarray:
        self._shown = self.np_random.uniform(-1, 1, 4).astype(np.float32)
        return self._shown


gym.register("Largest-v0", Largest, max_episode_steps=20)

LARGEST = Task(
    "largest-v0",
    title="The largest of four",
    recipe=A2CRecipe(environment="Largest-v0", budget=20_000),
    metric=Measure("return_greedy", "return (greedy games)"),
    also=(Measure("return_sampled", "return (sampled games)"),),
    scope="network",
    anchors={"random": 5.0},  # a quarter of twenty
)
