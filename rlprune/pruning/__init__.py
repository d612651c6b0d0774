"""The pruning of one network: scores to masks, masks to smaller tensors, plans followed epoch by epoch. Knows no benchmark."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlprune.pruning.follower import Missed, PlanFollower, Subject, lacking

__all__ = ["Missed", "PlanFollower", "Subject", "lacking"]


def __getattr__(name: str) -> object:
    if name in __all__:  # imported when asked for: it needs torch, and plans are read without
        from importlib import import_module

        return getattr(import_module("rlprune.pruning.follower"), name)
    raise AttributeError(f"module 'rlprune.pruning' has no attribute '{name}'")
