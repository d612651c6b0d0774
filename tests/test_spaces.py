import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space

from rlprune.training import simulators
from rlprune.training.recipes import A2CRecipe, OnPolicyRecipe
from rlprune.training.spaces import FLEET, WORDS, Playable, described, kinds

BOXES = [
    spaces.Box(0, 255, (36, 36, 3), np.uint8),
    spaces.Box(0, 255, (36, 36), np.uint8),
    spaces.Box(0, 254, (36, 36, 3), np.uint8),
    spaces.Box(1, 255, (36, 36, 3), np.uint8),
    spaces.Box(0, 255, (36, 36, 3), np.float32),
    spaces.Box(-1, 1, (2, 3)),
    spaces.Box(-1, 1, (4,)),
]


@pytest.mark.parametrize("space", BOXES, ids=described)
def test_a_box_is_an_image_where_stable_baselines3_takes_it_for_one(space):
    assert ("box" in kinds(space)) == (not is_image_space(space))


@pytest.mark.parametrize(
    ("space", "names"),
    [
        (spaces.Box(-1, 1, (3,)), {"box", "flat box", "bounded box"}),
        (spaces.Box(-1, np.inf, (3,)), {"box", "flat box"}),
        (spaces.Box(0, 3, (3,), np.int64), {"box", "flat box"}),
        (spaces.Box(-1, 1, (2, 3)), {"box"}),
        (spaces.Box(-1, 1, ()), set()),
        (spaces.Discrete(3), {"discrete", "discrete from 0"}),
        (spaces.Discrete(3, start=1), {"discrete"}),
        (spaces.MultiDiscrete([2, 3]), {"multidiscrete from 0"}),
        (spaces.MultiDiscrete([2, 3], start=[0, 1]), set()),
        (spaces.MultiDiscrete([[2, 3], [2, 3]]), set()),
        (spaces.MultiBinary(3), {"multibinary", "flat multibinary"}),
        (spaces.MultiBinary([2, 3]), {"multibinary"}),
        (spaces.Text(3), set()),
        (spaces.Dict({"a": spaces.Discrete(2)}), set()),
    ],
    ids=lambda value: described(value) if isinstance(value, spaces.Space) else "",
)
def test_a_space_is_of_every_kind_that_its_words_say(space, names):
    assert kinds(space) == names
    assert names <= set(WORDS)


def test_a_recipe_that_names_no_kind_that_there_is_is_refused():
    with pytest.raises(ValueError, match="no kind of spaces is named 'boxes'; did you mean 'box'"):
        Playable("a pianist", ("boxes",), ("discrete",))
    with pytest.raises(ValueError, match="a pianist must name at least one kind of observations and one of actions"):
        Playable("a pianist", ("box",), ())


def test_a_recipe_with_spaces_of_its_own_refuses_others_before_anything_runs():
    class Keys(A2CRecipe):
        plays = Playable("a pianist", ("box",), ("discrete",))

    told = {
        "Pendulum-v1": "Pendulum-v1 wants a Box of float32 (1,) from -2.0 to 2.0; a pianist acts by Discrete",
        "FrozenLake-v1": "FrozenLake-v1 shows Discrete(16); a pianist takes a Box of numbers that is no image",
        "MountainCar-v0": "",
    }
    assert {name: Keys(environment=name, budget=1).misfit(fleet=False) for name in told} == told


@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
@pytest.mark.parametrize("name", simulators.KNOWN)
def test_what_is_known_without_asking_gymnasium_is_as_gymnasium_has_it(name):
    spec, env = gym.spec(name), gym.make(name)
    assert simulators.of(spec) is simulators.KNOWN[name]
    assert spec.max_episode_steps is not None
    for plays in (OnPolicyRecipe.plays, FLEET):
        assert plays.refusal(name, env.observation_space, env.action_space) == ""


def test_an_environment_that_keywords_change_is_another():
    assert simulators.of(gym.spec("LunarLanderContinuous-v3")) is None


def test_a_request_for_spaces_that_cannot_be_played_is_refused_without_torch():
    asked = "A2CRecipe(environment='Pendulum-v1', budget=1).misfit(fleet=True)"
    code = f"import sys; from rlprune.api import A2CRecipe; print({asked}); assert 'torch' not in sys.modules"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("Pendulum-v1 wants a Box")
