"""GateDecorators: gates behind batch normalisation, pruned by their Taylor score between ticks and tocks (You et al., 2019).

Gate Decorator: Global Filter Pruning Method for Accelerating Deep Convolutional Neural Networks, NeurIPS 2019.
"""

from typing import Annotated

from pydantic import Field

from rlprune.api import CHANNELS, Count, Exponential, Level, Plan, Probe, Prune, Pruner, Scores, Share, Train


def score(probe: Probe) -> Scores:
    """``Σ_b |c · ∂L_b/∂c|``, c the gate. The scale of the batch normalisation is the gate: its own scale would be fixed to 1."""
    return probe.gate_slopes()


def tick_tock(rounds: Count = 5, share: Share = 0.85, penalty: Annotated[float, Field(ge=0)] = 1e-3) -> Plan:
    """In each round a tock (all train, L1 on the gates), a tick (gates and head train), and a part of the channels goes.

    The rounds fill ``share`` of the budget, equally long; the rest fine-tunes.
    """
    steps: list[Train | Prune] = []
    for number in range(1, rounds + 1):
        steps.append(Train(share=share * (2 * number - 1) / (2 * rounds), penalty=penalty))
        steps.append(Train(share=share * number / rounds, only="gates"))
        steps.append(Prune(Level(Exponential(rounds), number)))
    return [*steps, Train()]


GATE_DECORATORS = Pruner("GateDecorators", score, cut=CHANNELS, plan=tick_tock, needs=frozenset({"batchnorm"}))
