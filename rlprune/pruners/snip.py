"""SNIP: remove the weights whose loss moves least when they go (Lee et al., 2019)."""

from typing import TYPE_CHECKING

from rlprune.pruning.plan import Prune, Train
from rlprune.pruning.pruner import WEIGHTS, Pruner

if TYPE_CHECKING:
    from rlprune.pruning.probe import Probe
    from rlprune.pruning.pruner import Scores


def score(probe: "Probe") -> "Scores":
    """``|θ ⊙ g|``."""
    g = probe.gradient()
    return {name: (w * g[name]).abs() for name, w in probe.weights.items()}


SNIP = Pruner("SNIP", score, cut=WEIGHTS, plan=[Prune(), Train()])
