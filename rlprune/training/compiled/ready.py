"""Imported before workers have cells of fleets: the compiled code is loaded, or, the first time on a machine, compiled."""

from collections.abc import Callable
from functools import partial
from typing import Any

from rlprune.pruning.plan import TrainEpoch
from rlprune.task import seed_sequence
from rlprune.training.fleet import FleetAgent
from rlprune.training.recipes import A2CRecipe


def load(kind: Callable[..., Any], recipe: object) -> None:
    """Train an agent of a fleet, and let it play."""
    agent = kind(recipe, partial(seed_sequence, "", 0), "cpu")
    agent.train_epoch(TrainEpoch(0.0, 0.5))
    agent.evaluate()


load(FleetAgent, A2CRecipe(environment="CartPole-v1", budget=160, epochs=2, evaluation_games=1, widths=(8, 8)))
