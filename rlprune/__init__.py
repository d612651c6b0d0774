"""rlprune: a reinforcement-learning-first benchmark suite for neural-network pruning."""

TYPE_CHECKING = False  # as typing has it: importing that takes a while, in which Ctrl-C would show a traceback
if TYPE_CHECKING:
    from rlprune.export import export_policy
    from rlprune.loop import Pruning
    from rlprune.results import load_results
    from rlprune.saved import load, save

__all__ = ["Pruning", "export_policy", "load", "load_results", "save"]
__version__ = "0.1.0"
_PLACES = {"Pruning": "loop", "export_policy": "export", "load": "saved", "load_results": "results", "save": "saved"}


def __getattr__(name: str) -> object:
    if name in _PLACES:  # imported when asked for: they need torch and pandas, and `rlprune list` must answer at once
        from importlib import import_module

        return getattr(import_module(f"rlprune.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'rlprune' has no attribute '{name}'")
