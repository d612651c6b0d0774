"""What authors import: one path for all of it, without torch; what was written against the paths before goes on working."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import rlprune
from rlprune import api
from rlprune.pruning.probe import Probe

ROOT = Path(rlprune.__file__).parent
WRITTEN = sorted(file for folder in ("pruners", "tasks") for file in (ROOT / folder).glob("*.py") if file.stem != "__init__")


@pytest.mark.parametrize("file", WRITTEN, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_pruners_and_tasks_import_from_the_api_and_from_one_another(file):
    asked = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)]
    modules = {node.module for node in asked if (node.module or "").startswith("rlprune")}
    own = f"rlprune.{file.parent.name}"
    assert "rlprune.api" in modules
    assert all(module == "rlprune.api" or module == own or module.startswith(f"{own}.") for module in modules)


def test_the_api_takes_no_torch_and_lists_what_it_has():
    code = "import sys, rlprune.api as api; assert all(hasattr(api, name) for name in api.__all__); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert api.__all__ == sorted(api.__all__, key=lambda name: (not name.isupper(), name))


def test_the_probe_that_annotations_name_is_there():
    module, _, name = api.Probe.rpartition(".")
    assert getattr(importlib.import_module(module), name) is Probe


@pytest.mark.parametrize(
    ("before", "names"),
    [
        ("plan", ["Train", "Prune", "Save", "Rewind", "Halving", "Exponential", "Level", "LazyRegime", "MaskDistance", "Plan"]),
        ("pruner", ["Pruner", "WEIGHTS", "CHANNELS", "NOTHING", "Scores", "Count", "Share", "pruners"]),
        ("probe", ["Probe", "Scoring", "Loss"]),
        ("groups", ["Anatomy", "Group", "Member", "chain", "stream"]),
        ("pruning", ["PlanFollower", "Subject", "Missed", "lacking"]),
    ],
)
def test_what_was_imported_before_the_wings_is_the_same_thing(before, names):
    now = importlib.import_module("rlprune.pruning.follower" if before == "pruning" else f"rlprune.pruning.{before}")
    then = importlib.import_module(f"rlprune.{before}")
    assert all(getattr(then, name) is getattr(now, name) for name in names)


def test_pruning_is_imported_without_a_benchmark():
    code = "import sys, rlprune.pruning.follower; print([name for name in sys.modules if name.startswith('rlprune.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    wings = ("bench", "training", "report", "executors", "tasks", "store")
    assert not [name for name in ast.literal_eval(done.stdout) if name.split(".")[1] in wings]
