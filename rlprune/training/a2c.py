"""Advantage actor-critic by Stable-Baselines3, one agent."""

import torch
from stable_baselines3 import A2C
from torch.nn import functional

from rlprune.training import policies
from rlprune.training.onpolicy import OnPolicyTrainer
from rlprune.training.recipes import A2CRecipe


class A2CTrainer(OnPolicyTrainer[A2CRecipe]):
    """Stable-Baselines3's A2C: every rollout is learned from once, as one batch."""

    algorithm = A2C

    def _learn(self) -> None:
        """Do what ``A2C.train`` does, to the bit, but for what it only logs."""
        model, recipe = self.model, self._recipe
        model._update_learning_rate(self.optimizer)
        (batch,) = model.rollout_buffer.get()
        taken = policies.taken(model.action_space, batch.actions)
        values, log_probs, entropies = policies.Passes(self.module).judge(batch.observations, taken)
        actor = -(batch.advantages * log_probs).mean()
        critic = functional.mse_loss(batch.returns, values.flatten())
        loss = actor + recipe.entropy * -entropies.mean() + recipe.value_weight * critic
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), recipe.clip)
        self.optimizer.step()
        model._n_updates += 1
