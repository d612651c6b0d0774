"""GLUE's own files: sentences, or pairs of them, with labels (Wang et al., 2019). Test parts have no labels: dev counts."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from rlprune.data import folders, pairs, plain


@dataclass(frozen=True)
class Texts:
    """A part of a data set; a label is the number of a class, or a value to predict.

    Args:
        first: sentences.
        second: what goes with each; None where sentences stand alone.
        labels: one a sentence.
    """

    first: tuple[str, ...]
    second: tuple[str, ...] | None
    labels: tuple[float, ...]


@dataclass(frozen=True)
class Kind:
    """How the files of one of GLUE's tasks are to be read.

    Args:
        texts: one or two columns.
        label: a column.
        classes: labels as they are written, class by class; empty where the label is a number from 0 to 5.
        columns: of files that have no header.
        dev: name of the file to evaluate on.
        broken: whether rows that end too soon are in the files as published; they are passed over, up to ``_BROKEN`` of them.
    """

    texts: tuple[str, ...]
    label: str
    classes: tuple[str, ...]
    columns: tuple[str, ...] = ()
    dev: str = "dev.tsv"
    broken: bool = False


_ENTAILS = ("entailment", "not_entailment")
_BINARY = ("0", "1")
KINDS: Mapping[str, Kind] = {
    "cola": Kind(("sentence",), "label", _BINARY, columns=("source", "label", "star", "sentence")),
    "sst2": Kind(("sentence",), "label", _BINARY),
    "mrpc": Kind(("#1 String", "#2 String"), "Quality", _BINARY),
    "qqp": Kind(("question1", "question2"), "is_duplicate", _BINARY, broken=True),
    "stsb": Kind(("sentence1", "sentence2"), "score", ()),
    "mnli": Kind(("sentence1", "sentence2"), "gold_label", ("entailment", "neutral", "contradiction"), dev="dev_matched.tsv"),
    "qnli": Kind(("question", "sentence"), "label", _ENTAILS),
    "rte": Kind(("sentence1", "sentence2"), "label", _ENTAILS),
    "wnli": Kind(("sentence1", "sentence2"), "label", _BINARY),
}
"""Each of GLUE's tasks that has labels for training."""

NAMES = ("pairs", *KINDS)

_BROKEN = 20


def load(name: str, folder: Path | None) -> tuple[Texts, Texts, int]:
    """Return the training part, the part to evaluate on, and the number of classes, 1 for a regression.

    Args:
        name: ``pairs``, which needs no folder, or one of ``KINDS``.
        folder: where data sets are.

    Raises:
        ValueError: data that is missing or broken; one line that names the file and its row.
    """
    if name == "pairs":
        train, test = (Texts(*part) for part in pairs.made())
        return train, test, 2
    if folder is None:
        raise ValueError(f"{name} is read from a folder; name it with --data")
    kind, place = KINDS[name], folders.found(name, folder)
    return _part(place / "train.tsv", kind), _part(place / kind.dev, kind), len(kind.classes) or 1


def _part(file: Path, kind: Kind) -> Texts:
    rows = list(_rows(file, kind))
    if not rows:
        raise ValueError(f"{file} holds no sentences")
    labels, first, *second = zip(*rows, strict=True)
    return Texts(first, second[0] if second else None, labels)


def _rows(file: Path, kind: Kind) -> Iterator[tuple[float | str, ...]]:
    """Yield label and texts of every row."""
    broken = 0
    # quotes are text, as GLUE has them
    reader = csv.reader(io.StringIO(plain.read(file)), delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    try:
        columns = list(kind.columns) or next(reader, [])
        wanted = (kind.label, *kind.texts)
        if missing := [name for name in wanted if name not in columns]:
            hint = "; GLUE's test parts have no labels" if missing == [kind.label] else ""
            got = ", ".join(columns) or "nothing"
            raise ValueError(f"{file}: no column {', '.join(missing)}; the first row has {got}{hint}")
        if twice := [name for name in wanted if columns.count(name) > 1]:
            raise ValueError(f"{file}: column {twice[0]} is there twice")
        places = [columns.index(name) for name in wanted]
        for row in reader:
            if not row:
                continue
            if len(row) != len(columns):
                broken += 1
                if kind.broken and broken <= _BROKEN:
                    continue
                raise ValueError(f"{file}, row {reader.line_num}: {len(row)} fields, expected {len(columns)}")
            label, *texts = (row[place] for place in places)
            yield _label(label, kind, f"{file}, row {reader.line_num}"), *texts
    except csv.Error as error:
        raise ValueError(f"{file}, row {reader.line_num}: {error}") from None


def _label(text: str, kind: Kind, where: str) -> float:
    if kind.classes:
        if text not in kind.classes:
            raise ValueError(f"{where}: label '{text}', expected {' or '.join(kind.classes)}")
        return kind.classes.index(text)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (isfinite(value) and 0 <= value <= 5):
        raise ValueError(f"{where}: score '{text}', expected a number from 0 to 5")
    return value
