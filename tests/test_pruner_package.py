"""The example of somebody else's package: installed, listed, held to the laws, run."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from installed import built, installed, unpacked

import rlprune
from rlprune import laws
from rlprune.laws import pruners as of_pruners

ROOT = Path(rlprune.__file__).parents[1]
PACKAGE = Path(__file__).parent.parent / "examples" / "pruner-package"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of packages with the example in it, as pip would install it."""
    folder = tmp_path_factory.mktemp("package")
    return installed(built("wheel", PACKAGE, folder), folder / "site")


def told(words, cwd, *paths):
    path = os.pathsep.join(map(str, paths))
    ended = subprocess.run(
        [sys.executable, "-m", *words.split()],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def lamp(monkeypatch):
    monkeypatch.syspath_prepend(PACKAGE)
    from rlprune_lamp.lamp import LAMP

    yield LAMP
    for name in [name for name in sys.modules if name.startswith("rlprune_lamp")]:
        del sys.modules[name]


def test_it_is_listed_with_what_it_is_and_where_it_comes_from(site, tmp_path):
    listed = told("rlprune list pruners", tmp_path, ROOT, site)
    (line,) = [line for line in listed.splitlines() if line.startswith("LAMP ")]
    about = (
        "cuts weights once it has trained a while. "
        "LAMP: remove the weights that are small beside the larger ones of their layer (Lee et al., 2021)."
    )
    assert line.split(maxsplit=1)[1] == f"{about} From rlprune-lamp 1.0."
    page = told("rlprune list pruners lamp", tmp_path, ROOT, site)
    assert "Layer-Adaptive Sparsity for the Magnitude-Based Pruning, ICLR 2021." in page
    assert "plan train up to 85 % of the budget" in " ".join(page.split())


def test_its_formula_is_the_papers(lamp):
    class Probe:
        weights = {"a": torch.tensor([[0.5, -2.0], [1.0, 0.0]]), "b": torch.tensor([3.0, -3.0, 1.0])}

    for name, scores in lamp.score(Probe()).items():
        squares = Probe.weights[name].numpy().astype(float).ravel() ** 2
        order = np.argsort(-squares, kind="stable")
        expected = np.zeros(len(squares))
        for place, index in enumerate(order):
            expected[index] = squares[index] / sum(squares[other] for other in order[: place + 1])
        assert np.allclose(scores.numpy().ravel(), expected, atol=1e-15)


def test_it_keeps_the_laws(lamp):
    verdicts = list(laws.tried(of_pruners.of(lamp), lamp))
    assert len(verdicts) == 6
    assert [one.why for one in verdicts if not one.holds] == []


@pytest.mark.slow
def test_every_command_of_its_readme_does_what_it_says(site, tmp_path):
    lines = told("rlprune check --pruner LAMP --task largest-v0", tmp_path, ROOT, site).splitlines()
    assert [line for line in lines if not line.startswith("  holds ")] == [
        "LAMP, of rlprune_lamp.lamp:LAMP",
        "largest-v0, alone, of rlprune_lamp.largest:LARGEST",
        "largest-v0, in a fleet, of rlprune_lamp.largest:LARGEST",
    ]
    suite = PACKAGE / "lamp.toml"
    out = told(f"rlprune run {suite} --profile smoke --jobs 1 --out out", tmp_path, ROOT, site)
    assert "[3/3] largest-v0 LAMP 0.9 seed 0: return_greedy" in out
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("hatchling") is None, reason="no hatchling, which builds rlprune")
def test_the_wheel_of_the_sdist_runs_in_an_empty_folder(tmp_path):
    for name in ("sdist", "wheel", "unpacked", "empty"):
        (tmp_path / name).mkdir()
    source = unpacked(built("sdist", ROOT, tmp_path / "sdist"), tmp_path / "unpacked")
    site = installed(built("wheel", source, tmp_path / "wheel"), tmp_path / "site")
    empty = tmp_path / "empty"
    program = "import sys, rlprune; sys.stdout.write(rlprune.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", program], cwd=empty, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, check=True
    )
    assert Path(where.stdout.decode()) == site / "rlprune" / "__init__.py"
    out = told("rlprune.run cartpole --profile smoke --jobs 1", empty, site)
    assert "CartPole, profile smoke: 4 cells, results in results/cartpole" in out
    assert [path.name for path in empty.iterdir()] == ["results"]
    assert (empty / "results" / "cartpole" / "report.html").is_file()
