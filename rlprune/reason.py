"""Why something failed: one plain line for people, the traceback below it."""

import os
import re
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from rlprune.words import mistaken

_LONGEST = 400
_OURS = f"{Path(__file__).parent}{os.sep}"
_PYTHON = f"{sysconfig.get_path('stdlib')}{os.sep}"
_INSTALLED = {"site-packages", "dist-packages"}
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_FRAMES = re.compile(r"^Traceback \(most recent call last\):\n((?:[ \t].*\n|\n)+)", re.MULTILINE)


class NotApplicable(ValueError):  # noqa: N818 (a reason to skip, not an error)
    """A pruner cannot work on this network; the message says why."""


def line(error: BaseException) -> str:
    """Return an exception as one line: its kind, and the first line of its message, or where it was raised if it has none."""
    try:
        whole = isinstance(error, KeyError) and len(error.args) == 1 and isinstance(error.args[0], str) and " " in error.args[0]
        told = error.args[0] if whole else str(error)  # a KeyError quotes its message
        message = _first(mistaken(error) if isinstance(error, ValidationError) else told)
    except Exception as inner:  # somebody else's __str__ may fail in any way
        message = f"its message cannot be shown ({type(inner).__name__})"
    kind = type(error).__name__
    if not message:
        frames = traceback.extract_tb(error.__traceback__)[-1:]
        return kind + "".join(f" in {frame.name}, {frame.filename}, line {frame.lineno}" for frame in frames)
    return _first(f"{kind}: {message}")


def told(error: BaseException) -> str:
    """Return the line of an exception, and its traceback below."""
    below = "".join(traceback.format_exception(error))
    why = line(error)
    where = _where(error) if why.startswith(f"{type(error).__name__}: ") else ""  # without a message it says where
    return f"{why}{where}\n{below.encode('utf-8', 'backslashreplace').decode()}"


def _where(error: BaseException) -> str:
    """Return the line of somebody else's file, called from here, in which an exception came up; nothing where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = next((place for place, frame in enumerate(frames) if frame.filename.startswith(_OURS)), len(frames))
    return placed(frames[ours:])


def placed(frames: Sequence[traceback.FrameSummary]) -> str:
    """Return file and line of the innermost frame that is neither ours nor a library's, in brackets, or nothing."""
    own = [frame for frame in frames if not frame.filename.startswith((_OURS, _PYTHON, "<"))]
    own = [frame for frame in own if not _INSTALLED & {*Path(frame.filename).parts}]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


def reason(told: str | None) -> str:
    """Return the one line that says why: the first, or of a bare traceback, as rows once had it, the exception's."""
    text = told or ""
    if text.startswith("Traceback (most recent call last):") and (blocks := list(_FRAMES.finditer(text))):
        return _first(text[blocks[-1].end() :]) or "no reason recorded"
    return _first(text) or "no reason recorded"


def diverged(told: str | None) -> bool:
    """Return whether what was told of a failed cell is that its weights were finite numbers no more."""
    return reason(told).startswith(f"{FloatingPointError.__name__}: ")


def _first(text: str) -> str:
    """Return the first line that says something, printable, and not too long for a line of a table."""
    rows = (" ".join("".join(c if c.isprintable() else " " for c in row).split()) for row in _COLOUR.sub("", text).splitlines())
    found = next(filter(None, rows), "")
    return found if len(found) <= _LONGEST else f"{found[: _LONGEST - 1]}…"
