"""EarlyBird: train until the channels with the largest scales no longer change, then prune (You et al., 2020).

Drawing Early-Bird Tickets: Towards More Efficient Training of Deep Networks, ICLR 2020.
"""

from typing import Annotated

from pydantic import Field

from rlprune.api import CHANNELS, MaskDistance, Plan, Probe, Prune, Pruner, Scores, Train


def score(probe: Probe) -> Scores:
    """``|γ|`` of the batch normalisation behind a channel."""
    return probe.scales()


def early(penalty: Annotated[float, Field(ge=0)] = 1e-4, until: MaskDistance = MaskDistance()) -> Plan:
    """Train with an L1 penalty on the scales until the mask stays, prune, train on without it."""
    return [Train(until=until, penalty=penalty), Prune(), Train()]


EARLY_BIRD = Pruner("EarlyBird", score, cut=CHANNELS, plan=early, needs=frozenset({"batchnorm"}))
