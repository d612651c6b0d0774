"""SNIP: remove the weights whose loss moves least when they go (Lee et al., 2019).

SNIP: Single-Shot Network Pruning Based on Connection Sensitivity, ICLR 2019.
"""

from rlprune.api import WEIGHTS, Probe, Prune, Pruner, Scores, Train


def score(probe: Probe) -> Scores:
    """``|θ ⊙ g|``."""
    g = probe.gradient()
    return {name: (w * g[name]).abs() for name, w in probe.weights.items()}


SNIP = Pruner("SNIP", score, cut=WEIGHTS, plan=[Prune(), Train()])
