"""Scripts run in this process as ``python SCRIPT WORDS`` runs them in one of their own, which imports torch: seconds a time."""

import io
import runpy
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

PLOTS = Path(__file__).parent.parent / "plots"


def scripted(script, *words, cwd=".", check=True):
    """Run a script of plots/; return what ``subprocess.run`` does of one that is captured as text."""
    command = [str(PLOTS / script), *map(str, words)]
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as told:
        with chdir(cwd), patch.object(sys, "argv", command):
            try:
                runpy.run_path(command[0], run_name="__main__")
                code = None
            except SystemExit as end:
                code = end.code
        if isinstance(code, str):
            told.write(f"{code}\n")
    ended = subprocess.CompletedProcess(command, 1 if isinstance(code, str) else code or 0, out.getvalue(), told.getvalue())
    if check:
        ended.check_returncode()
    return ended
