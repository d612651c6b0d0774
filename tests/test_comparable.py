"""Which rows are compared: one recipe at a time, nothing pooled, nothing dropped, everything labelled."""

import re
from dataclasses import replace

import pytest
from rows import LOWER, as_task, row, rows
from scripted import scripted

from rlprune.__main__ import main
from rlprune.bench import sweep
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import changed_code, costless
from rlprune.report import curves, figures, moments, question, scripts, tables
from rlprune.report.comparable import apart, gathered, in_words
from rlprune.report.efficiency import efficiency
from rlprune.report.exhibits import against_memory, over_dense
from rlprune.report.listing import Listing
from rlprune.report.page import summary_table, write_report
from rlprune.report.sentences import finding, opening
from rlprune.store import Store


def stored(folder, some):
    with Store(folder / "results.sqlite") as store:
        for one in some:
            store.save(one)
    return folder


def under(some, prefix="new", **recipe):
    """Return the rows as another recipe would have them."""
    return [
        replace(one, id=f"{prefix}-{one.id}", config={**one.config, "recipe": {**one.config["recipe"], **recipe}}) for one in some
    ]


SOME = rows(2, pruners=("Dense", "SNIP"), sparsities=(0.9,))


def test_two_runs_of_two_budgets_stand_apart_with_their_folders_named(tmp_path):
    first = stored(tmp_path / "a", SOME)
    second = stored(tmp_path / "b", under(SOME, budget=1000))
    found = curves.comparisons(gathered([first, second]))
    assert [one.label for one in found] == [f"{second}, budget 1000", f"{first}, budget 500000"]
    assert [len(one.rows) for one in found] == [4, 4]
    assert len({one.stem for one in found}) == 2
    assert len({line[0] for line in summary_table([one for some in found for one in some.rows])[1]}) == 2


def test_a_task_is_never_counted_twice_over_tasks(tmp_path):
    other = as_task(SOME, "acrobot-v1", "Acrobot-v1", -500, 0.8)
    assert curves.aggregate(curves.comparisons([*SOME, *other])) is not None
    assert curves.aggregate(curves.comparisons([*SOME, *under(SOME, budget=1), *other])) is None


def test_the_same_cell_in_two_runs_counts_once_and_more_seeds_are_joined(tmp_path):
    first = stored(tmp_path / "a", SOME)
    second = stored(tmp_path / "b", rows(4, pruners=("Dense", "SNIP"), sparsities=(0.9,)))
    (one,) = curves.comparisons(gathered([first, second, first]))
    assert (one.label, one.seeds) == ("", (4, 4))


def test_the_same_cell_with_another_outcome_keeps_two_runs_apart(tmp_path):
    """Another machine, version or data set under the same id: the later run took the place of the first."""
    changed = [replace(one, values={**one.values, "return_greedy": 1.0}) if one.seed == 1 else one for one in SOME]
    first, second = stored(tmp_path / "a", SOME), stored(tmp_path / "b", changed)
    found = curves.comparisons(gathered([first, second]))
    assert [(one.label, len(one.rows)) for one in found] == [(str(first), 4), (str(second), 4)]


def test_the_same_cell_with_other_values_is_told(tmp_path):
    """It ended alike, so it counts once; whose time or memory is shown has to be said."""
    changed = [replace(one, values={**one.values, "macs": 1.0}) if one.seed == 1 else one for one in SOME]
    first, second, third = (stored(tmp_path / name, some) for name, some in (("a", SOME), ("b", changed), ("c", SOME)))
    told = []
    (one,) = curves.comparisons(gathered([first, second, third], told.append))
    assert len(one.rows) == 4
    assert told == [f"2 cells are in {first} and in {second} with different values; those of {first} are shown"]


def test_a_report_of_several_runs_says_which_rows_are_not_comparable(tmp_path, capsys):
    dense = SOME[:2]  # draws least
    other = under(dense, budget=1000)
    other[0] = replace(other[0], versions={**other[0].versions, "torch": "2.16.0"})
    folders = [stored(tmp_path / name, some) for name, some in (("a", dense), ("b", other[:1]), ("c", other[1:]))]
    assert main(["report", *map(str, folders), "--out", str(tmp_path / "joint")]) == 0
    apart_, *warned = capsys.readouterr().err.splitlines()
    assert apart_.startswith("CartPole-v1, quick: 2 groups are not comparable, and stand apart: 2 cells, ")
    assert "budget 1000" in apart_
    assert apart_.endswith("budget 500000")
    assert sum("cells of torch 2.15.0 and 2.16.0 are compared with each other" in line for line in warned) == 1
    page = (tmp_path / "joint" / "report.html").read_text(encoding="utf-8")
    assert warned == re.findall('<p class="warning">(.*?)</p>', page)  # the page's own, repeated
    assert apart(SOME) == []


def test_two_suites_that_share_cells_keep_them_both(tmp_path):
    other = [replace(one, suite="rl") for one in SOME[1:]]
    first, second = stored(tmp_path / "a", SOME), stored(tmp_path / "b", other)
    found = curves.comparisons(gathered([first, second]))
    assert [(one.suite, len(one.rows)) for one in found] == [("cartpole", 4), ("rl", 3)]
    assert "suite rl" in found[1].label


def test_a_cell_that_failed_in_one_run_and_ended_in_another_has_ended(tmp_path):
    failed = replace(SOME[3], status="failed", error="x", values={})
    for order in (("a", "b"), ("b", "a")):
        folders = [tmp_path / "-".join(order) / name for name in order]
        for folder in folders:
            stored(folder, [*SOME[:3], failed] if folder.name == "a" else SOME)
        assert [one.status for one in gathered(folders)] == ["done"] * 4


def test_a_cell_that_was_skipped_in_two_runs_is_there_once(tmp_path):
    skipped = replace(SOME[3], status="skipped", error="no channels", values={})
    folders = [stored(tmp_path / name, [*SOME[:3], skipped]) for name in ("a", "b")]
    assert [one.status for one in gathered(folders)] == ["done"] * 3 + ["skipped"]


def test_co2_of_two_countries_and_two_prices_are_told():
    def at(country, price, seeds):
        return [
            replace(one, machine={**one.machine, "country": country, "price_per_hour": price})
            for one in (row("SNIP", 0.9, seed) for seed in seeds)
        ]

    some = [*at("SWE", "1", range(3)), *at("POL", "2", range(3, 6))]
    told = " ".join(opening(some))
    assert "CO₂ is that of the energy of POL in some cells and of SWE in others." in told
    assert "money is at USD an hour of 1 in some cells and of 2 in others." in told


def test_one_pruner_under_two_settings_is_two_names():
    floored = [replace(one, id=f"f{one.id}", config={**one.config, "settings": {"floor": 8}}) for one in SOME[2:]]
    (one,) = curves.comparisons([*SOME, *floored])
    assert one.pruners == ["Dense", "SNIP, floor 1", "SNIP, floor 8"]
    assert one.seeds == (2, 2)


def test_settings_that_differ_in_case_alone_keep_their_own_rows():
    some = [
        replace(row("SNIP", 0.9, seed), id=f"{score}{seed}", config={"settings": {"score": score}})
        for score in ("L1", "l1")
        for seed in range(3)
    ]
    (one,) = curves.comparisons(some)
    assert one.pruners == ["SNIP, score L1", "SNIP, score l1"]
    assert {name: len(values) for name, values in one.values(0.9, "return_greedy").items()} == dict.fromkeys(one.pruners, 3)
    assert {end.seeds for end in one.estimates(0.9, "return_greedy").values()} == {3}


def test_a_setting_that_came_later_is_at_its_default_where_it_is_not_named():
    settings = ({"rounds": 1}, {"rounds": 1, "start": "rescaled", "rate_held": 0})
    some = [replace(row("SNIP", 0.9, seed), id=f"{seed}", config={"settings": settings[seed]}) for seed in range(2)]
    (one,) = curves.comparisons(some)
    assert one.pruners == ["SNIP, rate_held 0, start rescaled", "SNIP, rate_held left out, start kept"]


def test_settings_that_differ_in_what_is_not_told_are_two_names():
    base = dict.fromkeys("abcde", 1)
    kinds = [{**base}, {**base, "e": 2}, {**dict.fromkeys("abcd", 2), "e": 1}]
    some = [replace(row("SNIP", 0.9, seed), id=f"{seed:016x}", config={"settings": kinds[seed // 2]}) for seed in range(6)]
    (one,) = curves.comparisons(some)
    first = "SNIP, a 1, b 1, c 1, d 1 and 1 more"
    assert one.pruners == [first, f"{first} (2)", "SNIP, a 2, b 2, c 2, d 2 and 1 more"]
    assert all(len(one.cells(pruner, 0.9)) == 2 for pruner in one.pruners)


def test_one_seed_alone_and_in_a_fleet_is_not_one_of_them():
    alone = [replace(one, id=f"a{one.id}", config={**one.config, "fleet": True}) for one in SOME]
    (one,) = curves.comparisons([*SOME, *alone])
    assert one.pruners == ["Dense, alone", "Dense, in a fleet", "SNIP, alone", "SNIP, in a fleet"]
    (mixed,) = curves.comparisons([*SOME[1:], *alone[:1]])
    assert mixed.pruners == ["Dense", "SNIP"]


def test_another_device_or_data_set_stands_apart():
    on_gpu = [replace(one, id=f"g{one.id}", config={**one.config, "device": "cuda"}) for one in SOME]
    other = [replace(one, id=f"d{one.id}", labels={**one.labels, "data": "1f2e"}) for one in SOME]
    assert len(curves.comparisons([*SOME, *on_gpu, *other])) == 3


@pytest.mark.parametrize("spelling", ["snip", "SNIP", "Snip"])
def test_spelling_makes_no_second_pruner(spelling):
    (one,) = curves.comparisons([*SOME, replace(row("SNIP", 0.9, 2), pruner=spelling, task="CartPole-V1")])
    assert one.pruners == ["Dense", "SNIP"]
    assert len(one.cells(spelling, 0.9)) == 3
    assert curves.style(spelling, "weights") == curves.style("SNIP", "weights")


def test_a_pruner_nobody_knows_has_the_look_of_what_it_cuts():
    assert curves.style("Mine", "channels").solid
    assert not curves.style("Mine", "weights").solid


# -- sentences ---------------------------------------------------------------------------------------------------


def said(returns, **more):
    cells = [
        replace(one, values={**one.values, "return_greedy": greedy, "return_sampled": sampled}, **more)
        for pruner, pairs in returns.items()
        for seed, (greedy, sampled) in enumerate(pairs)
        for one in [row(pruner, 0.9, seed)]
    ]
    return " ".join(opening(cells))


def test_greedy_and_sampled_play_that_disagree_are_told():
    told = said({"Dense": [(500, 500)] * 3, "SNIP": [(400, 50)] * 3, "GraSP": [(300, 200)] * 3, "CroP-U": [(100, 20)] * 3})
    assert "SNIP ends best" in told
    assert "by return (sampled games), GraSP is best (200 [200, 200]), and 1 of 3 pairs change places" in told
    assert "change places" not in said({"SNIP": [(400, 200)] * 3, "GraSP": [(300, 100)] * 3})


def test_a_tie_is_no_win():
    told = said({"Dense": [(500, 500)] * 3, "SNIP": [(500, 500)] * 3, "GraSP": [(500, 500)] * 3})
    assert "all 2 pruners end alike" in told
    assert "ends best" not in told
    assert "SNIP and GraSP end best" in said({"SNIP": [(500, 1)] * 3, "GraSP": [(500, 1)] * 3, "CroP-U": [(9, 1)] * 3})


def test_two_that_tie_are_told_with_both_their_intervals_and_who_overlaps_with_either():
    ends = {"SNIP": [5, 5, 5], "GraSP": [2, 5, 8], "CroP-U": [1, 1, 2], "SNAP": [2, 3, 4], "CroP-S": [1, 1, 1], "LTR": [0, 1, 0]}
    told = said({pruner: [(value, 1) for value in values] for pruner, values in ends.items()})
    assert "SNIP and GraSP end best: return 5.00 [5.00, 5.00] and 5.00 [2.00, 8.00], interquartile mean" in told
    assert "Their intervals overlap with those of SNAP, CroP-U." in told


def test_of_those_that_tie_the_better_mean_comes_first_and_none_is_called_the_best_alone():
    ends = {"SNIP": [9, *[5] * 6, 0], "GraSP": [5] * 8, "CroP-U": [9, *[5] * 6, 3], "SNAP": [1] * 8}
    other = said({pruner: [(place, value) for value in values] for place, (pruner, values) in enumerate(ends.items())})
    assert "by return (sampled games), CroP-U, GraSP and SNIP are best alike (5.00 " in other
    many = ("SNIP", "GraSP", "CroP-U", "SynFlow", "LTR")
    other = said({pruner: [(place, float(pruner != "SNAP"))] * 2 for place, pruner in enumerate((*many, "SNAP"))})
    assert "by return (sampled games), 5 of 6 pruners are best alike (1.00 [1.00, 1.00])" in other


def test_seeds_of_all_that_end_alike_are_counted():
    assert "over 2 to 3 seeds" in said({"SNIP": [(5, 1)] * 3, "GraSP": [(5, 1)] * 2, "SNAP": [(1, 1)] * 3})


def test_a_sparsity_that_was_missed_is_told_but_not_where_networks_have_their_own():
    def reached(weights, **settings):
        some = rows(2, ("Dense", "SNIP", "SNAP"), (0.9,))
        changed = {"config": {**some[0].config, "settings": settings}}
        missed = [
            replace(one, **changed, values={**one.values, "sparsity_weights": weights}) if one.pruner == "SNAP" else one
            for one in some
        ]
        return " ".join(opening(missed))

    assert "90 % of weights were to go, and another share went by SNAP (2 of 2 cells: 45 %)." in reached(0.45)
    assert "SNAP (2 of 2 cells: 93 %)." in reached(0.93)
    assert "another share" not in reached(0.895)
    assert "another share" not in reached(0.45, critic=0.0)


def test_pruning_that_no_trigger_began_is_told():
    def ended(seen, told=None, **until):
        settings = {"until": until or {"epoch": told}} if until or told is not None else {}
        some = [
            replace(
                one,
                config={**one.config, "settings": settings},
                values={**one.values, "pruning_epoch": 2.0},
                epochs=[
                    {**epoch, **({"trigger": seen[place]} if place < len(seen) else {})} for place, epoch in enumerate(one.epochs)
                ],
            )
            for one in rows(2, ("Dense", "EarlyCroP-U"), (0.9,))
        ]
        return " ".join(opening(some))

    line = "waiting had to end, and pruning began, before the trigger had fired in EarlyCroP-U (2 of 2 cells)."
    assert line in ended([0.4, 0.2])
    assert line not in ended([0.4, 0.05])
    assert line not in ended([0.4, 0.2], told=2)
    assert line not in ended([])
    assert line in ended([], cap=0.5), "waiting ended before the trigger had anything to compare"
    assert line not in ended([], told=1)


def test_cells_of_several_versions_in_one_folder_are_told_by_reports_and_scripts(tmp_path, capsys):
    old = [replace(one, versions={**one.versions, "torch": "2.14.0"}) if one.seed else one for one in SOME]
    folder = stored(tmp_path / "run", [*old, replace(SOME[1], id="other", seed=5, status="failed", error="no")])
    line = "cells of torch 2.14.0 and 2.15.0 are compared with each other."
    assert main(["report", str(folder), "--out", str(tmp_path / "page")]) == 0
    assert line in capsys.readouterr().err
    assert main(["report", str(folder), "--to-rliable", str(tmp_path / "scores.npz")]) == 0
    assert line in capsys.readouterr().err
    script = ["by_sparsity.py", folder]
    told = scripted(*script).stderr
    assert told == f"1 cell failed, and nothing here shows them\nCartPole-v1, quick: {line}\n"


def test_cells_of_a_pruner_that_was_written_anew_are_told():
    def written(*codes):
        some = rows(len(codes), ("Dense", "SNIP", "GraSP"), (0.9,))
        own = {seed: {"pruner": f"mine 1.0 {code}"} for seed, code in enumerate(codes)}
        return [replace(one, versions={**one.versions, **(own[one.seed] if one.pruner == "SNIP" else {})}) for one in some]

    line = "the code of SNIP is not the same in all cells that are compared."
    assert line in " ".join(opening(written("a1", "b2")))
    assert line not in " ".join(opening(written("a1", "a1")))


def test_groups_that_differ_in_one_thing_each_are_named_by_it():
    changed = [
        {"entropy": 0.0},
        {"budget": 500},
        {"activation": "tanh"},
        {"rate": 7},
        {"rate": 7, "annealing": "linear"},
        {"clip": 1},
    ]
    usual = {"entropy": 0.01, "budget": 2000, "activation": "relu", "rate": 5, "annealing": "constant", "clip": 0.5}
    found = in_words([{**usual, **one} for one in changed])
    assert found == ["entropy 0.0", "budget 500", "activation tanh", "rate 7", "rate 7, annealing linear", "clip 1"]
    assert in_words([usual, *({**usual, **one} for one in changed)])[0].endswith(" and 2 more"), "who is as most are is told all"


def test_finished_cells_of_code_that_has_changed_are_counted(tmp_path, monkeypatch):
    planned = [cell for cell in cells(load_suite("cartpole", "smoke"), "cpu") if cell.pruner in ("SNIP", "CroP-S")]
    monkeypatch.setattr(sweep, "code", lambda cell: {"pruner": "mine 1.0 b2"} if cell.pruner == "SNIP" else {})
    with Store(tmp_path / "results.sqlite") as store:
        for cell, code in zip(planned, ("a1", "b2"), strict=True):
            store.save(row(cell.pruner, id=cell.id, versions={"pruner": f"mine 1.0 {code}"}))
        assert changed_code(planned, store) == {"SNIP": 1}
        store.save(row("SNIP", id=planned[0].id, versions={"pruner": "mine 1.0 b2"}))
        assert changed_code(planned, store) == {}
    with Store(tmp_path / "others.sqlite") as store:
        for status in ("failed", "skipped"):  # the one runs again, the other counts as done
            assert changed_code(planned, store) == {}
            store.save(row("SNIP", id=planned[0].id, status=status, versions={"pruner": "mine 1.0 a1"}))
        assert changed_code(planned, store) == {"SNIP": 1}
        store.save(row("SNIP", id=planned[0].id, versions={"pruner": "mine 1.0 b2"}))
        assert changed_code(planned, store) == {}


def test_finished_cells_whose_costs_are_asked_for_and_were_not_measured_are_counted(tmp_path):
    """A cell's costs are no part of its name: --set solo=1 in a folder of fleets trained nothing, and told nothing."""
    planned = [cell for cell in cells(load_suite("cartpole", "smoke"), "cpu") if cell.pruner in ("SNIP", "CroP-S")]
    assert all(cell.alone and cell.fleet for cell in planned)
    config = {"fleet": True, "device": "cpu"}
    with Store(tmp_path / "results.sqlite") as store:
        assert costless(planned, store) == 0
        store.save(row("SNIP", id=planned[0].id, config=config, values={"return_greedy": 1.0}))
        assert costless(planned, store) == 1
        assert costless([replace(cell, alone=False) for cell in planned], store) == 0
        store.save(row("SNIP", id=planned[0].id, config=config, values={"return_greedy": 1.0, "wall_seconds": 2.0}))
        assert costless(planned, store) == 0


def test_scripts_say_where_seeds_are_fewer_than_others(tmp_path):
    some = [one for one in rows(3, ("Dense", "SNIP", "GraSP"), (0.9,)) if (one.pruner, one.seed) != ("GraSP", 0)]
    folder = stored(tmp_path / "run", some)

    def lines(script, *more):
        told = scripted(script, folder, *more).stdout
        return {line.split("|")[1].strip(): line for line in told.splitlines() if line.startswith("|")}

    told = lines("by_sparsity.py")
    assert told["GraSP"].endswith("] (2 seeds) |")
    assert told["SNIP"].endswith("] |")
    told = lines("against.py", "--pruner", "SNIP")
    assert "(2 seeds) |" in told["GraSP"]
    assert told["GraSP"].endswith(" (2 pairs) |")
    assert "pairs" not in told["Dense"]


def test_a_lone_pruner_is_named_where_nothing_is_sure():
    told = said({"Dense": [(5, 1)] * 3, "SNIP": [(4, 1)] * 3})
    assert "Against Dense, SNIP is neither surely better nor worse; 1 comparison needs" in told


def test_intervals_that_all_overlap_are_told():
    told = said({"SNIP": [(1, 1), (9, 9), (5, 5)], "GraSP": [(2, 2), (8, 8), (6, 6)]})
    assert "The intervals of all 2 pruners overlap with it." in told


@pytest.mark.parametrize(("end", "chance"), [(22.0, True), (9.4, True), (40.0, True), (300.0, False), (500.0, False)])
def test_a_dense_network_at_chance_is_told(end, chance):
    told = said({"Dense": [(end, end)] * 3, "SNIP": [(9, 9)] * 3})
    assert ("no better than chance (22.0): nothing was learned" in told) == chance


def test_chance_is_known_without_a_dense_anchor_and_where_lower_is_better():
    judged = replace(LOWER, anchors={"random": 1.36})
    assert "chance (1.36): nothing" in said({"Dense": [(1.35, 0)] * 3, "SNIP": [(1.4, 0)] * 3}, judged=judged)
    assert "chance (1.36): nothing" not in said({"Dense": [(0.9, 0)] * 3, "SNIP": [(1.4, 0)] * 3}, judged=judged)


def test_the_best_of_those_that_learned_nothing_is_not_praised():
    dense = {"Dense": [(500, 500)] * 3}
    told = said({**dense, "SNIP": [(9, 9)] * 3, "GraSP": [(12, 9)] * 3})
    assert "GraSP ends best: return 12.0" in told
    assert "All are no better than chance (22.0)." in told
    assert "All are no better than chance (22.0)." in said({**dense, "SNIP": [(9, 9)] * 3, "GraSP": [(9, 9)] * 3})
    assert "That is no better than chance (22.0)." in said({**dense, "SNIP": [(9, 9)] * 3})
    assert "than chance" not in said({**dense, "SNIP": [(9, 9)] * 3, "GraSP": [(120, 9)] * 3})


def test_networks_of_one_size_with_two_speeds_are_told():
    even = rows(3, pruners=("Dense", "SNIP"), sparsities=(0.9,))
    assert not any("unevenly" in sentence for sentence in opening(even))
    cold = [replace(one, values={**one.values, "batch_seconds": 0.003}) if one.pruner == "Dense" else one for one in even]
    assert any("batch time of Dense is 2.6 times that of SNIP at equal MACs" in sentence for sentence in opening(cold))


def test_costs_of_two_machines_are_told():
    two = [replace(one, machine={"cpu": f"cpu {one.seed}"}) for one in SOME]
    assert any("costs were measured on 2 machines: cpu 0; cpu 1" in sentence for sentence in opening(two))


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ({"cpu": ("a", "b")}, "costs were measured on 2 machines: a; b."),
        ({"energy_method": ("RAPL", "estimate")}, "energy was measured in 2 ways: RAPL; estimate."),
        ({"price_per_hour": ("2", "5")}, "money is at USD an hour of 2 in some cells and of 5 in others."),
        (
            {"fleet": (True, False)},
            "costs are of fleets of one in some cells, and of agents that trained without a fleet in others.",
        ),
    ],
)
def test_scripts_that_print_costs_say_what_they_differ_by_beside_pruning(of, said, tmp_path):
    """Shards put a dense network's cell on a slow machine and a pruned one's on another: it trained in a tenth of the time."""
    ((name, values),) = of.items()
    some = [
        replace(one, config={**one.config, name: values[one.seed]})
        if name == "fleet"
        else replace(one, machine={**one.machine, name: values[one.seed]})
        for one in SOME
    ]
    told = scripted("costs.py", stored(tmp_path / "run", some), "--measures", "wall_seconds").stderr
    assert told == f"CartPole-v1, quick: {said}\n"


def test_a_finding_of_one_pruner_has_no_rivals():
    (one,) = curves.comparisons(SOME)
    assert "told from it" not in finding(one)
    assert "SNIP ends with return " in finding(one)


# -- scripts of the paper ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "more", "lacking"),
    [
        ("figure2.py", ["--to", "x"], "no cell was told when to prune"),
        ("figure6.py", ["--to", "x"], "no finished cell for this"),
        ("insides.py", ["--to", "x"], "no epoch of these cells measured what is inside their networks"),
        ("by_sparsity.py", ["--measures", "top1"], "no cell has top1"),
        ("by_sparsity.py", ["--measures", "top1", "--of-dense"], "--of-dense is of the metric"),
        ("by_sparsity.py", ["--measures", " ,"], "no measure was named"),
        ("costs.py", ["--measures", ","], "no cost was named; there are "),
        ("costs.py", ["--measures", "wall_seconds,frobs"], "no cost is named frobs; there are "),
        ("costs.py", ["--measures", "training_macs"], "CartPole-v1, 90 %: no cell measured training_macs\n"),
        ("variants.py", ["--metric", "top1"], "no finished cell has top1"),
        ("variants.py", [], "no finished cell has return_greedy at sparsity 0.95; there are 0.9"),
        (
            "variants.py",
            ["--sparsity", ".9", "--to", "x.doc"],
            "ends in .doc is written here: name a folder, or a file that ends in .md",
        ),
        ("insides.py", ["--pruners", "dense, SNIPP"], "no pruner here is named 'SNIPP'; did you mean 'SNIP'?"),
        ("insides.py", ["--pruners", "zzzz"], "no pruner here is named 'zzzz'; there are Dense, SNIP"),
        ("sparsity.py", ["--to", "x.png"], "x.png: no file that ends in .png is written here: name a folder\n"),
        ("starts.py", [], "no pruner here has variants by where training starts"),
        ("rates.py", [], "no pruner here has a variant by how long the learning rate is held"),
        ("against.py", ["--pruner", "SNIPP"], "no pruner here is named 'SNIPP'; did you mean 'SNIP'?"),
        ("against.py", ["--pruner", "snip", "--metric", "top1"], "no task here has top1 of SNIP and of another at one sparsity"),
        (
            "against.py",
            ["--pruner", "SNIP", "--task", "cartpole"],
            "no task here is named 'cartpole'; did you mean 'cartpole-v1'?",
        ),
        ("against.py", ["--pruner", "SNIP", "--others", "SNIP,,snip"], "there is nobody to compare SNIP with but itself"),
        ("against.py", ["--pruner", "SNIP", "--others", ","], "no pruner was named; there are Dense, SNIP"),
        ("table8.py", [], "has no results.sqlite"),
    ],
)
def test_a_script_says_in_a_line_what_results_lack(script, more, lacking, tmp_path):
    folder = tmp_path if script == "table8.py" else stored(tmp_path / "run", SOME)
    ended = scripted(script, folder, *more, cwd=tmp_path, check=False)
    assert ended.returncode == 1
    assert lacking in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not {"x.doc", "x.png"} & {file.name for file in tmp_path.iterdir()}


def test_starts_are_compared_in_pairs_of_seeds(tmp_path):
    some = rows(4, ("Dense", "SNIP", "CroP-S"), (0.8, 0.9))
    gain = {"kept": 0.0, "rescaled": 9.0}
    started = [
        replace(
            one,
            id=f"{one.id} {start}",
            pruner=f"{one.pruner} {start}",
            values={**one.values, "return_sampled": 100.0 + one.seed + more},
        )
        for one in some
        if one.cut != "nothing"
        for start, more in gain.items()
    ]
    folder = stored(tmp_path / "run", [*(one for one in some if one.cut == "nothing"), *started])
    command = ["starts.py", folder, "--to", tmp_path / "drawn"]
    ended = scripted(*command)
    lines = [line for line in ended.stdout.splitlines() if line.startswith(("| SNIP", "| CroP-S"))]
    assert len(lines) == 4
    assert all(line.endswith("| +9 | 0.250 |") for line in lines), "two patterns of 16, for two pruners"
    assert (tmp_path / "drawn" / "starts.svg").is_file()


def test_a_summary_counts_the_pruners_that_a_start_is_sure_for(tmp_path):
    ends = {"kept": 100.0, "rescaled": 109.0, "measured": 90.0}
    some = [
        replace(
            one,
            id=f"{one.id} {start}",
            pruner=f"{one.pruner} {start}",
            values={**one.values, "return_sampled": end if one.pruner == "SNIP" else 50.0},
        )
        for one in rows(6, ("SNIP", "CroP-S"), (0.8,))
        for start, end in ends.items()
        if (one.pruner, start) != ("CroP-S", "measured")
    ]
    command = ["starts.py", stored(tmp_path / "run", some), "--summary"]
    told = scripted(*command).stdout.splitlines()
    entries = [entry.strip() for entry in told[2].split("|")[1:-1]]
    assert len(told) == 3
    lacking = scripted(command[0], stored(tmp_path / "one", some[::3]), "--summary", check=False)
    assert lacking.stderr.startswith("no pruner here was run from two starts that are compared")
    assert entries[1:] == ["80 %", "return (sampled games)", "0 of 2", "0 of 2", "0 of 1", "1 of 1: SNIP"], (
        "6 seeds: p = 1/32, twice"
    )


def test_a_summary_of_a_cost_counts_less_as_better(tmp_path):
    """By the task's metric, of which more is better, a start that took half the time was surely worse."""
    some = [
        replace(one, id=f"{one.id} {start}", pruner=f"SNIP {start}", values={**one.values, "wall_seconds": seconds + one.seed})
        for one in rows(6, ("SNIP",), (0.8,))
        for start, seconds in {"kept": 200.0, "rescaled": 100.0}.items()
    ]
    command = ["starts.py", stored(tmp_path / "run", some), "--summary", "--metric", "wall_seconds"]
    told = scripted(*command).stdout.splitlines()
    assert told[2].endswith("| training time (s) | 1 of 1: SNIP | 0 of 1 |")


def test_starts_of_what_is_no_agent_are_compared_by_its_own_metric(tmp_path):
    some = [
        replace(
            one,
            id=f"{one.id} {start}",
            pruner=f"SNIP {start}",
            values={name: value for name, value in one.values.items() if name != "return_sampled"},
        )
        for one in rows(3, ("SNIP",), (0.9,))
        for start in ("kept", "rescaled")
    ]
    command = ["starts.py", stored(tmp_path / "run", some)]
    named = scripted(*command, "--metric", "return_greedy").stdout
    assert scripted(*command).stdout == named
    assert "90 % removed, return (greedy games)**" in named, "and no dense network beside it"
    other = [replace(one, id=f"{one.id} b", task="b", labels={**one.labels, "task_title": "B"}) for one in some]
    both = [*other, *(replace(one, values={**one.values, "return_sampled": 9.0}) for one in some)]
    command = ["starts.py", stored(tmp_path / "both", both), "--to", tmp_path / "drawn"]
    shown = scripted(*command, "--metric", "return_sampled").stdout
    assert "B, quick" not in shown, "which has none"
    assert (tmp_path / "drawn" / "starts.png").is_file()


@pytest.mark.parametrize(("script", "variants"), [("starts.py", "kept rescaled"), ("rates.py", "rate held")])
def test_a_measure_that_no_cell_has_is_told(script, variants, tmp_path):
    names = [f"SNIP {variants}"] if script == "rates.py" else [f"SNIP {name}" for name in variants.split()]
    some = [replace(one, id=f"{one.id} {name}", pruner=name) for one in rows(2, ("SNIP",), (0.9,)) for name in names]
    ended = scripted(script, stored(tmp_path / "run", some), "--metric", "top1", check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "no finished cell has top1\n")


def test_rates_and_waiting_are_told_apart(tmp_path):
    ends = {"SNIP rescaled": 10, "SNIP rate held": 15, "EarlySNIP rate falls": 12, "EarlySNIP rescaled": 40, "SynFlow": 9}
    some = [
        replace(one, id=f"{one.id} {name}", pruner=name, values={**one.values, "return_sampled": float(end)})
        for one in rows(4, ("SNIP",), (0.9,))
        for name, end in {**ends, "SynFlow rate held": 8}.items()
    ]
    folder = stored(tmp_path / "run", [*some, *(one for one in rows(4, ("Dense",), ()))])
    ended = scripted("rates.py", folder)
    told = dict(line.strip("| ").split(" | ", 1) for line in ended.stdout.splitlines() if line.startswith("| "))
    assert told["SNIP"] == "10.0 [10.0, 10.0] | 15.0 [15.0, 15.0] | +5.0 (p = 0.625)"
    assert told["EarlySNIP"] == "12.0 [12.0, 12.0] | 40.0 [40.0, 40.0] | +28.0 (p = 0.625)"
    assert told["EarlySNIP − SNIP"] == "+2.0 (p = 0.625) | +25.0 (p = 0.625)"
    assert told["SynFlow"].endswith("| −1.00 (p = 0.625)")
    assert "Dense" not in told


def test_signals_before_training_are_shares_of_the_dense_networks():
    command = ["signals.py", "start", "--profile", "smoke", "--sparsity", ".9", "--seeds", "1", "--task"]
    told = scripted(*command, "cartpole-v1").stdout.splitlines()
    assert [line.split("|")[1].strip() for line in told] == ["pruner", "---", "SNIP", "CroP-S"]
    for line in told[2:]:
        kept, rescaled, measured = (float(entry.removesuffix(" % ")) for entry in line.split("|")[2:5])
        assert 10 < kept < rescaled < 400
        assert 80 < measured < 120
    lacking = scripted(*command, "cartpole", check=False)
    assert "no task is named 'cartpole'; did you mean 'cartpole-v1'?" in lacking.stderr
    assert lacking.stderr.count("\n") == 1
    unknown = scripted(command[0], "startt", *command[2:], "cartpole-v1", check=False)
    assert "did you mean 'start'" in unknown.stderr
    assert unknown.stderr.count("\n") == 1


def test_a_cut_is_told_by_what_it_leaves_of_the_policy():
    command = ["cuts.py", "start", "--profile", "smoke", "--sparsity", ".9", "--seeds", "2", "--task"]
    pruners = "Dense,SNIP kept,EarlyRandom-S kept,EarlyRandom-S rescaled,EarlyRandom-S measured"
    told = scripted(*command, "cartpole-v1", "--pruners", pruners).stdout
    lines = {line.split("|")[1].strip(): line.split("|")[3:-1] for line in told.splitlines() if line.startswith("|")}
    assert [*lines] == ["pruner", "---", "EarlyRandom-S kept", "EarlyRandom-S rescaled", "EarlyRandom-S measured"]
    assert told.endswith("\nNot cut once, in training, for good: Dense, SNIP kept.\n")
    kept, rescaled, measured = ([float(entry) for entry in [*lines.values()][row]] for row in (2, 3, 4))
    assert kept[0] == rescaled[0] == measured[0] > 0, "pruned at one moment"
    assert kept[1] == rescaled[1] == measured[1], "from one policy"
    assert kept[2] < rescaled[2]
    assert measured[2] == pytest.approx(measured[1], rel=0.05)
    assert abs(measured[4] - measured[3]) < abs(kept[4] - kept[3])
    odd = {
        ("cartpole-v1", "SNIP kept"): "none of these is pruned once training has begun\n",
        ("cartpole-v1,acrobot-v1", "SNIP kept"): "one task at a time; got acrobot-v1, cartpole-v1\n",
    }
    for (task, names), why in odd.items():
        lacking = scripted(*command, task, "--pruners", names, check=False)
        assert lacking.stderr == why


def test_pruners_are_asked_for_in_any_case_unless_case_tells_them_apart():
    assert scripts.chosen(["snip", " SNIP ", ""], ["Dense", "SNIP"]) == ["SNIP"]
    assert scripts.chosen(["Mine", "mine"], ["mine", "Mine"]) == ["Mine", "mine"]
    assert scripts.chosen(["dense", "snap", " floor 1", "SNAP"], ["Dense", "SNAP", "SNAP, floor 1"]) == [
        "Dense",
        "SNAP, floor 1",
        "SNAP",
    ]


def test_one_pruner_is_told_from_others_in_pairs_of_seeds(tmp_path):
    ends = {"Dense": 500, "SNIP": 400, "CroP-S": 385, "SynFlow": 400}
    some = [
        replace(one, values={**one.values, "return_sampled": float(ends[one.pruner] + one.seed)})
        for one in rows(6, ("Dense", "SNIP", "CroP-S", "SynFlow"), (0.8, 0.9))
        if not (one.pruner == "CroP-S" and one.sparsity == 0.8)
    ]
    command = ["against.py", stored(tmp_path / "run", some), "--metric", "return_sampled", "--pruner", "snip"]
    ended = scripted(*command, "--others", "crop-s,synflow")
    first, second = ended.stdout.split("\n\n**")
    lines = [
        [line.strip("| ").split(" | ") for line in told.splitlines() if line.startswith("| ")][2:] for told in (first, second)
    ]
    assert [[name, *rest] for name, _, *rest in lines[0]] == [["SynFlow", "0", "1.000"]]
    assert [[name, *rest] for name, _, *rest in lines[1]] == [["CroP-S", "+15", "0.062"], ["SynFlow", "0", "1.000"]], "two of 32"
    assert "90 % removed, return (sampled games); SNIP 402" in second
    everybody = scripted(*command).stdout
    assert everybody.count("| CroP-S |") == 1
    assert everybody.count("| SynFlow |") == 2
    assert "| SNIP |" not in everybody


@pytest.mark.parametrize(
    ("script", "more"),
    [
        ("money.py", []),
        ("costs.py", ["--measures", "macs"]),
        ("against.py", ["--pruner", "SNIP"]),
        ("by_sparsity.py", []),
        ("variants.py", ["--sparsity", ".9"]),
    ],
)
def test_profiles_of_a_task_are_told_apart(script, more, tmp_path):
    """A run's folder has both where nobody named another; tables did not say whose a line was."""
    some = rows(2, ("Dense", "SNIP"), (0.9,))
    folder = stored(tmp_path / "run", [*some, *(replace(one, id=f"{one.id} paper", profile="paper") for one in some)])
    told = scripted(script, folder, *more).stdout
    assert "CartPole-v1, paper" in told
    assert "CartPole-v1, quick" in told
    assert "quick, quick" not in told
    lone = stored(tmp_path / "lone", some)
    if script in ("money.py", "costs.py", "against.py"):
        alone = scripted(script, lone, *more).stdout
        assert "quick" not in alone


def test_variants_have_a_line_each_in_the_unit_of_the_measure(tmp_path):
    """Profiles of a task in two folders of one name were one line, and seconds stood where others write milliseconds."""
    slow = [replace(one, values={**one.values, "batch_seconds": 0.002}) for one in rows(2, ("SNIP",), (0.9,))]
    both = [*slow, *(replace(one, id=f"{one.id} paper", profile="paper") for one in slow)]
    folders = [stored(tmp_path / "a" / "run", both), stored(tmp_path / "b" / "run", both)]
    command = ["variants.py", *folders, "--metric", "batch_seconds", "--sparsity", ".9"]
    told = scripted(*command).stdout.splitlines()
    assert told[0] == "| run, batch time (ms) | SNIP |"
    assert len(told) == 2 + 4
    assert all(line.endswith("| 2.00 [2.00, 2.00] |") for line in told[2:])


def test_by_sparsity_has_a_table_for_each_of_two_recipes(tmp_path):
    folders = [stored(tmp_path / "a", SOME), stored(tmp_path / "b", under(SOME, budget=1))]
    ended = scripted("by_sparsity.py", *folders)
    assert ended.stdout.count("| Dense |") == 2
    assert "budget 1)" in ended.stdout
    assert "budget 500000)" in ended.stdout


@pytest.mark.parametrize("script", ["by_sparsity.py", "costs.py"])
def test_measures_may_have_blanks_between_them(script, tmp_path):
    """There was no cost named " macs", with macs in the list of what there is."""
    command = [script, stored(tmp_path / "run", SOME), "--measures"]
    one, other = (scripted(*command, names).stdout for names in ("disk_csr_mb,macs", "disk_csr_mb, macs,"))
    assert one == other


def test_by_sparsity_names_what_it_shows_and_shows_it_in_its_unit(tmp_path):
    folder = stored(tmp_path / "a", SOME)
    for measures, title, value in (
        ("return_sampled", ", return (sampled games)\n", None),
        ("memory_peak_bytes,batch_seconds", "CartPole-v1, quick\n", "95 %, peak memory (MB)"),
    ):
        command = ["by_sparsity.py", folder, "--measures", measures]
        told = scripted(*command).stdout
        assert title in told
        assert "greedy" not in told
        if value:
            assert value.removeprefix("95 %") in told
            line = next(line for line in told.splitlines() if line.startswith("| SNIP |"))
            memory, batch = (float(text.split()[0].replace(",", "")) for text in line.split("|")[2:4])
            (one,) = curves.comparisons(SOME)
            assert memory == pytest.approx(one.estimates(one.sparsities[0], "memory_peak_bytes")["SNIP"].iqm / 1e6, rel=0.01)
            assert batch == pytest.approx(one.estimates(one.sparsities[0], "batch_seconds")["SNIP"].iqm * 1e3, rel=0.01)


def test_by_sparsity_has_shares_of_dense_and_up_to_where_they_are_kept(tmp_path):
    command = ["by_sparsity.py", stored(tmp_path / "a", SOME), "--of-dense"]
    ended = scripted(*command)
    (one,) = curves.comparisons(SOME)
    assert ended.stdout.strip() == tables.to_markdown(tables.dense_table(one)).strip()
    assert "| ultimate compression" in ended.stdout


@pytest.mark.parametrize(
    ("script", "to", "written"),
    [
        ("by_sparsity.py", "figs", "figs/by_sparsity.md"),
        ("variants.py", "new/x.md", "new/x.md"),
        ("variants.py", ".", "variants.md"),
    ],
)
def test_a_printed_table_is_written_where_it_is_asked_for(script, to, written, tmp_path):
    command = [script, stored(tmp_path, SOME), "--to", to]
    more = ["--sparsity", ".9"] if script == "variants.py" else []
    ended = scripted(*command, *more, cwd=tmp_path)
    told = (tmp_path / written).read_text(encoding="utf-8")
    assert "| SNIP |" in told
    assert ended.stdout == f"{told}\n{written}\n"


def test_a_task_with_more_seeds_weighs_no_more():
    """Perfect in twenty seeds of one task and at chance in three of another, a pruner was perfect over both."""
    ends = {"cartpole-v1": (500.0, 20), "acrobot-v1": (-500.0, 3)}
    some = []
    for task, (end, seeds) in ends.items():
        mine = rows(seeds, ("Dense", "SNIP"), (0.9,))
        mine = mine if task == "cartpole-v1" else as_task(mine, task, "Acrobot-v1", -500, 0.8)
        some += [replace(one, values={**one.values, "return_greedy": end}) if one.pruner == "SNIP" else one for one in mine]
    over = curves.comparisons(some)
    together = curves.aggregate(over)
    (snip,) = [curve for curve in together.curves if curve.pruner == "SNIP"]
    assert 0.4 < snip.at(0.9).iqm < 0.6
    assert snip.at(0.9).seeds == 3


def test_seeds_beyond_a_panel_are_marked_at_its_edge():
    """Two of twenty that failed lay below the axis, under a note that dots are seeds."""

    def drawn(least):
        some = [
            replace(one, values={**one.values, "return_greedy": least if (one.pruner, one.seed) == ("SNIP", 3) else 490.0})
            for one in rows(20, ("Dense", "SNIP"), (0.8, 0.9))
        ]
        (one,) = curves.comparisons(some)
        figure = figures.sparsity_figure([one.chart])
        (axes,) = figure.axes
        marks = [float(mark.get_offsets()[0][1]) for mark in axes.collections if mark.get_zorder() == 5]
        return marks, axes.get_ylim()[0], " ".join(text.get_text() for text in figure.texts)

    marks, low, note = drawn(20.0)
    assert low > 20
    assert marks == [low] * 2
    assert "triangles at the edge: bands or seeds beyond it" in note
    assert drawn(490.0)[0] == []


def test_either_rate_is_told_where_both_are_named(tmp_path):
    some = [
        replace(one, id=f"{one.id} {rate}", pruner=f"SNIP rate {rate}", values={**one.values, "return_sampled": end})
        for one in rows(3, ("SNIP",), (0.9,))
        for rate, end in (("falls", 10.0), ("held", 20.0))
    ]
    told = scripted("rates.py", stored(tmp_path / "run", some)).stdout
    assert "| SNIP | 10.0 [10.0, 10.0] | 20.0 [20.0, 20.0] | +10.0 (p = 0.250) |" in told


def test_costs_that_were_measured_are_printed_without_the_others(tmp_path):
    some = [replace(one, values={name: it for name, it in one.values.items() if name != "co2_grams"}) for one in SOME]
    told = scripted("costs.py", stored(tmp_path / "run", some)).stdout
    assert "| SNIP |" in told
    assert "CO₂" not in told


def test_tasks_stand_three_abreast(tmp_path):
    """Ten tasks in one figure had mirrored axes."""
    some = [one for place in range(4) for one in as_task(SOME, f"task-{place}", f"Task {place}", -500, 0.8)]
    told = scripted("sparsity.py", stored(tmp_path / "run", some), "--to", tmp_path / "to").stdout
    assert [line.rpartition("/")[2] for line in told.splitlines()] == ["sparsity-1.png", "sparsity-2.png"]


# -- seeds that diverged -----------------------------------------------------------------------------------------

DIVERGED = "FloatingPointError: after epoch 3 of training, weights are NaN or infinite: action_net.weight"


def half_lost(error=DIVERGED):
    """SNIP ends best in the ten of twenty seeds that are left of it."""
    some = rows(20, pruners=("Dense", "Random-U", "SNIP"), sparsities=(0.9,))
    ends = {"Dense": 500.0, "Random-U": 300.0, "SNIP": 490.0}
    some = [replace(one, values={**one.values, "return_greedy": ends[one.pruner] + one.seed / 100}) for one in some]
    lost = {"status": "failed", "error": error, "values": {}, "epochs": (), "layers": {}}
    return [replace(one, **lost) if one.pruner == "SNIP" and one.seed % 2 else one for one in some]


def test_a_pruner_is_not_good_by_the_seeds_that_it_spares():
    """A pruner half of whose seeds had diverged ended best, surely better than random, and near dense in all of its seeds."""
    (one,) = curves.comparisons(half_lost())
    ends = one.by_seed("SNIP", 0.9, "return_greedy")
    assert list(ends) == list(range(20))
    assert {seed for seed, end in ends.items() if end == one.anchors["random"]} == set(range(1, 20, 2))
    assert one.estimates(0.9, "return_greedy")["SNIP"].iqm == pytest.approx((490 + one.anchors["random"]) / 2, abs=1)
    assert one.against.pruners["SNIP"].near == {0.9: (10, 20)}
    assert "Random-U ends best" in finding(one)
    assert "SNIP is surely better" not in finding(one)
    assert one.by_seed("SNIP", 0.9, "macs").keys() == set(range(0, 20, 2)), "what is no quality is not made up"
    assert efficiency(one)[1]["SNIP"][0.9].seeds == 20
    (told,) = [line for line in opening(half_lost()) if "diverged" in line]
    assert told.endswith(
        "training diverged with 90 % of weights removed in 10 of 20 seeds of SNIP: they count as "
        f"{tables.number(one.anchors['random'])}, as chance does; learning curves and costs are the others'."
    )


def test_a_crash_is_no_divergence_and_the_worst_of_all_stands_where_chance_is_unknown():
    (one,) = curves.comparisons(half_lost("MemoryError: no more"))
    assert len(one.by_seed("SNIP", 0.9, "return_greedy")) == 10
    some = [replace(row, judged=replace(row.judged, anchors={})) for row in half_lost()]
    (one,) = curves.comparisons(some)
    assert one.by_seed("SNIP", 0.9, "return_greedy")[1] == 300
    told = [line for line in opening(some) if "diverged" in line]
    assert "they count as 300, as the worst cell of all" in told[0]


def test_an_end_that_is_no_number_is_a_divergence_too_and_lower_may_be_better():
    some = [replace(one, judged=LOWER) for one in rows(3, pruners=("Dense", "SNIP"), sparsities=(0.9,))]
    endless = [
        replace(one, values={name: it for name, it in one.values.items() if name != "return_greedy"})
        if one.pruner == "SNIP" and not one.seed
        else one
        for one in some
    ]
    (one,) = curves.comparisons(endless)
    worst = max(row.values["return_greedy"] for row in endless if "return_greedy" in row.values)
    assert one.by_seed("SNIP", 0.9, "return_greedy")[0] == max(worst, one.anchors["random"])


def all_lost():
    """SNIP diverged in every seed, at its only sparsity."""
    lost = {"status": "failed", "error": DIVERGED, "values": {}, "epochs": (), "layers": {}}
    return [replace(one, **lost) if one.pruner == "SNIP" else one for one in rows(5, ("Dense", "Random-U", "SNIP"), (0.9,))]


def test_a_pruner_whose_seeds_all_diverged_is_in_every_table_of_quality_and_no_line_across(tmp_path):
    """It was in no table, or, where it had ended at another sparsity, a second black line beside the dense network's."""
    (one,) = curves.comparisons(all_lost())
    assert one.pruners == ["Dense", "Random-U", "SNIP"]
    assert one.estimates(0.9, "return_greedy")["SNIP"].iqm == one.anchors["random"]
    for table in (tables.cost_table(one, 0.9), tables.measures_table(one, 0.9)):
        assert any(line[0].text == "SNIP" for _, lines in table.blocks for line in lines)
    axes = figures.cost_figure(one, 0.9).axes[0]
    across = [line for line in axes.get_lines() if len(set(line.get_xdata())) == 1 and list(line.get_ydata()) == [0, 1]]
    assert len(across) == 1
    assert "SNIP" in [label.get_text() for label in axes.get_yticklabels()]
    write_report(all_lost(), tmp_path)
    assert "10 cells failed" not in (told := scripted("by_sparsity.py", stored(tmp_path / "run", all_lost()))).stderr
    assert "training diverged with 90 % of weights removed in 5 of 5 seeds of SNIP" in told.stderr


def test_figure_1_and_table_8_count_seeds_that_diverged():
    """Of half-lost SNIP they told 490, the mean of the seeds that were left."""
    (one,) = curves.comparisons(half_lost())
    mean = (490.1 + one.anchors["random"]) / 2
    ((_, table, _),) = over_dense([one], False)
    (snip,) = [line for _, lines in table.blocks for line in lines if line[0].text == "SNIP"]
    assert float(snip[1].text) == pytest.approx(mean, rel=0.01)
    ((_, figure, _),) = against_memory([one], False)
    heights = {round(float(height), 6) for disc in figure.axes[0].collections for _, height in disc.get_offsets()}
    assert round(one.estimates(0.9, "return_greedy")["SNIP"].iqm, 6) in heights


def test_figure_2_counts_seeds_that_diverged():
    """The best fixed moment was the one at which seven of ten agents had diverged."""

    def at(moment, one, **changes):
        config = {**one.config, "pruner": one.pruner, "settings": {"until": {"epoch": moment}}}
        return replace(one, id=f"{one.id} {moment}", config=config, **changes)

    some = rows(10, ("Dense", "SNIP"), (0.9,))
    lost = {"status": "failed", "error": DIVERGED, "values": {}, "epochs": (), "layers": {}}
    ends = {0: 451.0, 4: 404.0}
    made = [one for one in some if one.cut == "nothing"]
    for moment, end in ends.items():
        for one in (one for one in some if one.cut != "nothing"):
            gone = moment == 0 and one.seed >= 3
            made.append(at(moment, one, **(lost if gone else {"values": {**one.values, "return_greedy": end}})))
    (compared,) = curves.comparisons(made)
    (method,) = moments.told(compared, 0.9)
    assert moments.moments(compared, 0.9, method).startswith("best fixed moment 4")


def test_a_seed_that_diverged_is_as_bad_by_every_way_of_playing_and_all_through_training():
    """GraSP was best by sampled games, and by the mean over training, with half of its agents gone."""
    (one,) = curves.comparisons(half_lost())
    for name in ("return_sampled", "return_train"):
        assert one.by_seed("SNIP", 0.9, name)[1] == one.anchors["random"], name
    good = [replace(one, values={**one.values, "return_train": 500.0}) for one in half_lost() if one.values]
    gone = [one for one in half_lost() if not one.values]
    (one,) = curves.comparisons([*good, *gone])
    learned = efficiency(one)[1]
    assert learned["SNIP"][0.9].mean.iqm < learned["Random-U"][0.9].mean.iqm
    assert "A seed that diverged counts as the worst" in tables.efficiency_table(one).note


def test_the_triggers_own_row_counts_seeds_that_diverged_too():
    """Told 3 it was 274, by its trigger 400, with four of ten seeds gone each time."""
    lost = {"status": "failed", "error": DIVERGED, "values": {}, "epochs": (), "layers": {}}
    made = [one for one in rows(10, ("Dense", "SNIP"), (0.9,)) if one.cut == "nothing"]
    for moment in (3, None):
        for one in rows(10, ("SNIP",), (0.9,)):
            until = {"threshold": 0.1} if moment is None else {"epoch": moment}
            config = {**one.config, "pruner": one.pruner, "settings": {"until": until}}
            ended = lost if one.seed < 4 else {"values": {**one.values, "return_greedy": 400.0, "pruning_epoch": 3.0}}
            made.append(replace(one, id=f"{one.id} {moment}", config=config, **ended))
    (compared,) = curves.comparisons(made)
    told = [line.split("|")[2].strip() for line in moments.table(compared, 0.9).splitlines()[2:]]
    assert told[0] == told[1] != "400"
    stars = [line for line in moments.figure(compared, 0.9).axes[0].get_lines() if line.get_marker() == "*"]
    assert [float(star.get_ydata()[0]) for star in stars] == [pytest.approx(float(told[0].split(" ")[0]), abs=0.5)]


def test_seeds_that_diverged_are_among_the_cells_behind_a_number():
    (one,) = curves.comparisons(all_lost())
    listed = Listing(one, 0)
    assert listed.anchor(("SNIP", 0.9))
    assert [heading for heading, lines in listed.table().blocks if heading.startswith("SNIP") and len(lines) == 5]
    (one,) = curves.comparisons(half_lost())
    (heading,) = [heading for heading, _ in Listing(one, 0).table().blocks if heading.startswith("SNIP")]
    assert heading.endswith("20 seeds")


def test_a_sparsity_at_which_every_cell_diverged_is_told():
    lost = {"status": "failed", "error": DIVERGED, "values": {}, "epochs": (), "layers": {}}
    some = rows(5, ("Dense", "SNIP"), (0.9, 0.98))
    (one,) = curves.comparisons([replace(one, **lost) if one.sparsity == 0.98 else one for one in some])
    assert "With 98 % of weights removed no cell has a return" in finding(one)


def test_a_done_cell_without_a_metric_counts_once_in_how_fast_pruners_learn():
    some = rows(10, ("Dense", "SNIP"), (0.9,))
    endless = [
        replace(one, values={name: it for name, it in one.values.items() if name != "return_greedy"})
        if one.pruner == "SNIP" and one.seed < 3
        else one
        for one in some
    ]
    (one,) = curves.comparisons(endless)
    assert efficiency(one)[1]["SNIP"][0.9].seeds == 10


# -- what is told of who is best ---------------------------------------------------------------------------------


def test_overlapping_intervals_are_no_verdict_and_few_pairs_of_one_rival_are_not_all():
    """Pairs of seeds can tell apart whose intervals overlap; the page denied it above the table that said so."""
    noise = {seed: 40.0 * seed for seed in range(10)}
    ends = {"Dense": 400.0, "SNIP": 300.0, "GraSP": 299.0, "SynFlow": 298.0}
    some = [
        replace(one, values={**one.values, "return_greedy": ends[one.pruner] - noise[one.seed] / 4 + (one.seed % 3) / 10})
        for one in rows(10, tuple(ends), (0.9,))
    ]
    (one,) = curves.comparisons(some)
    assert "The intervals of all 3 pruners overlap with it." in finding(one)
    assert "told from" not in finding(one)
    assert "yes: better than each of 2 others" in question.question_table(one).blocks[0][1][0][-1].text
    (few,) = curves.comparisons([row for row in some if row.pruner != "SynFlow" or row.seed > 6])
    assert question.question_table(few).blocks[0][1][0][-1].text == "no: 1 of 2 others cannot be told from it: SynFlow"


def test_numbers_that_tables_show_apart_are_no_tie():
    """From a thousand on tables show whole numbers, and 4,012 was alike with 4,007 by its three digits."""
    assert [curves.rounded(value) for value in (4012.3, 4007.0, 83.44, 123_456.0)] == [4012, 4007, 83.4, 123_000]
    ends = {"Dense": 5000.0, "SNIP": 4012.0, "GraSP": 4007.0}
    some = [replace(one, values={**one.values, "return_greedy": ends[one.pruner]}) for one in rows(3, tuple(ends), (0.9,))]
    (one,) = curves.comparisons(some)
    assert "SNIP ends best" in finding(one)
