import sys

import numpy as np
import onnxruntime
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from subjects import seeds
from tiny_data import GLUE, TEXTS, glue_files, glue_task
from transformers import BertConfig, BertModel

from rlprune.bench.cell import run_cell
from rlprune.bench.checks import data_mistakes
from rlprune.bench.matrix import Cell, cells
from rlprune.bench.mistakes import SuiteError
from rlprune.bench.suite import load_suite
from rlprune.data import folders, glue
from rlprune.data.tokens import Tokens
from rlprune.export.cell import _write_onnx
from rlprune.nets.bert import Marks, pretrained
from rlprune.pruning.plan import TrainEpoch
from rlprune.reason import NotApplicable
from rlprune.task import tasks
from rlprune.training import glue as training
from rlprune.training.glue import GlueTrainer
from rlprune.training.recipes import GlueRecipe

SMALL = {"hidden": 8, "layers": 1, "heads": 2, "intermediate": 6, "vocabulary": 120, "max_tokens": 20, "batch_size": 4}


def trainer(folder=None, **fields):
    return GlueTrainer(GlueRecipe(**{"budget": 2, "train_texts": 8, **SMALL, **fields}), seeds, "cpu", folder)


# -- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("cola", ["gj04", 0, "*", 'They "said so.'], ('They "said so.', None, 0)),
        ("sst2", ["fine ", 1], ("fine ", None, 1)),
        ("mrpc", [1, 7, 8, "a b", "b a"], ("a b", "b a", 1)),
        ("qqp", [1, 2, 3, "a", "b", 0], ("a", "b", 0)),
        ("stsb", [0, "a", "b", "3.250"], ("a", "b", 3.25)),
        ("mnli", ["a", "b", "neutral"], ("a", "b", 1)),
        ("qnli", [0, "a", "b", "entailment"], ("a", "b", 0)),
        ("rte", [0, "a", "b", "not_entailment"], ("a", "b", 1)),
        ("wnli", [0, "a", "b", 1], ("a", "b", 1)),
    ],
)
def test_each_task_is_read_as_glue_publishes_it(name, row, expected, tmp_path):
    glue_files(tmp_path, GLUE[name].folder, GLUE[name].header, [row], dev="dev_matched.tsv" if name == "mnli" else "dev.tsv")
    train, dev, outputs = glue.load(name, tmp_path)
    first, second, label = expected
    assert train == dev == glue.Texts((first,), None if second is None else (second,), (label,))
    assert outputs == {"stsb": 1, "mnli": 3}.get(name, 2)
    assert glue.load(name, tmp_path / "glue")[0] == train


def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path):
    place = glue_task(tmp_path, "rte")
    (place / "dev.tsv").write_bytes(b"\xef\xbb\xbf" + (place / "dev.tsv").read_bytes())
    assert len(glue.load("rte", tmp_path)[1].labels) == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index\tsentence1\tlabel\n", r"train\.tsv: no column sentence2; the first row has index, sentence1, label"),
        ("", r"train\.tsv: no column label, sentence1, sentence2; the first row has nothing"),
        ("index\tsentence1\tsentence2\tlabel\n", r"train\.tsv holds no sentences"),
        ("index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n1\ta\tb\n", r"train\.tsv, row 3: 3 fields, expected 4"),
        (
            "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tmaybe\n",
            r"train\.tsv, row 2: label 'maybe', expected entailment or not_entailment",
        ),
        ("index\tsentence1\tsentence2\n0\ta\tb\n", r"no column label; .*; GLUE's test parts have no labels"),
        ("index\tsentence1\tsentence2\tlabel\n0\ta\tb\t-1\n", r"row 2: label '-1', expected entailment"),
        ("index\tsentence1\tsentence2\tlabel\n0\ta\tb\t1\n", r"row 2: label '1', expected entailment"),
        ("index\tlabel\tsentence1\tsentence2\tlabel\n", r"column label is there twice"),
        ("index\tsentence1\tsentence2\tlabel\n0\ta\0\tb\tentailment\n", r"train\.tsv is no text: line 2 has a NUL byte"),
        ("index,sentence1,sentence2,label\n", r"no column label, sentence1, sentence2; the first row has index,sentence1"),
    ],
)
def test_a_broken_file_is_told_of_by_file_and_row(text, message, tmp_path):
    (glue_task(tmp_path, "rte") / "train.tsv").write_text(text)
    with pytest.raises(ValueError, match=message) as told:
        glue.load("rte", tmp_path)
    assert "\n" not in str(told.value)


def test_quotes_and_strange_line_ends_are_text(tmp_path):
    place = glue_task(tmp_path, "rte")
    rows = ['0\t"a\tb "b"" \u2028 b\x0c\x85\tentailment', "", "1\t'\t\"\tnot_entailment", ""]
    (place / "train.tsv").write_bytes("\r\n".join(["index\tsentence1\tsentence2\tlabel", *rows]).encode())
    train = glue.load("rte", tmp_path)[0]
    assert train == glue.Texts(('"a', "'"), ('b "b"" \u2028 b\x0c\x85', '"'), (0, 1))


def test_scores_out_of_range_other_encodings_and_missing_files_are_told(tmp_path):
    place = glue_files(tmp_path, "STS-B", ["sentence1", "sentence2", "score"], [["a", "b", 3], ["a", "b", 7]])
    with pytest.raises(ValueError, match=r"row 3: score '7', expected a number from 0 to 5"):
        glue.load("stsb", tmp_path)
    (place / "train.tsv").write_bytes("sentence1\tsentence2\tscore\ncafé\tb\t1\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"train\.tsv is no text in UTF-8: line 2 has a byte 0xe9"):
        glue.load("stsb", tmp_path)
    (place / "dev.tsv").unlink()
    with pytest.raises(
        ValueError, match=r"STS-B is not whole: dev\.tsv missing; expected: glue/STS-B/ with train\.tsv, dev\.tsv"
    ):
        glue.load("stsb", tmp_path)
    with pytest.raises(ValueError, match="does not hold cola; expected: glue/CoLA/"):
        glue.load("cola", tmp_path)
    with pytest.raises(ValueError, match="name it with --data"):
        glue.load("cola", None)


def test_rows_that_qqp_publishes_broken_are_passed_over(tmp_path):
    header = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
    glue_files(tmp_path, "QQP", header, [[1, 2, 3, "a", "b", 0], [1, 2, 3, "a"], [1, 2, 3, "c", "d", 1]])
    assert glue.load("qqp", tmp_path)[0].first == ("a", "c")


def test_a_qqp_file_with_too_many_broken_rows_is_refused(tmp_path):
    header = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
    glue_files(tmp_path, "QQP", header, [[1, 2, 3, "a", "b", 0], *[[1, 2, 3, "a"]] * 21])
    with pytest.raises(ValueError, match=r"row 23: 4 fields, expected 6"):
        glue.load("qqp", tmp_path)


# -- tokens ------------------------------------------------------------------------------------------------------


def test_the_same_texts_make_the_same_tokenizer():
    texts = [f"{text} {word}ing" for text in TEXTS for word in TEXTS[0].split()]
    vocabularies = [Tokens.learned(texts, 60)._tokenizer.get_vocab() for _ in range(4)]
    assert all(vocabulary == vocabularies[0] for vocabulary in vocabularies)
    assert len(vocabularies[0]) <= 60


def test_rows_hold_both_texts_between_marks_and_the_longer_one_is_cut():
    tokens = Tokens.learned(TEXTS, 200)
    rows, lengths = tokens.rows(["The cat", TEXTS[0]], ["a dog", "a dog"], 9)
    word = tokens._tokenizer.token_to_id
    first = [word(text) for text in ("[CLS]", "the", "cat", "[SEP]", "a", "dog", "[SEP]")]
    assert rows[0].tolist() == [*first, tokens.pad, tokens.pad]
    assert rows[1].tolist() == [word(text) for text in ("[CLS]", "the", "cat", "sat", "on", "[SEP]", "a", "dog", "[SEP]")]
    assert lengths.tolist() == [7, 9]
    assert tokens.rows(["dog xyz"], None, 9)[0][0, -1] == tokens.separator


def test_without_tokenizers_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"python3 -m pip install 'rlprune\[glue\]'"):
        Tokens.learned(TEXTS, 60)


# -- measures ----------------------------------------------------------------------------------------------------


def test_measures_are_those_counted_by_hand_and_by_scipy():
    truth, found = np.array([1, 1, 1, 0, 0, 0, 0, 1]), np.array([1, 0, 1, 0, 1, 0, 0, 1])
    assert training.accuracy(found, truth) == 75
    assert training.f1(found, truth) == pytest.approx(100 * 2 * 3 / (2 * 3 + 1 + 1))
    assert training.matthews(found, truth) == pytest.approx(100 * (3 * 3 - 1 * 1) / (4 * 4 * 4 * 4) ** 0.5)
    lots = np.random.default_rng(0)
    values, scores = lots.normal(size=30), np.round(lots.uniform(0, 5, 30))
    assert training.pearson(values, scores) == pytest.approx(100 * stats.pearsonr(values, scores)[0])
    assert training.spearman(values, scores) == pytest.approx(100 * stats.spearmanr(values, scores)[0])


def test_predictions_that_are_all_alike_earn_nothing():
    truth, same = np.array([0, 1, 1]), np.zeros(3)
    assert training.f1(same, truth) == training.matthews(same, truth) == training.spearman(same, truth) == 0


# -- training ----------------------------------------------------------------------------------------------------


def test_it_learns_pairs_and_says_what_it_used():
    net = trainer(budget=20, train_texts=16, learning_rate=0.01)
    losses = [net.train_epoch(TrainEpoch(1.0, 1.0))["loss_train"] for _ in range(20)]
    assert losses[-1] < losses[0] / 2
    values = net.evaluate()
    assert values["train_texts"] == 16
    assert {"accuracy", "f1", "matthews", "loss_test"} <= set(values)
    assert net.deployed()[0](net.example()).shape == (1, 2)
    assert net.samples == 20 * 16


def test_scores_are_fitted_by_squared_errors(tmp_path):
    rows = [[text, other, 5.0 if text == other else 1.0] for text in TEXTS for other in TEXTS[:2]]
    glue_files(tmp_path, "STS-B", ["sentence1", "sentence2", "score"], rows)
    net = trainer(tmp_path, data="stsb", budget=10, learning_rate=0.01)
    batch = next(net.batches("pass/0", augmented=False))
    with torch.no_grad():
        net.module.eval()
        errors = net.module(batch[0])[:, 0] - batch[1]
        assert float(net.loss(net.module, batch)) == pytest.approx(float(errors.square().mean()))
    assert {"pearson", "spearman"} <= set(net.evaluate())


def test_batches_are_as_wide_as_their_longest_row_and_depend_on_the_pass_alone():
    net = trainer(train_texts=40)
    first, again, other = ([rows for rows, _ in net.batches(use, augmented=True)] for use in ("pass/1", "pass/1", "pass/2"))
    assert all(bool((rows[:, -1] != net._tokens.pad).any()) for rows in first)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert any(one.shape != two.shape or not torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_it_goes_to_onnx_which_computes_the_same_from_token_ids(tmp_path):
    _write_onnx(trainer(), tmp_path / "bert.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "bert.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == "tensor(int64)"


def test_a_checkpoint_under_data_is_the_start_and_its_tokenizer_reads_the_texts(tmp_path):
    glue_task(tmp_path, "rte")
    tokens = Tokens.learned(TEXTS, 120)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 6}
    model = BertModel(BertConfig(vocab_size=len(tokens), max_position_embeddings=20, **sizes))
    model.save_pretrained(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"mine has no tokenizer: expected tokenizer\.json or vocab\.txt"):
        trainer(tmp_path, data="rte", checkpoint="mine")
    tokens._tokenizer.save(str(tmp_path / "mine" / "tokenizer.json"))
    net = trainer(tmp_path, data="rte", checkpoint="mine")
    assert torch.equal(net.module.bert.embeddings.word_embeddings.weight, model.embeddings.word_embeddings.weight)
    assert net.train_epoch(TrainEpoch(1.0, 0.5))["loss_train"] > 0
    pieces = sorted(tokens._tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    (tmp_path / "mine" / "vocab.txt").write_text("\n".join(piece for piece, _ in pieces))
    (tmp_path / "mine" / "tokenizer.json").unlink()
    again = trainer(tmp_path, data="rte", checkpoint=str(tmp_path / "mine"))
    assert torch.equal(again._train[0], net._train[0])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "pytorch_model.bin"])
def test_a_broken_checkpoint_is_told_of_by_file(tmp_path, name):
    BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=6).save_pretrained(tmp_path)
    (tmp_path / name).write_bytes(b"half a download")
    with pytest.raises(ValueError, match=rf"{name} cannot be read: ") as told:
        pretrained(tmp_path, 2, Marks(0, 3), 20)
    assert "\n" not in str(told.value)


def test_wrong_recipes_are_refused_in_words():
    with pytest.raises(ValidationError, match=r"must be one of pairs, cola, .*did you mean 'mrpc'"):
        GlueRecipe(budget=2, data="mrcp")
    with pytest.raises(ValidationError, match="heads must divide hidden, 8"):
        GlueRecipe(budget=2, hidden=8, heads=3)
    with pytest.raises(ValueError, match=r"asks for 99999 rows, the training data has \d+"):
        trainer(train_texts=99_999)


# -- cells and suite ---------------------------------------------------------------------------------------------


def cell(pruner, **fields):
    recipe = tasks().load("pairs-bert-small").settings({"budget": 4, "train_texts": 8, "scoring_batches": 1, **SMALL, **fields})
    return Cell("pairs-bert-small", pruner, 0.6, 0, recipe.model_dump(mode="json"), {"scope": "global", "floor": 1}, "cpu")


@pytest.mark.parametrize("pruner", ["SNIP", "EarlyCroP-S"])
def test_cells_reach_their_sparsity_and_are_measured(pruner):
    measured = run_cell(cell(pruner))
    assert measured.values["sparsity_weights"] == pytest.approx(0.6, abs=0.1)
    assert {"accuracy", "macs", "batch_seconds", "latency_seconds", "disk_file_mb"} <= set(measured.values)


def test_a_pruner_that_cannot_work_is_skipped_with_its_reason():
    with pytest.raises(NotApplicable, match="SynFlow needs feedforward, which the network of pairs-bert-small does not have"):
        run_cell(cell("SynFlow"))


def test_a_suite_may_give_a_task_sparsities_of_its_own(tmp_path):
    suite = load_suite("glue", "paper", folder=tmp_path)
    found = {(one.task, one.sparsity) for one in cells(suite, "cpu") if one.pruner == "SNIP"}
    assert found >= {("glue-mnli", 0.7), ("glue-qqp", 0.9), ("glue-stsb", 0.5), ("glue-cola", 0.5)}
    assert len(found) == 8
    assert len({one.id for one in cells(suite, "cpu")}) == 10 * 8 * 11
    asked = load_suite("glue", "paper", options={"sparsities": ".8"}, folder=tmp_path)
    assert {one.sparsity for one in cells(asked, "cpu")} == {0.0, 0.8}
    with pytest.raises(SuiteError, match=r"task_sparsities\.glue-mnly: no task is named 'glue-mnly'; did you mean 'glue-mnli'"):
        load_suite("glue", overrides=["task_sparsities.glue-mnly=[0.5]"])
    with pytest.raises(SuiteError, match="more than 0 and less than 1"):
        load_suite("glue", overrides=["task_sparsities.glue-mnli=[1.5]"])
    with pytest.raises(SuiteError, match="has a sparsity twice"):
        load_suite("glue", overrides=["task_sparsities.glue-mnli=[0.5, 0.5]"])


def test_a_missing_checkpoint_is_told_before_anything_runs(tmp_path):
    glue_task(tmp_path, "rte")
    suite = load_suite("glue", folder=tmp_path)
    (mistake,) = data_mistakes(suite)
    assert "no checkpoint is at" in mistake.message
    assert "nothing is downloaded" in mistake.message
    scratch = load_suite("glue", overrides=["recipe.checkpoint="], folder=tmp_path)
    assert list(data_mistakes(scratch)) == []
    assert {"cola", "mnli"} <= set(folders.LAYOUTS)
