"""Take small networks away: of a finished cell (``export``), or somebody's own agent (``export_policy``)."""

from rlprune.export.cell import FORMATS, export, opened, rebuild
from rlprune.export.policy import Exported, export_policy
from rlprune.export.tensors import load

__all__ = ["FORMATS", "Exported", "export", "export_policy", "load", "opened", "rebuild"]
