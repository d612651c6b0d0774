"""Images with depth, whole data sets in memory."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from scipy.io import loadmat
from torch import Tensor

from rlprune.data import folders, pixels, rooms
from rlprune.data.images import MEMORY

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

FRAME = 1 / 40
"""Share of each side that is cut off NYU's images: they have a white frame."""

NEAREST = 0.1
"""Metres that some depth of every part must reach: numbers of another unit do not."""

NOT_MEASURED = 65535
"""The largest value of 16 bits, as a distance 65.5 m."""


@dataclass(frozen=True)
class Depths:
    """A data set.

    Args:
        train: images uint8 [N, 3, H, W] and depths float32 [N, 1, H, W] in metres, 0 where unknown.
        test: the same.
    """

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def load(name: str, folder: Path | None, height: int, width: int) -> Depths:
    """Return the data set of this name, brought to one size: images bilinearly, depths by their nearest pixel.

    Args:
        name: ``rooms``, which needs no folder; ``nyu``, NYU Depth v2 as published (two ``.mat``) or as a tree; any other name is
            a tree ``NAME/{train,test}/{rgb,depth}/NAME.png``, depths 16-bit millimetres.
        folder: where data sets are.
        height: of every image, in pixels.
        width: the same.

    Raises:
        ValueError: data that is missing or broken; one line that names the folder or file.
        ImportError: the extra ``nyu`` is not installed.
    """
    if name == "rooms":
        return Depths(*(_tensors(*part) for part in rooms.drawn(height, width)))
    if folder is None:
        raise ValueError(f"{name} is read from a folder; name it with --data")
    place = folders.found(name, folder)
    if place.name == folders.NYU.folder:
        return _labeled(place, (height, width))
    frame = FRAME if name == "nyu" else 0.0
    return Depths(*(_tree(place / part, frame, (height, width)) for part in ("train", "test")))


# -- NYU Depth v2 as published -----------------------------------------------------------------------------------


def _labeled(place: Path, size: tuple[int, int]) -> Depths:
    """Read ``nyu_depth_v2_labeled.mat`` (MATLAB 7.3: images [N, 3, W, H], depths [N, W, H]) one image at a time."""
    try:
        import h5py
    except ImportError:
        raise ImportError("reading nyu_depth_v2_labeled.mat needs h5py: python3 -m pip install 'rlprune[nyu]'") from None
    file, splits = (place / entry for entry in folders.NYU.entries)
    rows = _split(splits)
    with _told(file):
        labeled = h5py.File(file)
    with labeled:
        with _told(file):
            images, depths = labeled["images"], labeled["depths"]
            shapes = images.shape, depths.shape
        if len(images) != len(depths):
            raise ValueError(f"{file} has {len(images)} images and {len(depths)} depths")
        if len(shapes[0]) != 4 or shapes[0] != (shapes[1][0], 3, *shapes[1][1:]) or images.dtype != np.uint8:
            got = f"images {images.dtype} {list(shapes[0])} and depths {list(shapes[1])}"
            raise ValueError(f"{file} has {got}; expected uint8 [N, 3, W, H] and [N, W, H]")
        for part, chosen in rows.items():
            if chosen.size == 0 or chosen.min() < 0 or chosen.max() >= len(images):
                got = f"{chosen.min() + 1} to {chosen.max() + 1}" if chosen.size else "none"
                raise ValueError(f"{splits}: {part} names images {got}; {file.name} has {len(images)}")
            _fits(len(chosen), size, file)
        return Depths(*(_chosen(images, depths, chosen, file, size) for chosen in rows.values()))


def _split(file: Path) -> dict[str, Array]:
    names = ("trainNdxs", "testNdxs")
    with _told(file):
        numbers = loadmat(file, variable_names=names)
        listed = {part: np.asarray(numbers[part]).ravel() for part in names}
        rows = {
            part: values.astype(int) - 1
            for part, values in listed.items()
            if np.isfinite(values).all() and (values % 1 == 0).all()
        }
    if odd := [part for part in names if part not in rows]:
        raise ValueError(f"{file}: {odd[0]} are no whole numbers")
    if twice := set(rows["trainNdxs"]) & set(rows["testNdxs"]):
        raise ValueError(f"{file}: image {min(twice) + 1} is for training and for testing")
    return rows


def _chosen(images: Any, depths: Any, rows: Array, file: Path, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    pairs = []
    for row in rows:
        with _told(file):
            picture, metres = images[row].transpose(2, 1, 0), depths[row].T
        _measured(metres, f"{file}, image {row + 1}")
        pairs.append(_sized(picture, metres, FRAME, size))
    return _stacked(pairs, file)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Name the file in what is raised by a broken one."""
    try:
        yield
    except Exception as error:  # broken files make the libraries raise whatever comes
        raise ValueError(f"{file} cannot be read: {' '.join(str(error).split()) or type(error).__name__}") from None


# -- trees -------------------------------------------------------------------------------------------------------


def _tree(place: Path, frame: float, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Read ``{rgb,depth}/NAME.png``."""
    pictures, depths = (_named(place / kind) for kind in ("rgb", "depth"))
    if alone := sorted(pictures.keys() ^ depths.keys()):
        have, lack = ("rgb", "depth") if alone[0] in pictures else ("depth", "rgb")
        raise ValueError(f"{place}: {have} has {alone[0]}, {lack} has not ({len(pictures)} in rgb, {len(depths)} in depth)")
    if not pictures:
        raise ValueError(f"{place / 'rgb'} is empty; expected NAME.png in it")
    _fits(len(pictures), size, place)
    files = [(pictures[name], depths[name]) for name in sorted(pictures)]
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) * 2)) as readers:  # decoding releases the interpreter's lock
        return _stacked(list(readers.map(partial(_pair, frame=frame, size=size), files)), place)


def _named(place: Path) -> dict[str, Path]:
    if not place.is_dir():
        raise ValueError(f"{place} is no folder; expected {{train,test}}/{{rgb,depth}}/NAME.png")
    files = folders.images(place)
    if odd := next((file for file in files if file.suffix != ".png" or file.parent != place), None):
        raise ValueError(f"{odd}: expected NAME.png in {place} and nothing else")
    return {file.name: file for file in files}


def _pair(files: tuple[Path, Path], frame: float, size: tuple[int, int]) -> tuple[Array, Array]:
    image = pixels.rgb(files[0])
    with pixels.opened(files[1]) as depth:
        if not pixels.has_16_bits(depth):
            raise ValueError(f"{files[1]} holds {depth.mode} pixels; expected 16-bit grey, millimetres")
        if image.size != depth.size:
            raise ValueError(f"{files[0]} is {pixels.by(image.size)}, its depth {pixels.by(depth.size)}; expected one size")
        millimetres = np.asarray(depth)
    if int(millimetres.max()) == NOT_MEASURED:
        raise ValueError(f"{files[1]} holds {NOT_MEASURED}, which sensors write where they measured nothing; write 0 there")
    return _sized(np.asarray(image), millimetres / np.float32(1000), frame, size)


def _measured(metres: Array, where: str) -> None:
    """Refuse depths that are none."""
    if not np.isfinite(metres).all() or metres.min() < 0:
        strange = metres[~(np.isfinite(metres) & (metres >= 0))]
        raise ValueError(f"{where}: {strange.size} depths such as {strange[0]:g}; expected metres, 0 where unknown")


# -- one size ----------------------------------------------------------------------------------------------------


def _sized(image: Array, depth: Array, frame: float, size: tuple[int, int]) -> tuple[Array, Array]:
    """Cut a frame off an image [H, W, 3] and its depth [H, W], and bring them to ``size``; channels first."""
    rows, columns = (slice(round(side * frame), side - round(side * frame)) for side in depth.shape)
    height, width = size
    picture = Image.fromarray(np.ascontiguousarray(image[rows, columns])).resize((width, height), Image.Resampling.BILINEAR)
    metres = Image.fromarray(np.ascontiguousarray(depth[rows, columns], dtype=np.float32))
    nearest = np.asarray(metres.resize((width, height), Image.Resampling.NEAREST))
    return np.asarray(picture).transpose(2, 0, 1), nearest[None]


def _stacked(pairs: Sequence[tuple[Array, Array]], place: Path) -> tuple[Tensor, Tensor]:
    images, depths = zip(*pairs, strict=True)
    stacked = np.stack(depths)
    if not stacked.any():
        raise ValueError(f"{place}: no depth of its {len(pairs)} images is known; all are 0")
    if stacked.max() < NEAREST:
        raise ValueError(f"{place}: no depth is more than {stacked.max():g} m; are these millimetres? (in .mat metres)")
    return _tensors(np.stack(images), stacked)


def _tensors(images: Array, depths: Array) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(np.ascontiguousarray(depths))


def _fits(count: int, size: tuple[int, int], place: Path) -> None:
    if count * size[0] * size[1] * 7 > MEMORY:
        raise ValueError(
            f"{place}: {count} images at {size[1]}x{size[0]} do not fit {MEMORY / 2**30:.0f} GB of memory: not supported yet"
        )
