"""Dense: the network as it is, the line to compare with."""

from rlprune.plan import Train
from rlprune.pruner import NOTHING, Pruner

DENSE = Pruner("Dense", None, cut=NOTHING, plan=[Train()])
