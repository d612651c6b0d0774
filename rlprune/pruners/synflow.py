"""SynFlow: remove the weights that carry least of the network's own flow, without data (Tanaka et al., 2020).

Pruning Neural Networks Without Any Data by Iteratively Conserving Synaptic Flow, NeurIPS 2020.
"""

from rlprune.api import WEIGHTS, Count, Exponential, Plan, Probe, Prune, Pruner, Scores, Train


def score(probe: Probe) -> Scores:
    """``|θ ⊙ ∂R/∂θ|``, ``R = 1ᵀ (Π|θ|) 1``."""
    slope = probe.flow_gradient()
    return {name: (w.double() * slope[name]).abs() for name, w in probe.weights.items()}


def exponential(rounds: Count = 100) -> Plan:
    """Prune in so many exponential rounds, then train."""
    return [Prune(Exponential(rounds)), Train()]


SYNFLOW = Pruner("SynFlow", score, cut=WEIGHTS, plan=exponential, needs=frozenset({"feedforward"}))
