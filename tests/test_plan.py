import json

import oracles
import pytest

from rlprune.pruning.plan import (
    Exponential,
    GrowTo,
    Halving,
    LazyRegime,
    Level,
    Progress,
    Prune,
    PruneTo,
    Rewind,
    Save,
    Train,
    TrainEpoch,
    after,
    begin,
    next_action,
    reached,
    trained_epochs,
    waits,
)
from rlprune.pruning.pruner import pruners

LTR = [Train(epochs=1), Save(), *[s for i in (1, 2) for s in (Train(), Prune(Level(Exponential(2), i)), Rewind())], Train()]


def walk(plan, sparsity=0.9, epochs=6, readings=None):
    """Every action of a plan, fed with one reading an epoch."""
    progress, actions, readings = begin(plan, sparsity, epochs), [], iter(readings or [])
    while (action := next_action(plan, sparsity, epochs, progress)) is not None:
        actions.append(action)
        reading = next(readings, None) if isinstance(action, TrainEpoch) else None
        progress = after(plan, sparsity, epochs, progress, action, reading)
        assert len(actions) < 1000, "the plan does not end"
    return actions


def shape(actions):
    letters = {TrainEpoch: "t", PruneTo: "P", GrowTo: "G", Save: "S", Rewind: "R"}
    return "".join(letters[type(action)] for action in actions)


@pytest.mark.parametrize("epochs", [2, 3, 7, 31])
@pytest.mark.parametrize("name", ["LTR", "EarlyCroP-S", "GateDecorators", "EfficientConvNets", "CroPit-U", "Dense"])
def test_the_epochs_of_a_plan_are_those_of_a_walk(name, epochs):
    plan, trained = pruners().load(name).steps(pruners().load(name).settings()), 0
    progress = begin(plan, 0.9, epochs)
    while (action := next_action(plan, 0.9, epochs, progress)) is not None:
        trained += isinstance(action, TrainEpoch)
        progress = after(plan, 0.9, epochs, progress, action)
    assert trained_epochs(plan, epochs) == trained


def test_plans_do_their_steps_in_order():
    assert shape(walk([Train()])) == "tttttt"
    assert shape(walk([Prune(), Train()])) == "Ptttttt"
    assert shape(walk([Prune(Halving(7)), Train()])) == "PPPPPPPtttttt"
    assert shape(walk([Train(share=0.5), Prune(), Train()])) == "tttPttt"
    assert shape(walk([Train(epochs=2), Prune(), Train()])) == "ttPtttt"


def test_rewinding_returns_to_the_saved_epoch_and_masks_go_on():
    assert shape(walk(LTR)) == "tS" + "tttttPR" * 2 + "ttttt"
    assert trained_epochs(LTR, 6) == 16
    sparsities = [action.sparsity for action in walk(LTR) if isinstance(action, PruneTo)]
    assert sparsities == pytest.approx([1 - 0.1**0.5, 0.9])


def test_ltr_rewinds_to_a_share_of_the_budget():
    pruner = pruners().load("LTR")
    assert shape(walk(pruner.steps(pruner.settings({"levels": 1, "share": 0.5})))) == "tttS" + "tttPR" + "ttt"


def test_rewinding_to_initialisation():
    plan = [Train(epochs=0), Save(), Train(), Prune(), Rewind(), Train()]
    assert shape(walk(plan, epochs=3)) == "StttPRttt"


def test_the_lazy_regime_fires_when_the_distance_stalls():
    plan = [Train(until=LazyRegime()), Prune(), Train()]
    # D_1 = 1; the changes .5 and .3 are above 1 - .8, .1 is below it: fires after epoch 4
    assert shape(walk(plan, sparsity=0.8, epochs=20, readings=[1.0, 1.5, 1.8, 1.9])) == "ttttP" + "t" * 16


def test_the_lazy_regime_waits_for_two_readings_and_fires_at_its_cap_at_the_latest():
    plan = [Train(until=LazyRegime()), Prune(), Train()]
    assert shape(walk(plan, epochs=8, readings=[0.0, 0.0])) == "ttP" + "t" * 6
    assert shape(walk(plan, epochs=8, readings=[1.0, 2.0, 3.0, 4.0])) == "ttttPtttt"


@pytest.mark.parametrize(
    ("trigger", "value"),
    [
        (LazyRegime(), 1 / 2),
        (LazyRegime(normaliser="current"), 1 / 4),
        (LazyRegime(normaliser="start"), 1.0),
    ],
)
def test_the_parts_of_the_lazy_regime_can_be_set(trigger, value):
    assert trigger.value([2.0, 3.0, 4.0]) == pytest.approx(value)


def test_the_learning_rate_is_held_while_waiting_and_anneals_over_what_remains():
    actions = walk([Train(until=LazyRegime(cap=0.5)), Prune(), Train()], epochs=4)
    assert rates(actions) == [(1, 1), (1, 1), (1, 0.5), (0.5, 0)]
    assert rates(walk([Train()], epochs=4)) == [(1, 0.75), (0.75, 0.5), (0.5, 0.25), (0.25, 0)]


@pytest.mark.parametrize("name", pruners().names())
@pytest.mark.parametrize("held", [0, 2])
def test_a_rate_that_is_held_as_long_as_told_changes_nothing_else(name, held):
    pruner = pruners().load(name)
    plain, told = (walk(pruner.steps(pruner.settings(more))) for more in ({}, {"rate_held": held}))
    assert shape(told) == shape(plain)
    begun = [(min(1, (6 - epoch) / (6 - held)), min(1, (5 - epoch) / (6 - held))) for epoch in range(6)]
    assert rates(told)[-6:] == begun if "R" not in shape(plain) else {*rates(told)} == {*begun}
    if waits(pruner.steps(pruner.settings())):
        assert rates(plain)[0] == (1, 1)


def rates(actions):
    """What remains of the schedule as each epoch begins and ends."""
    return [(action.start, action.end) for action in actions if isinstance(action, TrainEpoch)]


@pytest.mark.parametrize("target", [0.5, 0.8, 0.95, 0.99, 0.3])
def test_schedules_are_those_of_the_papers(target):
    assert Halving(7).sparsities(target) == pytest.approx(oracles.halving(target))
    assert Halving(1).sparsities(target) == [target]
    kept = [1 - sparsity for sparsity in Exponential(10).sparsities(target)]
    assert all(after / before == pytest.approx((1 - target) ** 0.1) for before, after in zip([1, *kept], kept, strict=False))
    assert kept[-1] == 1 - target


def test_a_plan_interrupted_anywhere_goes_on_alike():
    plan, readings = [Train(until=LazyRegime()), *LTR], [1.0, 1.5, 1.6, 1.9]
    whole = walk(plan, readings=readings)
    for cut in range(len(whole)):
        progress, left = begin(plan, 0.9, 6), iter(readings)
        for action in whole[:cut]:
            reading = next(left, None) if isinstance(action, TrainEpoch) else None
            progress = after(plan, 0.9, 6, progress, action, reading)
        progress = Progress.from_dict(json.loads(json.dumps(progress.to_dict())))
        assert next_action(plan, 0.9, 6, progress) == whole[cut]


def test_rewinding_without_saving_is_a_mistake():
    with pytest.raises(ValueError, match="saves"):
        walk([Train(), Rewind()])


def test_a_plan_says_where_it_ends():
    assert reached([Prune(Exponential(4)), Train()], 0.9) == 0.9
    assert reached([Train(share=0.5), Prune(Level(Exponential(2), 1)), Train()], 0.9) == pytest.approx(1 - 0.1**0.5)
    assert reached([Train()], 0.9) is None


@pytest.mark.parametrize("name", [name for name in pruners().names() if name != "Dense"])
def test_every_plan_ends_where_it_was_asked_to(name):
    plan = pruners().load(name).steps(pruners().load(name).settings())
    assert [reached(plan, sparsity) for sparsity in (0.5, 0.9, 0.99)] == [0.5, 0.9, 0.99]
