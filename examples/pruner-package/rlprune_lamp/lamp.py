"""LAMP: remove the weights that are small beside the larger ones of their layer (Lee et al., 2021).

Layer-Adaptive Sparsity for the Magnitude-Based Pruning, ICLR 2021.
"""

from rlprune.api import WEIGHTS, Plan, Probe, Prune, Pruner, Scores, Share, Train


def score(probe: Probe) -> Scores:
    """``θ² / Σ θ'²`` over the weights θ' of its layer that are at least as large."""
    scores = {}
    for name, w in probe.weights.items():
        squares, order = w.double().square().flatten().sort(descending=True, stable=True)
        share = squares / squares.cumsum(0)
        scores[name] = share.new_zeros(share.shape).scatter(0, order, share).view(w.shape)
    return scores


def late(share: Share = 0.85) -> Plan:
    """Train for this share of the budget, prune once, fine-tune for the rest."""
    return [Train(share=share), Prune(), Train()]


LAMP = Pruner("LAMP", score, cut=WEIGHTS, plan=late, scope="network")
