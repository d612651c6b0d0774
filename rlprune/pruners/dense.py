"""Dense: the network as it is, the line to compare with."""

from rlprune.api import NOTHING, Pruner, Train

DENSE = Pruner("Dense", None, cut=NOTHING, plan=[Train()])
