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
        (_, place), missing = min(zip(places, lacking, strict=True), key=lambda one: len(one[1]))
        if missing:
            raise ValueError(f"{place} is not whole: {', '.join(missing)} missing; expected: {_expected(name, layouts)}")
        return place
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
