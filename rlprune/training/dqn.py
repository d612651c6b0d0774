"""Deep Q-learning by Stable-Baselines3, one agent."""

from types import MappingProxyType

from stable_baselines3 import DQN

from rlprune.training.offpolicy import OffPolicyTrainer
from rlprune.training.recipes import DQNRecipe


class DQNTrainer(OffPolicyTrainer[DQNRecipe]):
    """Stable-Baselines3's DQN: the network is scored on its temporal-difference loss."""

    algorithm = DQN
    learnings = MappingProxyType({"network": 4.0})  # it learns, and its copy says what comes after

    def _counts(self) -> tuple[str, ...]:
        return (*super()._counts(), "_n_calls", "exploration_rate")
