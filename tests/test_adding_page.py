"""What docs/adding.md tells authors to write does what it says."""

import re
import tomllib
from pathlib import Path

import gymnasium as gym
import pytest

from rlprune import laws
from rlprune.bench.suite import load_suite
from rlprune.executors import Begun, Failed, Returned, Told
from rlprune.laws import pruners as of_pruners
from rlprune.pruning.pruner import Pruner
from rlprune.task import Task, tasks

PAGE = (Path(__file__).parent.parent / "docs" / "adding.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TOML = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def run(number):
    names = {"__name__": f"snippet{number}"}
    exec(compile(PYTHON[number], f"adding.md, snippet {number}", "exec"), names)
    return names


def test_there_are_five_snippets():
    assert len(PYTHON) == 5
    assert len(TOML) == 2


@pytest.mark.parametrize(("number", "name"), [(0, "SMALLEST"), (1, "FISHER")])
def test_the_pruner_keeps_the_laws(number, name):
    pruner = run(number)[name]
    assert isinstance(pruner, Pruner)
    assert [one.why for one in laws.tried(of_pruners.of(pruner), pruner) if not one.holds] == []


def test_the_task_and_the_suite_are_right(monkeypatch, tmp_path):
    names = run(2)
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
    run(3)
    try:
        recipe = tasks().load("cartpole-v1").recipe.replaced({"environment": "Guess-v0"})
        assert [recipe.misfit(fleet=fleet) for fleet in (False, True)] == ["", ""]
        with gym.make("Guess-v0") as env:
            seen = [env.reset(seed=seed)[0].tolist() for seed in (1, 1, 2)]
            assert seen[0] == seen[1] != seen[2]
            assert sum(env.step(0)[3] for _ in range(20)) == 1, "its games end"
    finally:
        del gym.registry["Guess-v0"]


def half(number, tell):
    tell({"trained": 1.0})
    return 1 / number


@pytest.mark.parametrize("jobs", [[], [2], [0, 4]])
def test_the_executor_yields_what_happens_in_order(jobs):
    inline = run(4)["INLINE"]
    assert (inline.workers("cpu"), inline.sees("cpu", sure=True), inline.sees("cuda", sure=False)) == (1, True, False)
    events = list(inline.execute(half, jobs, 1))
    kinds = {0: [Begun, Failed], 2: [Begun, Told, Returned], 4: [Begun, Told, Returned]}
    assert [type(event) for event in events] == [kind for job in jobs for kind in kinds[job]]
    assert [event.result for event in events if isinstance(event, Returned)] == [1 / job for job in jobs if job]
    assert all("ZeroDivisionError" in event.error for event in events if isinstance(event, Failed))
