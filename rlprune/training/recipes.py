"""Recipes: the numbers of each kind of training, apart from the trainers so that reading a suite imports no torch."""

from typing import Literal

from pydantic import Field

from rlprune.task import Recipe


class A2CRecipe(Recipe):
    """Advantage actor-critic with separate actor and critic networks, as Stable-Baselines3 defines it.

    Args:
        budget: environment steps over all parallel environments.
        environment: a Gymnasium id.
        max_episode_steps: time limit in steps; None keeps the environment's own.
        environments: parallel environments.
        rollout_steps: steps an environment between updates.
        widths: hidden layers of the actor and of the critic.
        activation: between hidden layers.
        learning_rate: at the start.
        annealing: ``linear`` to zero at the budget's end, or ``constant``.
        optimizer: RMSprop (PyTorch's), RMSprop as TensorFlow has it (epsilon inside the root, averages from one), Adam.
        discount: gamma.
        gae_lambda: 1 is the plain n-step advantage.
        entropy: coefficient of the entropy bonus.
        value_weight: coefficient of the value loss.
        clip: largest gradient norm, over both networks together.
        reward_scale: training rewards are multiplied by it; reported returns are not.
        scoring_steps: environment steps collected to score one pruning round.
        evaluation_games: games of the final evaluation, with fresh seeds.
    """

    environment: str
    max_episode_steps: int | None = Field(default=None, ge=1)
    environments: int = Field(default=16, ge=1)
    rollout_steps: int = Field(default=5, ge=1)
    widths: tuple[int, ...] = Field(default=(128, 128, 128), min_length=1, strict=False)
    activation: Literal["tanh", "relu"] = "tanh"
    learning_rate: float = Field(default=7e-4, gt=0)
    annealing: Literal["linear", "constant"] = "linear"
    optimizer: Literal["rmsprop", "rmsprop-tf", "adam"] = "rmsprop"
    discount: float = Field(default=0.99, gt=0, le=1)
    gae_lambda: float = Field(default=1.0, ge=0, le=1)
    entropy: float = Field(default=0.0, ge=0)
    value_weight: float = Field(default=0.5, ge=0)
    clip: float = Field(default=0.5, gt=0)
    reward_scale: float = Field(default=1.0, gt=0)
    scoring_steps: int = Field(default=2048, ge=1)
    evaluation_games: int = Field(default=100, ge=1)

    @property
    def iterations(self) -> int:
        """Rollouts, each followed by an update, in an epoch."""
        return max(1, round(self.budget / (self.epochs * self.rollout_steps * self.environments)))
