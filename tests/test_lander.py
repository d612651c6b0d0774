import gymnasium as gym
import numpy as np
import pytest

# an error out of the import of Box2D's SWIG types takes the interpreter down
pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")


@pytest.mark.parametrize("policy", ["random", "heuristic"])
def test_games_are_gymnasiums_to_the_bit(policy):
    from gymnasium.envs.box2d.lunar_lander import heuristic

    from rlprune.training.environments.lander import Lander

    ours, theirs = Lander(300), gym.make("LunarLander-v3", max_episode_steps=300)
    generator = np.random.default_rng(0)
    ends = set()
    for seed in range(40 if policy == "random" else 12):
        seen, _ = theirs.reset(seed=seed)
        assert np.float32(ours.reset(seed=seed)[0]).tobytes() == seen.tobytes()
        over = False
        while not over:
            action = int(generator.integers(4)) if policy == "random" else heuristic(theirs.unwrapped, seen)
            got, gained, *how, _ = ours.step(action)
            seen, reward, terminated, truncated, _ = theirs.step(action)
            assert np.float32(got).tobytes() == seen.tobytes()
            assert (gained, *how) == (reward, terminated, truncated)
            over = terminated or truncated
        ends.add((int(reward) if terminated else 0, truncated))
    assert ends >= ({(-100, False)} if policy == "random" else {(100, False), (0, True)})
