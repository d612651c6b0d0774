"""Where ``rlprune.pruning.plan`` was before; pruners that import it from here go on working."""

from rlprune.pruning.plan import *  # noqa: F403 (all of it, for those who wrote against it)
