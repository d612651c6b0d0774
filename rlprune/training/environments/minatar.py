"""MinAtar's games (Young and Tian, 2019) by Gymnasium: channels first, seeds, and no action that does nothing."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from minatar import Environment

from rlprune.training.simulators import MINATAR


class Game(gym.Env[np.ndarray[Any, Any], Any]):
    """One game, named as MinAtar names it; its actions stick and it becomes harder, as there."""

    def __init__(self, game: str) -> None:
        self._game = Environment(game)
        height, width, channels = self._game.state_shape()
        self._actions = self._game.minimal_action_set()
        self.observation_space = spaces.Box(0, 1, (channels, height, width), np.uint8)
        self.action_space = spaces.Discrete(len(self._actions))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._game.seed(int(self.np_random.integers(2**32)))
        self._game.reset()
        return self._seen(), {}

    def step(self, action: Any) -> tuple[np.ndarray[Any, Any], float, bool, bool, dict[str, Any]]:
        reward, over = self._game.act(self._actions[int(action)])
        return self._seen(), float(reward), bool(over), False, {}

    def _seen(self) -> np.ndarray[Any, Any]:
        return np.ascontiguousarray(self._game.state().transpose(2, 0, 1), np.uint8)


for _name, _game in MINATAR.items():
    gym.register(_name, f"{__name__}:Game", kwargs={"game": _game})
