"""The page of a report as its readers use it: the question first, every line leads to its cells, tables fit on paper."""

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from hashlib import sha256
from html import unescape
from pathlib import Path

import pytest
from rows import LOWER, row, rows

from rlprune.report import curves, html, tables
from rlprune.report.listing import Listing
from rlprune.report.page import write_report
from rlprune.report.question import question_table
from rlprune.rows import Row

FEW = ("Dense", "SNIP", "GraSP", "CroP-S", "SNAP")


def only(some: list[Row]) -> curves.Comparison:
    (one,) = curves.comparisons(some)
    return one


def test_what_a_report_no_longer_has_goes_and_what_is_somebody_elses_stays(tmp_path: Path) -> None:
    """Tables of other rows stood beside the new ones, under names of the same run."""
    write_report(rows(2, ("Dense", "SNIP"), (0.8, 0.9)), tmp_path)
    whole = {folder: {file.name for file in (tmp_path / folder).iterdir()} for folder in ("figures", "tables")}
    own = tmp_path / "tables" / "mine-90.md"
    own.write_text("my own", encoding="utf-8")
    write_report(rows(2, ("Dense", "SNIP"), (0.8,)), tmp_path)
    write_report(rows(2, ("Dense", "SNIP"), (0.8,)), tmp_path / "fresh")
    for folder in whole:
        left = {file.name for file in (tmp_path / folder).iterdir()} - {own.name}
        assert left == {file.name for file in (tmp_path / "fresh" / folder).iterdir()} != whole[folder]
    assert own.is_file()
    page = tmp_path / "report.html"
    page.write_text("<!-- made: tables/../report.html|tables/mine-90.md/|/etc/passwd|tables/ -->", encoding="utf-8")
    write_report(rows(2, ("Dense", "SNIP"), (0.8,)), tmp_path)
    assert page.is_file()
    assert own.is_file()


def test_a_sparsity_at_which_all_have_diverged_hides_no_other(tmp_path: Path) -> None:
    """The page said that no pruner had finished, and its profiles could not be drawn."""
    some = [
        replace(one, values={name: it for name, it in one.values.items() if name != "return_greedy" or one.sparsity < 0.9})
        for one in rows(3, ("Dense", "SNIP", "CroP-S"), (0.8, 0.9))
    ]
    told: list[str] = []
    page = write_report(some, tmp_path, tell=told.append).read_text(encoding="utf-8")
    assert told == []
    assert "no pruner that removes anything has finished" not in page
    assert "with 80 % of weights removed, CroP-S ends best" in page
    assert "With 90 % of weights removed no cell has a return." in page


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(rows(3, FEW, (0.8, 0.98)), tmp_path_factory.mktemp("page")).read_text(encoding="utf-8")


def text_of(part: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", part))


# -- from a number to its cells ----------------------------------------------------------------------------------


def test_every_line_of_costs_leads_to_the_cells_behind_it(page: str) -> None:
    anchors = set(re.findall(r' id="([^"]+)"', page))
    links = re.findall(r'href="#([^"]+)"', page)
    assert links
    assert set(links) <= anchors
    costs = page.partition("98 % of weights removed</b>")[2].partition("</figure>")[0]
    (target,) = set(re.findall(r'<th><a href="#(c[^"]+)">SNIP</a></th>', costs))
    body = page.partition(f'<tbody id="{target}">')[2].partition("</tbody>")[0]
    assert text_of(body).startswith("SNIP, 98 % removed")
    assert re.findall(r"<tr><th>(.*?)</th><td>(\d)</td>", body) == [(f"SNIP-0.98-{seed}", str(seed)) for seed in range(3)]
    value = row("SNIP", 0.98, 1).values["return_greedy"]
    assert f"<td>{value:.6g}</td>" in body
    assert "5d3890a" in body


def test_a_table_over_tasks_leads_to_the_cells_of_each(tmp_path: Path) -> None:
    other = {"task": "acrobot-v1", "judged": replace(row("SNIP", 0.9, 0).judged, anchors={"random": -500.0, "dense": 90.0})}
    other["labels"] = {**row("SNIP", 0.9, 0).labels, "task_title": "Acrobot-v1"}
    here = rows(2, ("Dense", "SNIP"), (0.9,))
    there = [replace(one, id=f"a{one.id}", **other) for one in here]
    page = write_report([*here, *there], tmp_path).read_text(encoding="utf-8")
    line = page.partition("All tasks, 90 % of weights removed")[2].partition("<th>SNIP</th>")[2].partition("</tr>")[0]
    targets = re.findall(r'<a href="#(c[^"]+)">', line)
    cells = [page.partition(f'<tbody id="{target}">')[2].partition("</tbody>")[0] for target in targets]
    assert sorted(re.findall(r"<th>(a?SNIP-0.9-0)</th>", " ".join(cells))) == ["SNIP-0.9-0", "aSNIP-0.9-0"]
    assert len(cells) == 2


@pytest.mark.parametrize("title", ["how fast pruners learn", "probability of improvement"])
def test_other_tables_lead_there_too(page: str, title: str) -> None:
    table = page.partition(title)[2].partition("</table>")[0]
    assert re.search(r'<a href="#c[^"]+">', table)


def test_the_cells_say_how_one_is_shown_and_on_which_machine_it_ran() -> None:
    some = rows(2, ("Dense", "SNIP"), (0.9,))
    some[-1] = replace(some[-1], machine={"cpu": "another", "cores": "8"}, config={**some[-1].config, "fleet": True}, values={})
    table = Listing(only(some), 0).table()
    assert "rlprune show OUT CELL" in table.note
    assert "A: AMD EPYC 7763, 2 cores; B: another, 8 cores" in table.note
    assert [[line[place].text for place in (1, 5, 7)] for line in table.blocks[1][1]] == [
        ["0", "alone", "A"],
        ["1", "in a fleet", "B"],
    ]


def test_dense_has_its_cells_once_whatever_the_sparsity() -> None:
    listing = Listing(only(rows(2, ("Dense", "SNIP"), (0.8, 0.9))), 3)
    assert listing.count == 2 + 4
    assert listing.anchor(("Dense", 0.8)) == listing.anchor(("Dense", 0.0)) == "c3-0"
    assert listing.anchors == ["c3-0", "c3-1", "c3-2"]
    assert listing.anchor(("LTR", 0.8)) == ""


# -- the question ------------------------------------------------------------------------------------------------


def answered(returns: dict[str, list[float]], **changes: object) -> dict[str, list[str]]:
    some = [
        replace(row(pruner, 0.9, seed), values={"return_greedy": value}, **changes)  # type: ignore[arg-type]
        for pruner, values in returns.items()
        for seed, value in enumerate(values)
    ]
    table = question_table(only(some))
    return {line[1].text: [entry.text for entry in line] for _, block in table.blocks for line in block}


def test_the_best_is_sure_where_its_seeds_tell_it_from_every_other() -> None:
    best, level = [100.0 + seed for seed in range(10)], [50.0] * 10
    told = answered({"SNIP": best, "GraSP": level, "CroP-U": level, "SNAP": best, "CroP-S": [value - 1 for value in best]})
    assert told["unstructured (weights)"][2] == "SNIP"
    assert told["unstructured (weights)"][-1] == "yes: better than each of 2 others (p ≤ 0.00391)"  # 2 * 2 / 2^10
    assert told["structured (channels)"][-1].startswith("yes")


def test_rivals_are_named_and_few_seeds_are_said_to_tell_nothing() -> None:
    mixed = [100.0 + (-1) ** seed for seed in range(10)]
    told = answered({"SNIP": [100.5] * 10, "GraSP": mixed, "SNAP": [3.0, 2.0], "CroP-S": [1.0, 1.0]})
    assert told["unstructured (weights)"][-1] == "no: GraSP cannot be told from it"
    assert told["structured (channels)"][-1] == "no: 2 seeds are too few to tell CroP-S from it"


def test_seeds_count_that_both_have() -> None:
    told = answered({"SNIP": [100.0 + seed for seed in range(10)], "GraSP": [50.0, 50.0, 50.0]})
    assert told["unstructured (weights)"][-1] == "no: 3 seeds are too few to tell GraSP from it"


def test_who_is_alone_in_its_cut_is_said_to_be_the_only_pruner_of_it() -> None:
    told = answered({"Dense": [9.0, 9.0], "SNIP": [3.0, 2.0], "CroP-S": [1.0, 1.0]})
    assert told["unstructured (weights)"][-1] == "only one pruner cuts weights here: none to tell it from"
    assert told["structured (channels)"][-1] == "only one pruner cuts channels here: none to tell it from"


def test_who_ends_alike_is_named_beside_the_best_whose_mean_is() -> None:
    level, uneven = [5.0] * 8, [9.0, *[5.0] * 6, 0.0]
    told = answered({"SNIP": uneven, "GraSP": level, "CroP-U": [1.0] * 8, "SNAP": level, "CroP-S": [1.0] * 8})
    assert told["unstructured (weights)"][2] == "GraSP, SNIP"
    assert told["unstructured (weights)"][-1] == "no: 1 of 2 others cannot be told from it: SNIP"
    assert told["structured (channels)"][2] == "SNAP"


def test_of_errors_the_smallest_is_best() -> None:
    assert answered({"SNIP": [3.0], "GraSP": [2.0]}, judged=LOWER)["unstructured (weights)"][2] == "GraSP"


def test_the_question_comes_before_figures_and_tables(page: str) -> None:
    places = [page.index(found) for found in ("Which pruner, at which size", "<img", "mean ± std", "cells behind these numbers")]
    assert places == sorted(places)


# -- script and style --------------------------------------------------------------------------------------------


def test_a_browser_runs_the_one_script_and_no_other(page: str) -> None:
    script = page.partition("<script>")[2].partition("</script>")[0]
    allowed = base64.b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in page
    assert "default-src 'none'" in page
    assert not re.search(r"""<[^>]* on\w+=|https?://""", page.partition("<body>")[2])


def test_blocks_are_sorted_apart_and_a_heading_is_no_line_of_them() -> None:
    shown = html.table(tables.cost_table(only(rows(2, FEW, (0.9,))), 0.9))
    assert shown.count("<tbody>") == 3
    assert shown.count('<tr class="block">') == 2


CHROMIUM = shutil.which("chromium")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_click_on_a_heading_sorts_each_block(page: str, tmp_path: Path) -> None:
    """The page in a browser: a second script, allowed for this test, clicks on what training time a pruner took."""
    click = (
        'const title = [...document.querySelectorAll("thead th")].find((th) => th.textContent === "training time (s)");'
        "title.click(); document.title = [...title.closest('table').tBodies].map("
        '(body) => [...body.querySelectorAll("tr:not(.block) td:nth-child(5)")].map((td) => td.textContent)).join("|");'
    )
    allowed = base64.b64encode(sha256(click.encode()).digest()).decode()
    changed = page.replace("script-src ", f"script-src 'sha256-{allowed}' ").replace(
        "</body>", f"<script>{click}</script></body>"
    )
    (tmp_path / "page.html").write_text(changed, encoding="utf-8")
    browser = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [*browser, "--dump-dom", (tmp_path / "page.html").as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    blocks = re.search("<title>(.*?)</title>", found)[1].split("|")  # type: ignore[index]
    times = [[float(time) for time in block.split(",")] for block in blocks]
    assert [len(block) for block in times] == [1, 2, 2]
    assert times == [sorted(block, reverse=True) for block in times]


# -- tables that fit ---------------------------------------------------------------------------------------------


def test_a_note_explains_bold_and_underlined_where_there_are_any() -> None:
    alone, beside = (only(rows(2, ("Dense", *pruners), (0.8, 0.9))) for pruners in (("SNIP", "CroP-S"), ("SNIP", "CroP-U")))
    for make in (lambda one: tables.cost_table(one, 0.9), tables.dense_table):
        for one, many in ((alone, False), (beside, True)):
            table = make(one)
            marked = "best" in {entry.mark for _, block in table.blocks for line in block for entry in line}
            assert marked == ("bold" in table.note) == many


def test_captions_promise_no_intervals_nor_points_of_one_seed(page: str, tmp_path: Path) -> None:
    some = [replace(row(name, 0.9), values={"return_greedy": 3.0}, epochs=(), layers={}) for name in ("Dense", "SNIP")]
    single = write_report(some, tmp_path).read_text(encoding="utf-8")
    assert "metric and costs, 1 seed, single values.</figcaption>" in single
    assert "Faint points are seeds" in page
    assert "Faint points are seeds" not in single
    assert "metric and costs, 3 seeds: interquartile mean with its 95 % interval" in page


def test_captions_speak_of_no_dense_network_where_none_was_trained(page: str, tmp_path: Path) -> None:
    without = write_report(rows(3, ("SNIP", "CroP-S"), (0.8, 0.98)), tmp_path).read_text(encoding="utf-8")
    for words in ("The line across is the dense network.", "dense a star", "darker for sparser, dense dotted"):
        assert words in page
        assert words not in without


def test_costs_are_two_tables_the_first_of_them_the_papers_eight_columns() -> None:
    table = tables.cost_table(only(rows(2, FEW, (0.9,))), 0.9)
    first, further = tables.paper_first(table)
    assert first.header == (
        "pruner",
        "return, IQM [95 %]",
        "weights removed (%)",
        "nodes removed (%)",
        "training time (s)",
        "batch time (ms)",
        "peak memory (MB)",
        "disk, CSR 16:1 (MB)",
        "CO₂ (g)",
    )
    assert {*first.header, *further.header} == {*table.header}
    assert len(first.header) + len(further.header) == len(table.header) + 1
    assert first.blocks[1][1][0][4] == table.blocks[1][1][0][table.header.index("training time (s)")]


def test_a_wide_matrix_is_several_beside_the_same_names() -> None:
    table = tables.improvement_table(only(rows(2, FEW, (0.9,))), 0.9)
    parts = tables.beside(table, 2)
    assert [part.header for part in parts] == [("", "Dense", "SNIP"), ("", "SNAP", "GraSP"), ("", "CroP-S")]
    assert all([line[0].text for line in part.blocks[0][1]] == list(table.header[1:]) for part in parts)
    assert tables.beside(table, 9) == [table]


@pytest.mark.parametrize("seeds", [1, 3])
def test_notes_speak_of_intervals_where_there_are_some(seeds: int) -> None:
    one = only(rows(seeds, FEW, (0.9,)))
    notes = [table.note for table in (tables.cost_table(one, 0.9), tables.measures_table(one, 0.9), tables.efficiency_table(one))]
    assert [bool(re.search("no intervals|^((?!interval).)*$", note)) for note in notes] == [seeds == 1] * 3


def test_headings_in_latex_are_no_wider_than_their_columns() -> None:
    first, _ = tables.paper_first(tables.cost_table(only(rows(3, FEW, (0.9,))), 0.9))
    head = tables.to_latex(first).partition(r"\toprule")[2].partition(r"\midrule")[0].strip().splitlines()
    assert len(head) > 1
    assert {line.count("&") for line in head} == {8}


@pytest.mark.skipif(not shutil.which("node"), reason="no node")
@pytest.mark.parametrize(
    "texts",
    [
        ["< 0.001, worse", "0.010, worse", "0.039, better", "0.125", "1.000"],
        ["−156", "−0.500", "0", "+0.25", "+9.50", "+110"],
        ["0.66×", "33,410", "63.1k [48.0k, never] (8 of 10)", "120k", "1.05M (n = 3)", "never"],
        ["9, 10", "10, 9", "10, 10"],
    ],
)
def test_a_click_on_a_heading_sorts_by_value(texts):
    """Numbers with a sign, or a verdict behind them, were put in order as words are."""
    functions = html.SCRIPT[: html.SCRIPT.index("for (const title")]
    mixed = json.dumps(texts[1::2] + texts[0::2][::-1])
    program = f"const told = {mixed}.sort((a, b) => ordered(valued({{textContent: a}}), valued({{textContent: b}})));"
    ended = subprocess.run(
        ["node", "-e", f"{functions}{program}console.log(JSON.stringify(told))"], capture_output=True, text=True, check=True
    )
    assert json.loads(ended.stdout) == texts


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
def test_latex_sets_every_table(tmp_path: Path) -> None:
    write_report(rows(3, FEW, (0.8, 0.98)), tmp_path)
    files = sorted((tmp_path / "tables").glob("*.tex"))
    inputs = "\n".join(rf"\input{{tables/{file.name}}}\clearpage" for file in files)
    packages = r"\documentclass{article}\usepackage{booktabs,graphicx}"
    (tmp_path / "all.tex").write_text(f"{packages}\n\\begin{{document}}\n{inputs}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert len(files) > 5
    assert "Overfull \\hbox" not in ended.stdout
