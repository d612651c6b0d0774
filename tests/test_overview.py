"""``plots/overview.py``: what every pruner keeps on several tasks."""

import re
from dataclasses import replace

import pytest
from rows import as_task, rows
from scripted import scripted

from rlprune.report import heatmap
from rlprune.report.curves import comparisons
from rlprune.report.page import write_report
from rlprune.store import Store


def stored(folder, some):
    with Store(folder / "results.sqlite") as store:
        for one in some:
            store.save(one)
    return folder


def ending(ends, sparsities=(0.9, 0.95), seeds=4):
    """Return cells of variants of SNIP that end, sampled, at a value each, beside a dense network that ends at 500."""
    dense = [replace(one, values={**one.values, "return_sampled": 500.0}) for one in rows(seeds, ("Dense",), ())]
    starts = {name: {"start": name.rpartition(" ")[2]} if " " in name else {"start": "rescaled"} for name in ends}
    return dense + [
        replace(
            one,
            id=f"{one.id} {name}",
            pruner=name,
            config={**one.config, "settings": starts[name]},
            values={**one.values, "return_sampled": float(end)},
        )
        for one in rows(seeds, ("SNIP",), sparsities)
        for name, end in ends.items()
    ]


def drawn(tmp_path, some, *words):
    scripted("overview.py", stored(tmp_path / "run", some), "--to", tmp_path / "drawn", *words)
    return re.findall("<!-- (.+?) -->", (tmp_path / "drawn" / "overview.svg").read_text(encoding="utf-8"))


def test_starts_that_are_asked_for_are_rows_of_their_own(tmp_path):
    told = drawn(tmp_path, ending({"SNIP": 400, "SNIP kept": 50, "SNIP measured": 490}))
    assert {"SNIP", "SNIP measured", "80", "98"} <= {*told}
    assert "SNIP kept" not in told
    other = drawn(tmp_path / "other", ending({"SNIP rescaled": 400, "SNIP kept": 50}), "--starts", "kept,rescaled")
    assert {"SNIP", "SNIP rescaled", "10", "80"} <= {*other}


def test_pruners_of_a_single_task_are_left_out_where_there_are_several(tmp_path):
    some = ending({"SNIP": 400, "SynFlow": 500}, (0.9,))
    others = as_task([one for one in ending({"SNIP": 450}, (0.9, 0.98)) if one.sparsity != 0.9], "b", "B", 0.0, 1.0)
    told = drawn(tmp_path, [*some, *others])
    ended = scripted("overview.py", tmp_path / "run", "--to", tmp_path)
    assert ended.stdout.startswith("Left out, for a single task has them: SynFlow.\n")
    assert "SNIP" in told
    assert "SynFlow" not in told
    assert {"B", "90 %", "98 %"} <= {*told}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--starts", "shuffled"], "no start here is named 'shuffled'"),
        (["--starts", "measured"], "no pruner was run from measured"),
        (["--sparsities", ".5"], "no pruner was run from rescaled or measured at the sparsities that are asked for"),
        (["--sparsities", "much"], "could not convert string to float: 'much'"),
        (["--metric", "top1"], "no share of dense"),
    ],
)
def test_what_cannot_be_shown_is_told(tmp_path, words, told):
    ended = scripted("overview.py", stored(tmp_path / "run", ending({"SNIP": 400})), *words, check=False, cwd=tmp_path)
    assert ended.returncode == 1
    assert told in ended.stderr


def test_a_report_of_two_tasks_begins_with_it(tmp_path):
    some = ending({"SNIP": 400}, (0.9,), seeds=1)
    page = write_report([*some, *as_task(some, "b", "B", 0.0, 1.0)], tmp_path).read_text(encoding="utf-8")
    assert (tmp_path / "figures" / "all-quick-kept.svg").is_file()
    assert "What is kept of the dense network" in page


def test_where_a_share_means_nothing_there_is_none(tmp_path):
    (one,) = comparisons(one for one in ending({"SNIP": 400}) if one.pruner != "Dense")
    assert heatmap.column(one, "return_sampled") is None
    (one,) = comparisons(ending({"SNIP": 400}))
    assert heatmap.column(one, "return_sampled").kept["SNIP"][0.9] == heatmap.Kept(0.8, 0, 4)
    assert heatmap.column(one, "wall_seconds", asked=[0.5]) is None
