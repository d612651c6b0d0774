"""Imported before workers have cells of fleets of A2C: the compiled code is loaded."""

from rlprune.training.compiled.loading import load
from rlprune.training.fleet import FleetAgent
from rlprune.training.recipes import A2CRecipe

load(FleetAgent, A2CRecipe(environment="CartPole-v1", budget=160, epochs=2, evaluation_games=1, widths=(8, 8)))
