"""Pruners against dense: shares and their intervals by loops, gaps in a curve, what has no share and why."""

import csv
import io
from dataclasses import replace
from math import log

import numpy as np
import pytest
from rows import JUDGED, LOWER, as_task, row, rows, sparse_training
from scripted import scripted

from rlprune.costs.measures import Measure
from rlprune.report import curves, tables
from rlprune.report.dense import against
from rlprune.report.page import write_report
from rlprune.report.sentences import finding
from rlprune.stats import drawn_together, iqm_interval, percentiles
from rlprune.store import Store

RETURN = Measure("return", "return")


def slow_iqm(values):
    ordered, cut = sorted(values), len(values) // 4
    kept = ordered[cut : len(ordered) - cut]
    return sum(kept) / len(kept)


def seeds(*values):
    return dict(enumerate(values))


def kept(dense, curve, metric=RETURN, random=None):
    """Return what a pruner with one value a sparsity and seed keeps."""
    found = against({"Dense": {0.0: dense}, "SNIP": curve}, ["Dense"], metric, {} if random is None else {"random": random})
    return found.pruners["SNIP"]


def compared(returns, judged=JUDGED):
    cells = [
        replace(one, values={**one.values, "return_greedy": value}, judged=judged)
        for (pruner, sparsity), values in returns.items()
        for seed, value in enumerate(values)
        for one in [row(pruner, sparsity, seed)]
    ]
    (one,) = curves.comparisons(cells)
    return one


# -- bootstrap of seeds that belong together -----------------------------------------------------------------------


def test_groups_drawn_together_have_the_interval_that_each_has_alone():
    values = np.random.default_rng(0).normal(size=(9, 3))
    drawn = drawn_together(values)
    for group in range(3):
        assert percentiles(drawn[:, group]) == pytest.approx(tuple(iqm_interval([values[:, group]])))


def test_seeds_that_a_group_lacks_are_left_out_of_its_samples():
    values = np.array([[1.0, 10.0], [2.0, np.nan], [3.0, 30.0], [4.0, 70.0], [9.0, np.nan]])
    drawn = drawn_together(values, resamples=50, seed=3)
    picks = np.random.default_rng(3).integers(5, size=(50, 5))
    for sample, own in zip(picks, drawn, strict=True):
        assert own[0] == pytest.approx(slow_iqm(values[sample, 0]))
        known = [value for value in values[sample, 1] if np.isfinite(value)]
        assert own[1] == pytest.approx(slow_iqm(known)) if known else np.isnan(own[1])


def test_an_interval_is_unknown_where_a_tail_of_its_samples_is():
    drawn = np.arange(1000.0)
    drawn[:20] = np.nan
    assert percentiles(drawn) == pytest.approx(tuple(np.percentile(drawn[20:], [2.5, 97.5])))
    drawn[:30] = np.nan
    assert percentiles(drawn) is None


# -- shares --------------------------------------------------------------------------------------------------------


def test_a_share_is_the_ratio_of_interquartile_means_with_seeds_drawn_for_both():
    dense, mine = [100.0, 400.0, 500.0, 200.0, 300.0], [90.0, 200.0, 400.0, 100.0, 330.0]
    end = kept(seeds(*dense), {0.9: seeds(*mine)}).at(0.9)
    assert end.iqm == pytest.approx(slow_iqm(mine) / slow_iqm(dense))
    generator, shares = np.random.default_rng(1), []
    for _ in range(4000):
        picks = generator.integers(5, size=5)
        shares.append(slow_iqm([mine[pick] for pick in picks]) / slow_iqm([dense[pick] for pick in picks]))
    assert end.interval == pytest.approx(tuple(np.percentile(shares, [2.5, 97.5])), abs=0.02)


def test_what_a_seed_does_to_both_alike_is_no_spread():
    dense = [100.0, 400.0, 500.0, 200.0]
    end = kept(seeds(*dense), {0.9: seeds(*(0.8 * value for value in dense))}).at(0.9)
    assert (end.iqm, *end.interval) == pytest.approx((0.8, 0.8, 0.8))


def test_one_seed_has_a_share_and_no_interval():
    one = kept(seeds(200.0), {0.8: seeds(200.0), 0.9: seeds(150.0)})
    assert (one.at(0.9).iqm, one.at(0.9).interval) == (0.75, None)
    assert one.ultimate == (0.8, None)
    assert one.area.interval is None


def test_negative_returns_are_counted_from_random_play():
    end = kept(seeds(-80.0, -80.0), {0.9: seeds(-185.0, -185.0)}, random=-500.0).at(0.9)
    assert end.iqm == pytest.approx((500 - 185) / (500 - 80))
    assert kept(seeds(80.0, 80.0), {0.9: seeds(-20.0, 60.0)}, random=-100.0).at(0.9).iqm == pytest.approx(120 / 180)


def test_errors_are_counted_from_chance_and_less_is_more():
    end = kept(seeds(0.5, 0.5), {0.9: seeds(0.6, 0.6)}, LOWER.metric, 1.5).at(0.9)
    assert end.iqm == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("dense", "metric", "random", "why"),
    [
        (-80.0, RETURN, None, "there are values below zero, and the task does not say what chance reaches"),
        (0.5, LOWER.metric, None, "lower is better, and the task does not say what chance reaches"),
        (-500.0, RETURN, -500.0, "the dense network is no better than chance"),
        (1.6, LOWER.metric, 1.5, "the dense network is no better than chance"),
    ],
)
def test_where_a_share_means_nothing_there_is_none_and_the_note_says_why(dense, metric, random, why):
    anchors = {} if random is None else {"random": random}
    found = against({"Dense": {0.0: seeds(dense, dense)}, "SNIP": {0.9: seeds(1.0, 1.0)}}, ["Dense"], metric, anchors)
    assert (found.dense, found.scale, dict(found.pruners)) == ("Dense", why, {})
    one = compared({("Dense", 0.0): [dense] * 2, ("SNIP", 0.9): [1.0] * 2}, replace(JUDGED, metric=metric, anchors=anchors))
    one = replace(one, metric=replace(one.metric, name="return_greedy"))
    table = tables.cost_table(one, 0.9)
    assert f"No % of dense: {why}." in table.note
    assert not any("dense [95 %]" in heading for heading in table.header)
    assert [record["of_dense"] for record in table.csv] == [None, None]


def test_chance_is_what_it_reaches_on_the_cells_own_data_where_they_measured_it():
    """Of 200 words frequencies alone reach 3.84 nats, of the recipe's 2,000 words 5.29: who ends at 3.96 has learned nothing."""
    judged = replace(LOWER, metric=replace(LOWER.metric, name="return_greedy"), anchors={"random": 5.29}, chance="unigram")
    ends = {("Dense", 0.0): 3.2, ("CroP-S", 0.9): 3.96}
    some = [
        row(pruner, sparsity, seed, judged=judged, values={"return_greedy": end, "unigram": 3.84})
        for (pruner, sparsity), end in ends.items()
        for seed in (0, 1)
    ]
    unmeasured = [replace(one, values={"return_greedy": one.values["return_greedy"]}) for one in some]
    for found, chance in ((some, 3.84), (unmeasured, 5.29)):
        (one,) = curves.comparisons(found)
        assert one.anchors["random"] == chance
        assert one.against.pruners["CroP-S"].at(0.9).iqm == pytest.approx((3.96 - chance) / (3.2 - chance))


def test_a_dense_network_that_hardly_left_chance_has_no_shares_on_the_page_that_calls_it_so():
    """HalfCheetah: −2, where chance reaches −272 and dense 5819, is 99 % of nothing."""
    curves = {"Dense": {0.0: seeds(-2.0, -2.0)}, "SNIP": {0.9: seeds(-4.0, -4.0)}}
    anchors = {"random": -272.0, "dense": 5819.0}
    assert against(curves, ["Dense"], RETURN, anchors).scale == "the dense network is no better than chance"
    assert not against({"Dense": {0.0: seeds(20.9, 20.9)}}, ["Dense"], RETURN, {"random": 24.8, "dense": 2410.0}).pruners
    assert against({**curves, "Dense": {0.0: seeds(90.0, 90.0)}}, ["Dense"], RETURN, anchors).pruners


def test_without_one_dense_network_nothing_is_compared():
    curve = {0.9: seeds(1.0, 2.0)}
    assert against({"SNIP": curve}, [], RETURN, {}).scale == "no dense network to compare with"
    two = {"A": {0.0: seeds(1.0)}, "B": {0.0: seeds(2.0)}, "SNIP": curve}
    assert against(two, ["A", "B"], RETURN, {}).scale == "no telling which is dense: A, B"
    named = {"dense": {0.0: seeds(4.0, 4.0)}, "B": {0.0: seeds(2.0, 2.0)}, "SNIP": curve}
    found = against(named, ["dense", "B"], RETURN, {})
    assert (found.dense, found.pruners["B"].at(0.9).iqm) == ("dense", 0.5)


# -- one number a pruner -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shares", "ultimate"),
    [
        ([1.0, 0.99, 0.98], 0.95),
        ([1.0, 0.9, 0.99], 0.8),
        ([0.96, 1.0, 1.0], 0.0),
        ([1.2, 0.971, 0.969], 0.9),
    ],
)
def test_what_holds_beyond_a_gap_is_no_ultimate_compression(shares, ultimate):
    curve = {sparsity: seeds(*[500 * share] * 3) for sparsity, share in zip((0.8, 0.9, 0.95), shares, strict=True)}
    one = kept(seeds(500.0, 500.0, 500.0), curve)
    assert one.ultimate == (ultimate, (ultimate, ultimate))


def test_the_interval_of_ultimate_compression_is_of_sparsities_that_were_run():
    curve = {0.8: [500.0] * 6, 0.9: [500.0, 500.0, 500.0, 450.0, 480.0, 500.0], 0.95: [490.0, 500.0, 100.0, 500.0, 90.0, 499.0]}
    one = kept(seeds(*[500.0] * 6), {sparsity: seeds(*values) for sparsity, values in curve.items()})
    generator, held = np.random.default_rng(2), []
    for _ in range(4000):
        picks = generator.integers(6, size=6)
        level = 0.0
        for sparsity, values in curve.items():
            if slow_iqm([values[pick] for pick in picks]) < 0.97 * 500:
                break
            level = sparsity
        held.append(level)
    assert one.ultimate[1] == (sorted(held)[100], sorted(held)[3899]) == (0.8, 0.95)


def test_the_area_is_that_of_the_figure_over_its_width():
    sparsities, shares = (0.5, 0.8, 0.95, 0.98), (1.0, 0.9, 0.4, 0.1)
    one = kept(
        seeds(10.0, 10.0), {sparsity: seeds(10 * share, 10 * share) for sparsity, share in zip(sparsities, shares, strict=True)}
    )
    places = [-log(1 - sparsity) for sparsity in sparsities]
    area = sum((shares[i] + shares[i + 1]) / 2 * (places[i + 1] - places[i]) for i in range(3)) / (places[3] - places[0])
    assert (one.area.iqm, *one.area.interval) == pytest.approx((area, area, area))
    assert kept(seeds(10.0, 10.0), {0.9: seeds(4.0, 4.0)}).area.iqm == pytest.approx(0.4)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "least", "most"), [(3, 0.65, 0.84), (5, 0.83, 0.96), (10, 0.87, 0.98), (20, 0.90, 0.99)])
def test_intervals_of_area_and_share_hold_the_truth_as_often_as_the_docs_say(count, least, most):
    generator, sparsities, shares = np.random.default_rng(count), (0.8, 0.9, 0.95), (0.97, 0.9, 0.6)
    exact = {sparsity: seeds(share, share) for sparsity, share in zip(sparsities, shares, strict=True)}
    area, held = kept(seeds(1.0, 1.0), exact).area.iqm, []
    for _ in range(250):
        common = 400 + 10 * generator.normal(size=count)  # what a seed does to all alike
        curve = {
            sparsity: seeds(*(400 * share + common - 400 + 40 * generator.normal(size=count)))
            for sparsity, share in zip(sparsities, shares, strict=True)
        }
        one = kept(seeds(*(common + 20 * generator.normal(size=count))), curve)
        ends = (one.area, area), (one.at(0.95), 0.6)
        held.append([end.interval[0] <= truth <= end.interval[1] for end, truth in ends])
    assert np.all((np.mean(held, axis=0) > least) & (np.mean(held, axis=0) < most)), np.mean(held, axis=0)


# -- tables and sentences ------------------------------------------------------------------------------------------

RETURNS = {
    ("Dense", 0.0): [500.0] * 3,
    ("SNAP", 0.8): [500.0] * 3,
    ("SNAP", 0.9): [490.0] * 3,
    ("CroP-S", 0.8): [500.0] * 3,
    ("CroP-S", 0.9): [250.0] * 3,
    ("SNIP", 0.8): [100.0] * 3,
    ("SNIP", 0.9): [50.0] * 3,
    ("GraSP", 0.9): [400.0] * 3,
}


def test_the_table_says_shares_ultimate_compression_and_area():
    table = tables.dense_table(compared(RETURNS))
    told = {line[0].text: [entry.text for entry in line[1:]] for _, block in table.blocks for line in block}
    assert table.header[1:3] == ("80 %", "90 %")
    assert told["SNAP"] == ["100 [100, 100]", "98.0 [98.0, 98.0]", "≥ 90 % [≥ 90 %, ≥ 90 %]", "99.0 [99.0, 99.0]", "3, 3"]
    assert told["CroP-S"][2] == "80 % [80 %, 80 %]"
    assert told["CroP-S"][-1] == "3, 0"
    assert told["SNIP"][2] == "< 80 % [< 80 %, < 80 %]"
    assert told["GraSP"] == ["–", "80.0 [80.0, 80.0]", "< 90 % [< 90 %, < 90 %]", "–", "–, 0"]
    records = {record["pruner"]: record for record in csv.DictReader(io.StringIO(tables.to_csv(table)))}
    assert (records["SNAP"]["ultimate"], records["SNIP"]["ultimate"], records["GraSP"]["area"]) == ("0.9", "0.0", "")
    assert float(records["CroP-S"]["of_dense_90"]) == 0.5
    assert (records["CroP-S"]["near_80"], records["CroP-S"]["near_90"], records["GraSP"]["near_80"]) == ("3", "0", "")
    assert "keep 97 % of dense or more" in table.note
    assert r"$\geq$ 90 \%" in tables.to_latex(table)


def test_seeds_and_sparsities_that_are_missing_are_told():
    few = {**RETURNS, ("SNAP", 0.9): [490.0] * 2, ("GraSP", 0.9): [500.0] * 3}
    table = tables.dense_table(compared(few))
    told = {line[0].text: [entry.text for entry in line[1:]] for _, block in table.blocks for line in block}
    assert told["SNAP"][-1] == "3, 2 of 2"
    assert told["GraSP"][2] == "≥ 90 % [≥ 90 %, ≥ 90 %], 80 % missing"
    assert told["CroP-S"][2] == "80 % [80 %, 80 %]"
    records = {record["pruner"]: record for record in csv.DictReader(io.StringIO(tables.to_csv(table)))}
    assert (records["SNAP"]["near_90"], records["SNAP"]["near_90_of"], records["SNAP"]["near_80_of"]) == ("2", "2", "3")


def test_the_first_pruner_of_a_table_need_not_have_all_sparsities():
    table = tables.dense_table(
        compared(
            {cell: values for cell, values in RETURNS.items() if cell not in [("SNAP", 0.9), ("SNAP", 0.8)]}
            | {("Random-S", 0.9): [400.0] * 3}
        )
    )
    first, *others = csv.DictReader(io.StringIO(tables.to_csv(table)))
    assert (first["pruner"], first["near_80"], first["near_90"]) == ("Random-S", "", "0")
    assert [one["near_80"] for one in others if one["pruner"] == "CroP-S"] == ["3"]


def test_costs_stand_beside_the_share_of_dense():
    table = tables.cost_table(compared(RETURNS), 0.9)
    place = table.header.index("return, % of dense [95 %]")
    assert {line[0].text: line[place].text for _, block in table.blocks for line in block}["CroP-S"] == "50.0 [50.0, 50.0]"


def test_the_finding_says_how_far_one_can_go():
    told = finding(compared({cell: values for cell, values in RETURNS.items() if cell[0] != "GraSP"}))
    assert "Of sparsities from 80 % on, SNAP stays within 3 % of dense up to 90 %; " in told
    assert "over all of them SNAP keeps most, 99.0 [99.0, 99.0] % of dense." in told
    poor = {cell: values for cell, values in RETURNS.items() if cell[0] in ("Dense", "SNIP")}
    assert "none leaves any pruner within 3 % of dense" in finding(compared(poor))
    assert "Of sparsities" not in finding(compared({("Dense", 0.0): [1.0], ("SNIP", 0.9): [1.0]}))


def test_macs_are_multiples_of_dense():
    (one,) = curves.comparisons(sparse_training(rows(2, ("Dense", "SNIP", "SNAP"), (0.9,))))
    table = tables.macs_table(one, 0.9)
    assert table.header == ("pruner", *(cost.heading for cost in tables.WORK))
    records = {record["pruner"]: record for record in table.csv}
    for cost in tables.WORK:
        held = 1.0 if not cost.name.endswith("nonzero") else 0.1
        assert records["SNIP"][cost.name] == pytest.approx(held)
        assert records["SNAP"][cost.name] == pytest.approx(0.1)
    told = {line[0].text: line[1].text for _, block in table.blocks for line in block}
    assert told == {"Dense": "1.00×", "SNAP": "0.100×", "SNIP": "1.00×"}


def test_variants_of_one_pruner_stand_together():
    some = [
        replace(one, id=f"{one.id}-{start}", pruner=f"{one.pruner} {start}")
        for one in rows(1, ("SNAP", "CroP-S"), (0.9,))
        for start in ("kept", "rescaled")
    ]
    (one,) = curves.comparisons(some)
    table = tables.cost_table(one, 0.9)
    (_, block) = table.blocks[0]
    assert [line[0].text for line in block] == ["SNAP kept", "SNAP rescaled", "CroP-S kept", "CroP-S rescaled"]
    assert tables.apart(block) == [False, False, True, False]
    assert tables.to_latex(table).count(r"\addlinespace") == 1
    assert tables.apart(block[::2]) == [False, False]


def test_what_papers_on_sparse_training_print_is_on_the_page(tmp_path):
    some = sparse_training(rows(2, ("Dense", "SNIP", "SNAP"), (0.8, 0.9)))
    text = write_report(some, tmp_path).read_text(encoding="utf-8")
    stem = "cartpole-quick-cartpole-v1"
    written = {file.stem.removeprefix(f"{stem}-") for folder in ("tables", "figures") for file in (tmp_path / folder).iterdir()}
    assert {"dense", "macs-80", "macs-90"} <= written
    assert "could not be made" not in text
    (one,) = curves.comparisons(some)
    assert ("insides-90" in written) == bool(curves.insides(one, 0.9))


def test_figures_show_shares_of_dense_too(tmp_path):
    with Store(tmp_path / "run" / "results.sqlite") as store:
        for one in as_task(rows(2, ("Dense", "SNIP"), (0.8, 0.9)), "acrobot-v1", "Acrobot-v1", -500, 0.8):
            store.save(one)
    (one,) = curves.comparisons(as_task(rows(2, ("Dense", "SNIP"), (0.8, 0.9)), "acrobot-v1", "Acrobot-v1", -500, 0.8))
    chart = one.chart_of_dense
    assert chart.metric.heading == "return, share from chance to dense"
    assert [curve.at(0.9).iqm for curve in chart.curves] == [1.0, one.against.pruners["SNIP"].at(0.9).iqm]
    scripted("sparsity.py", tmp_path / "run", "--to", tmp_path / "drawn", "--of-dense")
    assert (tmp_path / "drawn" / "sparsity.pdf").is_file()
