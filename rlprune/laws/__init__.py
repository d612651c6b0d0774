"""Laws that hold for every entry of a registry, tried on anybody's: ``rlprune check --pruner NAME`` and ``--task NAME``.

A law is a function whose docstring says it. It returns where it holds, and raises where it does not.
"""

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from rlprune.reason import NotApplicable, line

Subject = TypeVar("Subject")
Law: TypeAlias = Callable[[Subject], None]


class Broken(AssertionError):  # noqa: N818 (it reads as it is)
    """A law does not hold; the message says what was found."""


def demand(holds: object, found: str) -> None:
    """Raise unless something holds, with what was found in its place.

    Raises:
        Broken: it does not hold.
    """
    if not holds:
        raise Broken(found)


def said(law: Law[Subject]) -> str:
    """Return a law in words."""
    return (law.__doc__ or law.__name__).partition("\n")[0].rstrip(".")


@dataclass(frozen=True)
class Verdict:
    """What became of a law: in words, whether it holds, or None where it could not be tried, and why."""

    law: str
    holds: bool | None
    why: str = ""


def tried(laws: "Iterable[Law[Subject]]", subject: Subject, module: str = "") -> Iterator[Verdict]:
    """Try laws one after another.

    Args:
        laws: which.
        subject: on what.
        module: where the subject is written: an exception is told with the line of that file that raised it.
    """
    file = getattr(sys.modules.get(module), "__file__", None)
    for law in laws:
        try:
            law(subject)
        except Broken as error:
            yield Verdict(said(law), False, str(error))
        except NotApplicable as error:
            yield Verdict(said(law), None, str(error))
        except (Exception, SystemExit) as error:  # somebody else's code may fail in any way
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
            yield Verdict(said(law), False, line(error) + (f" ({file}, line {lines[-1]})" if lines else ""))
        else:
            yield Verdict(said(law), True)
