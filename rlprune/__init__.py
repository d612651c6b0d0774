"""rlprune: a reinforcement-learning-first benchmark suite for neural-network pruning."""

TYPE_CHECKING = False  # as typing has it: importing that takes a while, in which Ctrl-C would show a traceback
if TYPE_CHECKING:
    from rlprune.export import export_policy
    from rlprune.loop import Pruning

__all__ = ["Pruning", "export_policy"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name in __all__:  # imported when asked for: it needs torch, and `rlprune list` must answer at once
        from importlib import import_module

        return getattr(import_module("rlprune.export" if name == "export_policy" else "rlprune.loop"), name)
    raise AttributeError(f"module 'rlprune' has no attribute '{name}'")
