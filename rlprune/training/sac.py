"""Soft actor-critic by Stable-Baselines3, one agent."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from stable_baselines3 import SAC

from rlprune.training.offpolicy import OffPolicyTrainer
from rlprune.training.recipes import SACRecipe


class SACTrainer(OffPolicyTrainer[SACRecipe]):
    """Stable-Baselines3's SAC: the actor is scored on its own loss, and each of the critics on its.

    The entropy's coefficient and its optimizer go on through pruning and rewinding: they belong to no network.
    """

    algorithm = SAC
    # copies say what comes after, and critics judge what the actor does
    learnings = MappingProxyType({"actor": 4.0, "critic1": 7.0, "critic2": 7.0})

    def evaluate(self) -> Mapping[str, float]:
        """Play fresh games greedily and, again, by sampling; add the last 100 training games."""
        return {**self.played("greedy"), **self.played("sampled", greedily=False), **self.latest()}

    def state(self) -> dict[str, Any]:
        coefficient, optimizer = self._entropy
        return {**super().state(), "entropy": [coefficient.detach().clone(), optimizer.state_dict()]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        coefficient, optimizer = self._entropy
        saved, averages = state["entropy"]
        coefficient.data.copy_(saved)
        optimizer.load_state_dict(averages)

    @property
    def _entropy(self) -> tuple[torch.Tensor, torch.optim.Optimizer]:
        assert isinstance(self.model, SAC)
        assert self.model.log_ent_coef is not None
        assert self.model.ent_coef_optimizer is not None
        return self.model.log_ent_coef, self.model.ent_coef_optimizer
