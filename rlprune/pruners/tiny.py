"""Tiny: a dense network from scratch, its hidden widths shrunk alike until it has the weights that are asked for (Tan et al., 2023).

What is removed is drawn by lot, the same share of each layer, and what stays is drawn anew: a fresh network of these widths.
"""

from rlprune.api import CHANNELS, Prune, Pruner, Train
from rlprune.pruners import random

TINY = Pruner("Tiny", random.channels, cut=CHANNELS, plan=[Prune(), Train()], scope="layer", start="redrawn")
