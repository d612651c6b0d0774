"""EfficientConvNets: remove the filters with the smallest weights, the same share of every layer (Li et al., 2017).

Pruning Filters for Efficient ConvNets, ICLR 2017.
"""

from rlprune.api import CHANNELS, Plan, Probe, Prune, Pruner, Scores, Share, Train


def score(probe: Probe) -> Scores:
    """``Σ|θ_f|`` a filter."""
    return probe.by_channel({name: w.abs() for name, w in probe.weights.items()})


def late(share: Share = 0.85) -> Plan:
    """Train for this share of the budget, prune once, fine-tune for the rest."""
    return [Train(share=share), Prune(), Train()]


EFFICIENT_CONV_NETS = Pruner("EfficientConvNets", score, cut=CHANNELS, plan=late, scope="layer")
