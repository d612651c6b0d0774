"""Where data sets are on disk: looks at names of files only, so a wrong folder is told of before anything slow is imported."""

from pathlib import Path
from typing import NamedTuple

from rlprune.registry import nearest


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
TINY = Layout("tiny-imagenet-200", ("train", "val", "val/val_annotations.txt"))
NYU = Layout("nyu_depth_v2", ("nyu_depth_v2_labeled.mat", "splits.mat"))

LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "cifar10": (PICKLES, Layout("cifar10", TREE)),
    "cifar100": (PICKLES_100, Layout("cifar100", TREE)),
    "tiny-imagenet": (TINY,),
    "nyu": (NYU, Layout("nyu", ("train/rgb", "train/depth", "test/rgb", "test/depth"))),
}
"""Each known data set with the layouts it may have; any other name is a folder ``NAME/{train,test}/CLASS/IMAGE``."""

_SOURCES = {
    "cifar10": "cifar-10-python.tar.gz, unpacked",
    "cifar100": "cifar-100-python.tar.gz, unpacked",
    "tiny-imagenet": "tiny-imagenet-200.zip of Stanford's CS231n, unpacked",
    "nyu": "NYU Depth v2's labelled part as published, or as NAME.png with depths in 16-bit millimetres",
}


def found(name: str, folder: Path) -> Path:
    """Return the folder of a data set under ``folder``, or ``folder`` itself where it is that one.

    Raises:
        ValueError: it is not there, or not whole; one line that says what was expected.
    """
    layouts = LAYOUTS.get(name, (Layout(name, TREE),))
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; {name} was expected in it: {_expected(name, layouts)}")
    for layout in layouts:
        for place in (folder / layout.folder, folder):
            if (place is not folder or folder.name == layout.folder) and place.is_dir():
                if missing := [entry for entry in layout.entries if not (place / entry).exists()]:
                    raise ValueError(f"{place} is not whole: {', '.join(missing)} missing; expected: {_expected(name, layouts)}")
                return place
    beside = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    hint = nearest(name, [*LAYOUTS, *beside]) if name not in LAYOUTS else ""
    raise ValueError(f"{folder} does not hold {name}{hint}; expected: {_expected(name, layouts)}")


def _expected(name: str, layouts: tuple[Layout, ...]) -> str:
    ways = [
        f"{layout.folder}/{{{','.join(TREE)}}}/CLASS/IMAGE"
        if layout.entries == TREE
        else f"{layout.folder}/ with {', '.join(layout.entries)}"
        for layout in layouts
    ]
    return " or ".join(ways) + (f" (from {_SOURCES[name]})" if name in _SOURCES else "")
