"""RigL: a random sparse network whose smallest weights are moved to where the gradient is largest (Evci et al., 2020).

Rigging the Lottery: Making All Tickets Winners, ICML 2020.
"""

from rlprune.api import WEIGHTS, Plan, Probe, Pruner, Scores, Share
from rlprune.pruners import random
from rlprune.pruners.set import Updates, rewired


def gradient(probe: Probe) -> Scores:
    """``|∂L/∂θ|`` of the dense network, whose pruned weights are zero."""
    slopes = probe.gradient()
    return {name: slopes[name].abs() for name in probe.weights}


def where_the_gradient_is_large(drop: Share = 0.3, updates: Updates = 100, until: Share = 0.75) -> Plan:
    """Grow by gradient."""
    return rewired(gradient, drop, updates, until)


RIGL = Pruner("RigL", random.weights, cut=WEIGHTS, plan=where_the_gradient_is_large, scope="erk")
