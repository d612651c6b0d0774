"""Magnitude: remove the smallest weights (Han et al., 2015).

Learning Both Weights and Connections for Efficient Neural Networks, NeurIPS 2015.
"""

from rlprune.api import WEIGHTS, Plan, Probe, Prune, Pruner, Scores, Share, Train


def score(probe: Probe) -> Scores:
    """``|θ|``."""
    return {name: w.abs() for name, w in probe.weights.items()}


def late(share: Share = 0.85) -> Plan:
    """Train for this share of the budget, prune once, fine-tune for the rest."""
    return [Train(share=share), Prune(), Train()]


MAGNITUDE_BEFORE = Pruner("Magnitude-Before", score, cut=WEIGHTS, plan=[Prune(), Train()])
MAGNITUDE_AFTER = Pruner("Magnitude-After", score, cut=WEIGHTS, plan=late)
