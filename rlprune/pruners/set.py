"""SET: a random sparse network whose smallest weights are moved to random places again and again (Mocanu et al., 2018).

Scalable Training of Artificial Neural Networks with Adaptive Sparse Connectivity Inspired by Network Science, Nature
Communications 2018.
"""

from math import cos, pi
from typing import Annotated, TypeAlias

from pydantic import Field

from rlprune.api import WEIGHTS, Grow, Plan, Prune, Pruner, Score, Share, Train
from rlprune.pruners import magnitude, random


def rewired(grow: Score, drop: float, updates: int, until: float) -> Plan:
    """Prune at random; then, up to ``until`` of the budget, drop ``drop/2 · (1 + cos(πt/T))`` of each layer and grow as many."""
    steps: list[Prune | Train | Grow] = [Prune()]
    for number in range(1, updates):  # at the last one the share is zero
        done = number / updates
        steps.append(Train(share=until * done, fine=True))
        steps.append(Prune(by=magnitude.score, beyond=drop / 2 * (1 + cos(pi * done))))
        steps.append(Grow(by=grow))
    return [*steps, Train()]


Updates: TypeAlias = Annotated[int, Field(ge=2, le=1000)]
"""Parts of the time in which a mask moves; it does so between them."""


def at_random(drop: Share = 0.3, updates: Updates = 100, until: Share = 0.75) -> Plan:
    """Grow at random."""
    return rewired(random.weights, drop, updates, until)


SET = Pruner("SET", random.weights, cut=WEIGHTS, plan=at_random, scope="erk")
