"""How figures look, what is worth its cost, and how wide cut networks are."""

import io
from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from rich.console import Console
from rich.progress import Progress
from rows import row, rows

from rlprune.bench.matrix import cells
from rlprune.bench.progress import Bars
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import Epoch, Started
from rlprune.costs.measures import CATALOGUE
from rlprune.report import curves, draw, figures, fronts, widths
from rlprune.report.sentences import warnings
from rlprune.rows import Row, counts


def only(some: list[Row]) -> curves.Comparison:
    (one,) = curves.comparisons(some)
    return one


def renamed(one: Row, pruner: str, **values: float) -> Row:
    return replace(one, id=f"{one.id}{pruner}", pruner=pruner, values={**one.values, **values})


# -- one look each -----------------------------------------------------------------------------------------------


def test_no_two_of_many_variants_look_alike_nor_like_their_pruner() -> None:
    names = [f"{pruner} {way}".strip() for pruner in ("CroP-S", "SNAP", "Random-S", "LTR") for way in ("", *"abcdefghij")]
    looks = curves.looks_of(dict.fromkeys(names, "channels"))
    assert len(names) == 44
    assert len({(look.colour, look.marker) for look in looks.values()}) == 44
    assert looks["CroP-S"] == curves.style("CroP-S", "channels")


def test_a_variant_keeps_its_look_beside_others_where_it_is_free() -> None:
    assert curves.looks_of({"Mine-S": "channels", "SNIP": "weights"})["Mine-S"] == curves.style("Mine-S", "channels")


def test_variants_of_one_cut_share_a_colour_only_where_there_are_more_of_them_than_colours() -> None:
    names = [f"EarlyCroP-S {way}" for way in ("actor", "critic", "by layer", "kept", "shuffled")]
    looks = curves.looks_of({**dict.fromkeys(names, "channels"), "EarlyCroP-U actor": "weights"})
    assert len({looks[name].colour for name in names}) == len(names) == 5


@pytest.mark.parametrize(
    ("value", "largest", "text"),
    [(0.8, 1.6, "0.8"), (0, 2e5, "0"), (5e4, 2e5, "50k"), (1000, 1900, "1000"), (-450, 500, "−450"), (1.5e6, 3e6, "1.5M")],
)
def test_ticks_are_written_as_people_do(value: float, largest: float, text: str) -> None:
    assert draw.tick(value, largest) == text


def test_layers_have_names_and_not_mere_numbers() -> None:
    assert figures.short_names(["layers.0.weight", "layers.4.weight"]) == ["layers.0", "layers.4"]
    assert figures.short_names(["features.0.0.weight", "head.weight"]) == ["features.0.0", "head"]


def test_a_legend_of_several_lines_leaves_room_for_what_lies_along_the_panels() -> None:
    some = rows(2, ("SNIP", "SNAP", "CroP-S"), (0.8, 0.9))
    varied = only([renamed(one, f"{one.pruner} {way}") for one in some for way in ("kept", *"abcdefg")])
    sparse = only(rows(2, ("Dense", "SNIP"), tuple(0.5 + share / 25 for share in range(12))))
    drawn = [
        figures.sparsity_figure([varied.chart]),
        figures.profile_figure(varied, 0.9),
        figures.learning_figure(sparse, curves.learning_curves(sparse)),
    ]
    for figure in drawn:
        with draw.print_style():
            figure.draw_without_rendering()
        (legend,), lowest = figure.legends, min(axes.get_tightbbox().y0 for axes in figure.axes)
        named, along = legend.get_window_extent(), figure._supxlabel.get_window_extent()
        assert len({text.get_window_extent().y0 for text in legend.get_texts()}) > 1
        assert 0 <= named.x0 < named.x1 <= figure.bbox.x1
        assert named.y1 <= along.y0 + 2 < along.y1 < lowest


def test_dense_is_dotted_where_sparsities_are_shades() -> None:
    one = only(rows(2, ("Dense", "SNIP"), (0.8, 0.95)))
    lines = figures.learning_figure(one, curves.learning_curves(one)).axes[0].get_lines()
    assert [line.is_dashed() for line in lines] == [True, False, False]


def test_who_trains_longer_is_named_in_every_figure() -> None:
    one = only(rows(2, ("Dense", "SNIP", "CroP-U", "LTR"), (0.9,)))
    assert one.longer == {"LTR": 11.0}
    for figure in (figures.sparsity_figure([one.chart]), figures.cost_figure(one, 0.9), figures.profile_figure(one, 0.9)):
        assert "LTR: 11 times the training" in " ".join(text.get_text() for text in figure.texts)


def test_a_pruner_that_trains_longer_at_one_sparsity_is_marked_whichever_it_is() -> None:
    """Of a seed the last sparsity counted alone."""
    some = rows(2, ("Dense", "CroP-S", "SNIP"), (0.8, 0.9))
    longer = {("SNIP", 0.8): 90.0}
    one = only([renamed(it, it.pruner, trained_epochs=longer.get((it.pruner, it.sparsity), 30.0)) for it in some])
    assert one.longer == {"SNIP": 3.0}


def test_who_trains_longer_does_so_by_the_dense_network_whoever_else_is_there() -> None:
    """By the median of all, LTR beside Dense alone trained 1.8 times as long, and LTR and IMP no longer at all."""
    for pruners in (("LTR",), ("LTR", "IMP")):
        one = only(rows(2, ("Dense", *pruners), (0.9,)))
        assert one.longer == dict.fromkeys(pruners, 11.0)
        panels = figures.learning_figure(one, curves.learning_curves(one)).axes
        assert [axes.get_title(loc="left") for axes in panels] == [f"{name} (trains 11 times as long)" for name in pruners]


def test_the_last_cut_is_marked_on_the_curve_the_median_over_seeds() -> None:
    some = [renamed(row("SNIP", 0.9, seed), "SNIP", pruning_epoch=epoch) for seed, epoch in enumerate((4.0, 6.0, 20.0))]
    some += [renamed(row("CroP-S", 0.9, 0), "CroP-S", pruning_epoch=0.0), row("GraSP", 0.9, 0), row("Dense")]
    found = {curve.pruner: curve for curve in curves.learning_curves(only(some))}
    assert found["SNIP"].at_cut == (6 * 16_667.0, found["SNIP"].iqm[5])
    assert found["CroP-S"].at_cut == (0.0, found["CroP-S"].iqm[0])
    assert found["GraSP"].at_cut is None is found["Dense"].at_cut


def along(figure: Figure) -> list[Bbox]:
    """Return where the names of ticks along the panels of one line stand, from the left."""
    with draw.print_style():
        figure.draw_without_rendering()
    labels = [label for axes in figure.axes for label in axes.get_xticklabels() if label.get_text()]
    return sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0)


def test_names_of_ticks_never_touch_nor_do_those_of_neighbours() -> None:
    some = [row("Dense"), row("SNIP", 0.9), row("CroP-S", 0.9)]
    some = [renamed(it, it.pruner, return_greedy=-1100.0 - 170 * place) for place, it in enumerate(some)]
    one = only([replace(it, epochs=tuple({**each, "samples": 20 * each["trained"]} for each in it.epochs[:20])) for it in some])
    for figure in (figures.cost_figure(one, 0.9), figures.learning_figure(one, curves.learning_curves(one))):
        boxes = along(figure)
        assert len(boxes) >= 2 * len(figure.axes)
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


@pytest.mark.parametrize("many", [1, 2, 5])
def test_shades_stand_out_on_white(many: int) -> None:
    one = only(rows(1, ("Dense", "SNIP"), (0.5, 0.8, 0.9, 0.95, 0.99)[:many]))
    colours = [line.get_color() for line in figures.learning_figure(one, curves.learning_curves(one)).axes[0].get_lines()]
    linear = [[(x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4) for x in to_rgb(colour)] for colour in colours]
    assert all(1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) >= 3 for red, green, blue in linear)  # WCAG 1.4.11
    assert len(set(colours)) == many + 1


# -- fronts ------------------------------------------------------------------------------------------------------


def offered(pruner: str, cost: float, earned: float) -> Row:
    return renamed(row(pruner, 0.9), pruner, macs=cost, return_greedy=earned)


def test_the_front_is_what_nothing_beats_in_both() -> None:
    some = [
        offered("Dense", 100, 50),
        offered("SNIP", 10, 30),
        offered("GraSP", 10, 20),
        offered("CroP-U", 1, 10),
        offered("CroP-S", 60, 50),
        offered("SNAP", 60.1, 50),
    ]
    macs = next(measure for measure in CATALOGUE if measure.name == "macs")
    found = fronts.deals(only(some), macs)
    assert [deal.pruner for deal in found if deal.best] == ["CroP-U", "SNIP", "CroP-S", "SNAP"]  # alike to two digits
    assert [deal.pruner for deal in found if not deal.best] == ["GraSP", "Dense"]
    figure = fronts.front_figure(only(some), [macs])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Dense", "SNIP", "SNAP", "CroP-S", "CroP-U"]


def test_names_on_a_front_lie_neither_on_each_other_nor_on_marks() -> None:
    some = [offered("Dense", 100, 50), offered("SNIP", 100, 51), offered("CroP-U", 99, 49), offered("CroP-S", 98, 48)]
    figure = fronts.front_figure(only(some), fronts.drawn_against(only(some))[:1])
    with draw.print_style():
        figure.draw_without_rendering()
    (axes,) = figure.axes
    texts = [text for text in axes.texts if text.get_text()]
    assert "Dense" in [text.get_text() for text in texts]
    boxes = [text.get_window_extent() for text in texts]
    marks = [axes.transData.transform(at) for line in axes.get_lines() if line.get_marker() != "None" for at in line.get_xydata()]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert not any(box.contains(*at) for box in boxes for at in marks)


def test_the_legend_of_a_front_shows_marks_as_its_panels_do_and_one_seed_has_no_intervals() -> None:
    single, many = (only(rows(seeds, ("Dense", "SNIP", "SNAP"), (0.9,))) for seeds in (1, 3))
    figures_of = [fronts.front_figure(one, fronts.drawn_against(one)) for one in (single, many)]
    (legend,) = figures_of[0].legends
    looks = [(line.get_marker(), line.get_linestyle()) for line in legend.get_lines()]
    assert looks[0] == ("*", "None")
    assert {line for _, line in looks[1:]} == {"None"}
    told = [" ".join(text.get_text() for text in figure.texts) for figure in figures_of]
    assert ["95 %" in each for each in told] == [False, True]


def test_costs_that_are_alike_or_unknown_are_not_drawn() -> None:
    one = only(rows(2, ("Dense", "SNIP", "SNAP"), (0.9,)))
    assert [cost.name for cost in fronts.drawn_against(one)] == ["macs", "latency_seconds", "energy_joules", "memory_peak_bytes"]
    bare = only([offered("Dense", 7, 1), offered("SNIP", 7, 2)])
    assert "macs" not in [cost.name for cost in fronts.drawn_against(bare)]


# -- widths ------------------------------------------------------------------------------------------------------


def chain(inputs: int, kept: list[int], dense: list[int], outputs: int) -> dict[str, dict[str, float]]:
    names = [f"mlp_extractor.policy_net.{2 * place}.weight" for place in range(len(kept))] + ["action_net.weight"]
    before, whole = [inputs, *kept], [inputs, *dense]
    after, full = [*kept, outputs], [*dense, outputs]
    return {
        name: {"kept": float(one * two), "dense": float(three * four)}
        for name, one, two, three, four in zip(names, before, after, whole, full, strict=True)
    }


def counted(layers: dict[str, dict[str, float]]) -> list[tuple[float, float]]:
    return [(kept, dense) for _, kept, dense in counts(layers)]


def test_widths_follow_from_the_weights_that_layers_have_left() -> None:
    assert widths.shares(counted(chain(6, [15, 29, 25], [256, 256, 256], 3))) == pytest.approx([15 / 256, 29 / 256, 25 / 256])
    assert widths.shares(counted(chain(6, [15], [16], 3))) == pytest.approx([15 / 16])
    broken = chain(6, [15, 29], [256, 256], 3)
    broken["action_net.weight"]["kept"] += 1
    assert widths.shares(counted(broken)) is None
    assert widths.shares([]) is None


def test_widths_are_drawn_of_pruners_that_cut_channels() -> None:
    some = [row("Dense"), row("SNIP", 0.9)]
    recipe = {"recipe": {"widths": [128, 64]}, "settings": {}}
    some += [row("CroP-S", 0.9, seed, layers=chain(4, [8 + seed, 3], [128, 64], 2)) for seed in range(3)]
    one = only([replace(it, config=recipe) for it in some])
    found = widths.widths(one, 0.9)
    assert {pruner: list(kept) for pruner, kept in found.items()} == {"CroP-S": ["actor"]}
    assert found["CroP-S"]["actor"] == [(pytest.approx(9 / 128), 128), (pytest.approx(3 / 64), 64)]
    figure = widths.width_figure(one, 0.9, found)
    assert [text.get_text() for text in figure.axes[0].texts] == ["9", "3"]
    assert widths.widths(only([it for it in some if it.pruner != "CroP-S"]), 0.9) == {}


def test_a_hidden_layer_that_was_cut_to_a_single_unit_is_warned_of() -> None:
    """EarlyCroP-S leaves some actors of LunarLander one, and no layer of theirs counts as emptied."""
    left = {0: [9, 1], 1: [9, 2], 2: [1, 1]}
    some = [row("Dense"), *(row("CroP-S", 0.9, seed, layers=chain(4, kept, [128, 64], 2)) for seed, kept in left.items())]
    some.append(row("SNIP", 0.9, layers=chain(4, [9, 1], [128, 64], 2)))
    told = warnings(some, [only([replace(it, config={"recipe": {"widths": [128, 64]}}) for it in some])])
    assert "CartPole-v1, quick: the actor was left with a single unit in a hidden layer by CroP-S (2 of 3 cells)." in told
    narrow = [replace(it, config={"recipe": {"widths": [1, 64]}}) for it in some[:1] + some[4:]]
    narrow.append(replace(narrow[0], pruner="CroP-S", cut="channels", sparsity=0.9, layers=chain(4, [1, 9], [1, 64], 2)))
    assert not any("single unit" in line for line in warnings(narrow, [only(narrow)]))


# -- the terminal ------------------------------------------------------------------------------------------------


def test_the_time_left_is_whole_on_eighty_columns() -> None:
    class Ahead:
        def left(self) -> float:
            return 40_000.0

    planned = cells(load_suite("cartpole", "paper"), "cpu")
    bars = Bars(planned, len(planned), Ahead())  # type: ignore[arg-type]
    longest = max(planned, key=lambda cell: len(cell.method))
    bars(Started(longest))
    bars(Epoch(longest, 3, 30, {"return_train": 123.456}))
    (shown,) = (held for held in vars(bars).values() if isinstance(held, Progress))
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(shown.get_renderable())
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "about 11 h 7 min left" in lines[0]
    assert "return_train 123.5" in lines[1]
    assert max(map(len, lines)) <= 80
