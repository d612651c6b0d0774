"""Images to classify: whole data sets in memory as bytes, or as files that are read when a batch asks for them."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100  # type: ignore[import-untyped]

from rlprune.data import cifar, folders, pixels, plain, shapes

_Pixels: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

MEMORY = 4 * 2**30
"""Most bytes of a data set's images that are held in memory; beyond it they stay files."""

SIDE = 256
"""Pixels of the square that photographs of many sizes are brought to."""


@dataclass(frozen=True)
class Files:
    """Images that are read, by threads, whenever some are taken; used like a tensor uint8 [N, 3, H, W] on the CPU.

    Args:
        files: their places.
        side: bring each to a square: its shorter side to so many pixels, and the middle of the longer one. None: all have
            the size of the first.
    """

    files: tuple[Path, ...]
    side: int | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, chosen: Tensor) -> Tensor:
        """Return these images, uint8 [n, 3, H, W].

        Raises:
            ValueError: a file that is no image, or one of another size than the first.
        """
        shape = None if self.side else _pixels(self.files[0], None).shape
        return torch.from_numpy(np.stack(_decoded([self.files[index] for index in chosen.tolist()], shape, self.side)))

    def only(self, chosen: Tensor) -> "Files":
        """Return these files, unread."""
        return Files(tuple(self.files[index] for index in chosen.tolist()), self.side)


@dataclass(frozen=True)
class Images:
    """A data set.

    Args:
        train: images uint8 [N, 3, H, W] and labels int64 [N].
        test: the same.
        classes: their names; label ``i`` is the ``i``-th.
    """

    train: tuple[Tensor | Files, Tensor]
    test: tuple[Tensor | Files, Tensor]
    classes: tuple[str, ...]


def load(name: str, folder: Path | None) -> Images:
    """Return the data set of this name.

    Args:
        name: ``shapes``, which needs no folder, or a name that ``folders.found`` knows how to find.
        folder: where data sets are.

    Raises:
        ValueError: data that is missing or broken; one line that names the folder or file.
    """
    if name == "shapes":
        train, test = ((torch.from_numpy(drawn), torch.from_numpy(labels)) for drawn, labels in shapes.drawn())
        return Images(train, test, shapes.CLASSES)
    if folder is None:
        raise ValueError(f"{name} is read from a folder; name it with --data")
    place = folders.found(name, folder)
    match place.name:
        case folders.PICKLES.folder:
            return _cifar(CIFAR10, place)
        case folders.PICKLES_100.folder:
            return _cifar(CIFAR100, place)
        case folders.TINY.folder:
            return _tiny_imagenet(place)
        case folders.IMAGENET.folder:
            return _imagenet(place)
        case _:
            return _trees(place)


def fetch(name: str, folder: Path) -> None:
    """Fetch CIFAR-10 or CIFAR-100 from where torchvision knows it to be, unpacked into ``folder``."""
    {"cifar10": CIFAR10, "cifar100": CIFAR100}[name](folder, download=True)


def _cifar(kind: type[CIFAR10], place: Path) -> Images:
    return Images(*cifar.read(kind, place))


def _trees(place: Path) -> Images:
    """Read ``{train,test}/CLASS/IMAGE``, all images of one size."""
    train, test = folders.classes(place, folders.TREE)
    parts = [_read(*_labelled(part)) for part in (train, test)]
    sizes = [_size(images) for images, _ in parts]
    if sizes[0] != sizes[1]:
        raise ValueError(f"{place}: training images are {sizes[0]}, test images {sizes[1]}; bring them to one size")
    return Images(parts[0], parts[1], tuple(train))


def _labelled(classes: Mapping[str, Sequence[Path]]) -> tuple[list[Path], list[int]]:
    pairs = [(file, label) for label, files in enumerate(classes.values()) for file in files]
    return [file for file, _ in pairs], [label for _, label in pairs]


def _tiny_imagenet(place: Path) -> Images:
    """Read ``train/CLASS/images`` and ``val`` with the classes its annotations give; the official test part has no labels."""
    (train,) = folders.classes(place, ("train",))
    number = {name: label for label, name in enumerate(train)}
    file, kept = place / "val/val_annotations.txt", place / "val/images"
    annotated = dict[str, int]()
    for row, line in enumerate(plain.read(file).split("\n"), 1):
        name, _, rest = line.partition("\t")
        label = rest.partition("\t")[0]
        if line and (not label or name in annotated):
            raise ValueError(f"{file}:{row}: '{line[:40]}'; expected IMAGE, a tab and CLASS, each image once")
        if line and label not in number:
            raise ValueError(f"{file}:{row} names classes that train has not: {label}")
        if line:
            annotated[name] = number[label]
    if odd := sorted({image.name for image in folders.images(kept)} ^ set(annotated)):
        have, lack = (file.name, kept.name) if odd[0] in annotated else (kept.name, file.name)
        raise ValueError(f"{place / 'val'}: {have} has {odd[0]}, {lack} has not")
    test = _read([kept / name for name in annotated], list(annotated.values()))
    return Images(_read(*_labelled(train)), test, tuple(train))


def _imagenet(place: Path) -> Images:
    """Read ``{train,val}/WNID/IMAGE``, as torchvision's ``ImageNet`` unpacks the archives."""
    train, test = folders.classes(place, folders.IMAGENET.entries)
    parts = [(Files(tuple(files), SIDE), torch.tensor(labels)) for files, labels in map(_labelled, (train, test))]
    return Images(parts[0], parts[1], tuple(train))


def _read(files: Sequence[Path], labels: Sequence[int]) -> tuple[Tensor | Files, Tensor]:
    first = _pixels(files[0], None)
    if first.size * len(files) > MEMORY:
        return Files(tuple(files)), torch.tensor(labels)
    return torch.from_numpy(np.stack(_decoded(files, first.shape))), torch.tensor(labels)


def _decoded(files: Sequence[Path], shape: tuple[int, ...] | None, side: int | None = None) -> list[_Pixels]:
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) * 2)) as readers:  # decoding releases the interpreter's lock
        return list(readers.map(partial(_pixels, shape=shape, side=side), files))


def _pixels(file: Path, shape: tuple[int, ...] | None, side: int | None = None) -> _Pixels:
    """Return the image as uint8 [3, H, W]."""
    image = pixels.rgb(file, None if shape is None else (shape[2], shape[1]))
    square = ImageOps.fit(image, (side, side)) if side else image
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def _size(images: Tensor | Files) -> str:
    _, height, width = images[torch.tensor([0])][0].shape
    return f"{width}x{height}"
