import math
from functools import cache

import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from subjects import seeds

from rlprune.bench.cell import run_cell
from rlprune.bench.matrix import Cell
from rlprune.export.cell import _write_onnx
from rlprune.pruning.plan import TrainEpoch
from rlprune.pruning.pruner import CHANNELS, NOTHING, pruners
from rlprune.reason import NotApplicable
from rlprune.task import tasks
from rlprune.training.language import LanguageTrainer
from rlprune.training.recipes import LanguageRecipe

TINY = {"hidden": 6, "tokens": 8, "vocabulary": 40, "train_tokens": 400, "batch_size": 16, "scoring_batches": 1}
NAMES = pruners().names()


def small(folder=None, **fields):
    return LanguageTrainer(LanguageRecipe(**{"budget": 2, **TINY, **fields}), seeds, "cpu", folder)


def cell(pruner, sparsity=0.8, **fields):
    recipe = tasks().load("prose-psmm-small").settings({"budget": 4, **TINY, **fields})
    known = type(pruners().load(pruner).settings()).model_fields
    short = {key: value for key, value in {"levels": 1, "rounds": 2}.items() if key in known}
    settings = {"scope": "global", "floor": 1, **short}
    return Cell("prose-psmm-small", pruner, sparsity, 0, recipe.model_dump(mode="json"), settings, "cpu")


def test_it_learns_the_words_it_is_shown():
    trainer = small(learning_rate=1e-2, schedule="constant")
    losses = [trainer.train_epoch(TrainEpoch(1.0, 1.0))["loss_train"] for _ in range(8)]
    assert losses[-1] < losses[0]
    values = trainer.evaluate()
    assert values["perplexity"] == pytest.approx(math.exp(values["log_perplexity"]))
    assert values["fivegram"] < values["unigram"] < math.log(40)
    assert values["vocabulary"] == 40
    network, ids = trainer.deployed()
    assert network(ids).shape == (1, 8, 40)


def test_a_pass_reads_neighbouring_words_from_a_start_of_its_own():
    trainer = small()
    batches = list(trainer.batches("pass/0", augmented=True))
    assert len(batches) == trainer.steps == (400 - 8) // 8 // 16
    stream = trainer._train.tolist()
    starts = []
    for ids, targets in batches:
        assert ids.shape == targets.shape == (16, 8)
        assert torch.equal(ids[:, 1:], targets[:, :-1])
        starts += [next(at for at in range(400) if stream[at : at + 8] == row) for row in ids.tolist()]
    assert len({start % 8 for start in starts}) == 1
    again, other = (next(trainer.batches(f"pass/{number}", augmented=True))[0] for number in (0, 1))
    assert torch.equal(again, batches[0][0])
    assert not torch.equal(other, batches[0][0])


def test_every_word_but_the_first_counts_once_in_the_measure():
    trainer, length = small(), 8
    stream = trainer._test[:21]
    with torch.no_grad():
        parts = [stream[start : start + length + 1] for start in (0, 8, 16)]
        sums = [float(trainer.module.logp(part[None, :-1], part[None, 1:]).sum()) for part in parts]
        assert trainer._surprise(stream) == pytest.approx(-sum(sums) / 20, rel=1e-5)


def test_it_is_taken_away_as_onnx_that_reads_any_number_of_rows(tmp_path):
    trainer = small(tokens=3)
    _write_onnx(trainer, tmp_path / "next.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "next.onnx"), providers=["CPUExecutionProvider"])
    ids = trainer._train[:15].view(5, 3)
    (got,) = session.run(None, {session.get_inputs()[0].name: ids.numpy()})
    with torch.no_grad():
        assert torch.from_numpy(got).allclose(trainer.module(ids), atol=1e-5)


def test_too_few_words_are_a_mistake(tmp_path):
    with pytest.raises(ValueError, match=r"train_tokens asks for 9000000 words, the training part of prose has \d+"):
        small(train_tokens=9_000_000)
    with pytest.raises(ValueError, match="has 15 words, chunks of 8 need twice as many"):
        small(train_tokens=15)
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.txt").write_text("one\n")
    with pytest.raises(ValueError, match="does not hold poems"):
        small(tmp_path, data="poems")


def test_recipes_say_what_they_read():
    assert LanguageRecipe(budget=2).reads is None
    assert LanguageRecipe(budget=2, data="ptb").reads == "ptb"
    paper = tasks().load("ptb-psmm").recipe
    assert (paper.hidden, paper.tokens, paper.batch_size, paper.budget, paper.learning_rate, paper.clip) == (
        300, 80, 128, 30, 1e-3, 0.25
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_pruner_prunes_it_or_says_why_not(name):
    needs = pruners().load(name).needs
    if needs:
        with pytest.raises(NotApplicable, match=f"{name} needs {next(iter(needs))}"):
            run_cell(cell(name))
        return
    measured = run_cell(cell(name))
    assert math.isfinite(measured.values["log_perplexity"])
    cut = pruners().load(name).cut
    wanted = 0.0 if cut == NOTHING else 0.8
    assert measured.values["sparsity_weights"] == pytest.approx(wanted, abs=0.09 if cut == CHANNELS else 1e-3)
    if cut == CHANNELS:
        assert measured.values["macs"] < dense_macs()


@cache
def dense_macs():
    return run_cell(cell("Dense")).values["macs"]


def test_magnitude_keeps_the_embedding_and_empties_the_other_layers():
    """Words start with a deviation of 1, the matrices of the LSTM with less than a twentieth of it."""
    measured = run_cell(cell("Magnitude-Before", 0.9, hidden=24))
    kept = {name: layer["kept"] for name, layer in measured.layers.items()}
    assert measured.values["empty_layers"] >= 3
    assert kept["embedding.weight"] > 10 * sum(count for name, count in kept.items() if name != "embedding.weight")


def test_a_run_that_rewinds_and_is_resumed_ends_as_one_never_stopped(tmp_path):
    class StopError(Exception):
        pass

    def stop(row):
        if row["trained"] == 3:
            raise StopError

    kept = [tmp_path / f"{which}.pt" for which in ("straight", "stopped")]
    straight = run_cell(cell("LTR"), checkpoint=kept[0])
    with pytest.raises(StopError):
        run_cell(cell("LTR"), checkpoint=kept[1], tell=stop)
    resumed = run_cell(cell("LTR"), checkpoint=kept[1])
    assert resumed.values["log_perplexity"] == straight.values["log_perplexity"]
    ends = [load_file(file.with_suffix(".safetensors")) for file in kept]
    assert all(torch.equal(tensor, ends[1][key]) for key, tensor in ends[0].items())
