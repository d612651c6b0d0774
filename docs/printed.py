"""What scripts of ``plots/`` print and draw, put into pages by cog: ``tox run -e pages`` does it; a test checks it.

A page calls ``put`` in a comment that its readers do not see, for instance
``[[[cog put("plots/starts.py docs/start/start.sqlite.xz", "docs/figures/starts.png") ]]]``.
"""

import os
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from cogapp import Cog

from rlprune.report import comparable

DOCS = Path(__file__).parent
ROOT = DOCS.parent
READ = cache(comparable.rows_of)


def put(command: str, picture: str = "") -> None:
    """Print what a script prints, without the names of files that it wrote.

    Args:
        command: the script, and what it is told, from the repository's folder.
        picture: the file of the pages that its one figure becomes; where pages are only compared it is drawn and left.
    """
    with TemporaryDirectory() as folder:
        lines = _told(command, *(["--to", folder] if picture else [])).splitlines()
        if picture:
            (drawn,) = Path(folder).glob("*.png")
            if "DRAW" in os.environ:
                shutil.copyfile(drawn, ROOT / picture)
    if kept := [re.sub("^  ", "- ", line) for line in lines if not line.endswith(".png")]:
        print("\n" + "\n".join(kept).strip() + "\n")


def _told(command: str, *more: str) -> str:
    script, *words = [*shlex.split(command), *more]
    with chdir(ROOT), redirect_stdout(StringIO()) as output, patch.object(sys, "argv", [script, *words]):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise ValueError(f"{command}: {end.code}") from end
    return output.getvalue()


def pages() -> Iterator[tuple[Path, str]]:
    """Yield every page that has something put into it, and what it is with that put in anew; rows are read once."""
    for page in sorted(DOCS.glob("**/*.md")):
        if "[[[cog" in page.read_text(encoding="utf-8"):
            with TemporaryDirectory() as folder, patch.object(comparable, "rows_of", READ):
                fresh = Path(folder, page.name)
                options = ["-I", str(DOCS), "-p", "from printed import put", "-P", "-U", "-o", str(fresh), str(page)]
                if Cog().main(["cog", *options]):
                    raise RuntimeError(f"{page}: cog failed")
                yield page, fresh.read_text(encoding="utf-8")


if __name__ == "__main__":
    os.environ["DRAW"] = "1"
    for place, text in pages():
        place.write_text(text, encoding="utf-8")
        print(place)
