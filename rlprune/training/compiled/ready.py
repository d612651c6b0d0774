"""Imported before workers have cells of fleets: the compiled code is loaded, or, the first time on a machine, compiled."""

from functools import partial

from rlprune.pruning.plan import TrainEpoch
from rlprune.task import seed_sequence
from rlprune.training.fleet import FleetAgent
from rlprune.training.recipes import A2CRecipe

_recipe = A2CRecipe(environment="CartPole-v1", budget=160, epochs=2, evaluation_games=1, widths=(8, 8))
_agent = FleetAgent(_recipe, partial(seed_sequence, "", 0), "cpu")
_agent.train_epoch(TrainEpoch(0.0, 0.5))
_agent.evaluate()
