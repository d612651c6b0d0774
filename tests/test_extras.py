"""Tasks whose environments come with a package of their own: listed without it, and a run says what is missing."""

from importlib.util import find_spec

import numpy as np
import pytest

from rlprune.bench.checks import extra_mistakes
from rlprune.bench.suite import load_suite
from rlprune.task import tasks
from rlprune.training import simulators
from rlprune.training.recipes import made


@pytest.mark.parametrize(("suite", "package"), [("ppo", "mujoco"), ("sac", "mujoco"), ("dqn", "minatar")])
def test_a_suite_says_which_extra_its_tasks_want(suite, package):
    if find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    chosen = load_suite(suite, profile="paper")
    (mistake,) = extra_mistakes(chosen)
    who, _, what = str(mistake).partition(": ")
    wanting = [task for task in chosen.tasks if (needed := chosen.recipe_for(tasks().load(task)).extra) and needed[0] == package]
    assert who.split(", ") == wanting
    assert what == f"need {package}: python3 -m pip install 'rlprune[{package}]'"


def test_what_tasks_play_is_known_or_comes_with_an_extra():
    recipes = [tasks().load(name).recipe for name in tasks().names()]
    played = {recipe.environment for recipe in recipes if hasattr(recipe, "environment")}
    assert played >= {"HalfCheetah-v5", "rlprune/MinAtar-Breakout-v1", "MountainCar-v0"}
    assert played <= simulators.NAMED


@pytest.mark.parametrize("name", simulators.MINATAR)
def test_a_game_of_minatar_is_one_of_gymnasium_and_its_seed_says_all(name):
    pytest.importorskip("minatar")
    shown = []
    for _ in range(2):
        game = made(name, 30)
        seen, _ = game.reset(seed=3)
        assert game.observation_space.contains(seen)
        lots, games = np.random.default_rng(0), [seen]
        for _ in range(60):
            seen, _, terminated, truncated, _ = game.step(int(lots.integers(game.action_space.n)))
            games.append(game.reset()[0] if terminated or truncated else seen)
        shown.append(np.stack(games).tobytes())
    assert shown[0] == shown[1]
