"""Rows of a damaged file of results, or of a stranger's: the page is there, shows what is sound, and says what is not."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rows import row, rows

from rlprune.__main__ import main
from rlprune.costs.judged import document
from rlprune.report import curves, tables
from rlprune.report.comparable import gathered
from rlprune.report.page import summary_table, write_report
from rlprune.report.sentences import opening
from rlprune.report.sound import DAMAGED, sound
from rlprune.store import Store

SOME = rows(2, pruners=("Dense", "SNIP"), sparsities=(0.9,))
ONE = row("SNIP", 0.9, 7)


def judged(**changes):
    return {"judged": replace(ONE.judged, **changes)}


def metric(**changes):
    return judged(metric=replace(ONE.judged.metric, **changes))


def valued(**values):
    return {"values": {**ONE.values, **values}}


DAMAGE = {
    "no labels": {"labels": {}},
    "labels of another kind": {"labels": ["x"]},
    "judged by nothing": {"judged": None},
    "judged by another kind": {"judged": ["x"]},
    "judged by an empty document": {"judged": {}},
    "judged by no metric": metric(name=""),
    "a metric of another kind": judged(metric=["return_greedy"]),
    "a metric's name of another kind": metric(name=5),
    "a metric's title of another kind": metric(title=["return"]),
    "a metric's unit of another kind": metric(unit=b"m"),
    "another direction": metric(better="sideways"),
    "a list for a direction": metric(better=["higher"]),
    "no direction": metric(better=None),
    "a curve of another kind": judged(curve=3),
    "a unit of another kind": judged(unit=["steps"]),
    "anchor no number": judged(anchors={"dense": "many"}),
    "anchor too large": judged(anchors={"random": 1e308, "dense": 500.0}),
    "anchor not finite": judged(anchors={"random": float("nan"), "dense": 500.0}),
    "a list for an anchor": judged(anchors={"dense": [500.0]}),
    "a list for anchors": judged(anchors=[22.0, 500.0]),
    "an anchor of another name": judged(anchors={5: 1.0}),
    "further measures of another kind": judged(also="return_sampled"),
    "further measures without names": judged(also=(5, None)),
    "a hundred thousand further measures": judged(also=ONE.judged.also * 100_000),
    "no config": {"config": None},
    "config of another kind": {"config": {"recipe": 5, "settings": "x"}},
    "text for a number": valued(return_greedy="abc"),
    "a number too large": valued(macs=1e308),
    "an integer too large": valued(macs=10**400),
    "bytes": valued(macs=b"\x00"),
    "infinite": valued(return_greedy=float("inf")),
    "values of another kind": {"values": [1, 2]},
    "epochs of another kind": {"epochs": "abc"},
    "epochs with text": {"epochs": [{"samples": "x", "return_train": 1.0}]},
    "a layer without weights": {"layers": {"a": {"kept": 0.0, "dense": 0.0}}},
    "a layer without a count": {"layers": {"a": {"kept": 1.0}}},
    "a sparsity of one": {"sparsity": 1.0},
    "a sparsity in words": {"sparsity": "most"},
    "a negative sparsity": {"sparsity": -0.1},
    "a seed in words": {"seed": "x"},
    "a cut nobody knows": {"cut": "everything"},
    "a status nobody knows": {"status": "finished"},
    "no name": {"pruner": None},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_row_is_told_and_spoils_no_other(damage):
    some = [*SOME, replace(ONE, **damage)]
    assert DAMAGED in sound(some)[-1].labels
    assert sum(len(block) for _, block in missing(some)) == 1
    assert any("1 row is damaged" in sentence for sentence in opening(some))
    assert summary_table(SOME)[1][0][1:] in [line[1:] for line in summary_table(some)[1]]  # Dense


def missing(some):
    return tables.missing_table(sound(some)).blocks


def test_sound_rows_are_as_they_were():
    assert [replace(one, epochs=list(one.epochs)) for one in SOME] == sound(SOME)
    damaged = sound([replace(ONE, **damage) for damage in DAMAGE.values()])
    assert sound(damaged) == damaged


def test_sound_rows_of_a_store_are_not_made_anew(tmp_path):
    with Store(tmp_path / "results.sqlite") as store:
        store.save(*SOME)
        stored = store.rows()
    assert all(one is other for one, other in zip(sound(stored), stored, strict=True))


def test_layers_of_a_store_and_mappings_are_counted_alike(tmp_path):
    with Store(tmp_path / "results.sqlite") as store:
        store.save(*SOME)
        stored = store.rows()
    one, other = (curves.layer_shares(*curves.comparisons(some), 0.9) for some in (stored, SOME))
    assert one.layers == other.layers
    np.testing.assert_array_equal(one.kept["SNIP"], other.kept["SNIP"])
    assert (one.starved, one.seeds) == (other.starved, other.seeds)
    layers = stored[-1].layers
    assert layers.within(1e9)
    assert not layers.within(1.0)
    assert layers.within(1e9)


def test_a_pruner_of_another_kind_in_the_configuration_is_shown():
    odd = [replace(one, config={**one.config, "pruner": ["x"]}) if one.pruner == "SNIP" else one for one in SOME]
    assert [line[0] for line in summary_table(odd)[1]] == [line[0] for line in summary_table(SOME)[1]]


@pytest.mark.parametrize("error", [None, "", " \n ", "\x1b[2J\x07"])
def test_a_failure_without_a_reason_is_a_failure(error):
    (line,) = missing([replace(ONE, status="failed", error=error)])[0][1]
    assert line[0].text == "failed"
    assert line[5].text in ("no reason recorded", "\\x1b[2J\\x07")


NAMES = [
    "5$ or 6$",
    r"$\frac{a}{b}$",
    "$",
    "_x",
    "a_b % & < > | # ~ ^ \\ { }",
    "a\nb",
    "=1+1",
    "x" * 400,
    "\x1b[31m",
    "雪😀",
    "[x](y)",
]


def test_every_name_is_drawn_as_it_is_and_every_table_has_its_lines(tmp_path):
    some = [replace(one, pruner=name, id=f"{one.id}{name}") for name in NAMES for one in SOME[2:]]
    some = [
        replace(one, labels={**one.labels, "task_title": r"Cart $\bad{Pole}$"}, **metric(title="return $_$"))
        for one in SOME[:2] + some
    ]
    told = []
    page = write_report(some, tmp_path, "run \x1b[31m '\ud800'", tell=told.append).read_text(encoding="utf-8")
    assert told == []
    assert "could not be made" not in page
    assert not {"\x1b", "\ud800"} & set(page)
    for table in (tmp_path / "tables").iterdir():
        text = table.read_text(encoding="utf-8")
        assert "\x1b" not in text
        body = [line for line in text.splitlines() if " & " in line]
        assert len({line.replace(r"\&", "").count(" & ") for line in body}) <= 1
    measures = (tmp_path / "tables" / "cartpole-quick-cartpole-v1-measures-90.md").read_text(encoding="utf-8")
    assert r"| 5\$ or 6\$ |" in measures
    assert r"[x]\(y)" in measures
    svg = (tmp_path / "figures" / "cartpole-quick-cartpole-v1-sparsity.svg").read_text(encoding="utf-8")
    assert "Italic" not in svg


def test_no_file_is_written_outside_the_folder(tmp_path):
    out = tmp_path / "deep" / "out"
    names = ["../../evil", "/tmp/evil", "a/b", "..", "x" * 400, "evil\x00"]
    bare = [replace(one, epochs=[], id=name) for name in names for one in SOME[:1]]
    write_report([replace(one, suite=one.id, profile=one.id, task=one.id) for one in bare], out)
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}
    assert not list(tmp_path.rglob("*.new"))
    for path in out.rglob("*.csv"):
        assert path.parent.name == "tables"


def test_suites_that_differ_in_case_alone_do_not_write_over_each_other(tmp_path):
    other = [replace(one, id=f"b{one.id}", suite="cart pole", profile="QUICK") for one in SOME]
    page = write_report([*SOME, *other], tmp_path)
    names = [file.name.casefold() for file in (page.parent / "figures").iterdir()]
    assert len(names) == len(set(names))


# -- a figure that fails, a folder that cannot be written --------------------------------------------------------


def test_one_figure_that_cannot_be_drawn_is_a_line_and_the_others_are_there(tmp_path):
    pictures = tmp_path / "checkpoints"
    pictures.mkdir()
    import numpy as np

    arrays = {"images": np.zeros(3), "truth": np.zeros((1, 2, 3)), "predicted": np.zeros(1), "quantity": np.array("m")}
    np.savez(pictures / f"{SOME[2].id}.npz", **arrays)
    (pictures / f"{SOME[0].id}.npz").write_bytes(b"no archive")
    told = []
    page = write_report(SOME, tmp_path, tell=told.append).read_text(encoding="utf-8")
    (line,) = told
    assert line.startswith("figure cartpole-quick-cartpole-v1-pictures could not be made: ")
    assert line in page.replace("&#x27;", "'")
    assert (tmp_path / "figures" / "cartpole-quick-cartpole-v1-sparsity.png").is_file()


def test_a_report_that_cannot_be_written_is_one_line(tmp_path, capsys):
    with Store(tmp_path / "results.sqlite") as store:
        for one in SOME[:1]:
            store.save(one)
    (tmp_path / "figures").write_text("in the way")
    assert main(["report", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "no report could be written" in told
    assert told.count("\n") == 1


def test_a_damaged_database_is_one_line_or_a_page(tmp_path, capsys):
    file = tmp_path / "results.sqlite"
    with Store(file) as store:
        for one in SOME[:2]:
            store.save(one)
    with sqlite3.connect(file) as base:
        base.execute("UPDATE cells SET labels = ?, error = x'ff00', sparsity = 'most' WHERE seed = 0", [json.dumps({"a": 1})])
    base.close()
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    with sqlite3.connect(file) as base:
        base.execute("UPDATE cells SET labels = '{'")
    base.close()
    capsys.readouterr()
    assert main(["report", str(tmp_path)]) == 2
    *damaged, why = capsys.readouterr().err.splitlines()
    assert len(damaged) == 2, "a line for each row"
    assert "no cell is there that can be read" in why


DOCUMENTS = {
    "no object": [1, 2],
    "a text": "return_greedy",
    "no metric": {**document(ONE.judged), "metric": None},
    "a list for a name": {**document(ONE.judged), "metric": {"name": ["return_greedy"]}},
    "an unknown direction": {**document(ONE.judged), "metric": {"name": "return_greedy", "better": "sideways"}},
    "no direction": {**document(ONE.judged), "metric": {"name": "return_greedy", "title": "return"}},
    "no curve": {**document(ONE.judged), "curve": 5},
    "lists for numbers": {**document(ONE.judged), "anchors": {"random": [22.0], "dense": [500.0]}},
    "a large anchor": {**document(ONE.judged), "anchors": {"random": 1e308, "dense": 500.0}},
    "an anchor out of reach": {**document(ONE.judged), "anchors": {"random": 10**400}},
    "a hundred thousand further measures": {**document(ONE.judged), "also": [{"name": f"m{n}"} for n in range(100_000)]},
    "further measures of every kind": {**document(ONE.judged), "also": [None, 1, "x", [], {}, {"name": 3}, {"name": "macs"}]},
}


@pytest.mark.parametrize("judged", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_damaged_document_in_the_file_is_told_and_spoils_no_other(judged, tmp_path, recwarn):
    file = tmp_path / "results.sqlite"
    with Store(file) as store:
        for one in (*SOME, ONE):
            store.save(one)
    with closing(sqlite3.connect(file)) as base, base:
        base.execute("UPDATE cells SET judged = ? WHERE id = ?", [json.dumps(judged), ONE.id])
    read = gathered([tmp_path])
    told = [str(warning.message) for warning in recwarn if ONE.id in str(warning.message)]
    assert len(told) + sum(DAMAGED in one.labels for one in read) > 0
    assert {one.id for one in SOME} <= {one.id for one in read}
    (compared,) = curves.comparisons(read)
    assert (compared.metric.name, compared.metric.better) == ("return_greedy", "higher")
    assert opening(read)
    for sparsity in compared.sparsities:
        table = tables.measures_table(compared, sparsity)
        assert len(table.header) < 200
        assert tables.to_csv(table)


# -- the user's surroundings -------------------------------------------------------------------------------------


def test_figures_are_the_same_bytes_whatever_the_users_matplotlib_says(tmp_path):
    (tmp_path / "matplotlibrc").write_text(
        "backend: module://nowhere\ntext.usetex: True\nfont.family: Comic Sans MS\nsavefig.bbox: tight\naxes.grid: True\n"
        "lines.linewidth: 9\nsvg.fonttype: none\nfigure.dpi: 30\n"
    )
    program = (
        "import sys; sys.path[:0] = sys.argv[2:4]\n"
        "from rows import rows\nfrom pathlib import Path\nfrom rlprune.report import curves, draw, figures\n"
        "(one,) = curves.comparisons(rows(2, pruners=('Dense', 'SNIP'), sparsities=(0.9,)))\n"
        "draw.save(figures.cost_figure(one, 0.9), Path(sys.argv[1]), 'costs')\n"
    )
    paths = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    for name, where, more in (
        ("plain", "/", {}),
        ("theirs", tmp_path, {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}),
    ):
        import os

        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", program, str(tmp_path / name), *paths]
        subprocess.run(command, check=True, cwd=where, env={**os.environ, **more}, capture_output=True)
    for ending in ("png", "svg", "pdf"):
        assert (tmp_path / "plain" / f"costs.{ending}").read_bytes() == (tmp_path / "theirs" / f"costs.{ending}").read_bytes()


def test_drawing_leaves_the_users_settings_alone(tmp_path):
    import matplotlib as mpl

    from rlprune.report import draw, figures

    (one,) = curves.comparisons(SOME)
    with mpl.rc_context({"font.size": 33, "text.parse_math": True}):
        before = dict(mpl.rcParams)
        draw.save(figures.sparsity_figure([one.chart]), tmp_path, "x")
        assert dict(mpl.rcParams) == before
