import os
import subprocess
import sys

import pytest

from rlprune.__main__ import HELP
from rlprune.bench.source import suites
from rlprune.completion import NAMES
from rlprune.pruning.pruner import pruners


def test_names_that_are_completed_are_those_there_are():
    assert list(NAMES["suite"]()) == list(suites())
    assert NAMES["pruners"](prefix="SNIP,Cr")[0] == f"SNIP,{pruners().names()[0]}"
    assert NAMES["pruners"](prefix="") == pruners().names()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rlprune ", sorted(HELP)),
        ("rlprune run cartp", ["cartpole"]),
        ("rlprune run cartpole --pruners Dense,EarlyCroP-", ["Dense,EarlyCroP-S", "Dense,EarlyCroP-U"]),
        ("rlprune list pruners GraS", ["GraSP"]),
        ("rlprune list executors slu", ["slurm"]),
        ("rlprune check --task cartpole-", ["cartpole-v0", "cartpole-v1"]),
    ],
)
def test_a_shell_is_told_how_a_word_goes_on(line, words, tmp_path):
    pytest.importorskip("argcomplete", reason="no argcomplete")
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\013"}
    asked |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "told"), "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-m", "rlprune"], env={**os.environ, **asked}, capture_output=True, check=False, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    told = [word.strip() for word in (tmp_path / "told").read_text().split("\013")]
    assert sorted(word for word in told if not word.startswith("-")) == words
