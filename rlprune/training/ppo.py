"""Proximal policy optimisation by Stable-Baselines3, one agent."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import Tensor, nn

from rlprune.training.normaliser import Normaliser
from rlprune.training.onpolicy import OnPolicyTrainer
from rlprune.training.recipes import PPORecipe
from rlprune.training.trainer import Seeds


class PPOTrainer(OnPolicyTrainer[PPORecipe]):
    """Stable-Baselines3's PPO: every rollout is learned from several times, in small steps.

    It is scored on its surrogate at the policy that played. Where the recipe normalises, the numbers for observations are the
    network's own (``Normaliser``), and those for rewards are ``VecNormalize``'s.
    """

    algorithm = PPO

    def __init__(self, recipe: PPORecipe, seeds: Seeds, device: str) -> None:
        super().__init__(recipe, seeds, device)
        assert isinstance(self.model, PPO)
        self.model.clip_range = self._schedule(recipe.clip_range)

    def gains(self, log_probs: Tensor) -> Tensor:
        return ratio(log_probs)

    def deployed(self) -> tuple[nn.Module, Tensor]:
        network, example = super().deployed()
        return nn.Sequential(self.module.features_extractor, network), example

    def state(self) -> dict[str, Any]:
        return {**super().state(), "rewards": _saved(self._rewards) if self._rewards else {}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        if envs := self._rewards:
            self.adapt(state["rewards"])
            envs.returns = state["rewards"]["returns"].numpy()

    def adapted(self) -> dict[str, Tensor]:
        """Return the numbers that rewards are divided by: the games that go on stay where they are."""
        return {name: values for name, values in _saved(self._rewards).items() if name != "returns"} if self._rewards else {}

    def adapt(self, numbers: Mapping[str, Tensor]) -> None:
        if (envs := self._rewards) and numbers:
            seen: Any = envs.ret_rms
            seen.mean, seen.var, seen.count = (numbers[name].numpy().copy() for name in ("mean", "variance", "count"))

    def _opened(self, seed: np.random.SeedSequence) -> VecEnv:
        envs = super()._opened(seed)
        if not self._recipe.normalise:
            return envs
        normalised = VecNormalize(envs, training=not self._begun, norm_obs=False, gamma=self._recipe.discount)
        if self._rewards:  # what scores plays with the numbers of training, and leaves them as they are
            normalised.ret_rms = self._rewards.ret_rms
        return normalised

    def _policy(self) -> dict[str, Any]:
        recipe = self._recipe
        extractor = {"features_extractor_class": Normaliser} if recipe.normalise else {}
        return {"log_std_init": recipe.log_deviation, "ortho_init": recipe.orthogonal, **extractor}

    def _learn(self) -> None:
        super()._learn()
        if isinstance(extractor := self.module.features_extractor, Normaliser):
            extractor.see(torch.as_tensor(self.model.rollout_buffer.observations, device=self.model.device))

    @property
    def _begun(self) -> bool:
        return hasattr(self, "model")

    @property
    def _rewards(self) -> VecNormalize | None:
        envs = self.model.get_env() if self._begun else None
        return envs if isinstance(envs, VecNormalize) else None


def ratio(log_probs: Tensor) -> Tensor:
    """Return the ratio of probabilities, 1 at the policy that played, where nothing is clipped."""
    return (log_probs - log_probs.detach()).exp()


def _saved(envs: VecNormalize) -> dict[str, Tensor]:
    parts = {"mean": envs.ret_rms.mean, "variance": envs.ret_rms.var, "count": envs.ret_rms.count, "returns": envs.returns}
    return {name: torch.as_tensor(np.array(values)) for name, values in parts.items()}
