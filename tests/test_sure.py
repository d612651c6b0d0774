"""What may be called sure: against loops over all patterns, and how often luck is called so when nothing differs."""

import csv
import io
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from rows import LOWER, row

from rlprune.report import curves, tables
from rlprune.report.question import question_table
from rlprune.report.sentences import finding
from rlprune.report.sure import differences, families, limits, with_dense, with_random
from rlprune.stats import holm, seeds_needed, sign_flip


def compared(returns, metric=None):
    cells = [
        replace(one, values={**one.values, "return_greedy": value}, pruner=name, id=f"{name}-{seed}")
        for name, values in returns.items()
        for seed, value in enumerate(values)
        for one in [row(name.partition(" ")[0], 0.9, seed)]
    ]
    (one,) = curves.comparisons(cells)
    return replace(one, metric=metric or one.metric)


def slow_p(some):
    sums = [abs(sum(sign * it for sign, it in zip(signs, some, strict=True))) for signs in product((1, -1), repeat=10)]
    return sum(found >= abs(sum(some)) for found in sums) / len(sums)


def sides(found):
    return {one.pruner: one.sure for one in found}


# -- the test ------------------------------------------------------------------------------------------------------


def test_a_difference_is_paired_by_seed_and_corrected_with_all_that_are_tested_together():
    whole = np.random.default_rng(0).integers(0, 500, size=(3, 10)).tolist()
    values = {name: dict(enumerate(values)) for name, values in zip(("SNIP", "GraSP", "Dense"), whole, strict=True)}
    found = differences([("SNIP", "Dense"), ("GraSP", "Dense")], values, 1)
    less = [[mine - dense for mine, dense in zip(one, whole[2], strict=True)] for one in whole[:2]]
    assert [one.p for one in found] == holm([slow_p(some) for some in less])
    assert [one.mean for one in found] == pytest.approx([sum(some) / 10 for some in less])


def test_seeds_that_one_of_the_two_lacks_are_left_out_and_pairs_without_any_are_not_tested():
    values = {"SNIP": {1: 2.0, 2: 3.0, 7: 9.0}, "Dense": {2: 5.0, 7: 9.0, 8: 1.0}, "GraSP": {4: 1.0}}
    (one,) = differences([("SNIP", "Dense"), ("GraSP", "Dense")], values, 1)
    assert (one.pruner, one.mean, one.improvement.pairs, one.ties) == ("SNIP", -1.0, 2, 1)


def test_less_is_better_where_it_is():
    values = {"Dense": dict(enumerate([1.0] * 8)), "SNIP": dict(enumerate([1.5] * 8))}
    assert sides(differences([("SNIP", "Dense")], values, 1)) == {"SNIP": "better"}
    assert sides(differences([("SNIP", "Dense")], values, -1)) == {"SNIP": "worse"}


def test_patterns_that_are_too_many_to_count_are_drawn_and_always_the_same():
    some = np.random.default_rng(3).normal(0.3, 1, size=30)
    exact, drawn = sign_flip(some), sign_flip([*some, *[1e-12] * 10])
    assert drawn == sign_flip([*some, *[1e-12] * 10])
    assert abs(drawn - exact) < 4 * (exact * (1 - exact) / 20_000) ** 0.5
    assert sign_flip(np.ones(200)) == 1 / 20_001  # never 0: the pattern that is there is one of them


def test_half_the_patterns_at_a_time_are_all_of_them():
    """Sums of two halves were counted beyond one end and doubled: ties between patterns must not fall between the two."""
    for seed in range(12):
        some = np.random.default_rng(seed).integers(-3, 4, size=10).tolist()
        assert sign_flip(some) == slow_p(some)


def test_a_claim_needs_as_many_seeds_as_are_said():
    for comparisons in (1, 2, 5, 13, 16, 26, 52, 100):
        seeds = seeds_needed(comparisons)
        smallest = [[sign_flip(np.ones(count)), *[1.0] * (comparisons - 1)] for count in (seeds - 1, seeds)]
        assert holm(smallest[0])[0] > 0.05 >= holm(smallest[1])[0]
    assert seeds_needed(16) == 10


# -- when nothing differs ------------------------------------------------------------------------------------------

DRAWN = {
    "normal": lambda generator, shape: generator.normal(size=shape) + generator.normal(size=(shape[0], 1, shape[2])),
    "skewed": lambda generator, shape: generator.exponential(size=shape),
    "at a ceiling": lambda generator, shape: np.minimum(500, 480 + 60 * generator.normal(size=shape)),
    "some fail": lambda generator, shape: np.where(generator.random(shape) < 0.3, 100, 500) + generator.normal(size=shape),
}


def claims(kind, seeds, count):
    """Return in which of some tables each reference's comparisons call anything sure: Dense 16, two Randoms 6 and 8."""
    drawn = DRAWN[kind](np.random.default_rng(seeds), (count, 17, seeds))
    pairs = [(pruner, 0) for pruner in range(1, 17)], [(pruner, 1) for pruner in range(2, 8)], [(it, 8) for it in range(9, 17)]
    found = []
    for table in drawn:
        values = {place: dict(enumerate(some)) for place, some in enumerate(table.tolist())}
        found.append([any(one.sure for one in differences(family, values, 1)) for family in pairs])
    return np.array(found)


@pytest.mark.parametrize("kind", DRAWN)
def test_a_table_in_which_nothing_differs_calls_something_sure_in_one_of_twenty_at_most(kind):
    found = claims(kind, 10, 120)
    assert found.mean(axis=0).max() <= 0.05 + 3 * (0.05 * 0.95 / 120) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [8, 10, 12, 24])
@pytest.mark.parametrize("kind", DRAWN)
def test_so_it_is_in_many_tables(kind, seeds):
    found = claims(kind, seeds, 1000)
    assert found.mean(axis=0).max() <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5
    assert found.any(axis=1).mean() <= 0.15 + 3 * (0.15 * 0.85 / 1000) ** 0.5  # a table has three references


# -- the table and the sentences -----------------------------------------------------------------------------------

HIGH, LOW, MIXED = [500.0] * 10, [float(it) for it in range(10, 20)], [500.0] * 6 + [480.0, 510.0, 470.0, 520.0]


def test_everything_is_compared_with_dense_and_with_the_random_of_its_cut():
    one = compared({"Dense": HIGH, "Random-S": LOW, "Random-U": LOW, "SNAP": MIXED, "CroP-S": LOW, "SNIP": MIXED})
    assert sides(with_dense(one, 0.9)) == {"Random-S": "worse", "Random-U": "worse", "SNAP": "", "CroP-S": "worse", "SNIP": ""}
    assert {it.pruner: it.other for it in with_random(one, 0.9)} == {"SNAP": "Random-S", "CroP-S": "Random-S", "SNIP": "Random-U"}
    assert sides(with_random(one, 0.9)) == {"SNAP": "better", "CroP-S": "", "SNIP": "better"}
    assert {name: len(found) for name, found in families(with_random(one, 0.9)).items()} == {"Random-S": 2, "Random-U": 1}


def test_a_variant_is_compared_with_the_random_of_its_kind():
    one = compared({"Random-U kept": LOW, "Random-U rescaled": HIGH, "SNIP kept": LOW, "SNIP rescaled": HIGH, "GraSP": LOW})
    assert {it.pruner: it.other for it in with_random(one, 0.9)} == {
        "SNIP kept": "Random-U kept",
        "SNIP rescaled": "Random-U rescaled",
    }
    assert with_dense(one, 0.9) == []


def test_the_table_marks_what_is_sure_and_says_what_keeps_the_rest_from_it():
    table = tables.compared_table(compared({"Dense": HIGH, "Random-U": LOW, "SNIP": MIXED}), 0.9)
    assert table.title == "CartPole-v1, 90 % of weights removed: compared with Dense and Random"
    below = [mine - dense for mine, dense in zip(MIXED, HIGH, strict=True)]
    told = {line[0].text: [(entry.text, entry.mark) for entry in line[1:]] for _, block in table.blocks for line in block}
    assert told["Random-U"][:3] == [("−486", "best"), ("0.00", ""), ("0.004, worse", "best")]
    assert told["SNIP"][:3] == [("−2.00", ""), ("0.50 (6 ties)", ""), (f"{slow_p(below):.3f}", "")]
    assert told["SNIP"][3:] == [("+484", "best"), ("1.00", ""), ("0.002, better", "best")]
    assert "Against Dense, 6 of 20 pairs are ties, which tell nothing." in table.note
    assert tables.to_latex(table).isascii()
    records = list(csv.DictReader(io.StringIO(tables.to_csv(table))))
    assert [(it["pruner"], it["other"], it["sure"]) for it in records][-1] == ("SNIP", "Random-U", "better")
    assert float(records[-1]["p"]) == 2 / 1024


def test_too_few_seeds_are_said_and_nothing_is_marked():
    one = compared({"Dense": HIGH[:3], "Random-U": LOW[:3], "SNIP": MIXED[:3]}, LOWER.metric)
    table = tables.compared_table(one, 0.9)
    assert not any(entry.mark for _, block in table.blocks for line in block for entry in line)
    said = "2 comparisons need 7 seeds for one to be sure, and there are 3"
    assert f"Against Dense, {said}; 3 of 6 pairs are ties, which tell nothing." in table.note
    assert f"Against Dense, none of 2 pruners is surely better or worse; {said}" in finding(one)
    alone = compared({"Dense": HIGH[:1], "SNIP": LOW[:1]})
    assert limits(with_dense(alone, 0.9)) == ["1 comparison needs 6 seeds for one to be sure, and there is 1"]


def test_the_finding_says_who_is_surely_better_or_worse():
    told = finding(compared({"Dense": HIGH, "Random-S": LOW, "Random-U": LOW, "SNAP": MIXED, "CroP-S": LOW, "SNIP": MIXED}))
    assert "Against Dense, Random-S, Random-U, CroP-S are surely worse; 12 of 50 pairs are ties, which tell nothing." in told
    assert "Against Random of their cut, SNIP, SNAP are surely better; 10 of 30 pairs are ties, which tell nothing." in told
    many = dict.fromkeys(("Random-S", "SNAP", "CroP-S", "CroPit-S", "EarlyCroP-S"), LOW)
    assert "5 of 5 pruners are surely worse" in finding(compared({"Dense": HIGH, **many}))


def test_the_best_by_its_middle_seeds_is_not_called_sure_where_its_mean_is_surely_worse():
    best = [100.0] * 3 + [405.0] * 6 + [410.0] * 3
    other = [300.0] * 3 + [400.0] * 6 + [500.0] * 3
    one = compared({"SNIP": best, "GraSP": other})
    (difference,) = differences([("SNIP", "GraSP")], {"SNIP": dict(enumerate(best)), "GraSP": dict(enumerate(other))}, 1)
    assert difference.sure == "worse"
    (line,) = question_table(one).blocks[0][1]
    assert [entry.text for entry in line][2::3] == ["SNIP", "no: GraSP cannot be told from it"]
    turned = question_table(compared({"SNIP": [-it for it in best], "GraSP": [-it for it in other]}, LOWER.metric))
    assert turned.blocks[0][1][0][-1].text == "no: GraSP cannot be told from it"


def test_rounding_is_no_difference():
    values = {"SNIP": {0: 0.1 + 0.2, 1: -0.7}, "GraSP": {0: 0.3, 1: -0.7}}
    (found,) = differences([("SNIP", "GraSP")], values, 1)
    assert found.mean == 0


def test_rounding_has_no_side_in_pairs_either():
    """A copy times 1 + 3e-13 was surely worse, in every seed."""
    values = {"SNIP": {seed: 100.0 + seed for seed in range(10)}}
    values["copy"] = {seed: value * (1 + 3e-13) for seed, value in values["SNIP"].items()}
    (one,) = differences([("copy", "SNIP")], values, 1)
    assert (one.mean, one.ties, one.p, one.sure) == (0.0, 10, 1.0, "")


def test_each_family_says_for_itself_how_many_seeds_it_needs():
    """ "2 comparisons need 7 seeds, and there are 6" stood beside CroP-S, surely better than the Random-S that it alone has."""
    high, low = [300.0 + seed for seed in range(6)], [100.0] * 6
    one = compared({"Random-U": low, "SNIP": high, "GraSP": high, "Random-S": low, "CroP-S": high})
    assert limits(with_random(one, 0.9)) == ["2 comparisons with Random-U need 7 seeds for one to be sure, and there are 6"]
    one = compared({"Random-U": low, "SNIP": high, "Random-S": low[:3], "CroP-S": high[:3]})
    assert limits(with_random(one, 0.9)) == ["1 comparison with Random-S needs 6 seeds for one to be sure, and there are 3"]


def test_what_has_few_seeds_does_not_speak_for_the_others_of_its_table():
    values = {
        "Dense": [500.0] * 10,
        "SNIP": [300.0 + seed for seed in range(10)],
        "GraSP": [100.0],
        "SynFlow": [299.0, 305.0] * 5,
    }
    (line,) = question_table(compared(values)).blocks[0][1]
    assert "too few" not in line[-1].text


def test_the_plain_random_stands_in_where_that_of_a_variant_was_not_run():
    high, low = [300.0 + seed for seed in range(10)], [100.0] * 10
    one = compared({"Random-U": low, "SNIP kept": high, "Random-U kept": low})
    elsewhere = [replace(row, sparsity=0.95) if row.pruner == "Random-U kept" else row for row in one.rows]
    found = with_random(replace(one, rows=tuple(elsewhere)), 0.9)
    assert [(it.pruner, it.other, it.sure) for it in found] == [("SNIP kept", "Random-U", "better")]


def test_a_second_network_that_nothing_is_removed_from_has_its_line():
    one = compared({"Dense": [500.0 + seed for seed in range(10)], "Dense wide": [480.0] * 10, "SNIP": [300.0] * 10})
    table = tables.compared_table(one, 0.9)
    assert {line[0].text for _, lines in table.blocks for line in lines} == {"Dense wide", "SNIP"}
