"""GMP: gradual magnitude pruning, the smallest weights go while training goes on (Zhu & Gupta, 2017).

To Prune, or Not to Prune: Exploring the Efficacy of Pruning for Model Compression, 2017.
"""

from rlprune.api import WEIGHTS, Count, Cubic, Level, Plan, Prune, Pruner, Share, Train
from rlprune.pruners import magnitude


def gradual(rounds: Count = 100, begin: Share = 0.2, until: Share = 0.8) -> Plan:
    """Prune ``rounds`` times between these shares of the budget, to ``ρ (1 − (1 − i/n)³)``; then train on."""
    if begin >= until:
        raise ValueError(f"pruning begins at a share of the budget before the one where it ends; got {begin} and {until}")
    steps: list[Train | Prune] = []
    for number in range(1, rounds + 1):
        steps.append(Train(share=begin + (until - begin) * number / rounds, fine=True))
        steps.append(Prune(Level(Cubic(rounds), number)))
    return [*steps, Train()]


GMP = Pruner("GMP", magnitude.score, cut=WEIGHTS, plan=gradual, scope="erk")
