"""How commands begin and end: Ctrl-C, a closed pipe and trouble with files are a line each, never a traceback.

Imported before all else, so it imports nothing slow.
"""

# ruff: noqa: T201 (this is the command line)

import os
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from rlprune.reason import line
from rlprune.safely import plain

STOPPED, CLOSED = 130, 141
"""Exit codes of a command that Ctrl-C ended, and of one whose output nobody reads any more, as shells have them."""


def leave_at_once() -> None:
    """Let Ctrl-C end the program quietly while modules are imported; ``ended`` takes it back."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(STOPPED)


def ended(command: Callable[[], int]) -> int:
    """Run a command to its end; return its exit code."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.showwarning = lambda message, *_: say(plain(str(message)))
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # somebody else's stream, or none
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        try:
            return command()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        say("Stopped.")
        return STOPPED
    except BrokenPipeError:
        hear_no_more()
        return CLOSED
    except OSError as error:
        say(line(error))  # a full disk, say
        hear_no_more()
        return 1


def say(text: str) -> None:
    """Print to standard error, where there is one."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def hear_no_more() -> None:
    """Let nothing more go to standard output, so that the interpreter does not stumble over it when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
