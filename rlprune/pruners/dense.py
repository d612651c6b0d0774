"""Dense: the network as it is, the line to compare with."""

from rlprune.pruning.plan import Train
from rlprune.pruning.pruner import NOTHING, Pruner

DENSE = Pruner("Dense", None, cut=NOTHING, plan=[Train()])
