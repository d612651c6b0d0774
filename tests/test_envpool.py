import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.box2d.lunar_lander import heuristic
from subjects import bits, seeds
from worlds import play, same

from rlprune import run
from rlprune.bench.checks import extra_mistakes
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.pruning.plan import TrainEpoch
from rlprune.training import environments, noise
from rlprune.training.fleet import FleetAgent
from rlprune.training.recipes import A2CRecipe

# an error out of the import of Box2D's SWIG types takes the interpreter down
pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
installed = pytest.mark.skipif(find_spec("envpool") is None, reason="needs rlprune[envpool]")
SUITE = str(Path(__file__).parents[1] / "suites" / "lunarlander.toml")
NAME = "LunarLander-v3"
SEEDS = torch.tensor([3, 4, -5, 2**62])
TINY = A2CRecipe(
    environment=NAME,
    simulator="envpool",
    budget=1200,
    epochs=3,
    environments=4,
    widths=(16,),
    max_episode_steps=60,
    evaluation_games=3,
)


def make(count, limit=None):
    return environments.make(NAME, count, limit, simulator="envpool")


@installed
def test_games_are_those_of_a_bare_pool_whose_next_begins_a_step_later():
    import envpool

    ours = make(3)
    ours.reset(SEEDS[:1])
    words = noise.words(noise.keys(SEEDS[:1]), torch.arange(3) << 40) & (2**31 - 1)
    ended = 0
    for index, word in enumerate(words.tolist()):
        bare = envpool.make_gymnasium(NAME, num_envs=1, seed=[word], num_threads=1)
        seen, _ = bare.reset()
        ours.reset(SEEDS[:1])
        assert np.array_equal(ours.observations[0, index], seen[0])
        for number in range(250):
            moved = ours.step(torch.full((1, 3), number // 3 % 4))
            seen, reward, terminated, *_ = bare.step(np.array([number // 3 % 4], dtype=np.int32))
            assert np.array_equal(moved.final[0, index], seen[0])
            assert (moved.rewards[0, index], moved.terminated[0, index]) == (reward[0], terminated[0])
            if terminated[0]:
                ended += 1
                assert not torch.equal(moved.final[0, index], moved.observations[0, index])
                seen, *_ = bare.step(np.zeros(1, dtype=np.int32))
            assert np.array_equal(moved.observations[0, index], seen[0])
    assert ended >= 3


@installed
def test_what_a_step_brought_stays_as_it_was():
    env = make(4, limit=20)
    first = env.reset(SEEDS)
    brought = [first, *(part for moved in play(env, 50) for part in moved)]
    again = make(4, limit=20)
    assert torch.equal(again.reset(SEEDS), brought[0])
    assert same([brought[1:]], [[part for moved in play(again, 50) for part in moved]])


@installed
def test_a_game_ends_by_the_clock_and_the_next_begins_in_the_same_step():
    env = make(3, limit=6)
    first = env.reset(SEEDS)
    steps = play(env, 12)
    for number, moved in enumerate(steps, start=1):
        assert moved.truncated.all() == (number % 6 == 0)
        assert not moved.terminated.any()
        assert torch.equal(moved.final, moved.observations) == (number % 6 != 0)
    assert len({row.numpy().tobytes() for row in torch.cat([first, steps[5].observations]).flatten(0, 1)}) == 24
    assert (env.agents, env.features, env.actions, env.limit, make(1).limit) == (4, 8, 4, 6, 1000)


@installed
def test_a_crash_in_the_last_step_is_told_from_the_end_of_time():
    free = make(1)
    free.reset(SEEDS)
    ends = torch.stack([moved.terminated[:, 0] for moved in play(free, 200)])
    assert ends[:, 0].any()
    limit = int(ends[:, 0].int().argmax()) + 1
    timed = make(1, limit)
    timed.reset(SEEDS)
    last = play(timed, limit)[-1]
    assert last.terminated[0, 0]
    assert last.truncated[0, 0]
    assert torch.equal(last.terminated[:, 0], ends[limit - 1])


@installed
def test_an_agents_games_depend_on_neither_its_place_nor_its_company():
    together = make(3, limit=70)
    together.reset(SEEDS)
    steps = play(together, 160)
    alone = make(3, limit=70)
    alone.reset(SEEDS[2:3])
    generator = torch.Generator().manual_seed(0)
    for moved in steps:
        actions = torch.randint(4, (4, 3), generator=generator)
        assert same([[part[2:3] for part in moved]], [alone.step(actions[2:3])])


@installed
def test_saved_environments_go_on_alike(tmp_path):
    env, other = make(2, limit=70), make(2, limit=70)
    env.reset(SEEDS)
    play(env, 160)
    torch.save(env.state(), tmp_path / "state")
    other.load_state(torch.load(tmp_path / "state", weights_only=True))
    assert torch.equal(env.observations, other.observations)
    assert same(play(env, 100), play(other, 100))


@installed
def test_agents_leave_come_together_and_the_others_go_on():
    env, other = make(2, limit=25), make(2, limit=25)
    for each in (env, other):
        each.reset(SEEDS)
        play(each, 9)
    env.keep([3, 1])
    assert env.agents == 2
    parts = env.split()
    play(parts[0], 3)
    rejoined = environments.join(parts[::-1])
    late, early = make(2, limit=25), make(2, limit=25)
    late.load_state({name: rows[:1] for name, rows in rejoined.state().items()})
    early.load_state({name: rows[1:] for name, rows in rejoined.state().items()})
    assert torch.equal(environments.join([late, early]).observations, rejoined.observations)
    for chosen in torch.arange(40).view(10, 4, 1) % 2:
        ours, whole = rejoined.step(chosen[[1, 3]].expand(2, 2)), other.step(chosen.expand(4, 2))
        assert same([[part[:1] for part in ours]], [[part[1:2] for part in whole]])


@installed
def test_a_killed_agent_ends_as_one_that_was_never_killed():
    def fresh():
        return FleetAgent(TINY, partial(seeds, number=1), "cpu")

    ends = [TrainEpoch(1 - epoch / 3, 1 - (epoch + 1) / 3) for epoch in range(3)]
    whole, killed, resumed = fresh(), fresh(), fresh()
    rows = [whole.train_epoch(epoch) for epoch in ends]
    killed.train_epoch(ends[0])
    resumed.load_state(killed.state())
    assert [resumed.train_epoch(epoch) for epoch in ends[1:]] == rows[1:]
    assert bits(resumed.module, resumed.optimizer) == bits(whole.module, whole.optimizer)
    assert resumed.evaluate() == whole.evaluate()


@installed
@pytest.mark.parametrize("games", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_gymnasiums_heuristic_lands_as_well_as_in_gymnasium(games):
    bare = gym.make(NAME)
    theirs = []
    for seed in range(games):
        seen, over = bare.reset(seed=seed)[0], False
        theirs.append(0.0)
        while not over:
            seen, reward, terminated, truncated, _ = bare.step(heuristic(bare.unwrapped, seen))
            theirs[-1] += float(reward)
            over = terminated or truncated
    env = make(games)
    seen, playing, ours = env.reset(SEEDS[:1]), torch.ones(games, dtype=torch.bool), torch.zeros(games)
    while playing.any():
        actions = [heuristic(bare.unwrapped, row.numpy()) if on else 0 for row, on in zip(seen[0], playing, strict=True)]
        moved = env.step(torch.tensor([actions]))
        seen = moved.observations
        ours += moved.rewards[0] * playing
        playing &= ~(moved.terminated | moved.truncated)[0]
    error = (np.var(theirs) / games + ours.var().item() / games) ** 0.5
    assert np.mean(theirs) > 200
    assert abs(np.mean(theirs) - ours.mean().item()) < 3 * error


def test_other_environments_are_refused():
    with pytest.raises(ValueError, match="simulator = 'envpool' plays LunarLander-v3 only, not CartPole-v1: leave simulator out"):
        A2CRecipe(environment="CartPole-v1", budget=1, simulator="envpool")


def test_cells_that_train_by_stable_baselines3_would_play_something_else():
    messages = [
        str(mistake) for mistake in extra_mistakes(load_suite(SUITE, "smoke", ["recipe.simulator=envpool", "engine=sb3"]))
    ]
    assert "lunarlander-v3: envpool plays in fleets only: set engine=fleet" in messages


def test_a_suite_that_wants_it_where_it_is_missing_is_told_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "envpool", None)
    monkeypatch.delitem(sys.modules, "rlprune.training.environments.pooled", raising=False)
    suite = load_suite(SUITE, "smoke", ["recipe.simulator=envpool", "solo=0"])
    (mistake,) = extra_mistakes(suite)
    assert str(mistake) == "lunarlander-v3: needs envpool: python3 -m pip install 'rlprune[envpool]'"
    assert not list(extra_mistakes(load_suite(SUITE, "smoke")))
    with pytest.raises(ImportError, match=r"needs EnvPool: python3 -m pip install 'rlprune\[envpool\]'"):
        make(1)


def test_a_cell_alone_is_asked_what_its_own_task_needs(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "envpool", None)
    planned = {cell.task: cell.id for cell in cells(load_suite("rl_full", "paper", (), {"seeds": "1"}), "cpu")}
    words = ["rl_full", "--profile", "paper", "--seeds", "1", "--out", str(tmp_path), "--dry-run", "--only"]
    assert run.main([*words, planned["cartpole-v1"]]) == 0
    assert run.main([*words, planned["lunarlander-v3"]]) == 2
    assert capsys.readouterr().err == "lunarlander-v3: needs envpool: python3 -m pip install 'rlprune[envpool]'\n"
