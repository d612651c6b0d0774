"""What authors of pruners, tasks and recipes import; importing it takes no torch.

from rlprune.api import WEIGHTS, Probe, Prune, Pruner, Scores, Train

def score(probe: Probe) -> Scores:
    gradient = probe.gradient()
    return {name: (w * gradient[name]).abs() for name, w in probe.weights.items()}

SNIP = Pruner("SNIP", score, cut=WEIGHTS, plan=[Prune(), Train()])
"""

from typing import TYPE_CHECKING

from rlprune.costs.measures import Measure
from rlprune.pruning.plan import (
    Cubic,
    Exponential,
    Grow,
    Halving,
    Hold,
    LazyRegime,
    Level,
    MaskDistance,
    Plan,
    Prune,
    Rewind,
    Save,
    Score,
    Scores,
    Train,
)
from rlprune.pruning.pruner import CHANNELS, NOTHING, WEIGHTS, Count, Pruner, Share
from rlprune.reason import NotApplicable
from rlprune.task import Recipe, Task
from rlprune.training.recipes import (
    A2CRecipe,
    AgentRecipe,
    DepthRecipe,
    DQNRecipe,
    GlueRecipe,
    ImageRecipe,
    LanguageRecipe,
    OffPolicyRecipe,
    OnPolicyRecipe,
    PPORecipe,
    SACRecipe,
    SupervisedRecipe,
)
from rlprune.training.spaces import Playable

if TYPE_CHECKING:
    from rlprune.pruning.probe import Probe
else:
    Probe = "rlprune.pruning.probe.Probe"
    """A name for annotations: the class itself needs torch, and listing pruners must answer at once."""

__all__ = [
    "CHANNELS",
    "NOTHING",
    "WEIGHTS",
    "A2CRecipe",
    "AgentRecipe",
    "Count",
    "Cubic",
    "DQNRecipe",
    "DepthRecipe",
    "Exponential",
    "GlueRecipe",
    "Grow",
    "Halving",
    "Hold",
    "ImageRecipe",
    "LanguageRecipe",
    "LazyRegime",
    "Level",
    "MaskDistance",
    "Measure",
    "NotApplicable",
    "OffPolicyRecipe",
    "OnPolicyRecipe",
    "PPORecipe",
    "Plan",
    "Playable",
    "Probe",
    "Prune",
    "Pruner",
    "Recipe",
    "Rewind",
    "SACRecipe",
    "Save",
    "Score",
    "Scores",
    "Share",
    "SupervisedRecipe",
    "Task",
    "Train",
]
