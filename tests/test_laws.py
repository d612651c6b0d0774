"""A law that nobody can break is none: each is broken here by an entry that somebody might write."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlprune.__main__ import main
from rlprune.api import CHANNELS, WEIGHTS, Exponential, Level, Prune, Pruner, Train
from rlprune.laws import Broken, demand, said, tried
from rlprune.laws import pruners as laws
from rlprune.laws import tasks as of_tasks
from rlprune.pruners.snip import SNIP
from rlprune.pruning.pruner import pruners
from rlprune.task import tasks

PLAN = [Prune(), Train()]


def magnitude(probe):
    return {name: w.abs() for name, w in probe.weights.items()}


def drawn(probe):
    return {name: torch.rand_like(w) for name, w in probe.weights.items()}


def numpys(probe):
    return {name: w.abs() * np.random.rand() for name, w in probe.weights.items()}


def found(law, pruner):
    """What a law finds wrong with a pruner."""
    (told,) = tried([law], pruner, __name__)
    assert told.law == said(law)
    assert told.holds is (not told.why)
    return told.why


def with_plan(plan, score=magnitude):
    return Pruner("mine", score, cut=WEIGHTS, plan=plan)


def test_one_that_holds_finds_nothing():
    assert {law.__name__: found(law, pruners().load("SNIP")) for law in laws.of(pruners().load("SNIP"))} == dict.fromkeys(
        ("learns", "weights_to_one", "stays_pruned", "only_looks", "same_seed", "resumes"), ""
    )


def test_a_pruner_is_held_to_laws_of_what_it_cuts():
    names = {cut: {law.__name__ for law in laws.of(replace(pruners().load("CroP-S"), cut=cut))} for cut in (WEIGHTS, CHANNELS)}
    assert names[WEIGHTS] - names[CHANNELS] == {"weights_to_one"}
    assert names[CHANNELS] - names[WEIGHTS] == {"channels_to_one", "cut_equals_masked"}


def test_a_plan_that_stops_early_is_found():
    assert found(laws.learns, with_plan([Prune(), Train(epochs=2)])).startswith("of a budget of 4 epochs")


def test_a_plan_that_ends_elsewhere_is_found():
    assert found(laws.weights_to_one, with_plan([Prune(Level(Exponential(2), 1)), Train()])).startswith("at 50%, actor keeps ")
    assert found(laws.weights_to_one, with_plan([Train()])).startswith("at 50%, nothing was pruned of actor.0.weight, ")


@pytest.mark.parametrize(("score", "whose"), [(drawn, "torch"), (numpys, "NumPy")])
def test_a_score_that_draws_from_a_global_generator_is_found(score, whose):
    assert found(laws.only_looks, with_plan(PLAN, score)).startswith(f"it draws from the global generator of {whose}: take probe")


def test_a_score_that_draws_is_another_at_the_same_seed():
    assert found(laws.same_seed, with_plan(PLAN, drawn)) == "two runs ended in two networks"
    later = with_plan([Train(epochs=3), Prune(), Train()], drawn)
    assert found(laws.resumes, later) == "killed after epoch 1, it ends in another network"


def test_an_exception_is_told_with_the_line_that_raised_it():
    def score(probe):
        raise KeyError("gradient")

    why = found(laws.same_seed, with_plan(PLAN, score))
    line = score.__code__.co_firstlineno + 1
    assert why == f"KeyError: 'gradient' ({__file__}, line {line})"


def test_a_score_that_forgets_a_weight_is_told_in_its_own_words():
    def score(probe):
        return dict(list(magnitude(probe).items())[1:])

    assert found(laws.same_seed, with_plan(PLAN, score)) == "ValueError: mine: the score leaves out the weight actor.0.weight"


def test_check_prints_what_holds_law_by_law(capsys, monkeypatch):
    monkeypatch.setitem(vars(SNIP), "score", drawn)
    assert main(["check", "--pruner", "snip"]) == 1
    first, *told = capsys.readouterr().out.splitlines()
    assert first == "SNIP, of rlprune.pruners.snip:SNIP"
    words = [line.split()[0] for line in told if not line.startswith(" " * 13)]
    assert words == ["holds", "holds", "holds", "BROKEN", "BROKEN", "BROKEN"]
    assert told[4].startswith("             it draws from the global generator of torch: take probe.noise")


def test_check_says_what_cannot_be_tried_and_ends_in_1(capsys, monkeypatch):
    monkeypatch.setattr(of_tasks, "of", lambda fleet: [of_tasks.measures])
    assert main(["check", "--task", "resnet18-cifar10"]) == 1
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  not tried  Its measures are there and finite, and the sparsity is the one asked for",
        "             resnet18-cifar10 reads cifar10: name the folder that holds it (--data)",
    ]


def test_a_demand_that_holds_says_nothing():
    assert demand([1], "nothing") is None
    with pytest.raises(Broken, match=r"^nothing$"):
        demand([], "nothing")


def test_a_task_that_cannot_be_tried_here_says_why(tmp_path):
    trial = of_tasks.Trial(tasks().load("resnet18-cifar10"), fleet=False, place=tmp_path)
    told = list(tried(of_tasks.of(fleet=False), trial))
    assert [one.holds for one in told] == [True, *[None] * 4]
    assert {one.why for one in told[1:]} == {"resnet18-cifar10 reads cifar10: name the folder that holds it (--data)"}


def test_a_recipe_that_shrinks_to_another_kind_is_found(tmp_path, monkeypatch):
    task = tasks().load("cartpole-v1")
    monkeypatch.setattr(type(task.recipe), "shrunk", lambda recipe: recipe.replaced({"budget": 9, "epochs": 9}))
    (told,) = tried([of_tasks.shrinks], of_tasks.Trial(task, fleet=False, place=tmp_path))
    assert told.why == "it has 9 epochs"
