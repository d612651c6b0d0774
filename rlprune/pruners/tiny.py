"""Tiny: a dense network from scratch, its hidden widths shrunk alike to the weights that are asked for (Tan et al., 2023).

As many channels of each layer as its share go by lot, and what stays is drawn anew: a fresh network of these widths.

RLx2: Training a Sparse Deep Reinforcement Learning Model from Scratch, ICLR 2023.
"""

from rlprune.api import CHANNELS, Prune, Pruner, Train
from rlprune.pruners import random

TINY = Pruner("Tiny", random.channels, cut=CHANNELS, plan=[Prune(), Train()], scope="layer", start="redrawn")
