import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from replayed import Recorded, bits, distance, network, of_each_length, reference
from stable_baselines3.common.policies import ActorCriticPolicy

from rlprune.training import batched, environments, noise
from rlprune.training.batched import Agent, Fleet
from rlprune.training.compiled.fleet import CompiledFleet
from rlprune.training.environments import CartPole
from rlprune.training.recipes import A2CRecipe

TINY = A2CRecipe(environment="CartPole-v1", budget=1, environments=4, widths=(16, 16), reward_scale=0.1)


@pytest.fixture(autouse=True, params=[Fleet, CompiledFleet], ids=["tensors", "compiled"])
def _both_ways_of_computing(request, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "Fleet", request.param)


def fleet(agents, recipe=TINY, limit=None, name="CartPole-v1"):
    envs = environments.make(name, recipe.environments, limit)
    envs.reset(torch.tensor([agent.seed + 1000 for agent in agents]))
    return Fleet(agents, envs, recipe)


# -- equal to Stable-Baselines3 ----------------------------------------------------------------------------------


CASES = {
    "as SB3 has it": {},
    "entropy": {"entropy": 0.01},
    "rmsprop-tf": {"optimizer": "rmsprop-tf", "entropy": 0.01},
    "adam": {"optimizer": "adam"},
    "constant rate": {"annealing": "constant"},
    "gae": {"gae_lambda": 0.9, "discount": 0.95},
    "relu": {"activation": "relu", "entropy": 0.01},
    "tight clip": {"clip": 0.01, "value_weight": 0.25},
    "long rollouts": {"rollout_steps": 17},
    "wide": {"widths": (128, 128, 128), "environments": 16},
}
CUT_SHORT = ("as SB3 has it", "gae", "long rollouts")
"""Cases that treat games that are cut short each in a way of its own; in the others they are no further thing to get wrong."""


@of_each_length(CASES, CUT_SHORT)
def test_updates_are_those_of_stable_baselines3(case, limit):
    """Each agent at its own point of a linear schedule; with 7 steps a game, games are cut short within rollouts."""
    recipe = TINY.model_copy(update=CASES[case])
    agents = [Agent(seed, network(seed, recipe.widths)) for seed in range(3)]
    ours = fleet(agents, recipe, limit)
    recorded = ours.envs = Recorded(ours.envs)
    models = [reference(agent, recorded, number, recipe) for number, agent in enumerate(agents)]
    starts = [1.0, 0.6, 0.3]
    for update in range(1, 21):
        remaining = [start - 0.01 * update for start in starts]
        ours.train(1, remaining, remaining)
        for number, (model, callback) in enumerate(models):
            model._current_progress_remaining = remaining[number]
            model.collect_rollouts(model.env, callback, model.rollout_buffer, recipe.rollout_steps)
            model.train()
            assert distance(ours.agent(number), model) <= (1e-6 if update == 1 else 1e-5)
    cut_short = sum(int((moved.truncated & ~moved.terminated).sum()) for _, moved in recorded.steps)
    assert (cut_short > 0) == (limit == 7)


def test_a_cut_agent_with_masks_learns_as_its_own_small_network_does():
    """Unequal widths in every layer of both networks, computed at one."""
    widths = [((13, 7), (5, 16)), ((16, 9), (3, 2)), ((1, 1), (2, 16))]
    agents = [Agent(seed, network(seed, actor, critic)) for seed, (actor, critic) in enumerate(widths)]
    generator = torch.Generator().manual_seed(0)
    masks = {
        name: torch.rand(w.shape, generator=generator) < 0.5 for name, w in agents[0].weights.items() if name.endswith("weight")
    }
    agents[0] = replace(agents[0], masks=masks, weights={n: w * masks.get(n, 1) for n, w in agents[0].weights.items()})
    ours = fleet(agents, limit=9)
    recorded = ours.envs = Recorded(ours.envs)
    models = [reference(agent, recorded, number, TINY) for number, agent in enumerate(agents)]
    for _ in range(20):
        ours.train(1, [0.5] * 3, [0.5] * 3)
        for model, callback in models:
            model._current_progress_remaining = 0.5
            model.collect_rollouts(model.env, callback, model.rollout_buffer, TINY.rollout_steps)
            model.train()
    for number, (model, _) in enumerate(models):
        assert distance(ours.agent(number), model) <= 1e-5
    pruned = ours.agent(0)
    for name, mask in masks.items():
        assert not pruned.weights[name][~mask].any(), "pruned weights stay zero"
        assert not pruned.moments["square_avg"][name][~mask].any(), "and out of the moments"
        assert pruned.moments["square_avg"][name][mask].any()


def test_an_optimizer_goes_on_with_the_moments_it_is_given():
    recipe = TINY.model_copy(update={"optimizer": "adam"})
    first = fleet([Agent(0, network())], recipe)
    first.train(7, [1], [0.5])
    agent = first.agent(0)
    assert agent.updates == agent.rollouts == 7
    assert set(agent.moments) == {"exp_avg", "exp_avg_sq"}
    second = Fleet([agent], first.envs, recipe)
    for each in (first, second):
        saved = first.envs.state()
        each.train(5, [0.5], [0.2])
        first.envs.load_state(saved)
    assert bits(first.agent(0)) == bits(second.agent(0))


# -- an agent and its company ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "environments", "actor", "limit"),
    [
        ("CartPole-v1", 16, (128, 128, 128), 7),
        ("CartPole-v1", 16, (16, 16, 16), 500),
        ("CartPole-v1", 5, (48, 13), 7),
        ("Acrobot-v1", 16, (32, 32), 30),
        ("Acrobot-v1", 3, (20,), 7),
    ],
)
def test_an_agents_numbers_are_the_same_whatever_the_fleet_around_it(name, environments, actor, limit):
    recipe = TINY.model_copy(update={"environments": environments, "widths": actor, "entropy": 0.01})
    features, actions = (4, 2) if name == "CartPole-v1" else (6, 3)
    agents = [Agent(seed, network(seed, actor, None, features, actions)) for seed in range(33)]
    masks = {"action_net.weight": torch.arange(actions * actor[-1]).view(actions, -1) % 3 > 0}
    agents[7] = replace(agents[7], masks=masks, weights={n: w * masks.get(n, 1) for n, w in agents[7].weights.items()})

    def outcome(company):
        ours = fleet([agents[number] for number in company], recipe, limit, name)
        share = [0.5 + number / 100 for number in company]
        ours.train(12, share, [0.9 * at for at in share])
        rows = [state.state() for state in (ours.envs, ours.games)]
        return {
            number: [*bits(ours.agent(at)), *(row[at].numpy().tobytes() for part in rows for row in part.values())]
            for at, number in enumerate(company)
        }

    whole = outcome(range(33))
    for company in ([7], [2, 7, 30], [0, 1, 2, 7], [32, 7, 3, 4, 5], [*range(20, 33), 0, 7, 1]):
        for number, found in outcome(company).items():
            assert found == whole[number], f"agent {number} beside {company}"


@pytest.mark.parametrize(("name", "limit"), [("CartPole-v1", 7), ("CartPole-v1", 500), ("Acrobot-v1", 11)])
def test_a_rollout_in_one_piece_is_one_step_by_step(name, limit):
    features, actions = (4, 2) if name == "CartPole-v1" else (6, 3)
    agents = [Agent(seed, network(seed, (16, 16), None, features, actions)) for seed in range(3)]
    whole, stepped = (fleet(agents, limit=limit, name=name) for _ in range(2))
    stepped.envs = Recorded(stepped.envs)
    for each in (whole, stepped):
        each.train(20, [1] * 3, [0.5] * 3)
    assert [bits(whole.agent(number)) for number in range(3)] == [bits(stepped.agent(number)) for number in range(3)]
    for one, other in ((whole.envs, stepped.envs), (whole.games, stepped.games)):
        assert all(torch.equal(rows, other.state()[key]) for key, rows in one.state().items())


def test_somebodys_simulation_moves_as_it_says():
    class Still(CartPole):
        def _advance(self, state, actions):
            return torch.ones(state.shape[1]), torch.zeros(state.shape[1], dtype=torch.bool)

    envs = Still(4, 500)
    before = envs.reset(torch.tensor([0])).clone()
    ours = Fleet([Agent(0, network())], envs, TINY)
    ours.train(3, [1], [1])
    assert torch.equal(envs.observations, before)
    assert int(envs.state()["elapsed"][0, 0]) == 15


def test_agents_taken_out_and_put_together_anew_go_on_as_if_nothing_had_been():
    agents = [Agent(seed, network(seed)) for seed in range(5)]
    whole, parted = (fleet(agents, limit=30) for _ in range(2))
    whole.train(10, [1] * 5, [0.5] * 5)
    parted.train(5, [1] * 5, [0.75] * 5)
    left, order = [parted.agent(number) for number in range(5)], [4, 0, 2]
    parted.envs.keep(order)
    parted.games.keep(order)
    smaller = Fleet([left[number] for number in order], parted.envs, TINY, games=parted.games)
    smaller.train(5, [0.75] * 3, [0.5] * 3)
    for at, number in enumerate(order):
        assert bits(smaller.agent(at)) == bits(whole.agent(number))
    assert torch.equal(smaller.games.means(), whole.games.means()[order])


def test_a_changed_agent_takes_its_place():
    agents = [Agent(seed, network(seed)) for seed in range(4)]
    ours, untouched = (fleet(agents) for _ in range(2))
    mask = {"mlp_extractor.policy_net.2.weight": torch.eye(16, dtype=torch.bool)}
    pruned = replace(agents[1], masks=mask, weights={n: w * mask.get(n, 1) for n, w in agents[1].weights.items()})
    ours.load(1, pruned)
    for each in (ours, untouched):
        each.train(5, [1] * 4, [1] * 4)
    assert int((ours.agent(1).weights["mlp_extractor.policy_net.2.weight"] != 0).sum()) == 16
    assert [bits(ours.agent(n)) == bits(untouched.agent(n)) for n in range(4)] == [True, False, True, True]


def test_agents_are_padded_to_sizes_of_their_own():
    weights = network(0, actor=(13, 40), critic=(17, 3))
    assert batched.sizes(weights) == (4, 48, 48, 2)
    stack = batched.Stack(batched.sizes(weights), 3, torch.device("cpu"))
    stack.write(1, weights, weights, 0.0)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in stack.read(1, weights).items())
    assert int(stack.buffer.count_nonzero()) == sum(int(w.count_nonzero()) for w in weights.values())
    assert not stack.rows[0][[0, 2]].any()


def test_fleets_of_unlike_agents_are_refused():
    small, large = Agent(0, network()), Agent(1, network(actor=(17, 16)))
    with pytest.raises(ValueError, match=r"equal sizes, got \[\(4, 16, 16, 2\), \(4, 32, 32, 2\)\]"):
        fleet([small, large])
    with pytest.raises(ValueError, match=r"for 2 agents of sizes \(4, 16, 16, 2\) wanted, got some for 1 agents"):
        Fleet([small, small], fleet([small]).envs, TINY)
    with pytest.raises(ValueError, match=r"sizes \(4, 16, 16, 2\), got one of \(4, 32, 32, 2\)"):
        fleet([small]).load(0, large)


# -- playing -----------------------------------------------------------------------------------------------------


def test_evaluation_plays_one_game_an_environment():
    agents = [Agent(seed, network(seed)) for seed in range(3)]
    ours = fleet(agents)
    before = bits(ours.agent(0))
    results = {}
    for greedily in (True, False):
        envs = environments.make("CartPole-v1", 60)
        envs.reset(torch.arange(3))
        results[greedily] = ours.evaluate(envs, torch.arange(3), greedily=greedily)
    assert results[True].shape == (3, 60)
    assert bits(ours.agent(0)) == before
    policy = ActorCriticPolicy(
        gym.spaces.Box(-1, 1, (4,)), gym.spaces.Discrete(2), lambda _: 1e-3, net_arch={"pi": [16, 16], "vf": [16, 16]}
    )
    policy.load_state_dict(agents[1].weights)
    envs = environments.make("CartPole-v1", 60)
    seen, returns, playing = envs.reset(torch.tensor([1])), np.zeros(60), np.ones(60, dtype=bool)
    while playing.any():
        actions, _ = policy.predict(seen[0].numpy(), deterministic=True)
        seen, rewards, terminated, truncated, _ = envs.step(torch.from_numpy(actions)[None])
        returns += rewards[0].numpy() * playing
        playing &= ~(terminated | truncated)[0].numpy()
    assert np.array_equal(results[True][1].numpy(), returns)
    assert 9 <= results[False].mean() <= 60


def test_dense_agents_learn_cartpole():
    recipe = TINY.model_copy(update={"environments": 16, "widths": (32, 32)})
    ours = fleet([Agent(seed, network(seed, (32, 32))) for seed in range(4)], recipe)
    ours.train(30, [1] * 4, [1] * 4)
    early = ours.games.means()
    ours.train(900, [1] * 4, [1] * 4)
    assert (early < 60).all()
    assert ours.games.means().median() > 150


def test_actions_are_drawn_from_the_policy():
    logits = torch.tensor([0.3, -1.0, 1.2])
    words = noise.words(noise.keys(torch.tensor(5)), torch.arange(300_000)).view(-1, 3)
    counts = (logits + noise.gumbel(words)).argmax(-1).bincount(minlength=3)
    expected = logits.softmax(0) * 100_000
    assert float(((counts - expected) ** 2 / expected).sum()) < 13.8  # chi-square, 2 degrees of freedom, 0.1 %


# -- noise -------------------------------------------------------------------------------------------------------


def splitmix(seed, count):
    """SplitMix64 as published, in whole numbers."""
    state, outputs = seed, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        outputs.append(z ^ (z >> 31))
    return outputs


@pytest.mark.parametrize("seed", [0, 1234567, -1, 2**63 - 1])
def test_noise_is_splitmix64(seed):
    key = splitmix(seed % 2**64, 1)[0]
    words = noise.words(noise.keys(torch.tensor(seed)), torch.arange(50))
    assert [word % 2**64 for word in words.tolist()] == splitmix(key, 50)
    assert splitmix(1234567, 2) == [6457827717110365317, 3203168211198807973]  # published test values


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_noise_is_uniform_and_never_zero_or_one(dtype):
    uniform = noise.uniform(noise.words(noise.keys(torch.arange(100))[:, None], torch.arange(10_000)), dtype).double()
    counts = torch.histc(uniform.flatten(), 100, 0, 1)
    assert float(((counts - 10_000) ** 2 / 10_000).sum()) < 149  # chi-square, 99 degrees of freedom, 0.1 %
    assert float(uniform.mean()) == pytest.approx(0.5, abs=1e-3)
    assert float(uniform.var()) == pytest.approx(1 / 12, rel=3e-3)
    ends = noise.uniform(torch.tensor([0, -1]), dtype)
    assert 0 < ends[0] < 1e-6
    assert 1 - 1e-6 < ends[1] < 1
    assert noise.gumbel(torch.tensor([0, -1])).isfinite().all()


def test_neighbouring_seeds_and_steps_are_independent():
    seeds, steps = torch.arange(200), torch.arange(5000)
    table = noise.uniform(noise.words(noise.keys(seeds)[:, None], steps), torch.float64)

    def correlation(one, other):
        return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])

    bound = 4 / table.numel() ** 0.5
    assert abs(correlation(table[1:], table[:-1])) < bound
    assert abs(correlation(table[:, 1:], table[:, :-1])) < bound
    assert abs(correlation(table[1:, 1:], table[:-1, :-1])) < bound
    assert abs(correlation(table[:, :200], table[:, :200].T)) < 4 / 200
    pairs = (table[:, ::2] * 10).long() * 10 + (table[:, 1::2] * 10).long()
    counts, expected = pairs.flatten().bincount(minlength=100), pairs.numel() / 100
    assert float(((counts - expected) ** 2 / expected).sum()) < 149


def test_noise_depends_on_seed_and_step_alone():
    keys, steps = noise.keys(torch.tensor([9, 4, 7])), torch.tensor([3, 100, 2**40])
    table = noise.words(keys[:, None], steps)
    assert table[1, 2] == noise.words(noise.keys(torch.tensor(4)), torch.tensor(2**40))
    assert torch.equal(noise.words(keys.flip(0)[:, None], steps.flip(0)), table.flip(0, 1))


def test_a_fleet_takes_what_is_too_small_to_be_fast_for_zero_where_torch_is_told_to():
    name, tiny = "mlp_extractor.policy_net.0.weight", torch.finfo(torch.float32).tiny
    weights = network()
    weights = {**weights, name: torch.zeros_like(weights[name])}
    masks = {name: torch.zeros_like(weights[name], dtype=torch.bool)}
    averages = {key: torch.full_like(weight, tiny / 8) for key, weight in weights.items()}
    one = fleet([Agent(0, weights, masks, {"square_avg": averages}, updates=1)], TINY.model_copy(update={"optimizer": "rmsprop"}))
    one.train(1, [1e-3], [1e-3])
    assert (one.agent(0).moments["square_avg"][name] > 0).all(), "no gradient: 0.99 of a number that is too small"
    torch.set_flush_denormal(True)
    try:
        one.train(1, [1e-3], [1e-3])
    finally:
        torch.set_flush_denormal(False)
    assert (one.agent(0).moments["square_avg"][name] == 0).all()
