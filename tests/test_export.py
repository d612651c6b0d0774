import json
import re
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from stable_baselines3 import A2C

from rlprune.__main__ import main
from rlprune.bench import checkpoint
from rlprune.bench.cell import kept_zeros
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import sweep
from rlprune.bench.worker import run as work
from rlprune.executors import Begun, Returned
from rlprune.export import export
from rlprune.export.cell import opened
from rlprune.export.trial import compiler
from rlprune.store import Store
from rlprune.task import seed_sequence
from rlprune.training.depth import DepthTrainer
from rlprune.training.glue import GlueTrainer
from rlprune.training.language import LanguageTrainer
from rlprune.training.recipes import DepthRecipe, GlueRecipe, LanguageRecipe

SMALL = ["recipe.budget=640", "recipe.widths=[16, 16]", "recipe.evaluation_games=2"]


def at_once(work, jobs, workers, preload):
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


@pytest.mark.parametrize("pruner", ["CroP-S", "SNIP"])
def test_an_agent_is_taken_away_as_c(run, tmp_path, capsys, pruner):
    to = tmp_path / "policy.h"
    assert main(["export", str(run), pruner, ".9", "--to", str(to)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == str(to)
    assert any(line.startswith("C99") for line in told)
    assert ("policy_sparse_8_8" in to.read_text()) == (pruner == "SNIP")
    if compiler():
        assert any(line.startswith("C99") and "100.0%" in line for line in told)


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


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """A tiny run on images of a folder that is gone, of two tasks, one cell also under another recipe."""
    out, data = tmp_path_factory.mktemp("seen"), tmp_path_factory.mktemp("data")
    lots = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("apple", "pear", "plum"):
            (data / "cifar10" / part / name).mkdir(parents=True)
            for number in range(3):
                Image.fromarray(lots.integers(0, 255, (12, 16, 3), np.uint8)).save(data / f"cifar10/{part}/{name}/{number}.png")
    few = ["recipe.budget=2", "recipe.batch_size=4", "recipe.scoring_batches=1", "recipe.train_images=6"]
    asked = [("vgg", "CroP-S", 4), ("vgg", "SNIP", 4), ("vgg", "SNIP", 1), ("resnet", "SNIP", 4)]
    suites = [
        load_suite("vision", "smoke", [*few, f"recipe.crop={crop}", f"data_tasks=['{net}-small-cifar10']"], {"pruners": it}, data)
        for net, it, crop in asked
    ]
    with Store(out / "results.sqlite") as store:
        for suite in suites:
            sweep(cells(suite, "cpu"), store, suite=suite, jobs=1, out=out, listen=lambda event: None, work=work, execute=at_once)
        assert {row.status for row in store.rows()} == {"done"}
    shutil.rmtree(data)
    return out


@pytest.mark.parametrize(("pruner", "task"), [("CroP-S", "vgg-small-cifar10"), ("SNIP", "resnet-small-cifar10")])
def test_a_network_is_taken_away_without_its_data(seen, tmp_path, pruner, task):
    asked = ["export", str(seen), pruner, ".9", "--task", task]
    assert main([*asked, "--to", str(tmp_path / "net.safetensors")]) == 0
    assert main([*asked, "--to", str(tmp_path / "net.onnx")]) == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: np.zeros((2, 3, 12, 16), np.float32)})
    assert logits.shape == (2, 3)


def test_c_is_for_agents(seen, tmp_path, capsys):
    for name in ("net.h", "net.int8.onnx"):
        asked = ["export", str(seen), "SNIP", ".9", "--task", "resnet-small-cifar10", "--to", str(tmp_path / name)]
        assert main(asked) == 2
        assert "resnet-small-cifar10 trains no agent; .h and .int8.onnx are for agents" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


KINDS = [
    (LanguageTrainer, LanguageRecipe(budget=2, batch_size=2, hidden=8, tokens=4, vocabulary=20, train_tokens=40)),
    (GlueTrainer, GlueRecipe(budget=2, batch_size=2, layers=1, hidden=8, heads=2, intermediate=8, vocabulary=120, train_texts=8)),
    (DepthTrainer, DepthRecipe(budget=2, batch_size=2, network="fcrn-small", height=16, width=24, train_images=4)),
]


@pytest.mark.parametrize(("trainer", "recipe"), KINDS)
def test_an_outline_makes_the_same_network_without_data(trainer, recipe):
    seeds = partial(seed_sequence, "any", 0)
    first = trainer(recipe, seeds, "cpu")
    again = trainer(recipe, seeds, "cpu", outline=json.loads(json.dumps(first.outline())))
    assert not hasattr(again, "_train")
    again.module.load_state_dict(first.module.state_dict())
    (net, example), (other, blank) = first.deployed(), again.deployed()
    assert (blank.shape, blank.dtype) == (example.shape, example.dtype)
    with torch.no_grad():
        assert torch.equal(net(example), other(example))
        assert other(blank).shape == net(example).shape


def test_tasks_and_recipes_are_told_apart(seen, tmp_path, capsys):
    asked = ["export", str(seen), "snip", ".9", "--to", str(tmp_path / "net.safetensors")]
    assert main(asked) == 2
    assert "choose by --task resnet-small-cifar10 or --task vgg-small-cifar10" in capsys.readouterr().err
    assert main([*asked, "--task", "resnet-small-cifar10"]) == 0
    capsys.readouterr()
    asked += ["--task", "vgg-small-cifar10"]
    assert main(asked) == 2
    told = capsys.readouterr().err
    assert told.count("recipe.crop = 1") == told.count("recipe.crop = 4") == 1
    for digits in re.findall("--cell ([0-9a-f]{8})", told):
        assert main([*asked, "--cell", digits]) == 0
    assert main([*asked, "--cell", "x"]) == 2
    assert main([*asked, "--task", "vgg-small-cifar1"]) == 2
    assert "did you mean 'vgg-small-cifar10'?" in capsys.readouterr().err
    assert main([*asked, "--seed", "3"]) == 2
    told = capsys.readouterr().err
    assert "seeds 0" in told
    assert "did you mean" not in told, "the name that was given"


def test_a_strangers_recipe_imports_nothing(run, tmp_path):
    with Store(run / "results.sqlite") as store:
        row = store.rows()[0]
    hostile = replace(row, config={**row.config, "recipe": {**row.config["recipe"], "environment": "evil:Id"}})
    with pytest.raises(ValueError, match=r"its recipe is not one of cartpole-v1: environment: .* import evil .*--allow-import"):
        export(hostile, run / "checkpoints", tmp_path / "policy.zip")


def test_a_damaged_network_is_told_in_a_line(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    for file in (tmp_path / "run" / "checkpoints").glob("*.safetensors"):
        file.write_bytes(b"x" * 100)
    assert main(["export", str(tmp_path / "run"), "SNIP", ".9", "--to", str(tmp_path / "policy.zip")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "safetensors cannot be read" in told


def truncated(file, other):
    file.write_bytes(file.read_bytes()[:-100])


def overwritten(file, other):
    data = file.read_bytes()
    file.write_bytes(data[:-600] + np.random.default_rng(0).bytes(500) + data[-100:])


def exchanged(file, other):
    shutil.copyfile(other, file)


@pytest.mark.parametrize("suffix", ["safetensors", "onnx", "zip"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [(truncated, "cannot be read"), (overwritten, "is damaged"), (exchanged, "holds the network of cell")],
)
def test_no_format_takes_a_network_that_is_not_the_cells(run, tmp_path, capsys, damage, words, suffix):
    shutil.copytree(run, tmp_path / "run")
    with Store(run / "results.sqlite") as store:
        mine, other = (
            tmp_path / "run" / "checkpoints" / f"{row.id}.safetensors"
            for row in sorted(store.rows(), key=lambda row: row.seed)
            if row.pruner == "SNIP"
        )
    damage(mine, other)
    to = tmp_path / f"policy.{suffix}"
    assert main(["export", str(tmp_path / "run"), "SNIP", ".9", "--seed", "0", "--to", str(to)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{mine} {words}" in told
    assert not to.exists()


def test_a_network_with_other_weights_than_were_counted_is_refused(run, tmp_path):
    with Store(run / "results.sqlite") as store:
        row = next(row for row in store.rows() if row.pruner == "SNIP")
    (name, layer), *_ = row.layers.items()
    for kept in (layer["kept"] - 1, 2 * layer["kept"]):
        changed = replace(row, layers={**row.layers, name: {**layer, "kept": kept}})
        with pytest.raises(ValueError, match=f"{name} has {layer['kept']:.0f} weights that are kept"):
            export(changed, run / "checkpoints", tmp_path / "policy.safetensors")


def test_weights_that_are_kept_and_zero_stay_free_to_learn(run, tmp_path):
    """What grew a moment ago is zero: such a network was called damaged, or its agent held these at zero for good."""
    with Store(run / "results.sqlite") as store:
        row = next(row for row in store.rows() if row.pruner == "SNIP")
    (name, layer), *_ = row.layers.items()
    file = tmp_path / "networks" / f"{row.id}.safetensors"
    file.parent.mkdir()
    tensors, about = opened(row, run / "checkpoints" / file.name)
    assert json.loads(about["zeros"]) == {}
    masks = {key: tensors[key] != 0 for key in row.layers}
    places = masks[name].flatten().nonzero().flatten()[: int(layer["kept"]) // 2]
    tensors[name].view(-1)[places] = 0
    checkpoint.save_network(file, tensors, {**about, "zeros": json.dumps(kept_zeros(tensors, masks))})
    export(row, file.parent, tmp_path / "policy.zip")
    agent = A2C.load(tmp_path / "policy.zip", device="cpu")
    assert {key: int(mask.sum()) for key, mask in agent.policy_class.masks.items()} == {
        key: one["kept"] for key, one in row.layers.items() if one["kept"] < one["dense"]
    }
    for odd in ("[]", "{", json.dumps({name: [10**9]}), json.dumps({name: [int((tensors[name] != 0).flatten().nonzero()[0])]})):
        checkpoint.save_network(file, tensors, {**about, "zeros": odd})
        with pytest.raises(ValueError, match="is damaged: what it says of weights that are kept and zero cannot be"):
            export(row, file.parent, tmp_path / "policy.zip")
    del about["zeros"]  # as older versions did
    checkpoint.save_network(file, tensors, about)
    with pytest.raises(ValueError, match="is damaged, or not the network that was measured"):
        export(row, file.parent, tmp_path / "policy.zip")
    export(replace(row, config={**row.config, "pruner": "SET", "settings": {}}), file.parent, tmp_path / "policy.safetensors")


def test_a_format_that_is_not_known_is_told(run, tmp_path, capsys):
    assert main(["export", str(run), "CroP-S", ".9", "--to", str(tmp_path / "policy.pickle")]) == 2
    assert ".safetensors, .onnx, .zip" in capsys.readouterr().err


@pytest.mark.parametrize(("suite", "ending"), [("dqn", "h"), ("sac", "zip")])
def test_an_off_policy_agent_with_cut_targets_is_taken_away(suite, ending, tmp_path):
    small = [
        "recipe.budget=60",
        "recipe.epochs=2",
        "recipe.widths=[12, 12]",
        "recipe.learning_starts=20",
        "recipe.evaluation_games=1",
    ]
    chosen = load_suite(suite, "smoke", [*small, "recipe.scoring_steps=20"], {"pruners": "CroP-S", "seeds": "1"})
    with Store(tmp_path / "results.sqlite") as store:
        sweep(
            cells(chosen, "cpu"), store, suite=chosen, jobs=1, out=tmp_path, listen=lambda event: None, work=work, execute=at_once
        )
        assert [row.status for row in store.rows()] == ["done"]
    to = tmp_path / f"policy.{ending}"
    assert main(["export", str(tmp_path), "CroP-S", ".9", "--to", str(to)]) == 0
    assert to.stat().st_size


def test_a_network_that_is_gone_is_told_with_how_its_cell_runs_again(run, tmp_path, capsys):
    shutil.copy(run / "results.sqlite", tmp_path)
    assert main(["pack", str(tmp_path), str(tmp_path / "rows.xz")]) == 0
    for where, told in ((tmp_path, "is not at"), (tmp_path / "rows.xz", "has rows and no networks")):
        assert main(["export", str(where), "CroP-S", ".9", "--to", str(tmp_path / "policy.zip")]) == 2
        heard = capsys.readouterr().err
        assert told in heard
        assert f"`rlprune show {where} " in heard
