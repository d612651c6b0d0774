"""Sentences in two pieces: which came first? Pairs of texts that the program makes, so that BERT runs with nothing downloaded.

A sentence is cut at a random place; class 1 has the two pieces in their order, class 0 exchanged (the sentence-order task
of Lan et al., 2020, inside a sentence). Capitals and punctuation, which would tell it at once, are left out.
"""

import re
from collections.abc import Sequence
from functools import cache

import numpy as np

from rlprune.data.prose import prose

TRAIN, TEST = 4000, 1000
SHORTEST, PIECE, LONGEST = 6, 3, 10  # words of a sentence, of the shorter piece, and of a piece as it is shown

Part = tuple[tuple[str, ...], tuple[str, ...], tuple[float, ...]]
"""First texts, second texts, labels."""


@cache
def made(seed: int = 2022) -> tuple[Part, Part]:
    """Return training and test part, from sentences of different paragraphs; classes are equally frequent."""
    text, lots = prose(), np.random.default_rng(seed)
    return _pairs(_sentences(text.train), TRAIN, lots), _pairs(_sentences(text.valid + text.test), TEST, lots)


def _sentences(paragraphs: Sequence[str]) -> list[list[str]]:
    sentences = [sentence for paragraph in paragraphs for sentence in re.split(r"(?<=[.;:!?])\s+", paragraph)]
    words = [re.findall("[a-z]+", sentence.lower()) for sentence in sentences]
    return [found for found in words if len(found) >= SHORTEST]


def _pairs(sentences: Sequence[Sequence[str]], count: int, lots: np.random.Generator) -> Part:
    first, second = [], []
    for number in range(count):
        words = sentences[lots.integers(len(sentences))]
        place = lots.integers(PIECE, len(words) - PIECE + 1)
        pieces = [" ".join(words[:place][:LONGEST]), " ".join(words[place:][-LONGEST:])]
        first.append(pieces[1 - number % 2])
        second.append(pieces[number % 2])
    return tuple(first), tuple(second), tuple(float(number % 2) for number in range(count))
