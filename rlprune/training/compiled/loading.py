"""How compiled code is loaded, or, the first time on a machine, compiled: by an agent that trains and plays for a moment."""

from collections.abc import Callable
from functools import partial
from typing import Any

from rlprune.pruning.plan import TrainEpoch
from rlprune.task import seed_sequence


def load(kind: Callable[..., Any], recipe: object) -> None:
    """Train an agent of a fleet, and let it play."""
    agent = kind(recipe, partial(seed_sequence, "", 0), "cpu")
    agent.train_epoch(TrainEpoch(0.0, 0.5))
    agent.evaluate()
