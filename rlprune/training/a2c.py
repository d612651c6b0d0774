"""Advantage actor-critic by Stable-Baselines3, one agent."""

from stable_baselines3 import A2C

from rlprune.training.onpolicy import OnPolicyTrainer
from rlprune.training.recipes import A2CRecipe


class A2CTrainer(OnPolicyTrainer[A2CRecipe]):
    """Stable-Baselines3's A2C: every rollout is learned from once, as one batch."""

    algorithm = A2C
