"""The beginning and the end of a sentence: which is which? Pairs of texts that the program makes, for BERT without downloads.

A sentence gives two pairs: class 1 has the pieces in their order, class 0 exchanged (the sentence-order task of Lan et al.,
2020, inside a sentence). Capitals and punctuation, which would tell it at once, are left out.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TypeAlias

from rlprune.data.prose import prose

PIECE, SHORTEST = 5, 10  # words of a piece, and of a sentence

Part: TypeAlias = tuple[tuple[str, ...], tuple[str, ...], tuple[float, ...]]
"""First texts, second texts, labels."""


@cache
def made() -> tuple[Part, Part]:
    """Return training and test part, from sentences of different paragraphs; classes are equally frequent."""
    text = prose()
    train, test = _ends(text.train), _ends(text.valid + text.test)
    return _pairs(train), _pairs([ends for ends in test if ends not in train])


def _ends(paragraphs: Sequence[str]) -> dict[tuple[str, str], None]:
    """Return beginning and end of every sentence that is long enough, each once."""
    sentences = [sentence for paragraph in paragraphs for sentence in re.split(r"(?<=[.;:!?])\s+", paragraph)]
    words = [re.findall("[a-z]+", sentence.lower()) for sentence in sentences]
    return dict.fromkeys((" ".join(one[:PIECE]), " ".join(one[-PIECE:])) for one in words if len(one) >= SHORTEST)


def _pairs(ends: Iterable[tuple[str, str]]) -> Part:
    pairs = [(*order, label) for begin, end in ends for order, label in (((begin, end), 1.0), ((end, begin), 0.0))]
    first, second, labels = zip(*pairs, strict=True)
    return first, second, labels
