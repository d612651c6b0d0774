"""Where ``rlprune.pruning.pruner`` was before; pruners that import it from here go on working."""

from rlprune.pruning.pruner import *  # noqa: F403 (all of it, for those who wrote against it)
