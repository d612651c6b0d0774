"""SNAP: remove the channels whose loss moves least when they go (Verdenius et al., 2020).

Pruning via Iterative Ranking of Sensitivity Statistics, 2020.
"""

from rlprune.api import CHANNELS, Probe, Prune, Pruner, Scores, Train


def score(probe: Probe) -> Scores:
    """``|∂L/∂c| = |Σ θ_f g_f + b_f g_b|`` a channel."""
    g = probe.gradient()
    change = probe.by_channel({name: w * g[name] for name, w in probe.parameters.items()})
    return {name: c.abs() for name, c in change.items()}


SNAP = Pruner("SNAP", score, cut=CHANNELS, plan=[Prune(), Train()])
