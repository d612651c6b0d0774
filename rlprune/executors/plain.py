"""Pickles out of a folder that may be a stranger's, read without running anything of theirs.

They are made of plain values, paths and rlprune's own data classes; whatever else one names, a function say, is refused.
"""

import io
import pickle
from dataclasses import is_dataclass
from typing import Any

_VALUES = {("builtins", name) for name in ("bytearray", "complex", "frozenset", "range", "set", "slice")}
_PATHS = {
    (module, name) for module in ("pathlib", "pathlib._local") for name in ("Path", "PosixPath", "PurePosixPath", "WindowsPath")
}


def load(content: bytes) -> Any:
    """Return the first pickle in ``content``.

    Raises:
        pickle.UnpicklingError: it is damaged, or made of something else.
    """
    return _Plain(io.BytesIO(content)).load()


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _VALUES | _PATHS:
            return super().find_class(module, name)
        found = super().find_class(module, name) if module.partition(".")[0] == "rlprune" else None
        if isinstance(found, type) and is_dataclass(found):
            return found
        raise pickle.UnpicklingError(f"it holds {module}.{name}, which is neither a plain value nor a data class of rlprune")
