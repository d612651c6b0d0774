"""SNIP: remove the weights whose loss moves least when they go (Lee et al., 2019)."""

from typing import TYPE_CHECKING

from rlprune.plan import Prune, Train
from rlprune.pruner import WEIGHTS, Pruner

if TYPE_CHECKING:
    from rlprune.probe import Probe
    from rlprune.pruner import Scores


def score(probe: "Probe") -> "Scores":
    """``|θ ⊙ g|``."""
    g = probe.gradient()
    return {name: (w * g[name]).abs() for name, w in probe.weights.items()}


SNIP = Pruner("SNIP", score, cut=WEIGHTS, plan=[Prune(), Train()])
