"""GraSP: remove the weights whose removal raises the gradient flow most (Wang et al., 2020, eq. 8).

Picking Winning Tickets Before Training by Preserving Gradient Flow, ICLR 2020.
"""

from typing import Annotated, Literal

from pydantic import Field

from rlprune.api import WEIGHTS, Probe, Prune, Pruner, Scores, Train


def score(
    probe: Probe, temperature: Annotated[float, Field(gt=0)] = 200.0, sign: Literal["grasp", "earlycrop"] = "grasp"
) -> Scores:
    """``θ ⊙ Hg``: the largest ``−θ ⊙ Hg`` go. EarlyCroP's text and code keep exactly those (``sign="earlycrop"``)."""
    hg, _ = probe.hessian_gradient(temperature)
    direction = 1 if sign == "grasp" else -1
    return {name: direction * w * hg[name] for name, w in probe.weights.items()}


GRASP = Pruner("GraSP", score, cut=WEIGHTS, plan=[Prune(), Train()])
