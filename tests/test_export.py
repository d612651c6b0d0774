import numpy as np
import onnxruntime
import pytest
import torch
from stable_baselines3 import A2C

from rlprune.__main__ import main
from rlprune.executors import Begun, Returned
from rlprune.executors.worker import run as work
from rlprune.store import Store
from rlprune.suite import cells, load_suite
from rlprune.sweep import sweep

SMALL = ["recipe.budget=640", "recipe.widths=[16, 16]", "recipe.evaluation_games=2"]


def at_once(work, jobs, workers):
    """An executor without processes."""
    for job in jobs:
        yield Begun(job)
        yield Returned(job, work(job, lambda values: None))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny finished run, one cell trained alone and one in a fleet."""
    out = tmp_path_factory.mktemp("run")
    suite = load_suite("cartpole", "smoke", [*SMALL, "seeds=2"], {"pruners": "CroP-S,SNIP"})
    with Store(out / "results.sqlite") as store:
        sweep(cells(suite, "cpu"), store, suite=suite, jobs=1, out=out, listen=lambda event: None, work=work, execute=at_once)
    return out


OBSERVATIONS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("pruner", ["CroP-S", "SNIP"])
def test_a_small_agent_is_taken_away_as_zip_onnx_and_safetensors(run, tmp_path, pruner, seed):
    for suffix in ("zip", "onnx", "safetensors"):
        assert main(["export", str(run), pruner, ".9", "--seed", str(seed), "--to", str(tmp_path / f"policy.{suffix}")]) == 0
    policy = A2C.load(tmp_path / "policy.zip").policy
    session = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: OBSERVATIONS})
    with torch.no_grad():
        expected = policy.get_distribution(torch.from_numpy(OBSERVATIONS)).distribution.probs.numpy()
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert shares == pytest.approx(expected, abs=1e-5)
    assert (policy.mlp_extractor.policy_net[0].out_features < 16) == (pruner == "CroP-S")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["CroP-T", ".9"], "did you mean 'CroP-S'"),
        (["CroP-S", ".5"], "no finished cell of sparsity 0.5"),
        (["CroP-S", ".9", "--seed", "7"], "seeds 0, 1"),
    ],
)
def test_a_cell_that_is_not_there_is_told_with_what_is(run, tmp_path, capsys, asked, message):
    assert main(["export", str(run), *asked, "--to", str(tmp_path / "policy.zip")]) == 2
    assert message in capsys.readouterr().err


def test_a_format_that_is_not_known_is_told(run, tmp_path, capsys):
    assert main(["export", str(run), "CroP-S", ".9", "--to", str(tmp_path / "policy.pickle")]) == 2
    assert ".safetensors, .onnx, .zip" in capsys.readouterr().err
