"""Figures and tables of the paper: every script on small stores, and what the paper prints beside what came out."""

import csv
import runpy
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from rows import JUDGED, rows

from rlprune.costs.measures import Measure
from rlprune.pruning.pruner import pruners
from rlprune.report import curves, draw, exhibits, figures, moments, printed
from rlprune.report.paper import Exhibit
from rlprune.store import Store
from rlprune.task import tasks

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(file.stem for kind in ("figure*", "table*", "money") for file in (ROOT / "plots").glob(f"{kind}.py"))
LTR = ("Dense", "SNIP", "CroP-S", "LTR")


def exhibit(script: str) -> Exhibit:
    return runpy.run_path(str(ROOT / "plots" / f"{script}.py"))["EXHIBIT"]


def of_task(task, metric, some=None, suite="mine", sign=1, **values):
    """Return rows as cells of another task, judged by another metric; LTR trains eleven times."""
    judged = replace(JUDGED, metric=metric, also=(), anchors={})
    return [
        replace(
            one,
            id=f"{task}-{one.id}",
            suite=suite,
            task=task,
            labels={**one.labels, "task_title": f"the task {task}"},
            judged=judged,
            values={
                **one.values,
                metric.name: 50 + sign * one.values["return_greedy"] / 12,
                "trained_epochs": 88.0 if one.pruner == "LTR" else 8.0,
                "training_seconds": one.values["wall_seconds"],
                **values,
            },
        )
        for one in some or rows(2, LTR, (0.9, 0.95))
    ]


TOP1 = Measure("top1", "top-1 accuracy", "%", span=100)
RESNET = of_task("resnet18-cifar10", TOP1, suite="resnet18_cifar10")
KINDS = {
    "figure1": RESNET,
    "figure3": RESNET,
    "figure4": rows(2, LTR, (0.9,)),
    "figure5": of_task("nyu-fcrn", Measure("rmse", "RMSE", "m", "lower"), rmse_constant=1.36),
    "figure6": of_task("ptb-psmm", Measure("log_perplexity", "log perplexity", better="lower"), unigram=5.3, fivegram=4.4),
    "table1": RESNET,
    "table2": of_task("vgg16-cifar10", TOP1),
    "table3": of_task("resnext101-32x48d-cifar10", TOP1) + of_task("resnext101-32x16d-cifar10", TOP1),
    "table5": of_task("vgg16-cifar100", TOP1),
    "table6": of_task("resnet18-tiny-imagenet", TOP1),
    "table7": of_task("vgg16-imagenet", TOP1),
    "table8": of_task("glue-rte", Measure("accuracy", "accuracy", "%")) + of_task("glue-cola", Measure("matthews", "Matthews")),
    "money": RESNET,
}


def stored(folder, some):
    with Store(folder / "results.sqlite") as store:
        for one in some:
            store.save(one)
    return folder


def ran(script, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    return exhibit(script).run("about")


def test_every_figure_and_table_of_the_paper_has_a_script():
    told = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    assert set(SCRIPTS) == {*KINDS, "figure2"}
    assert [script for script in SCRIPTS if f"plots/{script}.py" not in told] == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_feeds_it_is_a_suite_that_has_its_tasks_and_that_says_so(script):
    one = exhibit(script)
    for command in one.runs:
        suite, *flags = command.split()
        read = tomllib.loads((ROOT / "suites" / f"{suite}.toml").read_text(encoding="utf-8"))
        assert {"--profile", "paper"} <= set(flags) or command != one.runs[0]
        if one.tasks:
            assert {*read["tasks"], *read.get("data_tasks", ())} & set(one.tasks)
    if one.name.startswith("table"):
        read = tomllib.loads((ROOT / "suites" / f"{one.runs[0].split()[0]}.toml").read_text(encoding="utf-8"))
        assert one.name in read["description"]


@pytest.mark.parametrize("script", KINDS)
def test_it_is_made_from_a_small_store(script, tmp_path, monkeypatch, capsys):
    folder = stored(tmp_path / "run", KINDS[script])
    assert ran(script, monkeypatch, folder, "--to", tmp_path / "to", "--paper") is None
    endings = {".png", ".svg", ".pdf"} if script.startswith("figure") else {".md", ".tex", ".csv"}
    assert {file.suffix for file in (tmp_path / "to").iterdir()} == endings
    assert len(list((tmp_path / "to").iterdir())) == 3
    assert ("| LTR |" in capsys.readouterr().out) == (".md" in endings)


@pytest.mark.parametrize("script", SCRIPTS)
def test_other_results_are_refused_in_a_sentence_that_says_how_to_get_its_own(script, tmp_path, monkeypatch):
    other = of_task("something", Measure("something", "something"))
    said = ran(script, monkeypatch, stored(tmp_path / "run", other), "--to", tmp_path / "to")
    assert said is not None
    assert "\n" not in said
    assert f"{exhibit(script).name} shows" in said
    assert f"python -m rlprune.run {exhibit(script).runs[0]}" in said
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("script", "some", "lacking"),
    [
        ("figure1", [replace(one, values={"top1": 90.0}) for one in RESNET], "no cell had a worker to itself"),
        ("figure2", rows(1, LTR, (0.9,)), "no cell was told when to prune"),
        ("figure3", [one for one in RESNET if one.cut == "nothing"], "no cell of a pruner that removes anything"),
        ("figure4", [replace(one, status="failed", values={}) for one in rows(1, LTR, (0.9,))], "no finished cell"),
        ("figure4", [replace(one, values={}) for one in rows(1, LTR, (0.9,))], "no finished cell"),
        (
            "figure4",
            [replace(one, values={} if one.sparsity else one.values) for one in rows(1, LTR, (0.9,))],
            "no cell of a pruner",
        ),
        ("table1", KINDS["table2"], "there is --task vgg16-cifar10"),
        ("table8", [one for one in KINDS["table8"] if one.cut == "nothing"], "no cell of a pruner that removes anything"),
        ("money", [replace(one, values={"top1": 90.0}) for one in RESNET], "no cell has a price"),
    ],
)
def test_what_a_kind_of_results_lacks_is_said(script, some, lacking, tmp_path, monkeypatch):
    said = ran(script, monkeypatch, stored(tmp_path / "run", some))
    assert lacking in said
    assert "\n" not in said


def test_a_task_without_metric_below_its_dense_network_does_not_stop_the_others(tmp_path, monkeypatch):
    lame = [replace(one, values={} if one.sparsity else one.values) for one in of_task("lame", TOP1)]
    some = [*rows(1, ("Dense", "SNIP"), (0.9,)), *lame]
    ((_, figure, _),) = exhibits.against_sparsity(curves.comparisons([*RESNET, *lame]), False)
    assert len(figure.axes) == 2, "one task, two ways of cutting"
    monkeypatch.setattr(sys, "argv", ["sparsity", str(stored(tmp_path / "run", some)), "--to", str(tmp_path)])
    assert runpy.run_path(str(ROOT / "plots" / "sparsity.py"))["main"]() is None
    assert (tmp_path / "sparsity.png").is_file()


def test_a_stand_in_is_shown_when_it_is_named(tmp_path, monkeypatch, capsys):
    folder = stored(tmp_path / "run", of_task("vgg-small-shapes", TOP1))
    assert ran("table1", monkeypatch, folder, "--task", "vgg-small-shapes", "--to", tmp_path / "it.tex", "--paper") is None
    assert "the task vgg-small-shapes, as in table 1 of the EarlyCroP paper" in (tmp_path / "it.tex").read_text(encoding="utf-8")
    assert "prints no number of these tasks" in capsys.readouterr().out
    assert "name a folder" in ran("figure3", monkeypatch, folder, "--to", tmp_path / "it.tex")
    wrong = ran("table1", monkeypatch, folder, "--task", "vgg-small-shapes", "--to", tmp_path / "it.doc")
    assert wrong.endswith(
        "it.doc: no file that ends in .doc is written here: name a folder, or a file that ends in .md or .tex or .csv"
    )
    assert not list(tmp_path.glob("*.doc"))
    assert ran("table1", monkeypatch, folder, "--task", "vgg-small-shapes", "--to", tmp_path / "v1.5") is None
    assert sorted(file.name for file in (tmp_path / "v1.5").iterdir()) == ["table1.csv", "table1.md", "table1.tex"]


# -- what the paper prints -----------------------------------------------------------------------------------------


def test_what_is_printed_is_of_tasks_and_pruners_that_there_are():
    for name in printed.tasks():
        (dense,) = [each for each in printed.printed(name, "top1") if each.pruner == "Dense"]
        assert dense.value == tasks().load(name).anchors["dense"], "both were copied from the paper"
        for each in printed.printed(name, "top1"):
            assert pruners().match(each.pruner) == each.pruner
            assert 0 < each.sparsity < 1
    assert len(printed.printed("resnet18-cifar10", "top1")) == 16
    assert len(printed.printed("resnet18-tiny-imagenet", "top1")) == 15, "EarlyBird has no value there"
    assert printed.printed("cartpole-v1", "return_greedy") == ()


def test_printed_values_stand_in_a_column_at_their_sparsity():
    (one,) = curves.comparisons(RESNET)
    ((_, table, _),) = exhibits.costs([one], True, "Table 1")
    place = table.header.index("top-1 accuracy (%), printed")
    found = {(heading, line[0].text): line[place].text for heading, block in table.blocks for line in block}
    assert found["", "Dense"] == "91.5"
    assert found["95 % removed, unstructured (weights)", "SNIP"] == "88.2"
    assert found["90 % removed, unstructured (weights)", "SNIP"] == "–"
    (whole,) = curves.comparisons([row for row in RESNET if row.sparsity in (0, 0.95)])
    ((_, table, _),) = exhibits.costs([whole], True, "Table 1")
    assert "top-1 accuracy (%), printed" in table.header, "where the paper prints every line's value, too"
    assert not any("printed" in name for name in next(exhibits.costs([one], False, "Table 1"))[1].header)
    ((_, imagenet, _),) = exhibits.costs(curves.comparisons(KINDS["table7"]), True, "Table 7")
    assert "61.4 after 26" in imagenet.note
    assert str(printed.Printed("Dense", 0.98, 215.4)) == "215"


def test_printed_values_with_budgets_stand_together():
    (one,) = curves.comparisons(of_task("resnext101-32x48d-cifar10", TOP1, rows(1, ("Dense", "CroP-S"), (0.985,))))
    line = exhibits.Line(one, 0.985, "channels", "CroP-S")
    assert line.printed("top1") == "92.5 (30), 93.2 (80)"
    ((_, table, _),) = exhibits.costs([one], True, "Table 3")
    assert "in brackets: epochs trained" in table.note
    assert line.printed("sparsity_nodes") == "89.9"


def test_printed_values_are_drawn_hollow_grey_and_named_where_their_pruners_are():
    (one,) = curves.comparisons(RESNET)
    ((_, figure, _),) = exhibits.against_sparsity([one], True)
    channels, weights = figure.axes
    grey = [line for line in weights.get_lines() if line.get_color() == figures.GREY and line.get_markerfacecolor() == "none"]
    assert sorted((round(10 ** -line.get_xdata()[0], 6), line.get_ydata()[0]) for line in grey) == [(0.05, 88.2), (0.05, 91.5)]
    assert [text.get_text() for text in channels.texts if text.get_fontsize() == figures.TINY] == ["CroP-S"]
    assert "grey: printed in the paper" in figure.texts[1].get_text()
    assert weights.get_ylim()[1] > 91.5
    ((_, bare, _),) = exhibits.against_sparsity([one], False)
    assert "grey" not in bare.texts[1].get_text()


# -- what they show ------------------------------------------------------------------------------------------------


def test_profiles_of_a_task_have_files_of_their_own():
    """They had one name: what was drawn last was all that was left."""
    paper = [replace(one, id=f"{one.id} paper", profile="paper") for one in RESNET]
    both = curves.comparisons([*RESNET, *paper])
    assert [ending for ending, _, _ in exhibits.against_memory(both, False)] == [
        "resnet18-cifar10-paper",
        "resnet18-cifar10-quick",
    ]
    assert curves.stems(both[:1]) == ["resnet18-cifar10"]
    config = {"recipe": {}, "pruner": "SNIP", "settings": {"until": {"epoch": 3}}}
    told = [replace(one, config=config) for one in (*RESNET, *paper) if one.pruner == "SNIP" and one.sparsity == 0.9]
    stems = [stem for stem, _, _ in moments.against_moments(curves.comparisons(told), False)]
    assert stems == ["resnet18-cifar10-paper-90", "resnet18-cifar10-quick-90"]


def test_figures_say_who_trains_longer():
    (one,) = curves.comparisons(RESNET)
    assert one.longer == {"LTR": 11.0}
    ((_, figure, _),) = exhibits.against_sparsity([one], False)
    assert "LTR: 11 times the training" in figure.texts[1].get_text()
    ((_, memory, _),) = exhibits.against_memory([one], False)
    assert "LTR, 11× the training" in [text.get_text() for text in memory.axes[0].texts]
    ((_, table, _),) = exhibits.costs([one], False, "Table 1")
    assert "LTR trains 11 times as long." in table.note
    uncounted = [replace(each, values={"return_greedy": 1.0}) for each in rows(1, ("Dense", "LTR"), (0.9,))]
    assert curves.comparisons(uncounted)[0].longer == {}, "nobody counted epochs"


def test_discs_lie_at_memory_and_accuracy_with_areas_like_files():
    (one,) = curves.comparisons(RESNET)
    ((_, figure, _),) = exhibits.against_memory([one], False)
    assert figure.texts[1].get_text().startswith("2 seeds; area")
    lone = [row for row in RESNET if row.sparsity != 0.9 or row.seed == 0]
    ((_, other, _),) = exhibits.against_memory(curves.comparisons(lone), False)
    assert other.texts[1].get_text().startswith("2 seeds; area"), "at another sparsity there is one"
    ((_, single, _),) = exhibits.against_memory(curves.comparisons([row for row in RESNET if row.seed == 0]), False)
    assert single.texts[1].get_text() == "1 seed; area: disk, CSR 16:1; filled: channels cut, hollow: weights"
    discs = [it for it in figure.axes[0].collections if isinstance(it, PathCollection) and len(it.get_offsets())]
    found = {tuple(np.round(it.get_offsets()[0], 6)): it.get_sizes()[0] for it in discs}
    cells = {name: [row for row in RESNET if row.pruner == name and row.sparsity in (0, 0.95)] for name in LTR}
    for name, rows_of_it in cells.items():
        memory, metric, disk = (
            np.mean([row.values[value] for row in rows_of_it]) for value in ("memory_peak_bytes", "top1", "disk_csr_mb")
        )
        dense = np.mean([row.values["disk_csr_mb"] for row in cells["Dense"]])
        size = found[tuple(np.round((memory / 1e6, metric), 6))]
        assert size == pytest.approx(max(exhibits.SMALLEST, exhibits.LARGEST * disk / dense)), name


def test_memory_that_is_as_good_as_equal_is_not_drawn_far_apart():
    some = [replace(one, values={**one.values, "memory_peak_bytes": 2e8 + len(one.pruner)}) for one in RESNET]
    ((_, figure, _),) = exhibits.against_memory(curves.comparisons(some), False)
    left, right = figure.axes[0].get_xlim()
    assert (left, right) == pytest.approx((195, 205))
    assert {text.get_color() for text in figure.axes[0].texts if text.get_text() in LTR} > {draw.INK}


def test_a_table_of_costs_has_means_and_says_what_nobody_measured(tmp_path):
    some = [replace(one, values={k: v for k, v in one.values.items() if k != "co2_grams"}) for one in RESNET]
    some = [replace(one, values={**one.values, "wall_seconds": 10.0 + one.seed} if one.seed else one.values) for one in some]
    (one,) = curves.comparisons(some)
    ((_, table, _),) = exhibits.costs([one], False, "Table 1")
    assert "No cell measured CO₂." in table.note
    assert "CO₂ (g)" not in table.header
    (line,) = [line for line in table.csv if line["pruner"] == "SNIP" and line["sparsity"] == 0.95]
    mine = [row.values["wall_seconds"] for row in some if row.pruner == "SNIP" and row.sparsity == 0.95]
    assert line["wall_seconds"] == pytest.approx(sum(mine) / 2)
    assert line["co2_grams"] is None
    assert table.title == "the task resnet18-cifar10, as in table 1 of the EarlyCroP paper"


def test_a_dense_network_of_another_task_says_of_which():
    """Table 3's is another network than the one that is cut."""
    large = of_task("resnext101-32x48d-cifar10", TOP1, rows(1, ("CroP-S",), (0.985,)))
    whole = of_task("resnext101-32x16d-cifar10", TOP1, rows(1, ("Dense",), (0.985,)))
    ((_, table, _),) = exhibits.costs(curves.comparisons(large + whole), False, "Table 3")
    assert [heading for heading, _ in table.blocks] == [
        "the task resnext101-32x16d-cifar10",
        "the task resnext101-32x48d-cifar10, 98.5 % removed, structured (channels)",
    ]
    assert table.title.startswith("the task resnext101-32x16d-cifar10 and the task resnext101-32x48d-cifar10, as in table 3")


def test_levels_across_are_what_every_cell_measured_alike():
    (one,) = curves.comparisons(KINDS["figure6"])
    ((_, figure, _),) = exhibits.against_sparsity([one], False, {"unigram": "unigrams", "fivegram": "5-grams", "none": "none"})
    levels = {line.get_label(): line.get_ydata()[0] for line in figure.axes[0].get_lines()}
    assert (levels["unigrams"], levels["5-grams"]) == (5.3, 4.4)
    assert "none" not in levels


def test_crowded_tasks_and_profiles_are_drawn_apart():
    many = [
        replace(one, id=f"{one.id} {start}", pruner=f"{one.pruner} {start}", task="crowd")
        for one in rows(1, ("SNIP", "CroP-S", "SNAP", "GraSP", "CroP-U", "Random-S"), (0.9,))
        for start in ("kept", "rescaled", "redrawn", "shuffled")
    ]
    others = [replace(one, id=f"{n}-{one.id}", task=f"task{n}") for n in range(4) for one in rows(1, ("Dense", "SNIP"), (0.9,))]
    smoke = [replace(one, id=f"smoke {one.id}", profile="smoke") for one in rows(1, ("Dense", "SNIP"), (0.9,))]
    made = list(exhibits.against_sparsity(curves.comparisons(many + others + smoke), False))
    assert [ending for ending, _, _ in made] == ["quick-1", "quick-2", "quick-3", "smoke-4"]
    assert [len(figure.axes) for _, figure, _ in made] == [3, 1, 6, 1], (
        "a column a task, one task of two ways of cutting, a panel a pruner"
    )


def test_tasks_with_many_variants_have_files_of_their_own(tmp_path, monkeypatch, capsys):
    some = [
        replace(one, id=f"{one.id} {start}", pruner=f"{one.pruner} {start}", task=task)
        for one in rows(1, ("SNIP", "CroP-S", "SNAP", "GraSP", "CroP-U", "Random-S"), (0.9,))
        for start in ("kept", "rescaled", "redrawn", "shuffled")
        for task in ("one", "two")
    ]
    some = [replace(one, id=f"{one.id} {one.task}") for one in some]
    monkeypatch.setattr(sys, "argv", ["sparsity", str(stored(tmp_path / "run", some)), "--to", str(tmp_path), "--name", "it"])
    runpy.run_path(str(ROOT / "plots" / "sparsity.py"))["main"]()
    assert capsys.readouterr().out.split() == [str(tmp_path / "it-1.png"), str(tmp_path / "it-2.png")]


def test_time_over_dense_is_of_training_and_scoring():
    some = of_task("glue-rte", Measure("accuracy", "accuracy", "%"), rows(2, ("Dense", "SNIP"), (0.7,)), scoring_seconds=1.0)
    ((_, table, _),) = exhibits.over_dense(curves.comparisons(some), False)
    seconds = {
        name: np.mean([row.values["training_seconds"] + 1 for row in some if row.pruner == name]) for name in ("Dense", "SNIP")
    }
    (line,) = [line for line in table.csv if line["pruner"] == "SNIP"]
    assert line["time_over_dense"] == pytest.approx(seconds["SNIP"] / seconds["Dense"])
    slow = {"training_seconds": 1e6, "accuracy": 1.0}
    held = [
        replace(one, id=f"{one.id} held", pruner="Dense held", values={**one.values, **slow})
        for one in some
        if one.cut == "nothing"
    ]
    (one,) = curves.comparisons([*some, *held])
    ((_, beside, _),) = exhibits.over_dense([one], False)
    assert [line for line in beside.csv if line["pruner"] == "SNIP"] == [line], "whoever else is not cut"
    config = {**some[0].config, "pruner": "SNIP", "settings": {"until": {"epoch": 3}}}
    (one,) = curves.comparisons([*(replace(it, config=config) if it.pruner == "SNIP" else it for it in some), *held])
    level = moments.figure(one, 0.7).axes[0].get_lines()[-1].get_ydata()[0]
    assert level == pytest.approx(one.estimates(0.0, "accuracy")["Dense"].iqm)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
def test_latex_sets_every_table_of_the_paper(tmp_path, monkeypatch):
    scripts = [script for script in KINDS if not script.startswith("figure")]
    for script in scripts:
        assert ran(script, monkeypatch, stored(tmp_path / script, KINDS[script]), "--to", tmp_path / "to", "--paper") is None
    inputs = "".join(rf"\input{{to/{file.name}}}\clearpage" for file in sorted((tmp_path / "to").glob("*.tex")))
    packages = r"\documentclass[twocolumn]{article}\usepackage{booktabs,graphicx}"
    (tmp_path / "all.tex").write_text(rf"{packages}\begin{{document}}{inputs}\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert inputs.count("input") == len(scripts) == 8
    assert "Overfull \\hbox" not in ended.stdout


def test_everything_is_made_that_can_be_and_the_rest_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    glue = of_task("glue-rte", Measure("accuracy", "accuracy", "%"), suite="glue")
    stored(tmp_path / "results" / "a", [*glue, *of_task("vgg16-cifar10", TOP1, suite="somebody's")])
    (tmp_path / "results" / "b").mkdir()
    (tmp_path / "results" / "b" / "results.sqlite").write_text("damaged")
    monkeypatch.setattr(sys, "argv", ["everything", "--paper"])
    runpy.run_path(str(ROOT / "plots" / "everything.py"))["main"]()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("left out: results/b")
    assert "table 8: figures/table8.md; the paper's own: python -m rlprune.run glue --profile paper --data DIR" in said
    assert sum(line.startswith("missing: ") and "python -m rlprune.run" in line for line in said) == len(SCRIPTS) - 1
    with (tmp_path / "figures" / "table8.csv").open(encoding="utf-8") as file:
        assert {line["pruner"] for line in csv.DictReader(file)} == set(LTR)
    monkeypatch.setattr(sys, "argv", ["everything", "nowhere"])
    with pytest.raises(ValueError, match="no results here"):
        runpy.run_path(str(ROOT / "plots" / "everything.py"))["main"]()
    monkeypatch.setattr(sys, "argv", ["everything", "results/a", "--to", "it.md"])
    with pytest.raises(ValueError, match=r"^it\.md: no file that ends in \.md is written here: name a folder$"):
        runpy.run_path(str(ROOT / "plots" / "everything.py"))["main"]()
