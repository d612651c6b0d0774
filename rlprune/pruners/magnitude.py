"""Magnitude: remove the smallest weights (Han et al., 2015)."""

from typing import TYPE_CHECKING

from rlprune.pruning.plan import Plan, Prune, Train
from rlprune.pruning.pruner import WEIGHTS, Pruner, Share

if TYPE_CHECKING:
    from rlprune.pruning.probe import Probe
    from rlprune.pruning.pruner import Scores


def score(probe: "Probe") -> "Scores":
    """``|θ|``."""
    return {name: w.abs() for name, w in probe.weights.items()}


def late(share: Share = 0.85) -> Plan:
    """Train for this share of the budget, prune once, fine-tune for the rest."""
    return [Train(share=share), Prune(), Train()]


MAGNITUDE_BEFORE = Pruner("Magnitude-Before", score, cut=WEIGHTS, plan=[Prune(), Train()])
MAGNITUDE_AFTER = Pruner("Magnitude-After", score, cut=WEIGHTS, plan=late)
