import pytest

from rlprune.api import Cubic, Exponential, Grow, Halving, Hold, LazyRegime, Level, MaskDistance, Prune, Rewind, Save, Train
from rlprune.pruning import said
from rlprune.pruning.pruner import pruners


def score(probe):
    """``|θ|``, the size.

    More is said below.
    """


def test_every_step_has_words():
    steps = [
        Save(),
        Train(epochs=1),
        Train(epochs=3),
        Train(share=0.25),
        Train(until=LazyRegime(epoch=4, cap=1.0)),
        Train(until=MaskDistance(cap=0.3)),
        Hold(3),
        Hold(0),
        Prune(Halving(3)),
        Prune(Cubic(4), by=score),
        Prune(beyond=0.25, by=score),
        Grow(by=score),
        Rewind(),
        Train(penalty=1e-4, only="gates"),
    ]
    assert said.plan(steps) == [
        "save",
        "train 1 epoch",
        "train 3 epochs",
        "train up to 25 % of the budget",
        "train until the end of epoch 4",
        "train until the channels that would stay no longer change, after 30 % of the epochs at the latest",
        "hold the learning rate for 3 epochs",
        "let the learning rate fall from the start",
        "prune in 3 rounds that halve what is missing",
        "prune in 4 rounds, fast at first and slowly in the end, by |θ|, the size",
        "prune, and 25 % more of what is kept, by |θ|, the size",
        "grow as many, by |θ|, the size",
        "rewind to what was saved",
        "train to the end of the budget, with an L1 penalty of 0.0001 on the scales of batch normalisation, "
        "gates and outputs alone",
    ]


def test_steps_that_come_again_are_told_once_with_their_numbers():
    rounds = [
        step for turn in range(1, 6) for step in (Train(share=turn / 10), Prune(Level(Exponential(5), turn)), Train(epochs=2))
    ]
    assert said.plan([*rounds, Train()]) == [
        "5 times: train up to 10 %, 20 %, …, 50 % of the budget; "
        "prune, round 1, 2, …, 5 of 5 rounds that remove equal shares of what is left; train 2 epochs",
        "train to the end of the budget",
    ]
    assert said.plan([Train(share=0.1), Train(share=0.2)]) == ["2 times: train up to 10 %, 20 % of the budget"]
    assert said.plan([]) == []


def test_a_trigger_or_a_schedule_of_ones_own_is_told_by_its_name():
    class Friday:
        cap = 0.5

    class Slowly:
        def sparsities(self, target):
            return [target]

    assert said.plan([Train(until=Friday()), Prune(Slowly())]) == [
        "train until Friday fires, after 50 % of the epochs at the latest",
        "prune by Slowly",
    ]


def test_every_pruner_can_be_told():
    for name in pruners().names():
        entry = pruners().load(name)
        lines = said.plan(entry.steps(entry.settings()))
        assert 1 <= len(lines) <= 5
        assert "{" not in "".join(lines)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Dense", ""),
        ("SNIP", "before training"),
        ("CroPit-S", "before training, in 7 rounds"),
        ("RigL", "before training, and moves while it trains"),
        ("EarlyCroP-U", "once it has trained a while"),
        ("GMP", "little by little while it trains"),
        ("LTR", "after training, and trains again"),
    ],
)
def test_when_a_pruner_prunes_has_words(name, told):
    pruner = pruners().load(name)
    assert said.when(pruner.steps(pruner.settings())) == told
    assert said.when([Train(), Prune()]) == "after training"
