"""Tiny data sets in the official formats, for tests of what reads them; no number in them means anything."""

import hashlib
import pickle
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100

LOTS = np.random.default_rng(0)


@contextmanager
def few(made, train, test):
    """Let ``data.shapes`` or ``data.rooms`` draw no more images than these."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(made, "TRAIN", train)
        monkeypatch.setattr(made, "TEST", test)
        made.drawn.cache_clear()
        yield
    made.drawn.cache_clear()


# -- images with classes -----------------------------------------------------------------------------------------


def picture(file, side=8, mode="RGB"):
    """Write an image of noise; return its pixels."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (side, side, 3) if mode == "RGB" else (side, side)
    pixels = LOTS.integers(256, size=shape, dtype=np.uint8)
    Image.fromarray(pixels, mode if mode == "L" else None).save(file)
    return pixels


def tree(folder, parts=("train", "test"), classes=("cat", "dog"), count=2):
    """Write ``PART/CLASS/NUMBER.png``; return their pixels by these three."""
    return {
        (part, name, number): picture(folder / part / name / f"{number}.png")
        for part in parts
        for name in classes
        for number in range(count)
    }


def published_cifar10(place, monkeypatch, change=lambda entries: None, encode=pickle.dumps, count=1):
    """Write CIFAR-10's files, ``count`` images a batch, and let torchvision know their sums; return the images."""
    pixels = LOTS.integers(256, size=(6, count, 3, 32, 32), dtype=np.uint8)
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    entries = {name: _batch(pixels[n], "labels", n) for n, name in enumerate(names)}
    entries["batches.meta"] = {"label_names": [f"class {n}" for n in range(10)]}
    change(entries)
    sums = _pickled(place, entries, encode)
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:6])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": sums[6][0], "key": "label_names", "md5": sums[6][1]})
    return pixels.reshape(-1, 3, 32, 32)


def published_cifar100(place, monkeypatch, count):
    """Write CIFAR-100's files, ``count`` images a part, and let torchvision know their sums."""
    pixels = LOTS.integers(256, size=(2, count, 3, 32, 32), dtype=np.uint8)
    entries = {name: _batch(pixels[n], "fine_labels", n) for n, name in enumerate(("train", "test"))}
    sums = _pickled(place, {**entries, "meta": {"fine_label_names": [f"class {n}" for n in range(100)]}}, pickle.dumps)
    monkeypatch.setattr(CIFAR100, "train_list", sums[:1])
    monkeypatch.setattr(CIFAR100, "test_list", sums[1:2])
    monkeypatch.setattr(CIFAR100, "meta", {"filename": sums[2][0], "key": "fine_label_names", "md5": sums[2][1]})


def _batch(pixels, key, first):
    return {"data": pixels.reshape(len(pixels), -1), key: [(first + n) % 10 for n in range(len(pixels))]}


def _pickled(place, entries, encode):
    """Write the files; return name and sum of each."""
    place.mkdir(exist_ok=True)
    for name, entry in entries.items():
        (place / name).write_bytes(encode(entry))
    return [[name, hashlib.md5((place / name).read_bytes()).hexdigest()] for name in entries]


def tiny_imagenet(folder, count=1):
    """Write ``tiny-imagenet-200`` with two classes, ``count`` training images each, and a validation image; return its place."""
    place = folder / "tiny-imagenet-200"
    for name in ("n01", "n02"):
        for number in range(count):
            picture(place / "train" / name / "images" / f"{name}_{number}.JPEG")
    picture(place / "val/images/val_0.JPEG", mode="L")  # some are grey
    (place / "val/val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t7\t7\n")
    return place


def imagenet(folder, shown):
    """Write ``imagenet/{train,val}/CLASS/NUMBER.JPEG`` for these sides and classes."""
    for part in ("train", "val"):
        for number, (side, name) in enumerate(shown):
            picture(folder / "imagenet" / part / name / f"{number}.JPEG", side)


# -- images with depth -------------------------------------------------------------------------------------------


def depth_pair(place, name, height=8, width=10):
    """Write an image and its depth in millimetres; return both."""
    pixels = LOTS.integers(256, size=(height, width, 3), dtype=np.uint8)
    millimetres = LOTS.integers(500, 5000, size=(height, width), dtype=np.uint16)
    for kind, values in (("rgb", pixels), ("depth", millimetres)):
        (place / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(place / kind / name)
    return pixels, millimetres


def depth_tree(folder, name="office"):
    """Write ``NAME/{train,test}/{rgb,depth}/NUMBER.png``; return what is in them by part and number."""
    return {(part, n): depth_pair(folder / name / part, f"{n:04d}.png") for part in ("train", "test") for n in range(3)}


def published_nyu(folder, train=(1, 3), test=(2,), images=3, depths=3, kind=np.uint8, width=80, depth=None):
    """Write NYU Depth v2's arrays, MATLAB's, which h5py sees with their dimensions reversed; return pixels and metres."""
    import h5py
    from scipy.io import savemat

    place = folder / "nyu_depth_v2"
    place.mkdir(exist_ok=True)
    pixels = LOTS.integers(256, size=(images, 3, width, 40), dtype=np.uint8).astype(kind)
    metres = LOTS.uniform(0.5, 9, size=(depths, 80, 40)).astype(np.float32)
    metres[2, 5, 5] = metres[2, 5, 5] if depth is None else depth
    with h5py.File(place / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"], file["depths"] = pixels, metres
    savemat(place / "splits.mat", {"trainNdxs": np.array(train)[:, None], "testNdxs": np.array(test)[:, None]})
    return pixels, metres


# -- sentences ---------------------------------------------------------------------------------------------------

TEXTS = ["the cat sat on the mat", "a dog barks at night", "the night is dark", "a cat is no dog"]


class Glue(NamedTuple):
    """How one of GLUE's tasks is published: its folder, the first row of its files if they have one, its labels, a row."""

    folder: str
    header: list | None
    labels: tuple
    row: object


_ENTAILS, _BINARY = ("entailment", "not_entailment"), (0, 1)
GLUE = {
    "cola": Glue("CoLA", None, _BINARY, lambda n, label, one, other: ["gj04", label, "*", one]),
    "sst2": Glue("SST-2", ["sentence", "label"], _BINARY, lambda n, label, one, other: [one, label]),
    "mrpc": Glue(
        "MRPC",
        ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
        _BINARY,
        lambda n, label, one, other: [label, n, n, one, other],
    ),
    "qqp": Glue(
        "QQP",
        ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"],
        _BINARY,
        lambda n, label, one, other: [n, n, n, one, other, label],
    ),
    "stsb": Glue(
        "STS-B",
        ["index", "sentence1", "sentence2", "score"],
        (0.25, 1.5, 4.75),
        lambda n, label, one, other: [n, one, other, label],
    ),
    "mnli": Glue(
        "MNLI",
        ["sentence1", "sentence2", "gold_label"],
        ("entailment", "neutral", "contradiction"),
        lambda n, label, one, other: [one, other, label],
    ),
    "qnli": Glue(
        "QNLI", ["index", "question", "sentence", "label"], _ENTAILS, lambda n, label, one, other: [n, one, other, label]
    ),
    "rte": Glue(
        "RTE", ["index", "sentence1", "sentence2", "label"], _ENTAILS, lambda n, label, one, other: [n, one, other, label]
    ),
    "wnli": Glue(
        "WNLI", ["index", "sentence1", "sentence2", "label"], _BINARY, lambda n, label, one, other: [n, one, other, label]
    ),
}


def glue_files(folder, task, header, rows, dev="dev.tsv"):
    """Write ``glue/TASK/train.tsv`` and the part to evaluate on, the same rows in both; return their place."""
    place = folder / "glue" / task
    place.mkdir(parents=True, exist_ok=True)
    for name in ("train.tsv", dev):
        text = "\n".join("\t".join(map(str, row)) for row in ([header] if header else []) + rows)
        (place / name).write_text(text + "\n", encoding="utf-8")
    return place


def glue_task(folder, name, count=8):
    """Write one of GLUE's tasks with rows of our own; return its place."""
    kind = GLUE[name]
    rows = [kind.row(n, kind.labels[n % len(kind.labels)], TEXTS[n % 4], TEXTS[(n + 1 + n // 4) % 4]) for n in range(count)]
    return glue_files(folder, kind.folder, kind.header, rows, dev="dev_matched.tsv" if name == "mnli" else "dev.tsv")


# -- running text ------------------------------------------------------------------------------------------------


def texts(folder, prefix="", **parts):
    """Write ``{train,valid,test}.txt``."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, lines in {"train": "a b a\nc\n", "valid": "a\n", "test": "b c\n", **parts}.items():
        (folder / f"{prefix}{part}.txt").write_text(lines)


def _penn_treebank(folder):
    words = ["<unk>", "N", *"abcdefghijklmnopqrstuvwxyz"]
    parts = {part: LOTS.choice(words, size=(lines, 9)) for part, lines in (("train", 60), ("valid", 4), ("test", 4))}
    texts(folder / "ptb", "ptb.", **{part: "".join(f" {' '.join(line)} \n" for line in lines) for part, lines in parts.items()})


MAKERS = {
    "cifar10": lambda folder, monkeypatch: published_cifar10(folder / "cifar-10-batches-py", monkeypatch, count=4),
    "cifar100": lambda folder, monkeypatch: published_cifar100(folder / "cifar-100-python", monkeypatch, count=20),
    "tiny-imagenet": lambda folder, monkeypatch: tiny_imagenet(folder, count=10),
    "imagenet": lambda folder, monkeypatch: imagenet(folder, [(20 + 2 * n, f"n0{n % 2}") for n in range(20)]),
    "nyu": lambda folder, monkeypatch: published_nyu(folder, range(1, 19), (19, 20), images=20, depths=20),
    "ptb": lambda folder, monkeypatch: _penn_treebank(folder),
    **{name: lambda folder, monkeypatch, name=name: glue_task(folder, name, count=20) for name in GLUE},
}
"""Each data set by the name that recipes have for it: large enough for any recipe of this package, shrunk."""
