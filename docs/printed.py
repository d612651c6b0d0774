"""What scripts of ``plots/`` print and draw, put into pages by cog: ``tox run -e pages`` does it; a test checks it.

A page calls these in comments that its readers do not see, for instance
``[[[cog printed("plots/starts.py docs/start/start.sqlite.xz") ]]]``.
"""

import os
import re
import runpy
import shlex
import shutil
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

ROOT = Path(__file__).parents[1]


def told(command: str, *more: str) -> str:
    """Run a script; return what it prints.

    Raises:
        ValueError: it ends with a complaint.
    """
    script, *words = [*shlex.split(command), *more]
    with redirect_stdout(StringIO()) as output, patch.object(sys, "argv", [script, *words]):
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise ValueError(f"{command}: {end.code}") from end
    return output.getvalue()


def printed(command: str) -> None:
    """Print what a script prints, without the names of files that it wrote."""
    with TemporaryDirectory() as folder:
        lines = told(command, *(["--to", folder] if "figure" in command else [])).splitlines()
    lines = [re.sub("^  ", "- ", line) for line in lines if not line.endswith(".png")]
    print("\n" + "\n".join(lines).strip() + "\n")


def drawn(command: str, to: str) -> None:
    """Write the one figure of a script to a picture of the pages; only where ``DRAW`` is set, for a test compares texts."""
    if "DRAW" in os.environ:
        with TemporaryDirectory() as folder:
            told(command, "--to", folder)
            (picture,) = Path(folder).glob("*.png")
            shutil.copyfile(picture, ROOT / to)
