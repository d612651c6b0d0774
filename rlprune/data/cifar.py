"""CIFAR-10 and CIFAR-100 as published: pickles, of which only arrays and plain values are read."""

import codecs
import io
import pickle
from collections.abc import Mapping
from hashlib import md5
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10  # type: ignore[import-untyped]

Part: TypeAlias = tuple[Tensor, Tensor]

_ARRAY = np.empty(0)
_NAMED = {
    "_reconstruct": _ARRAY.__reduce__()[0],
    "_frombuffer": _ARRAY.__reduce_ex__(5)[0],
    "ndarray": np.ndarray,
    "dtype": np.dtype,
    "encode": codecs.encode,
}
_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric", "_codecs")


class _Unpickler(pickle.Unpickler):
    """Makes arrays; nothing else that a file names is imported, let alone called."""

    def find_class(self, module: str, name: str) -> Any:
        if module not in _MODULES or name not in _NAMED:
            raise pickle.UnpicklingError(f"asks for {module}.{name}; only arrays and plain values are read")
        return _NAMED[name]


def read(kind: type[CIFAR10], place: Path) -> tuple[Part, Part, tuple[str, ...]]:
    """Return training part, test part and classes; a part is images uint8 [N, 3, 32, 32] and labels int64 [N].

    Args:
        kind: torchvision's class, which knows the files and their sums.
        place: the folder with the files.

    Raises:
        ValueError: a file that is not as it was published; one line that names it.
    """
    about = kind.meta
    file = place / about["filename"]
    classes = _plain(file, about["md5"]).get(about["key"])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes) or len(classes) < 2:
        raise _other(file, f"holds no list of classes named {about['key']}")
    train, test = (
        [_batch(place / name, total, len(classes)) for name, total in files] for files in (kind.train_list, kind.test_list)
    )
    return _joined(train), _joined(test), tuple(classes)


def _batch(file: Path, total: str, classes: int) -> tuple[np.ndarray, list[int]]:
    entry = _plain(file, total)
    pixels, labels = entry.get("data"), entry.get("labels", entry.get("fine_labels"))
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3 * 32 * 32:
        got = f"{pixels.dtype} {list(pixels.shape)}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise _other(file, f"has images {got}, expected uint8 [N, 3072]")
    if not isinstance(labels, list) or len(labels) != len(pixels):
        got = f"{len(labels)} labels" if isinstance(labels, list) else "no list of labels"
        raise _other(file, f"has {len(pixels)} images and {got}")
    if strange := [label for label in labels if type(label) is not int or not 0 <= label < classes]:
        raise _other(file, f"has the label {strange[0]!r}, expected 0 to {classes - 1}")
    return pixels, labels


def _joined(batches: list[tuple[np.ndarray, list[int]]]) -> Part:
    pixels = np.concatenate([pixels for pixels, _ in batches]).reshape(-1, 3, 32, 32)
    return torch.from_numpy(pixels), torch.tensor([label for _, labels in batches for label in labels])


def _plain(file: Path, total: str) -> Mapping[str, Any]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    if md5(content, usedforsecurity=False).hexdigest() != total:
        raise _other(file, "has another MD5 sum; unpack the archive again")
    try:
        entry = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a broken pickle raises whatever comes
        raise _other(file, " ".join(str(error).split())) from None
    if not isinstance(entry, dict):
        raise _other(file, f"holds a {type(entry).__name__}, expected a dict")
    return entry


def _other(file: Path, what: str) -> ValueError:
    return ValueError(f"{file.parent} is not as it was published: {file.name} {what}")
