"""Checkpoints of unfinished cells, and the networks of finished ones."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from rlprune import __version__
from rlprune.files import before, written
from rlprune.reason import line

FORMAT = 3
_SIZE = 32


class Unwritable(OSError):  # noqa: N818 (it reads as it is)
    """A file of a cell cannot be written, as on a full disk: no cell of the run could go on, and none has a part in it."""


def save(file: Path, cell: str, state: Mapping[str, Any]) -> None:
    """Write the state of a cell, whose it is, and a digest of both at the end, past which torch reads.

    The one before stays, unless the disk has no room for both.

    Raises:
        Unwritable: it cannot be written.
    """

    def write(fresh: Path) -> None:
        torch.save({"format": FORMAT, "rlprune": __version__, "cell": cell, **state}, fresh)
        digest = _digest(fresh, fresh.stat().st_size)
        with fresh.open("ab") as opened:
            opened.write(digest)

    def replace() -> None:
        file.parent.mkdir(exist_ok=True)  # but not its parents: a run's folder that was removed stays so
        try:
            written(file, write, keep=True)
        except (OSError, RuntimeError):
            if not (file.is_file() and before(file).is_file()):
                raise
            before(file).unlink()
            written(file, write)

    plainly(file, replace)


def plainly(file: Path, write: Callable[[], object]) -> None:
    """Write a file of a cell.

    Raises:
        Unwritable: it cannot be; the message says why in one line.
    """
    try:
        write()
    except torch.OutOfMemoryError:
        raise
    except (OSError, RuntimeError, SafetensorError) as error:  # torch does not say why
        why, left = getattr(error, "strerror", None) or line(error), ""
        with suppress(OSError):
            left = f", its disk has {shutil.disk_usage(file.parent).free / 1e6:.1f} MB left"
        raise Unwritable(f"{file} cannot be written{left}: {why}") from error


def load(file: Path, cell: str) -> dict[str, Any]:
    """Return the state that was saved.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or another cell's, or another version's.
    """
    try:
        size = file.stat().st_size - _SIZE
        with file.open("rb") as opened:
            opened.seek(max(0, size))
            whole = opened.read() == _digest(file, size)
        saved: Any = torch.load(file, weights_only=True) if whole else None
    except FileNotFoundError:
        raise
    except Exception as error:  # a file of something else may fail in any way
        raise ValueError(f"it cannot be read ({type(error).__name__})") from error
    if not whole:
        raise ValueError("it is damaged, or of another version of rlprune")
    if not isinstance(saved, dict) or (saved.get("format"), saved.get("rlprune")) != (FORMAT, __version__):
        raise ValueError("it is of another version of rlprune")
    if saved.get("cell") != cell:
        raise ValueError("it is another cell's")
    return saved


def _digest(file: Path, size: int) -> bytes:
    """Return a digest of the first ``size`` bytes."""
    found = hashlib.blake2b(digest_size=_SIZE)
    with file.open("rb") as opened:
        while size > 0 and (part := opened.read(min(size, 1 << 20))):
            found.update(part)
            size -= len(part)
    return found.digest()


def save_network(file: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write a safetensors file; the same network gives the same bytes.

    Raises:
        Unwritable: it cannot be written.
    """

    def write(fresh: Path) -> None:
        save_file(dict(tensors), fresh, metadata=dict(about))
        with fresh.open("r+b") as opened:  # the library puts its metadata in any order
            size = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(size))
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
            ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
            opened.seek(8)
            opened.write(ordered.ljust(size))

    plainly(file, lambda: written(file, write))
