"""Running text as numbers of words."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from rlprune.data import folders, plain
from rlprune.data.prose import prose

END, UNKNOWN, NUMBER = "<eos>", "<unk>", "N"

Lines: TypeAlias = Sequence[Sequence[str]]
"""The words of each line; a line's end is a word of its own, ``<eos>``."""


@dataclass(frozen=True)
class Text:
    """A text in three parts.

    Args:
        train: numbers of words, int64 [tokens].
        valid: the same.
        test: the same.
        words: word ``i`` is the ``i``-th; the most frequent of the training part come first.
    """

    train: Tensor
    valid: Tensor
    test: Tensor
    words: tuple[str, ...]


def load(name: str, folder: Path | None, vocabulary: int | None = None) -> Text:
    """Return the text of this name.

    Args:
        name: ``prose``, which needs no folder, or a name that ``folders.found`` knows how to find.
        folder: where data sets are.
        vocabulary: most words to know, ``<eos>`` and ``<unk>`` among them: the most frequent of the training part, all others
            are read as ``<unk>``. None knows every word of the training part.

    Raises:
        ValueError: a text that is missing or empty, or a word that the training part lacks where there is no ``<unk>``; one line
            that names the file, and the row where there is one.
    """
    if name == "prose":
        return _numbered({part: list(_sentences(paragraphs)) for part, paragraphs in prose()._asdict().items()}, vocabulary)
    if folder is None:
        raise ValueError(f"{name} is read from a folder; name it with --data")
    place = folders.found(name, folder)
    prefix = "ptb." if name == "ptb" else ""
    return _numbered({str(file): _read(file) for file in (place / f"{prefix}{part}.txt" for part in folders.PARTS)}, vocabulary)


def _read(file: Path) -> Lines:
    lines = [line.split() for line in plain.read(file).removesuffix("\n").split("\n")]
    if not any(word != END for line in lines for word in line):
        raise ValueError(f"{file} holds no word; expected one sentence a line, words apart by blanks")
    return lines


def _sentences(paragraphs: Sequence[str]) -> Iterator[list[str]]:
    """Yield sentences as lower-case words and punctuation, numbers as N."""
    for paragraph in paragraphs:
        for sentence in re.split(r"(?<=[.:;!?]) ", paragraph.lower()):
            words = re.findall(r"[^\W\d]\w*(?:['’]\w+)?|\d[\d.]*|[^\w\s]", sentence)
            yield [NUMBER if word[0].isdigit() else word for word in words]


def _ended(line: Sequence[str]) -> Sequence[str]:
    """Return a line with its end, which some texts bring along."""
    return line if line and line[-1] == END else (*line, END)


def _numbered(parts: dict[str, Lines], vocabulary: int | None) -> Text:
    """Number the words of the parts train, valid and test by how often the first of them has them."""
    streams = {name: [word for line in lines for word in _ended(line)] for name, lines in parts.items()}
    counts = Counter(next(iter(streams.values())))
    if vocabulary is not None:  # these two are known however rare they are
        counts[UNKNOWN] = counts[END] = counts.total()
    words = tuple(sorted(counts, key=lambda word: (-counts[word], word))[:vocabulary])
    number = {word: place for place, word in enumerate(words)}
    for name, lines in parts.items():
        for row, line in enumerate(lines, 1):
            if UNKNOWN not in number and (strange := next((word for word in line if word not in number), None)):
                raise ValueError(
                    f"{name}:{row}: '{strange}' is no word of the training part, and that has no {UNKNOWN}; set recipe.vocabulary"
                )
    train, valid, test = (
        torch.tensor([number.get(word, number.get(UNKNOWN, 0)) for word in stream]) for stream in streams.values()
    )
    return Text(train, valid, test, words)
