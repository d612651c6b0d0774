"""rlprune: a reinforcement-learning-first benchmark suite for neural-network pruning."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlprune.loop import Pruning

__all__ = ["Pruning"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "Pruning":  # imported when asked for: it needs torch, and `rlprune list` must answer at once
        from rlprune.loop import Pruning

        return Pruning
    raise AttributeError(f"module 'rlprune' has no attribute '{name}'")
