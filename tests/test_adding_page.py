"""What docs/adding.md tells authors to write does what it says."""

import importlib
import re
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import gymnasium as gym
import pytest
from installed import entered
from pydantic import ValidationError

from rlprune import laws, reason
from rlprune.bench.suite import load_suite
from rlprune.executors import Begun, Failed, Returned, Told
from rlprune.laws import pruners as of_pruners
from rlprune.laws import tasks as of_tasks
from rlprune.pruning.pruner import Pruner
from rlprune.registry import Registry
from rlprune.task import Task, tasks
from rlprune.tasks.cartpole import RETURN
from rlprune.training.recipes import A2CRecipe, OnPolicyRecipe, PPORecipe
from rlprune.training.trainer import make

PAGE = (Path(__file__).parent.parent / "docs" / "adding.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TOML = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def shown(what):
    """Return the one snippet that makes this."""
    (found,) = [snippet for snippet in PYTHON if what in snippet]
    return found


def run(what):
    names = {"__name__": "snippet"}
    exec(compile(shown(what), f"adding.md, {what}", "exec"), names)
    return names


def test_there_are_eight_snippets():
    assert len(PYTHON) == 8
    assert len(TOML) == 2


@pytest.mark.parametrize("name", ["SMALLEST", "FISHER", "WANDERING"])
def test_the_pruner_keeps_the_laws(name):
    pruner = run(f"{name} = ")[name]
    assert isinstance(pruner, Pruner)
    assert [one.why for one in laws.tried(of_pruners.of(pruner), pruner) if not one.holds] == []


def test_the_task_and_the_suite_are_right(monkeypatch, tmp_path):
    names = run("MOUNTAIN_CAR = ")
    assert isinstance(names["MOUNTAIN_CAR"], Task)
    assert not names["MOUNTAIN_CAR"].recipe.misfit(fleet=False)
    told = TOML[1].replace("mountaincar-v0", "cartpole-v1").replace("Smallest", "CroP-U")  # they are registered nowhere here
    (tmp_path / "mine.toml").write_text(told)
    assert load_suite(str(tmp_path / "mine.toml"), "smoke").tasks == ("cartpole-v1",)


def test_the_entry_point_is_that_of_the_example():
    example = Path(__file__).parent.parent / "examples" / "pruner-package" / "pyproject.toml"
    shown = tomllib.loads(TOML[0])["project"]["entry-points"]
    theirs = tomllib.loads(example.read_text())["project"]["entry-points"]
    assert shown["rlprune.pruners"] == theirs["rlprune.pruners"]


def test_the_environment_is_one_that_an_agent_can_learn():
    run("class Guess")
    try:
        recipe = tasks().load("cartpole-v1").recipe.replaced({"environment": "Guess-v0"})
        assert [recipe.misfit(fleet=fleet) for fleet in (False, True)] == ["", ""]
        with gym.make("Guess-v0") as env:
            seen = [env.reset(seed=seed)[0].tolist() for seed in (1, 1, 2)]
            assert seen[0] == seen[1] != seen[2]
            assert sum(env.step(0)[3] for _ in range(20)) == 1, "its games end"
    finally:
        del gym.registry["Guess-v0"]


@pytest.fixture
def td3(tmp_path, monkeypatch):
    """Return the task of the package that the page writes."""
    package = tmp_path / "rlprune_td3"
    package.mkdir()
    for file, what in (("__init__", ""), ("pendulum", "class TD3Recipe"), ("trainer", "class TD3Trainer")):
        (package / f"{file}.py").write_text(what and shown(what), encoding="utf-8")
    entered(tmp_path, "rlprune.tasks", "td3-pendulum-v1 = rlprune_td3.pendulum:PENDULUM")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("rlprune.task._TASKS", Registry("rlprune.tasks", Task))
    yield importlib.import_module("rlprune_td3.pendulum").PENDULUM
    for name in [name for name in sys.modules if name.startswith("rlprune_td3")]:
        del sys.modules[name]


def test_the_algorithm_keeps_the_laws(td3, tmp_path):
    assert of_tasks.ways(td3) == [False]
    trial = of_tasks.Trial(td3, fleet=False, place=tmp_path / "trial")
    assert [one.why for one in laws.tried(of_tasks.of(fleet=False), trial) if not one.holds] == []


def test_the_recipe_of_the_algorithm_takes_what_a_suite_says(td3):
    assert td3.recipe.replaced({"widths": [12, 12]}).widths == (12, 12)
    with pytest.raises(ValidationError) as wrong:
        td3.recipe.replaced({"widths": ["wide"], "noise": "much"})
    told = 'TD3Recipe(widths.0=): got "wide"; must be a whole number; TD3Recipe(noise=): got "much"; must be a number'
    assert reason.line(wrong.value) == f"ValidationError: {told}"


class Own(PPORecipe):
    """PPO by a trainer of one's own."""

    trainer: ClassVar[str] = "rlprune_td3.trainer:TD3Trainer"


class Keyword(PPORecipe):
    """PPO with a keyword argument of one's own."""

    @property
    def arguments(self):
        return {**super().arguments, "normalize_advantage": False}


class Slow(PPORecipe):
    """PPO with a number of one's own."""

    learning_rate: float = 1e-5


def test_what_derives_from_an_algorithm_that_has_fleets_has_them_only_while_it_is_that_algorithm():
    played = {"environment": "CartPole-v1", "budget": 1}
    assert [bool(kind(**played).fleet) for kind in (PPORecipe, Slow, Own, Keyword)] == [True, True, False, False]

    class Mine(A2CRecipe):
        trainer: ClassVar[str] = "mine:Mine"

    assert [bool(kind(**played).fleet) for kind in (A2CRecipe, Mine)] == [True, False]


def wrong(**own):
    """A recipe that somebody got wrong."""
    kind = OnPolicyRecipe if "trainer" in own else PPORecipe
    return type("Wrong", (kind,), {"__annotations__": {name: kind for name, (kind, _) in own.items()}} | {
        name: value for name, (_, value) in own.items()
    })(environment="CartPole-v1", budget=1)  # fmt: skip


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"rounds": (int, "twenty")}, 'Wrong(rounds=): got "twenty"; must be a whole number'),
        ({"widths": (tuple[int, ...], 64)}, "Wrong(widths=): got 64; must be a list"),
        ({"trainer": (str, "mine:Mine")}, "trainer of Wrong is no field: write trainer: ClassVar[str] = 'module:Class'"),
        ({"trainer": (ClassVar[str], "mine.Mine")}, "trainer of Wrong: got 'mine.Mine'; must be 'module:Class'"),
    ],
)  # fmt: skip
def test_a_recipe_that_is_wrong_is_told_when_it_is_made(own, told):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (compared below)
        Task("wrong", "Wrong", wrong(**own), RETURN)
    assert reason.line(error.value).partition(": ")[2].startswith(told)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("nowhere_at_all:Mine", "nowhere_at_all:Mine, the trainer of Away, cannot be imported: ModuleNotFoundError: No module"),
        ("rlprune.training.ppo:PPOTrainr", "rlprune.training.ppo:PPOTrainr, the trainer of Away, cannot be imported: Attr"),
        ("rlprune.training.ppo:PPO", "rlprune.training.ppo:PPO, the trainer of Away, is no trainer: it derives from OnPolicy"),
    ],
)  # fmt: skip
def test_a_trainer_that_is_not_there_is_told_by_whose_it_is(place, told, monkeypatch):
    class Away(PPORecipe):
        trainer: ClassVar[str] = place

    registered = SimpleNamespace(load=lambda name: Task(name, "Away", Away(environment="CartPole-v1", budget=1), RETURN))
    monkeypatch.setattr("rlprune.training.trainer.tasks", lambda: registered)
    with pytest.raises((ImportError, TypeError)) as error:
        make("away", {}, 0, "cpu")
    assert str(error.value).startswith(told)


def half(number, tell):
    tell({"trained": 1.0})
    return 1 / number


@pytest.mark.parametrize("jobs", [[], [2], [0, 4]])
def test_the_executor_yields_what_happens_in_order(jobs):
    inline = run("INLINE = ")["INLINE"]
    assert (inline.workers("cpu"), inline.sees("cpu", sure=True), inline.sees("cuda", sure=False)) == (1, True, False)
    events = list(inline.execute(half, jobs, 1))
    kinds = {0: [Begun, Failed], 2: [Begun, Told, Returned], 4: [Begun, Told, Returned]}
    assert [type(event) for event in events] == [kind for job in jobs for kind in kinds[job]]
    assert [event.result for event in events if isinstance(event, Returned)] == [1 / job for job in jobs if job]
    assert all("ZeroDivisionError" in event.error for event in events if isinstance(event, Failed))
