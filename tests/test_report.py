"""Reports from made-up rows: curves by hand, figures through their Axes, tables by value, one page that stands alone."""

import csv
import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.lines import Line2D
from matplotlib.text import Text
from rows import FAILED, INSIDE, LAYERS, LOWER, PRUNERS, SKIPPED, as_task, row, rows, sparse_training

from rlprune import stats
from rlprune.report import curves, draw, figures, moments, tables
from rlprune.report.curves import Comparison
from rlprune.report.page import finding, summary_table, write_report
from rlprune.report.page import warnings as complaints
from rlprune.rows import Row
from rlprune.stats import Estimate, estimate
from rlprune.store import Store

FEW = ("Dense", "SNIP", "Magnitude-Before", "CroP-U", "CroP-S", "SNAP", "LTR")


@pytest.fixture(scope="module")
def sweep() -> list[Row]:
    return rows(seeds=3)


@pytest.fixture(scope="module")
def compared(sweep: list[Row]) -> Comparison:
    return only(sweep)


def only(some: list[Row]) -> Comparison:
    (one,) = curves.comparisons(some)
    return one


def with_values(one: Row, **values: float) -> Row:
    return replace(one, values={**one.values, **values})


# -- curves ------------------------------------------------------------------------------------------------------


def test_a_point_is_the_estimate_over_the_seeds_of_its_cells(compared: Comparison) -> None:
    curve = next(curve for curve in compared.chart.curves if curve.pruner == "SNIP")
    assert [point.sparsity for point in curve.points] == [0.8, 0.9, 0.95, 0.98]
    returns = [row("SNIP", 0.95, seed).values["return_greedy"] for seed in range(3)]
    assert curve.at(0.95) == estimate([returns])
    assert curve.points[2].reached == pytest.approx(0.95)


def test_dense_is_one_level_whatever_the_sparsity(compared: Comparison) -> None:
    dense = compared.chart.curves[0]
    assert (dense.pruner, dense.cut, len(dense.points)) == ("Dense", "nothing", 1)
    assert dense.at(0.9) == dense.at(0.98) == dense.points[0].estimate


def test_what_failed_or_measured_nothing_is_no_seed() -> None:
    broken = replace(row("SNIP", 0.9, 2), values={})
    some = [row("SNIP", 0.9, 0), with_values(row("SNIP", 0.9, 1), return_greedy=float("nan")), broken, FAILED]
    (curve,) = only(some).chart.curves
    assert curve.points[0].estimate.seeds == 1


def test_profiles_of_a_suite_are_never_averaged_together() -> None:
    some = [row("SNIP", 0.9, 0), replace(row("SNIP", 0.9, 0), id="smoke", profile="smoke")]
    assert [(one.profile, len(one.rows)) for one in curves.comparisons(some)] == [("quick", 1), ("smoke", 1)]


def test_recipes_stand_apart_and_are_labelled_with_what_differs() -> None:
    """Ten seeds at one budget and three at another once made one curve of both; then the older ones were left out."""
    old = [row("SNIP", 0.9, seed, id=f"old{seed}", config={"recipe": {"budget": 1, "epochs": 3}}) for seed in range(10)]
    new = [row("SNIP", 0.9, seed, config={"recipe": {"budget": 2, "epochs": 3}}) for seed in range(3)]
    first, second = curves.comparisons(old + new)
    assert [one.title for one in (first, second)] == ["CartPole-v1 (budget 1)", "CartPole-v1 (budget 2)"]
    assert ({one.id[:3] for one in first.rows}, len(first.rows), len(second.rows)) == ({"old"}, 10, 3)
    assert first.stem != second.stem
    assert any("2 recipes or runs differ" in warning for warning in complaints(old + new, [first, second]))


def test_energy_is_unknown_where_a_gpu_went_unmeasured() -> None:
    on_cpu = replace(row(), values={"energy_cpu_joules": 3.0})
    on_gpu = replace(on_cpu, labels={**on_cpu.labels, "device": "cuda"})
    assert curves.measure(on_cpu, "energy_joules") == 3.0
    assert curves.measure(on_gpu, "energy_joules") is None
    assert curves.measure(with_values(on_gpu, energy_gpu_joules=4.0), "energy_joules") == 7.0


def test_learning_curve_is_the_interquartile_mean_epoch_by_epoch(compared: Comparison) -> None:
    curve = next(curve for curve in curves.learning_curves(compared) if (curve.pruner, curve.sparsity) == ("CroP-S", 0.9))
    epochs = [row("CroP-S", 0.9, seed).epochs[4] for seed in range(3)]
    assert curve.samples[4] == epochs[0]["samples"]
    assert curve.iqm[4] == pytest.approx(np.mean([epoch["return_train"] for epoch in epochs]))
    assert curve.band.shape == (2, 30)


def test_epochs_without_a_finished_game_are_left_out_of_the_learning_curve() -> None:
    late = row("SNIP", 0.9, 1)
    late = replace(late, epochs=[{"trained": 1.0, "samples": 16_667.0}, *late.epochs[1:]])
    (curve,) = curves.learning_curves(only([row("SNIP", 0.9, 0), late]))
    assert curve.samples[0] == 2 * 16_667.0


def test_a_task_without_that_curve_has_no_learning_curve() -> None:
    assert curves.learning_curves(only([row("SNIP", 0.9, 0, epochs=[{"trained": 1.0, "samples": 5.0}])])) == []


def test_tasks_are_joined_on_the_scale_of_their_anchors(sweep: list[Row]) -> None:
    both = curves.comparisons(sweep + as_task(sweep, "acrobot-v1", "Acrobot-v1", -500, 0.8))
    together = curves.aggregate(both)
    for curve in together.curves:
        for point in curve.points:
            values = [(row(curve.pruner, point.sparsity, seed).values["return_greedy"] - 22) / 478 for seed in range(3)]
            assert point.estimate.iqm == pytest.approx(estimate([values, values]).iqm)


def test_tasks_without_anchors_are_not_joined(sweep: list[Row]) -> None:
    bare = [replace(one, judged=replace(one.judged, anchors={})) for one in sweep]
    assert curves.aggregate(curves.comparisons(bare + [replace(one, task="other") for one in bare])) is None


def test_layer_shares_average_seeds_and_count_the_starved(compared: Comparison) -> None:
    shares = curves.layer_shares(compared, 0.98)
    assert shares.layers == tuple(LAYERS)
    cells = [row("SNIP", 0.98, seed).layers["action_net.weight"] for seed in range(3)]
    assert shares.kept["SNIP"][6] == pytest.approx(sum(cell["kept"] / cell["dense"] for cell in cells) / 3)
    assert shares.starved["Magnitude-Before"] == (0, 0, 0, 0, 0, 0, 3, 0)
    assert "Dense" not in shares.kept


PAPER = {name: cut for name, (cut, _) in PRUNERS.items()} | dict.fromkeys(
    ("EarlyBird", "GateDecorators", "EfficientConvNets"), "channels"
)


def test_every_pruner_of_the_paper_looks_like_nobody_else() -> None:
    assert len(PAPER) >= 20
    assert len({curves.style(*pruner) for pruner in PAPER.items()}) == len(PAPER)


def test_an_outsider_is_not_taken_for_a_pruner_of_the_paper() -> None:
    strange = {curves.style(f"mine{number}", "weights").colour for number in range(200)}
    assert len(strange) > 1
    assert not strange & {curves.style(*pruner).colour for pruner in PAPER.items()}


def test_both_cuts_of_a_method_share_colour_and_marker_but_not_the_line() -> None:
    solid, dashed = curves.style("CroP-S", "channels"), curves.style("CroP-U", "weights")
    assert (solid.colour, solid.marker) == (dashed.colour, dashed.marker)
    assert (solid.solid, dashed.solid) == (True, False)


def test_an_outsider_keeps_its_look_from_one_process_to_the_next() -> None:
    assert curves.style("Mine-S", "channels") == curves.style("mine-s", "channels") == curves.Style("#0072B2", "p", solid=True)


# -- figures -----------------------------------------------------------------------------------------------------

DRAWINGS: dict[str, Callable[[Comparison], Figure]] = {
    "sparsity": lambda one: figures.sparsity_figure([one.chart]),
    "columns": lambda one: figures.sparsity_figure([one.chart] * 3),
    "learning": lambda one: figures.learning_figure(one, curves.learning_curves(one)),
    "profiles": lambda one: figures.profile_figure(one, 0.98),
    "layers": lambda one: figures.layer_figure(one, curves.layer_shares(one, 0.98)),
    "costs": lambda one: figures.cost_figure(one, 0.98),
    "insides": lambda one: inside(one, 0.98),
}


def inside(one: Comparison, sparsity: float) -> Figure:
    one = only(sparse_training(one.rows))
    return figures.insides_figure(one, sparsity, curves.insides(one, sparsity, INSIDE))


@pytest.mark.drawn
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("name", DRAWINGS)
def test_nothing_written_in_a_figure_is_cut_off_or_too_small_for_print(name: str, seeds: int, tmp_path: Path) -> None:
    figure = DRAWINGS[name](only(rows(seeds, sparsities=(0.8, 0.98))))
    assert figure.get_figwidth() == 7.0
    for text in figure.findobj(Text):
        assert text.get_fontsize() >= 7.0
    pixels = imread(io.BytesIO(draw.rendered(figure, ["png"])["png"]))
    for edge in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]):
        assert edge.min() == 1.0, "ink at the edge: something is cut off there"
    assert f"{seeds} seed" in " ".join(text.get_text() for text in figure.texts)


@pytest.mark.parametrize("name", ["sparsity", "layers"])
def test_the_same_figure_is_the_same_bytes(name: str, compared: Comparison, tmp_path: Path) -> None:
    for folder in ("once", "twice"):
        (tmp_path / folder).mkdir()
        draw.save(DRAWINGS[name](compared), tmp_path / folder, name)
    for ending in ("png", "svg", "pdf"):
        first, second = ((tmp_path / folder / f"{name}.{ending}").read_bytes() for folder in ("once", "twice"))
        assert first == second


def named(axes: Axes) -> list[Line2D]:
    """Return the lines of pruners; their seeds are points without a name."""
    return [line for line in axes.get_lines() if not line.get_label().startswith("_")]


def test_each_line_holds_its_curve_and_dense_crosses_both_panels(compared: Comparison) -> None:
    chart = compared.chart
    figure = figures.sparsity_figure([chart])
    structured, unstructured = figure.axes
    for axes, cut in ((structured, "channels"), (unstructured, "weights")):
        lines = {line.get_label(): line for line in named(axes)}
        assert set(lines) == {curve.pruner for curve in chart.curves if curve.cut in (cut, "nothing")}
        for curve in chart.curves:
            if curve.cut == cut:
                np.testing.assert_allclose(lines[curve.pruner].get_ydata(), [point.estimate.iqm for point in curve.points])
        np.testing.assert_allclose(lines["Dense"].get_ydata(), chart.curves[0].points[0].estimate.iqm)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["80 %", "90 %", "95 %", "98 %"]
    assert structured.get_ylim() == unstructured.get_ylim()
    gaps = np.diff(structured.get_xticks())
    assert gaps.min() > 0.5 * gaps.max()  # .95 and .98 stand as far apart as .8 and .9, about


def test_names_at_line_ends_do_not_overlap_and_are_in_the_order_of_the_lines(compared: Comparison) -> None:
    figure = figures.sparsity_figure([compared.chart])
    for axes in figure.axes:
        names = list(axes.texts)
        assert len(names) == len(named(axes))
        for one, other in combinations(names, 2):
            assert abs(one.xyann[1] - other.xyann[1]) >= draw.SMALL
        heights = [name.xyann[1] for name in sorted(names, key=lambda name: name.xy[1])]
        assert heights == sorted(heights)


def test_every_seed_is_a_faint_point_of_its_pruner(compared: Comparison) -> None:
    figure = figures.sparsity_figure([compared.chart])
    points = [line for line in figure.axes[0].get_lines() if line.get_marker() == "."]
    drawn = {line.get_color(): sorted(line.get_ydata()) for line in points}
    for pruner in ("EarlyCroP-S", "SNAP"):
        values = [value for sparsity in compared.sparsities for value in compared.values(sparsity, "return_greedy")[pruner]]
        assert drawn[curves.style(pruner, "channels").colour] == sorted(values)
    single = figures.sparsity_figure([only(rows(1)).chart])
    assert not [line for axes in single.axes for line in axes.get_lines() if line.get_marker() == "."]


def test_one_seed_draws_no_band(compared: Comparison) -> None:
    single = figures.sparsity_figure([only(rows(1)).chart])
    assert all(not axes.collections for axes in single.axes)
    assert all(axes.collections for axes in figures.sparsity_figure([compared.chart]).axes)


def test_more_names_than_fit_become_a_legend(sweep: list[Row]) -> None:
    crowd = [replace(one, pruner=f"Mine{number}-U") for number in range(24) for one in rows(1, pruners=("SNIP",))]
    figure = figures.sparsity_figure([only(sweep + crowd).chart])
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} >= {"Mine3-U", "Dense", "SNAP"}
    assert not figure.axes[1].texts


def test_many_variants_of_a_few_pruners_have_a_panel_a_pruner(sweep: list[Row]) -> None:
    """Forty-eight lines in two panels, in colours by hash, could not be told apart."""
    starts = ("kept", "rescaled", "redrawn")
    pruners = ("SNIP", "GraSP", "CroP-S", "SNAP", "SynFlow", "CroP-U", "LTR")
    some = [
        replace(one, id=f"{one.id}{start}", pruner=f"{one.pruner} {start}")
        for one in sweep
        for start in starts
        if one.pruner in pruners
    ]
    chart = only([*(one for one in sweep if one.pruner == "Dense"), *some]).chart
    figure = figures.sparsity_figure([chart])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["SNAP", "CroP-S", "SNIP", "GraSP", "SynFlow", "CroP-U", "LTR"]
    lines = named(figure.axes[0])
    assert [line.get_label() for line in lines] == ["Dense", "SNAP kept", "SNAP redrawn", "SNAP rescaled"]
    assert len({line.get_color() for line in lines}) == 4
    assert [line.get_color() for line in lines] == [line.get_color() for line in named(figure.axes[5])]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["kept", "redrawn", "rescaled", "Dense"]
    lone = [one for one in some if one.sparsity == 0.9 or not one.pruner.startswith("LTR")]  # the others were not run
    figure = figures.sparsity_figure([only([*(one for one in sweep if one.pruner == "Dense"), *lone]).chart])
    assert len({(axes.get_xlim(), tuple(axes.get_xticks())) for axes in figure.axes}) == 1


def test_most_pruners_beside_one_variant_have_a_panel_a_pruner_and_many_without_any_have_not(sweep: list[Row]) -> None:
    kept = [replace(one, id=f"{one.id}kept", pruner=f"{one.pruner} kept") for one in sweep if one.pruner != "Dense"]
    figure = figures.sparsity_figure([only(sweep + kept).chart])
    assert [line.get_label() for line in named(figure.axes[0])] == ["Dense", "Random-S", "Random-S kept"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["default", "kept", "Dense"]
    few = [one for one in kept if one.pruner in ("SNIP kept", "SNAP kept", "LTR kept")]
    assert len(figures.sparsity_figure([only(sweep + few).chart]).axes) == 2


def test_several_tasks_are_columns_with_channels_above_weights(sweep: list[Row]) -> None:
    many = sweep + as_task(sweep, "acrobot-v1", "Acrobot-v1", -500, 0.8)
    figure = figures.sparsity_figure([one.chart for one in curves.comparisons(many)])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Acrobot-v1", "CartPole-v1", "", ""]
    assert figure.axes[0].get_ylim() == figure.axes[2].get_ylim() != figure.axes[1].get_ylim()
    assert "structured (channels)" in figure.axes[0].get_ylabel()


def test_one_sparsity_is_drawn_with_bars_for_intervals() -> None:
    figure = figures.sparsity_figure([only(rows(3, pruners=FEW, sparsities=(0.95,))).chart])
    assert [len(axes.collections) for axes in figure.axes] == [2, 4]
    assert "marks: interquartile means; bars" in figure.texts[1].get_text()


def test_at_one_sparsity_pruners_lie_side_by_side_the_higher_farther_right() -> None:
    """One above the other, their intervals hid each other, and lines to names crossed other marks."""
    figure = figures.sparsity_figure([only(rows(3, sparsities=(0.95,))).chart])
    for axes in figure.axes:
        places = [(line.get_xdata()[0], line.get_ydata()[0]) for line in named(axes) if line.get_label() != "Dense"]
        assert len({x for x, _ in places}) == len(places) > 3
        assert [y for _, y in sorted(places)] == sorted(y for _, y in places)
        left, right = axes.get_xlim()
        assert left < min(places)[0] < axes.get_xticks()[0] < max(places)[0] < right


def test_points_of_seeds_are_whole_at_the_ends_of_a_panel(compared: Comparison) -> None:
    for axes in figures.sparsity_figure([compared.chart]).axes:
        edges = axes.get_window_extent()
        points = [line for line in axes.get_lines() if line.get_marker() == "."]
        drawn = np.concatenate([line.get_transform().transform(line.get_xydata())[:, 0] for line in points])
        assert edges.x0 < drawn.min() < drawn.max() < edges.x1


def test_a_wild_seed_does_not_flatten_the_figure_and_a_band_that_is_cut_off_says_so() -> None:
    tame = rows(5, pruners=("Dense", "SNIP"))
    wild = [with_values(one, return_greedy=-1e6) if (one.pruner, one.seed) == ("SNIP", 1) else one for one in tame]
    figure = figures.sparsity_figure([only(wild).chart])
    (axes,) = figure.axes
    low = axes.get_ylim()[0]
    assert low > -1000
    marks = [mark for mark in axes.collections if isinstance(mark, PathCollection)]
    assert [mark.get_offsets()[0][1] for mark in marks] == [low] * 4
    assert "triangles at the edge" in " ".join(text.get_text() for text in figure.texts)
    assert "triangles" not in " ".join(text.get_text() for text in figures.sparsity_figure([only(tame).chart]).texts)


def test_a_band_is_whole_where_that_leaves_the_lines_a_third_of_the_height() -> None:
    ends = {"Dense": [100.0] * 3, "SNIP": [45.0, 50.0, 115.0]}
    some = [with_values(row(pruner, 0.9, seed), return_greedy=ends[pruner][seed]) for pruner in ends for seed in range(3)]
    figure = figures.sparsity_figure([only(some).chart])
    low, high = figure.axes[0].get_ylim()
    assert low < 45 < 115 < high
    assert "triangles" not in " ".join(text.get_text() for text in figure.texts)


def test_a_cost_that_deviates_below_zero_is_marked_on_a_logarithmic_axis() -> None:
    some = rows(2, pruners=("Dense", "SNIP", "GraSP"), sparsities=(0.9,))
    spread = {("SNIP", 0): 1.0, ("SNIP", 1): 199.0, ("GraSP", 0): 1.0, ("GraSP", 1): 1.1}
    some = [with_values(one, wall_seconds=spread.get((one.pruner, one.seed), 100.0)) for one in some]
    figure = figures.cost_figure(only(some), 0.9)
    axes = next(axes for axes in figure.axes if axes.get_xlabel() == "training time\n(s)")
    assert axes.get_xscale() == "log"
    (mark,) = [mark for mark in axes.collections if isinstance(mark, PathCollection)]
    assert mark.get_offsets()[0][0] == pytest.approx(axes.get_xlim()[0])
    assert axes.get_title("left") == "n = 2"


def test_who_trains_a_little_longer_is_not_cut_off() -> None:
    longer = [
        replace(one, epochs=[*one.epochs, {**one.epochs[-1], "samples": 40 * 16_667.0}]) for one in rows(1, ("SNIP",), (0.9,))
    ]
    one = only([*rows(1, ("Dense", "CroP-U", "CroP-S"), (0.9,)), *longer])
    figure = figures.learning_figure(one, curves.learning_curves(one))
    assert {axes.get_xlim()[1] for axes in figure.axes} == {40 * 16_667}


def test_sparsities_too_close_for_labels_keep_their_ticks() -> None:
    close = (0.1, 0.15, 0.2, 0.9, 0.99)
    figure = figures.sparsity_figure([only(rows(1, pruners=FEW, sparsities=close)).chart])
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert len(labels) == 5
    assert labels[-2:] == ["90 %", "99 %"]
    assert "" in labels


def test_nothing_pruned_is_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="no curve to draw"):
        figures.sparsity_figure([only(rows(2, pruners=("Dense",))).chart])


def test_learning_panels_share_scales_but_for_who_trains_longer() -> None:
    one = only(rows(1, pruners=FEW, sparsities=(0.9,)))
    figure = figures.learning_figure(one, curves.learning_curves(one))
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert set(panels) == {*FEW, "LTR (trains 11 times as long)"} - {"Dense", "LTR"}
    assert panels["SNIP"].get_xlim() == panels["SNAP"].get_xlim() == (0, 30 * 16_667)
    assert panels["LTR (trains 11 times as long)"].get_xlim() == (0, 330 * 16_667)
    assert [line.get_label() for line in panels["SNIP"].get_lines()] == ["Dense 0 %", "SNIP 90 %"]


def test_insides_are_drawn_a_block_a_pruner_with_dense_dotted() -> None:
    figure = inside(only(rows(3, ("Dense", "SNIP", "CroP-S", "LTR"), (0.8, 0.9))), 0.9)
    panels = figure.axes
    assert [axes.get_title(loc="left") for axes in panels[::3]] == ["SNIP", "CroP-S", "LTR (trains 11 times as long)"]
    written = [text.get_text() for text in figure.texts]
    assert [written.count(name) for name in ("dormant units (%)", "effective rank", "parameter norm")] == [2, 2, 2]
    lines = {(line.get_label(), line.get_color()): line for line in panels[0].get_lines()}
    assert {label for label, _ in lines} == {"Dense", "SNIP 90 %"}
    actor = lines["SNIP 90 %", "#0072B2"]
    expected = [5 + 50 * 0.9 * epoch / 30 + 0.1 for epoch in range(1, 31)]
    np.testing.assert_allclose(actor.get_ydata(), expected)
    assert panels[0].get_ylim() == panels[3].get_ylim() == panels[6].get_ylim() != panels[1].get_ylim()
    assert panels[0].get_xlim() == panels[5].get_xlim() == (0, 30 * 16_667)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["actor", "critic", "Dense, actor", "Dense, critic"]


def test_epochs_that_look_inside_nothing_are_no_figure(compared: Comparison) -> None:
    assert curves.insides(compared, 0.98, INSIDE) == {}


def test_profiles_fall_from_all_seeds_to_none(compared: Comparison) -> None:
    for axes in figures.profile_figure(compared, 0.98).axes:
        for line in axes.get_lines():
            shares = line.get_ydata()
            assert np.all(np.diff(shares) <= 0)
            assert 0 <= shares[-1] <= shares[0] <= 1


def test_profiles_of_errors_count_the_smaller_ones() -> None:
    errors = [replace(one, judged=LOWER) for one in rows(4, pruners=("SNIP",), sparsities=(0.9,))]
    thresholds, shares = curves.profiles(only(errors), 0.9)
    assert shares["SNIP"][0] == 0
    values = [one.values["return_greedy"] for one in errors]
    assert shares["SNIP"][100] == sum(value < thresholds[100] for value in values) / 4


def test_starved_layers_are_written_into_the_layer_figure(compared: Comparison) -> None:
    figure = figures.layer_figure(compared, curves.layer_shares(compared, 0.98))
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written.count("≤ 1: 3/3") == 3
    assert len(written) == 16 * len(LAYERS)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()][::6] == ["policy_net.0", "action_net"]


def test_deep_networks_get_a_layer_figure_without_numbers() -> None:
    layers = {f"block{number}.conv.weight": {"kept": float(number % 3), "dense": 9.0} for number in range(60)}
    one = only([replace(row("SNIP", 0.9, 0), layers=layers)])
    figure = figures.layer_figure(one, curves.layer_shares(one, 0.9))
    assert not [text for text in figure.axes[0].texts if text.get_text()]
    assert len(figure.axes[0].patches) == 40
    assert len(figure.axes[0].get_xticks()) == 30


def test_cost_figure_draws_only_what_was_measured(compared: Comparison) -> None:
    titles = [axes.get_xlabel().replace("\n", " ") for axes in figures.cost_figure(compared, 0.98).axes]
    assert titles[:2] == ["return", "training time (s)"]
    bare = [replace(one, values={name: one.values[name] for name in ("return_greedy", "wall_seconds")}) for one in compared.rows]
    some = figures.cost_figure(only(bare), 0.98).axes
    assert [axes.get_xlabel() for axes in some] == ["return", "training time\n(s)"]
    assert [axes.get_xscale() for axes in some] == ["linear", "log"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([0.0, 10.0, 30.0], [0.0, 10.0, 30.0]),
        ([10.0, 10.0], [8.0, 12.0]),
        ([0.0, 0.0, 0.0], [0.0, 4.0, 8.0]),
        ([40.0, 40.0], [36.0, 40.0]),
        ([10.0, 11.0, 12.0, 30.0], [7.0, 11.0, 15.0, 30.0]),
    ],
)
def test_names_move_apart_as_little_as_possible(wanted: list[float], expected: list[float]) -> None:
    assert draw.spread_out(wanted, 4.0, 0.0, 40.0) == pytest.approx(expected)


# -- tables ------------------------------------------------------------------------------------------------------


def texts(table: tables.Table) -> dict[str, dict[str, str]]:
    """Return pruner to heading to text."""
    lines = [line for _, block in table.blocks for line in block]
    return {line[0].text: dict(zip(table.header, (cell.text for cell in line), strict=True)) for line in lines}


def marks(table: tables.Table, heading: str) -> dict[str, str]:
    place = table.header.index(heading)
    return {line[0].text: line[place].mark for _, block in table.blocks for line in block if line[place].mark}


def cells(returns: dict[str, list[float]]) -> Comparison:
    return only(
        [
            with_values(row(pruner, 0.9, seed), return_greedy=value, wall_seconds=value)
            for pruner, values in returns.items()
            for seed, value in enumerate(values)
        ]
    )


def test_measures_table_shows_every_measure() -> None:
    (compared,) = curves.comparisons(rows(seeds=3, pruners=("Dense", "SNIP")))
    table = tables.measures_table(compared, 0.98)
    assert table.header == ("pruner", "return (greedy games)", "return (sampled games)")
    assert {record["metric"] for record in table.csv} == {"return_greedy", "return_sampled"}
    greedy, sampled = (
        next(r["iqm"] for r in table.csv if r["pruner"] == "SNIP" and r["metric"] == f"return_{way}")
        for way in ("greedy", "sampled")
    )
    assert sampled == pytest.approx(0.97 * greedy)


def test_cost_table_says_mean_deviation_interval_and_costs() -> None:
    table = tables.cost_table(cells({"SNIP": [100.0, 200.0, 300.0], "Dense": [500.0, 500.0]}), 0.9)
    snip = texts(table)["SNIP"]
    assert (snip["seeds"], snip["return, mean ± std"], snip["return, IQM [95 %]"]) == ("3", "200 ± 100", "200 [100, 300]")
    assert snip["weights removed (%)"] == "90.0"
    assert snip["training time (s)"] == "200"
    assert table.csv[1]["iqm"] == 200.0


def test_dense_comes_first_then_channel_pruners_then_weight_pruners(compared: Comparison) -> None:
    blocks = [(heading, [line[0].text for line in block]) for heading, block in tables.cost_table(compared, 0.98).blocks]
    assert [heading for heading, _ in blocks] == ["", "structured (channels)", "unstructured (weights)"]
    assert blocks[0][1] == ["Dense"]
    assert blocks[1][1] == ["Random-S", "SNAP", "CroP-S", "CroPit-S", "EarlyCroP-S"]


def test_best_and_second_best_are_found_in_each_block_and_direction() -> None:
    table = tables.cost_table(
        cells({"Dense": [500], "SNIP": [100], "GraSP": [300], "CroP-U": [200], "SNAP": [90], "CroP-S": [80]}), 0.9
    )
    assert marks(table, "return, mean ± std") == {"GraSP": "best", "CroP-U": "second", "SNAP": "best", "CroP-S": "second"}
    assert marks(table, "training time (s)") == {"SNIP": "best", "CroP-U": "second", "CroP-S": "best", "SNAP": "second"}
    assert marks(table, "weights removed (%)") == {}


def test_what_most_of_a_block_share_is_not_marked() -> None:
    table = tables.cost_table(cells({"SNIP": [7], "GraSP": [7], "CroP-U": [7], "LTR": [9]}), 0.9)
    assert marks(table, "return, mean ± std") == {"LTR": "best"}


def test_what_was_not_measured_is_a_dash_and_an_empty_field_never_zero() -> None:
    some = [replace(row("SNIP", 0.9, seed), values={"return_greedy": 100.0, "macs": 0.0}) for seed in range(2)]
    table = tables.cost_table(only([*some, row("GraSP", 0.9)]), 0.9)
    assert texts(table)["SNIP"]["energy, CPU + GPU (J)"] == "–"
    assert texts(table)["SNIP"]["MACs"] == "0"
    record = next(csv.DictReader(io.StringIO(tables.to_csv(table))))
    assert (record["energy_joules"], record["wall_seconds"], record["macs"]) == ("", "", "0.0")


def test_costs_say_how_many_cells_measured_them_where_not_all_did() -> None:
    some = rows(3, pruners=("Dense", "SNIP"), sparsities=(0.9,))
    solo = ("wall_seconds", "price_usd")
    some = [
        replace(one, values={name: value for name, value in one.values.items() if name not in solo or one.seed == 0})
        if one.pruner == "SNIP"
        else replace(one, values={name: value for name, value in one.values.items() if name not in solo})
        for one in some
    ]
    table = tables.cost_table(only(some), 0.9)
    snip, dense = texts(table)["SNIP"], texts(table)["Dense"]
    assert snip["training time (s)"].endswith(" (n = 1)")
    assert "n =" not in snip["MACs"]
    assert (dense["training time (s)"], dense["price ($)"]) == ("–", "–")
    records = {record["pruner"]: record for record in csv.DictReader(io.StringIO(tables.to_csv(table)))}
    assert [records[pruner]["wall_seconds_cells"] for pruner in ("Dense", "SNIP")] == ["0", "1"]
    assert records["Dense"]["wall_seconds"] == ""
    assert "price_per_hour" not in table.note


def test_what_no_cell_measured_has_no_column_and_the_note_says_so() -> None:
    bare = [replace(row("SNIP", 0.9, seed), values={"return_greedy": 100.0, "macs": 7.0}) for seed in range(2)]
    table = tables.cost_table(only(bare), 0.9)
    assert table.header == ("pruner", "seeds", "return, mean ± std", "return, IQM [95 %]", "MACs")
    assert "No cell measured weights removed; nodes removed;" in table.note
    (record,) = csv.DictReader(io.StringIO(tables.to_csv(table)))
    assert (record["batch_seconds"], record["batch_seconds_cells"]) == ("", "0")


def test_an_unknown_price_is_said() -> None:
    bare = [
        replace(one, values={name: it for name, it in one.values.items() if name != "price_usd"})
        for one in rows(1, ("SNIP",), (0.9,))
    ]
    assert "No price: the suite named no price_per_hour when these cells ran." in tables.cost_table(only(bare), 0.9).note


def test_of_cells_that_measured_no_time_no_missing_price_is_told() -> None:
    """It was said that the suite had named none, whether it had or not."""
    bare = [
        replace(one, values={name: it for name, it in one.values.items() if name not in ("price_usd", "wall_seconds")})
        for one in rows(1, ("SNIP",), (0.9,))
    ]
    assert "price_per_hour" not in tables.cost_table(only(bare), 0.9).note


def test_recipe_table_has_suite_recipe_and_settings() -> None:
    some = rows(2, pruners=("Dense", "SNIP"), sparsities=(0.9,))
    labels = {**some[0].labels, "suite_title": "My suite (cartpole)"}
    config = {"recipe": {"budget": 7, "widths": [1, 2]}, "settings": {"until": {"cap": 0.5}}, "device": "cpu"}
    measured = {0: some[0].values, 1: {name: it for name, it in some[0].values.items() if name != "wall_seconds"}}
    some = [replace(one, labels=labels, config={**config, "fleet": True}, values=measured[one.seed]) for one in some]
    facts = {record["what"]: record["value"] for record in tables.recipe_table(only(some)).csv}
    assert facts["suite"] == "My suite (cartpole)"
    assert (facts["budget"], facts["widths"], facts["device"]) == ("7", "[1, 2]", "cpu")
    assert facts["SNIP"] == "until.cap = 0.5"
    assert (facts["trained alone"], facts["trained in fleets"]) == ("seed 0", "seed 1")


def test_one_seed_shows_neither_deviation_nor_interval() -> None:
    snip = texts(tables.cost_table(cells({"SNIP": [123.4]}), 0.9))["SNIP"]
    assert (snip["return, mean ± std"], snip["return, IQM [95 %]"]) == ("123", "123")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.00307, "0.00307"),
        (0.03, "0.0300"),
        (-83.44, "−83.4"),
        (98, "98.0"),
        (999.6, "1,000"),
        (33_794, "33,794"),
        (99_999, "100k"),
        (123_456, "123k"),
        (11_707_978, "11.7M"),
        (1.5e12, "1.50T"),
    ],
)
def test_numbers_have_three_digits_and_read_plainly(value: float, text: str) -> None:
    assert tables.number(value) == text


def test_nothing_is_less_than_nothing() -> None:
    one = Estimate(-0.04, (-300.0, -0.2), -0.01, 250.0, 5)
    assert tables.iqm_text(one) == "0 [−300, 0]"
    assert tables.mean_text(one) == "0 ± 250"
    assert tables.number(-0.0) == "0"


def test_markdown_is_a_table_with_marks(compared: Comparison) -> None:
    table = tables.cost_table(compared, 0.98)
    lines = tables.to_markdown(table).splitlines()
    body = [line for line in lines if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in body}) == 1
    found = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[3] for line in body}
    shown = {name: column["return, IQM [95 %]"] for name, column in texts(table).items()}
    best = marks(table, "return, IQM [95 %]")
    wrap = {"best": "**{}**", "second": "_{}_", "": "{}"}
    assert sorted(best.values()) == ["best", "best", "second", "second"]
    assert {name: found[name] for name in shown} == {name: wrap[best.get(name, "")].format(text) for name, text in shown.items()}
    assert "in italics" in lines[-1]


def test_latex_escapes_what_it_must(compared: Comparison) -> None:
    table = tables.cost_table(compared, 0.98)
    latex = tables.to_latex(table)
    assert r"98 \% of weights removed" in latex
    assert r"$\pm$" in latex
    assert r"CO$_2$ (g)" in latex
    assert r"price (\$)" in latex
    assert r"\textbf{" in latex
    assert r"\underline{" in latex
    assert latex.isascii()
    body = latex[latex.index(r"\toprule") : latex.index(r"\bottomrule")]
    assert {line.count(" & ") for line in body.splitlines() if " & " in line} == {len(table.header) - 1}


def test_csv_has_every_digit(compared: Comparison) -> None:
    records = {
        record["pruner"]: record for record in csv.DictReader(io.StringIO(tables.to_csv(tables.cost_table(compared, 0.98))))
    }
    assert len(records) == 17
    mean = np.mean([row("SNAP", 0.98, seed).values["batch_seconds"] for seed in range(3)])
    assert float(records["SNAP"]["batch_seconds"]) == mean
    assert records["Dense"]["sparsity"] == "0.0"


def test_improvement_pairs_seeds_and_mirrors_itself() -> None:
    table = tables.improvement_table(cells({"SNIP": [1, 5, 3, 9], "CroP-S": [2, 4, 3]}), 0.9)
    (record, mirrored) = sorted(table.csv, key=lambda record: record["pruner"] == "CroP-S")
    assert record["probability"] == pytest.approx((0 + 1 + 0.5) / 3)
    assert record["pairs"] == 3
    assert mirrored["probability"] == pytest.approx(1 - record["probability"])


def test_improvement_of_errors_counts_the_smaller_ones() -> None:
    better = cells({"SNIP": [1.0] * 10, "CroP-S": [2.0] * 10})
    table = tables.improvement_table(replace(better, metric=LOWER.metric), 0.9)
    assert texts(table)["SNIP"]["CroP-S"] == "1.00"
    assert not any(
        entry.mark for line in table.blocks[0][1] for entry in line
    )  # Wilson's interval of one pair of many is no test


def test_failed_and_skipped_cells_are_listed_with_reasons() -> None:
    more = replace(FAILED, seed=4)
    table = tables.missing_table([row(), SKIPPED, more, FAILED, replace(row(), seed=5, values={})])
    lines = [[cell.text for cell in line] for _, block in table.blocks for line in block]
    assert [(line[0], line[3], line[5], line[6]) for line in lines] == [
        ("done", "Dense", "return_greedy is missing or not a number", "5"),
        ("failed", "IMP", "ValueError: the loss is <nan> after epoch 3", "0, 4"),
        ("skipped", "SynFlow", "needs batchnorm, and mlp has none", "0"),
    ]


def test_terminal_summary_has_a_line_a_pruner_and_a_column_a_sparsity(sweep: list[Row]) -> None:
    header, lines = summary_table(sweep)
    assert header == ["task", "pruner", "80 %", "90 %", "95 %", "98 %", "seeds"]
    assert [line[1] for line in lines][:3] == ["Dense", "Random-S", "Random-U"]
    assert all(len(line) == 7 and line[-1] == "3" for line in lines)
    assert lines[0][2] == lines[0][5]


# -- the page ----------------------------------------------------------------------------------------------------


class Outline(HTMLParser):
    """Every tag closed where it was opened, and what the page would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.fetched: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    some = [*rows(3, pruners=FEW, sparsities=(0.8, 0.98)), FAILED, SKIPPED]
    return write_report(some, out, "python -m rlprune.run cartpole --seeds 3")


def test_page_is_well_formed_and_fetches_nothing(written: Path) -> None:
    page = Outline(written.read_text(encoding="utf-8"))
    assert page.open == []
    assert page.fetched
    assert all(place.startswith(("data:image/svg+xml;base64,", "#")) for place in page.fetched)
    assert not {"link", "iframe"} & set(page.seen)
    assert page.seen.count("script") == 1  # its own, which sorts tables


def test_page_says_command_cells_warnings_failures_and_where_the_numbers_come_from(written: Path) -> None:
    text = Outline(written.read_text(encoding="utf-8")).text
    assert "python -m rlprune.run cartpole --seeds 3" in text
    assert "39 of 41 cells done, 1 failed, 1 skipped." in text
    assert "fewer than ten seeds (3 seeds): do not publish" in text
    assert "with at most one weight by Magnitude-Before (6 of 6 cells), LTR (6 of 6 cells)" in text
    assert "ValueError: the loss is <nan> after epoch 3" in text
    assert "needs batchnorm, and mlp has none" in text
    for fact in ("AMD EPYC 7763", "5d3890a", "estimate, 4 W a busy thread", "2.15.0"):
        assert fact in text


def test_every_figure_and_table_lies_beside_the_page_in_its_formats(written: Path) -> None:
    stem = "cartpole-quick-cartpole-v1"
    drawn = [f"{stem}-{name}" for name in ("sparsity", "fronts", "learning", "layers-98", "costs-98", "profiles-98")]
    assert {file.name for file in (written.parent / "figures").iterdir()} == {
        f"{name}.{ending}" for name in drawn for ending in ("png", "svg", "pdf")
    }
    both = [f"{stem}-{kind}-{sparsity}" for kind in ("costs", "measures", "compared") for sparsity in (80, 98)]
    whole = ("question", "dense", "efficiency", "improvement-98", "recipe")
    listed = [*both, *(f"{stem}-{name}" for name in whole), "missing"]
    further = {f"{stem}-costs-{sparsity}-part2.tex" for sparsity in (80, 98)}
    assert {file.name for file in (written.parent / "tables").iterdir()} == further | {
        f"{name}.{ending}" for name in listed for ending in ("md", "tex", "csv")
    }


def test_the_same_rows_write_the_same_bytes(tmp_path: Path) -> None:
    some = rows(2, pruners=("Dense", "SNIP"), sparsities=(0.9,))
    first, second = write_report(some, tmp_path / "a"), write_report(reversed(some), tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_a_report_asks_once_what_the_same_seeds_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every section asked for itself: 481 times for 130 samples."""
    asked = []

    def counted(strata: list[list[float]]) -> stats.Estimate:
        asked.append(tuple(map(tuple, strata)))
        return estimate(strata)

    monkeypatch.setattr(stats, "estimate", counted)
    monkeypatch.setattr(draw, "rendered", lambda figure: dict.fromkeys(draw.UNDATED, b""))
    some = rows(3, pruners=FEW, sparsities=(0.8, 0.98))
    write_report(some, tmp_path / "one")
    samples, measures = 1 + 2 * (len(FEW) - 1), 2  # Dense is the same at both sparsities
    assert len(asked) == len(set(asked)) == measures * samples
    asked.clear()
    write_report(some + as_task(some, "acrobot-v1", "Acrobot-v1", -500, 0.8), tmp_path / "two")
    assert len(asked) == len(set(asked)) == 2 * measures * samples + samples  # and once for the tasks together


def test_ten_seeds_of_a_dense_network_at_its_anchor_raise_no_complaint() -> None:
    some = rows(10, pruners=("Dense", "SNIP"), sparsities=(0.9,))
    assert complaints(some, curves.comparisons(some)) == []


def test_a_dense_network_short_of_its_anchor_is_complained_about() -> None:
    some = [with_values(one, return_greedy=380.0) for one in rows(10, pruners=("Dense",))]
    (complaint,) = complaints(some, curves.comparisons(some))
    assert "Dense ends at 380, and its anchor is 500" in complaint


@pytest.mark.parametrize("end", [-200.0, -70.0])
def test_returns_below_zero_are_not_measured_from_it_where_chance_is_unknown(end: float) -> None:
    """Dense at −70 was "too weak" for an anchor of −83, and at −200 it was not."""
    some = [
        replace(with_values(one, return_greedy=end), judged=replace(one.judged, anchors={"dense": -83.4}))
        for one in rows(10, pruners=("Dense",))
    ]
    assert not any("too weak" in complaint for complaint in complaints(some, curves.comparisons(some)))


def test_a_run_without_dense_is_complained_about() -> None:
    some = rows(10, pruners=("SNIP",), sparsities=(0.9,))
    assert any("no dense network" in complaint for complaint in complaints(some, curves.comparisons(some)))


def test_finding_names_the_best_and_who_cannot_be_told_from_it() -> None:
    one = cells({"Dense": [500, 490, 480], "SNIP": [100, 110, 105], "CroP-S": [200, 300, 250], "SNAP": [290, 240, 260]})
    said = finding(one)
    assert "with 90 % of weights removed, SNAP ends best: return 263 [240, 290]" in said
    assert "overlaps with those of CroP-S." in said
    assert said.endswith("Dense: 490 [480, 500].")


@pytest.mark.parametrize("some", [[], [FAILED], [row()], [replace(row("SNIP", 0.9, 0), values={}, epochs=[], layers={})]])
def test_a_run_with_little_in_it_still_has_a_page(some: list[Row], tmp_path: Path) -> None:
    page = Outline(write_report(some, tmp_path).read_text(encoding="utf-8"))
    assert page.open == []
    assert f"{sum(one.status == 'done' for one in some)} of {len(some)} cells done" in page.text


def test_several_tasks_get_an_overview(tmp_path: Path) -> None:
    some = rows(2, pruners=("Dense", "SNIP", "SNAP"), sparsities=(0.9,))
    path = write_report(some + as_task(some, "acrobot-v1", "Acrobot-v1", -500, 0.8), tmp_path)
    assert "All tasks, quick" in Outline(path.read_text(encoding="utf-8")).text
    assert (tmp_path / "figures" / "all-quick-normalised.pdf").is_file()


def test_tasks_without_a_sparsity_in_common_are_not_drawn_together(tmp_path: Path) -> None:
    some, others = (rows(2, pruners=("Dense", "SNIP"), sparsities=(sparsity,)) for sparsity in (0.9, 0.8))
    path = write_report(some + as_task(others, "acrobot-v1", "Acrobot-v1", -500, 0.8), tmp_path)
    assert "All tasks, quick" in Outline(path.read_text(encoding="utf-8")).text
    assert not (tmp_path / "figures" / "all-quick-normalised.pdf").exists()


def test_importing_the_report_loads_nothing_slow() -> None:
    code = "import sys, rlprune.report.page; print([m for m in ('torch', 'matplotlib', 'scipy', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_figure_2_tells_where_the_trigger_fired_from_where_it_had_to_stop_waiting() -> None:
    early = {
        "settings": {"until": {"epoch": None, "margin": 1.0, "cap": 0.5}},
        "recipe": {"budget": 500_000},
        "pruner": "EarlyCroP-S",
    }
    told = {"settings": {"until": {"epoch": 3}}, "recipe": {"budget": 500_000}, "pruner": "EarlyCroP-S"}
    some = [
        with_values(row("EarlyCroP-S", 0.9, seed, config=early, epochs=[{"epoch": 1.0, "trigger": trigger}]), pruning_epoch=epoch)
        for seed, (trigger, epoch) in enumerate([(0.05, 2.0), (0.3, 15.0)])
    ]
    some += [replace(row("EarlyCroP-S", 0.9, seed, id=f"at{seed}", config=told), pruner="EarlyCroP-S at 3") for seed in range(2)]
    drawn = moments.figure(only([*rows(2, ("Dense",)), *some]), 0.9)
    stars = [line for line in drawn.axes[0].get_lines() if line.get_marker() == "*"]
    assert [(line.get_xdata()[0], line.get_markerfacecolor() == "white") for line in stars] == [(2.0, False), (15.0, True)]
    assert drawn.axes[0].get_xlim()[1] >= 15
    assert "hollow: where waiting had to end" in " ".join(text.get_text() for text in drawn.texts)


def test_figure_2_keeps_settings_apart() -> None:
    def some(start: str, value: float) -> list[Row]:
        def config(epoch: int | None) -> dict[str, object]:
            return {
                "settings": {"start": start, "until": {"epoch": epoch}},
                "recipe": {"budget": 500_000},
                "pruner": "EarlyCroP-S",
            }

        return [
            replace(
                with_values(row("EarlyCroP-S", 0.9, seed, id=f"{start}{epoch}{seed}"), return_greedy=value, pruning_epoch=3.0),
                config=config(epoch),
                pruner="EarlyCroP-S" if epoch is None else f"EarlyCroP-S at {epoch}",
            )
            for epoch in (0, 3, None)
            for seed in range(2)
        ]

    one = only([*rows(2, ("Dense",)), *some("kept", 100.0), *some("rescaled", 500.0)])
    assert moments.told(one, 0.9) == ["EarlyCroP-S, start kept", "EarlyCroP-S, start rescaled"]
    lines = moments.table(one, 0.9).splitlines()
    assert lines[2:] == [f"| {moment} | 100 [100, 100] | 500 [500, 500] |" for moment in ("0", "3", "the trigger's")]
    assert [axes.get_title(loc="left") for axes in moments.figure(one, 0.9).axes[:2]] == moments.told(one, 0.9)


def test_figure_2_keeps_triggers_and_company_apart() -> None:
    """Cells that waited for other triggers were one moment together, and a seed that was trained twice was two seeds."""

    def some(value: float, epoch: int | None, margin: float | None, *, fleet: bool) -> list[Row]:
        until = {"epoch": epoch} if margin is None else {"epoch": epoch, "margin": margin}
        config = {"settings": {"until": until}, "recipe": {"budget": 500_000}, "pruner": "EarlyCroP-S", "fleet": fleet}
        cells = [row("EarlyCroP-S", 0.9, seed, id=f"{epoch}{margin}{fleet}{seed}", config=config) for seed in range(2)]
        return [with_values(one, return_greedy=value, pruning_epoch=3.0 if margin is None else 2 * margin) for one in cells]

    told = some(50.0, 3, None, fleet=True)
    one = only([*told, *some(100.0, None, 1.0, fleet=True), *some(400.0, None, 4.0, fleet=True)])
    assert moments.told(one, 0.9) == ["EarlyCroP-S, until.margin 1.0", "EarlyCroP-S, until.margin 4.0"]
    assert moments.table(one, 0.9).splitlines()[2:] == [
        "| 3 | 50.0 [50.0, 50.0] | 50.0 [50.0, 50.0] |",
        "| the trigger's | 100 [100, 100] | 400 [400, 400] |",
    ]
    twice = only([*told, *some(150.0, 3, None, fleet=False)])
    assert moments.told(twice, 0.9) == ["EarlyCroP-S, alone", "EarlyCroP-S, in a fleet"]
    assert moments.table(twice, 0.9).splitlines()[2:] == ["| 3 | 150 [150, 150] | 50.0 [50.0, 50.0] |"]


def test_figure_4_is_drawn_from_stored_results(tmp_path: Path) -> None:
    with Store(tmp_path / "run" / "results.sqlite") as store:
        for one in rows(2, pruners=("Dense", "SNIP"), sparsities=(0.9,)):
            store.save(one)
    script = Path(__file__).parent.parent / "plots" / "sparsity.py"
    command = [sys.executable, str(script), str(tmp_path / "run"), "--to", str(tmp_path / "drawn")]
    subprocess.run(command, check=True, capture_output=True)
    assert {file.name for file in (tmp_path / "drawn").iterdir()} == {"sparsity.png", "sparsity.svg", "sparsity.pdf"}


def test_lines_are_drawn_by_what_is_cut_whatever_the_name() -> None:
    assert curves.style("SNAP by layer", "channels").solid
    assert not curves.style("Mine-S", "weights").solid
    assert curves.style("CroP-S by layer", "channels").colour != curves.style("CroP-S", "channels").colour
    names = ["LTR", "CroP-S at 10", "CroP-S", "CroP-S at 9", "Dense"]
    assert sorted(names, key=curves.order) == ["Dense", "CroP-S", "CroP-S at 9", "CroP-S at 10", "LTR"]
