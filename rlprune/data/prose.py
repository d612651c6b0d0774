"""English prose that Python brings along, its own language reference, so that language runs with nothing downloaded."""

from functools import cache
from hashlib import sha256
from pydoc_data import topics
from textwrap import dedent
from typing import NamedTuple


class Prose(NamedTuple):
    """Paragraphs in their order; none is in two parts."""

    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]


@cache
def prose() -> Prose:
    """Return running text, about 40,000 words, without headings, grammar and program code.

    A paragraph's own hash puts it into training (eight of ten), validation or test, so that the split never changes. The
    text is that of the running Python; each minor version edits it a little.
    """
    paragraphs: dict[str, None] = {}
    for name in sorted(topics.topics):
        for block in topics.topics[name].split("\n\n"):
            if _is_prose(block):
                paragraphs[" ".join(block.split())] = None
    parts: list[list[str]] = [[], [], []]
    for paragraph in paragraphs:
        lot = sha256(paragraph.encode()).digest()[0] % 10
        parts[max(0, lot - 7)].append(paragraph)
    return Prose(*(tuple(part) for part in parts))


def _is_prose(block: str) -> bool:
    """Tell sentences from headings, tables, grammar and code: most of it letters and blanks, and it ends like a sentence."""
    text = dedent(block).strip()
    letters = sum(character.isalpha() or character.isspace() for character in text)
    return len(text.split()) >= 8 and letters > 0.85 * len(text) and text[-1] in ".:;" and "::=" not in text and ">>>" not in text
