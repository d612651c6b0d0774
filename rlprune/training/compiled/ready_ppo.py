"""As ``ready.py``, before fleets of PPO."""

from rlprune.training.compiled.loading import load
from rlprune.training.fleet import PPOFleetAgent
from rlprune.training.recipes import PPORecipe

_DULL = {"environment": "CartPole-v1", "budget": 128, "epochs": 2, "evaluation_games": 1, "widths": [8, 8], "rollout_steps": 64}
load(PPOFleetAgent, PPORecipe.model_validate(_DULL))
