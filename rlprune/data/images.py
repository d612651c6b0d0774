"""Images to classify, whole data sets in memory as bytes."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100, ImageFolder  # type: ignore[import-untyped]

from rlprune.data import folders, shapes

MEMORY = 4 * 2**30
"""Most bytes that the images of a data set may take."""


@dataclass(frozen=True)
class Images:
    """A data set.

    Args:
        train: images uint8 [N, 3, H, W] and labels int64 [N].
        test: the same.
        classes: their names; label ``i`` is the ``i``-th.
    """

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
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
        train, test = ((torch.from_numpy(pixels), torch.from_numpy(labels)) for pixels, labels in shapes.drawn())
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
        case _:
            return _trees(place)


def _cifar(kind: type[CIFAR10], place: Path) -> Images:
    try:
        train, test = kind(place.parent, train=True), kind(place.parent, train=False)
    except RuntimeError as error:
        raise ValueError(f"{place} is not as it was published: {error}") from None
    parts = [(torch.from_numpy(np.moveaxis(part.data, 3, 1).copy()), torch.tensor(part.targets)) for part in (train, test)]
    return Images(parts[0], parts[1], tuple(train.classes))


def _trees(place: Path) -> Images:
    """Read ``{train,test}/CLASS/IMAGE``, all images of one size."""
    train, test = _tree(place / "train"), _tree(place / "test")
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise ValueError(f"{place}: train and test have different classes: {', '.join(odd[:5])}")
    parts = [_read([Path(file) for file, _ in part.samples], [label for _, label in part.samples]) for part in (train, test)]
    if parts[0][0].shape[1:] != parts[1][0].shape[1:]:
        raise ValueError(
            f"{place}: training images are {_size(parts[0][0])}, test images {_size(parts[1][0])}; bring them to one size"
        )
    return Images(parts[0], parts[1], tuple(train.classes))


def _tree(place: Path) -> ImageFolder:
    try:
        return ImageFolder(str(place))
    except FileNotFoundError as error:
        raise ValueError(f"{place}: {' '.join(str(error).split())}; expected CLASS/IMAGE in it") from None


def _tiny_imagenet(place: Path) -> Images:
    """Read ``train/CLASS/images`` and ``val`` with the classes its annotations give; the official test part has no labels."""
    train = _tree(place / "train")
    number = train.class_to_idx
    annotated = [line.split("\t")[:2] for line in (place / "val/val_annotations.txt").read_text().splitlines() if line]
    unknown = sorted({label for _, label in annotated} - set(number))
    if unknown:
        raise ValueError(f"{place}/val/val_annotations.txt names classes that train has not: {', '.join(unknown[:5])}")
    return Images(
        _read([Path(file) for file, _ in train.samples], [label for _, label in train.samples]),
        _read([place / "val/images" / file for file, _ in annotated], [number[label] for _, label in annotated]),
        tuple(train.classes),
    )


def _read(files: Sequence[Path], labels: Sequence[int]) -> tuple[Tensor, Tensor]:
    first = _pixels(files[0], None)
    if first.size * len(files) > MEMORY:
        raise ValueError(f"{len(files)} images like {files[0]} do not fit {MEMORY / 2**30:.0f} GB of memory: not supported yet")
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) * 2)) as readers:  # decoding releases the interpreter's lock
        pixels = list(readers.map(partial(_pixels, shape=first.shape), files))
    return torch.from_numpy(np.stack(pixels)), torch.tensor(labels)


def _pixels(file: Path, shape: tuple[int, ...] | None) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return the image as uint8 [3, H, W]."""
    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except FileNotFoundError:
        raise ValueError(f"{file} is missing") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{file} cannot be read as an image: {error}") from None
    if shape is not None and pixels.shape != shape:
        raise ValueError(
            f"{file} is {pixels.shape[2]}x{pixels.shape[1]}, the first image {shape[2]}x{shape[1]}; bring them to one size"
        )
    return np.ascontiguousarray(pixels)


def _size(images: Tensor) -> str:
    return f"{images.shape[3]}x{images.shape[2]}"
