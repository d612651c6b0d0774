"""How fast pruners learn: the area under a curve and the samples to nearly dense, by hand; what has neither."""

from dataclasses import replace
from math import inf

import pytest
from rows import JUDGED, LOWER, row, rows

from rlprune.report import curves, tables
from rlprune.report.efficiency import efficiency, measurable

FALLING = replace(LOWER, curve=replace(LOWER.curve, better="lower"))


def learned(pruner, seed, values, sparsities=None, judged=JUDGED, sparsity=0.9):
    """Return a cell whose epochs of a thousand samples have these values; None has no value."""
    removed = sparsities or [sparsity if pruner != "Dense" else 0.0] * len(values)
    epochs = tuple(
        {"trained": place + 1.0, "epoch": place + 1.0, "samples": 1000.0 * (place + 1), "sparsity": share}
        | ({} if value is None else {"return_train": float(value)})
        for place, (value, share) in enumerate(zip(values, removed, strict=True))
    )
    return replace(row(pruner, sparsity, seed), epochs=epochs, judged=judged)


def compared(*cells):
    (one,) = curves.comparisons(cells)
    return one


DENSE = [learned("Dense", seed, [100, 400, 500, 500]) for seed in range(3)]


def test_the_mean_over_training_is_the_area_over_the_length():
    one = compared(*DENSE, *(learned("SNIP", seed, [None, 100 * seed, 200, 300]) for seed in range(3)))
    level, found = efficiency(one)
    assert level == 450
    means = [(2 * 100 * seed + 200 + 300) / 4 for seed in range(3)]  # what has no value is as the first that has
    assert found["SNIP"][0.9].mean.iqm == pytest.approx(sum(means) / 3)
    assert found["Dense"][0.0].mean.iqm == 375
    assert found["SNIP"][0.9].mean.interval == pytest.approx((means[0], means[2]))


def test_samples_count_until_the_pruned_network_is_nearly_as_good_and_those_before_it_was_pruned_too():
    late = [learned("EarlyCroP-U", seed, [460, 470, 449, 450, 500], [0.0, 0.5, 0.9, 0.9, 0.9]) for seed in range(3)]
    found = efficiency(compared(*DENSE, *late))[1]
    assert found["EarlyCroP-U"][0.9].samples.iqm == 4000
    assert found["Dense"][0.0].samples.iqm == 3000
    assert found["EarlyCroP-U"][0.9].length == pytest.approx(5 / 4)


def test_nearly_all_is_not_all_of_the_way_at_high_sparsities():
    """A thousandth of what is removed was let pass: at 99.9 % as much again as is left."""
    late = [learned("LTR", seed, [460, 470, 480], [0.0, 0.998, 0.999], sparsity=0.999) for seed in range(3)]
    assert efficiency(compared(*DENSE, *late))[1]["LTR"][0.999].samples.iqm == 3000


def test_what_never_is_counts_as_infinity_and_half_of_the_seeds_decide():
    some = [learned("SNIP", seed, [1, 1, 1, 500 if seed < 2 else 1]) for seed in range(3)]
    found = efficiency(compared(*DENSE, *some, *(learned("GraSP", seed, [1, 1, 1, 1]) for seed in range(3))))[1]
    assert (found["SNIP"][0.9].samples.iqm, found["SNIP"][0.9].reached) == (4000, 2)
    assert found["SNIP"][0.9].samples.interval == (4000, inf)
    assert (found["GraSP"][0.9].samples.iqm, found["GraSP"][0.9].reached) == (inf, 0)


def test_seeds_differ_in_number_and_one_has_no_interval():
    one = efficiency(compared(*DENSE, learned("SNIP", 0, [1, 1, 1, 500])))[1]["SNIP"][0.9]
    assert (one.samples.iqm, one.samples.interval, one.mean.interval) == (4000, None, None)


def test_seeds_end_at_different_epochs_and_lack_some_between():
    some = [learned("SNIP", 0, [100, None, 200, 460]), learned("SNIP", 1, [100, 400]), learned("SNIP", 2, [None, None, None])]
    found = efficiency(compared(*DENSE, *some))[1]["SNIP"][0.9]
    assert found.seeds == 2, "one has no value at all"
    means = (100 + 2 * 200 + 460) / 4, (100 + 400) / 2  # a value stands for the samples since the one before
    assert found.mean.iqm == pytest.approx(sum(means) / 2)
    assert (found.samples.iqm, found.reached) == (inf, 1)
    assert found.length == pytest.approx((4 + 2) / 2 / 4)


def test_errors_fall_from_chance_and_returns_below_zero_rise_from_it():
    falling = replace(FALLING, anchors={"random": 2.0})
    cells = [
        replace(learned(name, seed, values, judged=falling), values={"return_greedy": values[-1]})
        for name, values in (("Dense", [2.0, 1.5, 1.0, 1.0]), ("SNIP", [2.0, 1.2, 1.1, 1.0]))
        for seed in range(2)
    ]
    level, found = efficiency(compared(*cells))
    assert level == pytest.approx(2 - 0.9)
    assert (found["Dense"][0.0].samples.iqm, found["SNIP"][0.9].samples.iqm) == (3000, 3000)


def test_a_loss_is_no_measure_of_how_near_accuracy_is():
    loss = replace(JUDGED, curve=replace(JUDGED.curve, better="lower"))
    one = compared(*(learned(name, 0, [3, 2, 1], judged=loss) for name in ("Dense", "SNIP")))
    assert not measurable(one)
    with pytest.raises(ValueError, match="no learning curve can be set against"):
        efficiency(one)
    assert not measurable(compared(*(learned("SNIP", seed, [1, 2]) for seed in range(2))))
    assert not measurable(compared(*(replace(row(name), epochs=()) for name in ("Dense", "SNIP"))))


def test_the_table_says_both_for_every_sparsity():
    cells = [learned("SNIP", seed, [1, 1, 450, 500 + seed], sparsity=sparsity) for sparsity in (0.8, 0.9) for seed in range(3)]
    table = tables.efficiency_table(compared(*DENSE, *cells, *(learned("IMP", seed, [1] * 8) for seed in range(3))))
    assert table.header[1:3] == ("80 % removed: mean over training", "80 % removed: steps to 90 % of dense")
    told = {line[0].text: [entry.text for entry in line[1:]] for _, block in table.blocks for line in block}
    assert told["SNIP"][1::2] == ["3,000 [3,000, 3,000]"] * 2
    assert told["IMP"] == ["–", "–", "1.00 [1.00, 1.00]", "never (0 of 3)"]
    assert tables.to_latex(table).isascii()
    assert "first reaches 450, 90 % of dense" in table.note
    assert "As long as dense trained IMP 2.00 times." in table.note
    assert {(record["pruner"], record["sparsity"]): record["samples"] for record in table.csv} == {
        ("Dense", 0.0): 3000,
        ("SNIP", 0.8): 3000,
        ("SNIP", 0.9): 3000,
        ("IMP", 0.9): inf,
    }


def test_rewound_pruners_are_told_to_train_longer():
    (one,) = curves.comparisons(rows(2, ("Dense", "LTR"), (0.9,)))
    assert "LTR 11.0 times" in tables.efficiency_table(one).note
