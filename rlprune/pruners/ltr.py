"""LTR and IMP: train, remove the smallest weights, rewind, again (Frankle et al., 2020; Frankle & Carbin, 2019).

Linear Mode Connectivity and the Lottery Ticket Hypothesis, ICML 2020; The Lottery Ticket Hypothesis: Finding Sparse, Trainable
Neural Networks, ICLR 2019.
"""

from typing import Annotated

from pydantic import Field

from rlprune.api import WEIGHTS, Count, Exponential, Level, Plan, Prune, Pruner, Rewind, Save, Share, Train
from rlprune.pruners import magnitude


def late_rewinding(levels: Count = 10, epoch: Annotated[int, Field(ge=0, le=10_000)] = 1, share: Share | None = None) -> Plan:
    """Save at ``epoch``, or after this share of the budget; at every level train to the end, prune and rewind; then train.

    Fewer levels than the paper's 10 make a cheaper, weaker variant; reports label it by its number of levels.
    """
    rounds = Exponential(levels)
    rewinding = [step for level in range(1, levels + 1) for step in (Train(), Prune(Level(rounds, level)), Rewind())]
    return [Train(epochs=epoch) if share is None else Train(share=share), Save(), *rewinding, Train()]


def iterative(levels: Count = 10) -> Plan:
    """Late rewinding to the initial weights."""
    return late_rewinding(levels, epoch=0)


LTR = Pruner("LTR", magnitude.score, cut=WEIGHTS, plan=late_rewinding)
IMP = Pruner("IMP", magnitude.score, cut=WEIGHTS, plan=iterative)
