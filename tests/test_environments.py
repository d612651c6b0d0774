import gymnasium as gym
import numpy as np
import pytest
import torch
import worlds
from worlds import play, same

from rlprune.training import environments, noise, recipes
from rlprune.training.environments import Acrobot, CartPole, Games, GymnasiumEnv
from rlprune.training.environments.simulated import Simulation

# an error out of the import of Box2D's SWIG types takes the interpreter down
pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
SEEDS = torch.tensor([3, 4, -5, 2**62])


@pytest.fixture(autouse=True, params=["tensors", "compiled"])
def _both_ways_of_computing(request, monkeypatch):
    if request.param == "tensors":  # as on a GPU
        monkeypatch.setattr(Simulation, "step", Simulation._tensor_step)
        monkeypatch.setattr(Games, "add", Games._add_tensors)


def balance(observation):
    """A controller that holds the pole for hundreds of steps."""
    return (observation @ torch.tensor([0.05, 0.3, 1.0, 0.5]) > 0).long()


@pytest.mark.parametrize("policy", ["random", "balancing"])
def test_cartpole_is_gymnasiums_over_a_thousand_steps(policy):
    ours = CartPole(environments=8, limit=500)
    ours.reset(torch.tensor([11]))
    theirs = [gym.make("CartPole-v1") for _ in range(8)]
    for env, state in zip(theirs, ours.state()["physics"][0].numpy(), strict=True):
        env.reset()
        env.unwrapped.state = state
    worst = ends = 0
    generator = torch.Generator().manual_seed(0)
    observations = ours.observations
    for _ in range(1000):
        drawn = torch.randint(2, (1, 8), generator=generator)
        actions = drawn if policy == "random" else balance(observations)
        moved = ours.step(actions)
        observations = moved.observations
        for index, env in enumerate(theirs):
            seen, reward, terminated, truncated, _ = env.step(int(actions[0, index]))
            worst = max(worst, np.abs(moved.final[0, index].numpy() - seen).max())
            env.unwrapped.state = moved.final[0, index].numpy()  # a pole doubles what rounding leaves every few steps
            assert (reward, terminated, truncated) == (
                moved.rewards[0, index],
                moved.terminated[0, index],
                moved.truncated[0, index],
            )
            if terminated or truncated:
                ends += 1
                env.reset()
                env.unwrapped.state = ours.state()["physics"][0, index].numpy()
    assert worst <= 1e-6
    assert ends >= 8


def test_acrobots_every_step_is_gymnasiums():
    """Chaotic, so Gymnasium is put into our state before each step."""
    ours = Acrobot(environments=64, limit=500)
    ours.reset(torch.tensor([5]))
    theirs = gym.make("Acrobot-v1").unwrapped
    theirs.reset()
    generator, worst, terminations = np.random.default_rng(0), 0.0, 0
    for step in range(150):
        if step % 50 == 0:  # all over the state space, as chance alone does not get there
            state = ours.state()
            state["physics"][0] = torch.from_numpy(generator.uniform(-1, 1, (64, 4)) * [np.pi, np.pi, 4 * np.pi, 9 * np.pi])
            ours.load_state(state)
        before = ours.state()["physics"][0].numpy()
        actions = generator.integers(3, size=64)
        moved = ours.step(torch.from_numpy(actions)[None])
        for index in range(64):
            theirs.state = before[index]
            seen, reward, terminated, _, _ = theirs.step(int(actions[index]))
            worst = max(worst, np.abs(moved.final[0, index].numpy() - seen).max())
            assert (reward, terminated) == (moved.rewards[0, index], moved.terminated[0, index])
            terminations += terminated
    assert worst <= 1e-6
    assert terminations > 10


@pytest.mark.parametrize(("kind", "name"), [(CartPole, "CartPole-v1"), (Acrobot, "Acrobot-v1")])
def test_games_begin_as_widely_as_gymnasiums(kind, name):
    env = kind(environments=2000, limit=500)
    env.reset(torch.tensor([1]))
    starts = env.state()["physics"][0]
    bound = 0.05 if name == "CartPole-v1" else 0.1
    assert (starts.abs() < bound).all()
    assert starts.std(0).numpy() == pytest.approx(np.full(4, bound / 3**0.5), rel=0.05)
    assert starts.mean(0).abs().max() < bound / 15
    assert (torch.corrcoef(starts.T) - torch.eye(4)).abs().max() < 0.1


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1", "MountainCar-v0"])
def test_a_game_ends_by_the_clock_and_the_next_begins_in_the_same_step(name):
    env = environments.make(name, environments=3, limit=6)
    assert env.limit == 6
    first = env.reset(SEEDS)
    steps = play(env, 12)
    for number, moved in enumerate(steps, start=1):
        assert moved.truncated.all() == (number % 6 == 0)
        assert torch.equal(moved.final, moved.observations) == (number % 6 != 0)
    assert not torch.equal(steps[5].observations, first), "the second game has a start of its own"
    assert len({row.numpy().tobytes() for row in torch.cat([first, steps[5].observations]).flatten(0, 1)}) == 24
    assert torch.equal(env.observations, steps[-1].observations)


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1", "LunarLander-v3"])
def test_an_agents_games_depend_on_neither_its_place_nor_its_company(name):
    together = environments.make(name, environments=3, limit=20)
    together.reset(SEEDS)
    steps = play(together, 30)
    alone = environments.make(name, environments=3, limit=20)
    alone.reset(SEEDS[2:3])
    generator = torch.Generator().manual_seed(0)
    for moved in steps:
        actions = torch.randint(together.actions, (4, 3), generator=generator)
        assert same([[part[2:3] for part in moved]], [alone.step(actions[2:3])])


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1", "LunarLander-v3"])
def test_saved_environments_go_on_alike(name, tmp_path):
    env, other = (environments.make(name, environments=2, limit=25) for _ in range(2))
    env.reset(SEEDS)
    play(env, 33)
    torch.save(env.state(), tmp_path / "state")
    other.load_state(torch.load(tmp_path / "state", weights_only=True))
    assert torch.equal(env.observations, other.observations)
    assert same(play(env, 30), play(other, 30))


@pytest.mark.parametrize("name", ["CartPole-v1", "LunarLander-v3"])
def test_agents_leave_and_the_others_go_on(name):
    env, other = (environments.make(name, environments=2, limit=25) for _ in range(2))
    for each in (env, other):
        each.reset(SEEDS)
        play(each, 9)
    env.keep([3, 1])
    assert env.agents == 2
    for chosen in torch.arange(40).view(10, 4, 1) % 2:
        ours, whole = env.step(chosen[[3, 1]].expand(2, 2)), other.step(chosen.expand(4, 2))
        assert same([ours], [[part[[3, 1]] for part in whole]])


def test_environments_of_several_fleets_join():
    apart = [environments.make("CartPole-v1", environments=2) for _ in range(2)]
    together = environments.make("CartPole-v1", environments=2)
    for env, seeds in zip((*apart, together), (SEEDS[:1], SEEDS[1:], SEEDS), strict=True):
        env.reset(seeds)
    joined = environments.join(apart)
    assert same(play(joined, 30), play(together, 30))


def test_gymnasium_environments_join_as_they_stand():
    apart = [environments.make("LunarLander-v3", environments=2, limit=25) for _ in range(2)]
    together = environments.make("LunarLander-v3", environments=2, limit=25)
    for env, seeds in zip((*apart, together), (SEEDS[:1], SEEDS[1:2], SEEDS[:2]), strict=True):
        env.reset(seeds)
    ours = [play(env, 7, seed) for seed, env in enumerate(apart)]
    assert len(ours[0]) == 7
    generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
    for _ in range(7):
        together.step(torch.cat([torch.randint(4, (1, 2), generator=generator) for generator in generators]))
    assert same(play(environments.join(apart), 40), play(together, 40))


def test_a_wrapped_environment_is_gymnasiums_own():
    ours = GymnasiumEnv("LunarLander-v3", environments=2)
    first = ours.reset(torch.tensor([7]))
    word = int(noise.words(noise.keys(torch.tensor([7])), torch.tensor([0])))
    theirs = gym.make("LunarLander-v3")
    seen, _ = theirs.reset(seed=word & (2**63 - 1))
    assert np.array_equal(first[0, 0], seen)
    for action in (0, 1, 2, 3, 2, 2):
        seen, reward, *_ = theirs.step(action)
        moved = ours.step(torch.full((1, 2), action))
        assert np.array_equal(moved.observations[0, 0], seen)
        assert moved.rewards[0, 0] == np.float32(reward)
    assert (ours.agents, ours.features, ours.actions, ours.limit) == (1, 8, 4, 1000)


def test_only_what_is_simulated_is_played_as_tensors():
    for name, kwargs in (("mine/CartPole-v3", {}), ("rewarded/CartPole-v1", {"sutton_barto_reward": True})):
        if name not in gym.registry:
            entry = worlds.World if name.startswith("mine") else gym.spec("CartPole-v1").entry_point
            gym.register(name, entry, kwargs=kwargs, max_episode_steps=9)
        assert not environments.make(name, environments=2).simulated
    assert environments.make("CartPole-v1", environments=2).simulated
    assert environments.make("Acrobot-v1", environments=2).simulated


def test_a_world_with_a_clock_of_its_own_ends_games_before_its_limit():
    worlds.register()
    assert environments.make("See-vector-v0", environments=2).limit == 1


def test_saved_games_that_are_not_told_by_seed_and_actions_are_refused():
    worlds.register()
    env, other = (environments.make("Hidden-v0", environments=2) for _ in range(2))
    for each in (env, other):
        each.reset(SEEDS)
    play(env, 30)
    with pytest.raises(ValueError, match="Hidden-v0 cannot go on from a checkpoint: games of the same seeds and actions are not"):
        other.load_state(env.state())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Pendulum-v1", "wants a Box of float32 .*; a fleet acts by Discrete"),
        ("FrozenLake-v1", r"shows Discrete\(16\); a fleet takes a flat Box"),
        ("Act-multidiscrete-v0", "wants MultiDiscrete.*; a fleet acts by Discrete"),
        ("See-matrix-v0", "shows a Box of float32 .*; a fleet takes a flat Box"),
    ],
)
def test_environments_that_a_fleet_cannot_play_are_refused(name, told):
    worlds.register()
    with pytest.raises(ValueError, match=rf"{name} {told}: train alone \(engine = 'sb3'\)"):
        environments.make(name, environments=2)


def test_the_last_hundred_games_are_those_a_loop_remembers():
    generator = torch.Generator().manual_seed(0)
    games, running, finished = Games(3, 16), np.zeros((3, 16)), [[], [], []]
    assert games.means().isnan().all()
    for chance in (0.02, 0.3, 0.9, 0.05):  # 0.9: more games end in one rollout than are remembered
        for _ in range(5):
            rewards = torch.randn(3, 8, 16, generator=generator)
            ended = torch.rand(3, 8, 16, generator=generator) < chance
            games.add(rewards, ended)
            for agent, step, env in np.ndindex(3, 8, 16):
                running[agent, env] += rewards[agent, step, env].item()
                if ended[agent, step, env]:
                    finished[agent].append(running[agent, env])
                    running[agent, env] = 0
            expected = [np.mean(returns[-100:]) if returns else np.nan for returns in finished]
            assert games.means().numpy() == pytest.approx(expected, nan_ok=True)


def test_the_record_of_games_is_saved_and_leaves_with_its_agent():
    generator = torch.Generator().manual_seed(0)
    games, other = Games(3, 4), Games(1, 4)
    for _ in range(30):
        games.add(torch.randn(3, 5, 4, generator=generator), torch.rand(3, 5, 4, generator=generator) < 0.2)
    other.load_state(games.state())
    games.keep([2, 0])
    assert torch.equal(games.means(), other.means()[[2, 0]])


def test_a_world_of_mujoco_writes_no_log_into_the_working_folder(tmp_path, monkeypatch):
    mujoco = pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)
    recipes.made("HalfCheetah-v5", None).close()
    assert not list(tmp_path.iterdir())
    assert mujoco.get_mju_user_warning() is None
