"""What trainers of agents of Stable-Baselines3 have in common, whatever these learn from."""

from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import ConstantSchedule, LinearSchedule
from torch import nn

from rlprune.training.environments.parallel import Environments
from rlprune.training.recipes import OffPolicyRecipe, OnPolicyRecipe
from rlprune.training.trainer import Apart

R = TypeVar("R", bound=OnPolicyRecipe | OffPolicyRecipe)

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


class Played(Apart, Generic[R]):
    """An agent that learns from games in environments of its own."""

    model: BaseAlgorithm
    _recipe: R

    def _schedule(self, value: float) -> LinearSchedule | ConstantSchedule:
        """Return what goes from a value as the recipe anneals."""
        return LinearSchedule(value, 0.0, 1.0) if self._recipe.annealing == "linear" else ConstantSchedule(value)

    @property
    def samples(self) -> int:
        return self.model.num_timesteps

    @property
    def steps(self) -> int:
        return self._recipe.iterations

    def latest(self) -> Mapping[str, float]:
        """Return the mean return of the last 100 training games, or nothing before the first one ended."""
        ended = [info["r"] for info in self.model.ep_info_buffer or ()]
        return {"return_train": float(np.mean(ended))} if ended else {}

    def forget(self) -> None:
        """Count no game that has ended before now."""
        if self.model.ep_info_buffer is not None:
            self.model.ep_info_buffer.clear()

    def illustration(self) -> None:
        """Return None: there is nothing to draw."""

    def close(self) -> None:
        self._envs.close()

    @property
    def _envs(self) -> Environments:
        envs = self.model.get_env()
        assert envs is not None
        inner = envs.unwrapped
        assert isinstance(inner, Environments)
        return inner
