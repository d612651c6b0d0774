"""Where data sets are on disk: looks at names of files only, so a wrong folder is told of before anything slow is imported."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from rlprune.words import nearest


class Layout(NamedTuple):
    """One way to lie on disk.

    Args:
        folder: under the folder that ``--data`` names, or that folder itself.
        entries: files and folders that must be in it.
    """

    folder: str
    entries: tuple[str, ...]


PICKLES = Layout("cifar-10-batches-py", (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"))
PICKLES_100 = Layout("cifar-100-python", ("train", "test", "meta"))
TREE = ("train", "test")
PARTS = ("train", "valid", "test")
TEXT = tuple(f"{part}.txt" for part in PARTS)
TINY = Layout("tiny-imagenet-200", ("train", "val", "val/val_annotations.txt"))
IMAGENET = Layout("imagenet", ("train", "val"))
NYU = Layout("nyu_depth_v2", ("nyu_depth_v2_labeled.mat", "splits.mat"))

_GLUE = {
    "cola": "CoLA",
    "sst2": "SST-2",
    "mrpc": "MRPC",
    "qqp": "QQP",
    "stsb": "STS-B",
    "mnli": "MNLI",
    "qnli": "QNLI",
    "rte": "RTE",
    "wnli": "WNLI",
}
"""GLUE's tasks and the folders that its own archives make."""


def _glue(name: str) -> tuple[Layout, ...]:
    files = ("train.tsv", "dev_matched.tsv" if name == "mnli" else "dev.tsv")
    return Layout(f"glue/{_GLUE[name]}", files), Layout(_GLUE[name], files)


LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "cifar10": (PICKLES, Layout("cifar10", TREE)),
    "cifar100": (PICKLES_100, Layout("cifar100", TREE)),
    "tiny-imagenet": (TINY,),
    "imagenet": (IMAGENET,),
    "nyu": (NYU, Layout("nyu", ("train/rgb", "train/depth", "test/rgb", "test/depth"))),
    **{name: _glue(name) for name in _GLUE},
    "ptb": (Layout("ptb", tuple(f"ptb.{name}" for name in TEXT)),),
}
"""Each known data set with the layouts it may have.

Any other name is a folder ``NAME/{train,test}/CLASS/IMAGE``, or of text ``NAME/{train,valid,test}.txt``.
"""

PUBLISHED = frozenset({"cifar10", "cifar100"})
"""Data sets that torchvision can fetch."""

_SOURCES = {
    "cifar10": "cifar-10-python.tar.gz, unpacked",
    "cifar100": "cifar-100-python.tar.gz, unpacked",
    "tiny-imagenet": "tiny-imagenet-200.zip of Stanford's CS231n, unpacked",
    "imagenet": "the archives of ILSVRC2012, unpacked by torchvision's ImageNet to a folder a class",
    **{name: f"GLUE's own {folder} archive, unpacked" for name, folder in _GLUE.items()},
    "ptb": "the folder data of Mikolov's simple-examples",
    "nyu": "NYU Depth v2's labelled part as published, or as NAME.png with depths in 16-bit millimetres",
}


def found(name: str, folder: Path) -> Path:
    """Return the folder of a data set under ``folder``, or ``folder`` itself where it is that one.

    Raises:
        ValueError: it is not there, or not whole; one line that says what was expected.
    """
    return _found(name, folder)[0]


def entries(name: str, folder: Path) -> dict[str, Path]:
    """Return every file that a data set consists of by its name inside it: files of its layout, images of its folders.

    Raises:
        ValueError: it is not there, or a folder is in it twice.
    """
    place, layouts = _found(name, folder)
    parts = dict.fromkeys(place / entry for layout in layouts for entry in layout.entries)
    files = [file for part in parts for file in (images(part) if part.is_dir() else [part])]
    return {file.relative_to(place).as_posix(): file for file in files}


def _found(name: str, folder: Path) -> tuple[Path, list[Layout]]:
    """Return where a data set is, and the layouts that are whole there: a folder may hold images and texts."""
    layouts = LAYOUTS.get(name, (Layout(name, TREE), Layout(name, TEXT)))
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; {name} was expected in it: {_expected(name, layouts)}")
    places = [
        (layout, place)
        for layout in layouts
        for place in (folder / layout.folder, folder)
        if (place is not folder or folder.name == layout.folder) and place.is_dir()
    ]
    lacking = [[entry for entry in layout.entries if not (place / entry).exists()] for layout, place in places]
    if places:
        (_, best), missing = min(zip(places, lacking, strict=True), key=lambda one: len(one[1]))
        if missing:
            raise ValueError(f"{best} is not whole: {', '.join(missing)} missing; expected: {_expected(name, layouts)}")
        return best, [layout for (layout, place), lack in zip(places, lacking, strict=True) if place == best and not lack]
    beside = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    hint = nearest(name, [*LAYOUTS, *beside]) if name not in LAYOUTS else ""
    raise ValueError(f"{folder} does not hold {name}{hint}; expected: {_expected(name, layouts)}")


def there(name: str, folder: Path) -> bool:
    """Return whether a data set is there and whole."""
    try:
        found(name, folder)
    except ValueError:
        return False
    return True


CHECKPOINT = ("config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json", "vocab.txt")
"""Files of a checkpoint that are read where they are there."""


def checkpoint(name: str, folder: Path | None) -> Path:
    """Return the folder of a checkpoint: ``name`` under ``folder``, or ``name`` itself where it is an absolute path.

    Raises:
        ValueError: it is not there; one line that says what was expected.
    """
    place = Path(name) if folder is None else folder / name
    if not (place / "config.json").is_file():
        raise ValueError(
            f"no checkpoint is at {place}: expected a folder with config.json, model.safetensors and tokenizer.json; nothing is "
            "downloaded: set recipe.checkpoint to a path, or to nothing (recipe.checkpoint=) for a small network from scratch"
        )
    return place


def _expected(name: str, layouts: tuple[Layout, ...]) -> str:
    ways = [
        f"{layout.folder}/{{{','.join(TREE)}}}/CLASS/IMAGE"
        if layout.entries == TREE
        else f"{layout.folder}/ with {', '.join(layout.entries)}"
        for layout in layouts
    ]
    return " or ".join(ways) + (f" (from {_SOURCES[name]})" if name in _SOURCES else "")


# -- images ------------------------------------------------------------------------------------------------------

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})
"""Endings of files that are read as images, capitals or not."""

_OTHER_IMAGES = frozenset(
    {".apng", ".arw", ".avif", ".cr2", ".dcm", ".dds", ".dng", ".exr", ".gif", ".hdr", ".heic", ".heif", ".ico", ".j2k", ".jfif"}
    | {".jp2", ".jpe", ".jpx", ".jxl", ".nef", ".nii", ".npy", ".npz", ".pbm", ".pcx", ".pfm", ".pnm", ".psd", ".qoi", ".ras"}
    | {".raw", ".sgi", ".svg", ".tga", ".xbm"}
)
"""Endings of images that are not read: refused, for a class without them would be another one."""

_LEFT_BEHIND = frozenset(
    {"__macosx", "__pycache__", "$recycle.bin", "@eadir", "desktop.ini", "ehthumbs.db", "icon\r", "lost+found", "thumbs.db"}
    | {"system volume information"}
)

Seen: TypeAlias = dict[tuple[int, int], Path]
"""Folders by device and inode, which links do not change."""


def left_behind(name: str) -> bool:
    """Return whether tools put a file or folder of this name among data: it is no class and no image."""
    return name.startswith(".") or name.casefold() in _LEFT_BEHIND


def images(place: Path, seen: Seen | None = None) -> list[Path]:
    """Return the image files in a folder and in those inside it, by folder and name; what tools left behind is passed over.

    Args:
        place: the folder; links are followed.
        seen: folders that may not come again; those found are added.

    Raises:
        ValueError: a folder that a link makes come again, a file that is no readable one, images of a kind that is not read.
    """
    seen = {} if seen is None else seen
    for above in place.resolve().parents:
        seen.setdefault(_inode(above), above)
    files, waiting = list[Path](), [place]
    while waiting:
        folder = waiting.pop()
        if (first := seen.setdefault(_inode(folder), folder)) is not folder:
            raise ValueError(f"{folder} is {first} again: a link would make its images count twice; remove it")
        for entry in _within(folder):
            ending = entry.suffix.lower()
            if ending in IMAGES and entry.is_file():
                files.append(entry)
            elif entry.is_dir():
                waiting.append(entry)
            elif ending in IMAGES:
                raise ValueError(f"{entry} is {'a link that leads nowhere' if entry.is_symlink() else 'no file'}")
            elif ending in _OTHER_IMAGES:
                raise ValueError(f"{entry}: '{ending}' is not read; images end in {', '.join(sorted(IMAGES))}")
    return sorted(files, key=lambda file: (str(file.parent), file.name))


def classes(place: Path, parts: Sequence[str]) -> list[dict[str, list[Path]]]:
    """Return the images of each class, ``PART/CLASS/IMAGE``, part by part; folders that are empty are no classes.

    Raises:
        ValueError: parts with different classes, images without a class, folders with files of which none is an image.
    """
    seen: Seen = {}
    found = [_classes(place / part, seen) for part in parts]
    for part, those in zip(parts, found, strict=True):
        if odd := sorted(found[0].keys() ^ those.keys()):
            raise ValueError(f"{place}: {parts[0]} and {part} have different classes: {', '.join(odd[:5])}")
    return found


def _classes(part: Path, seen: Seen) -> dict[str, list[Path]]:
    found = {}
    for entry in sorted(_within(part)):
        if not entry.is_dir():
            if entry.suffix.lower() in IMAGES | _OTHER_IMAGES:
                raise ValueError(f"{entry} is in no class; expected CLASS/IMAGE in {part}")
        elif files := images(entry, seen):
            found[entry.name] = files
        elif alone := next(_files(entry), None):
            raise ValueError(f"{entry} has files, {alone.name} among them, and no image; a class needs some")
    if len(found) < 2:
        got = f"one class, {next(iter(found))}" if found else "no class"
        raise ValueError(f"{part} has {got}; expected CLASS/IMAGE in it, two classes or more")
    return found


def _within(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder and was not left behind by tools."""
    try:
        with os.scandir(folder) as listed:
            names = [entry.name for entry in listed]
    except OSError as error:
        raise ValueError(f"{folder} cannot be read: {error.strerror}; expected a folder") from None
    return (folder / name for name in names if not left_behind(name))


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file() and not left_behind(file.name))


def _inode(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
