from dataclasses import replace

import numpy as np
import pytest
import torch
from replayed import Recorded, bits, distance, network, of_each_length, reference
from stable_baselines3 import PPO

from rlprune.training import environments, noise
from rlprune.training.batched import Agent
from rlprune.training.batched_ppo import PPOFleet
from rlprune.training.compiled.fleet import CompiledPPOFleet
from rlprune.training.recipes import PPORecipe

TINY = PPORecipe(
    environment="CartPole-v1", budget=1, environments=4, rollout_steps=16, minibatch=16, rounds=3, widths=(16, 16),
    annealing="linear", reward_scale=0.1,
)  # fmt: skip


@pytest.fixture(params=[PPOFleet, CompiledPPOFleet], ids=["tensors", "compiled"])
def kind(request):
    return request.param


def fleet(kind, agents, recipe=TINY, limit=None, name="CartPole-v1"):
    envs = environments.make(name, recipe.environments, limit)
    envs.reset(torch.tensor([agent.seed + 1000 for agent in agents]))
    return kind(agents, envs, recipe)


def shuffled_alike(ours, number, recipe, monkeypatch):
    """Let NumPy shuffle as the fleet just has: its samples lie step by step, Stable-Baselines3's environment by environment."""
    steps, games = recipe.rollout_steps, recipe.environments
    samples, rollouts = steps * games, int(ours.agent(number).rollouts)
    key = noise.keys(noise.keys(torch.tensor(ours.agent(number).seed)))
    orders = iter(
        [
            noise.words(key, (rollouts * recipe.rounds + turn) * samples + torch.arange(samples)).argsort().numpy()
            for turn in range(recipe.rounds)
        ]
    )
    monkeypatch.setattr(np.random, "permutation", lambda count: (own := next(orders)) % games * steps + own // games)


CASES = {
    "as SB3 has it": {},
    "entropy": {"entropy": 0.01},
    "a narrow range": {"clip_range": 0.02, "learning_rate": 3e-3},
    "constant": {"annealing": "constant"},
    "one minibatch": {"minibatch": 64},
    "relu": {"activation": "relu", "entropy": 0.01},
    "rmsprop": {"optimizer": "rmsprop"},
    "tight clip": {"clip": 0.01, "value_weight": 0.25},
    "wide": {"widths": (64, 64), "environments": 8, "minibatch": 32},
}
CUT_SHORT = ("as SB3 has it", "one minibatch")
"""Cases that are tried with games that are cut short, too; in the others they are no further thing to get wrong."""


@of_each_length(CASES, CUT_SHORT)
def test_updates_are_those_of_stable_baselines3(kind, case, limit, monkeypatch):
    """Each agent at its own point of a linear schedule; with 7 steps a game, games are cut short within rollouts."""
    recipe = TINY.replaced(CASES[case])
    agents = [Agent(seed, network(seed, recipe.widths)) for seed in range(3)]
    ours = fleet(kind, agents, recipe, limit)
    recorded = ours.envs = Recorded(ours.envs)
    models = [reference(agent, recorded, number, recipe, PPO) for number, agent in enumerate(agents)]
    shares = {"linear": lambda remaining: recipe.clip_range * remaining, "constant": lambda remaining: recipe.clip_range}
    for update in range(1, 6):
        remaining = [start - 0.01 * update for start in (1.0, 0.6, 0.3)]
        ours.train(1, remaining, remaining)
        for number, (model, callback) in enumerate(models):
            model.clip_range, model._current_progress_remaining = shares[recipe.annealing], remaining[number]
            model.collect_rollouts(model.env, callback, model.rollout_buffer, recipe.rollout_steps)
            shuffled_alike(ours, number, recipe, monkeypatch)
            model.train()
            assert distance(ours.agent(number), model) <= 1e-6
    assert ours.agent(0).updates == 5 * recipe.rounds * (recipe.environments * recipe.rollout_steps // recipe.batch)


def test_beyond_its_range_a_ratio_teaches_nothing(kind):
    """The narrow range of the case above is left by some ratios, on either side: without it the agent would be another."""
    narrow = TINY.replaced(CASES["a narrow range"])
    learned = []
    for recipe in (narrow, narrow.replaced({"clip_range": 10.0})):
        ours = fleet(kind, [Agent(0, network())], recipe)
        ours.train(5, [1.0], [1.0])
        learned.append(torch.cat([w.flatten() for w in ours.agent(0).weights.values()]))
    assert (learned[0] - learned[1]).norm() / learned[0].norm() > 1e-3


def test_a_cut_agent_with_masks_learns_as_its_own_small_network_does(kind, monkeypatch):
    """Unequal widths in every layer of both networks, computed at one."""
    agents = [Agent(seed, network(seed, *widths)) for seed, widths in enumerate([((13, 7), (5, 16)), ((1, 1), (2, 16))])]
    masks = {name: torch.arange(w.numel()).view_as(w) % 3 > 0 for name, w in agents[0].weights.items() if "2.weight" in name}
    agents[0] = replace(agents[0], masks=masks, weights={n: w * masks.get(n, 1) for n, w in agents[0].weights.items()})
    ours = fleet(kind, agents, limit=9)
    recorded = ours.envs = Recorded(ours.envs)
    models = [reference(agent, recorded, number, TINY, PPO) for number, agent in enumerate(agents)]
    for _ in range(5):
        ours.train(1, [0.5] * 2, [0.5] * 2)
        for number, (model, callback) in enumerate(models):
            model.clip_range, model._current_progress_remaining = lambda remaining: TINY.clip_range * remaining, 0.5
            model.collect_rollouts(model.env, callback, model.rollout_buffer, TINY.rollout_steps)
            shuffled_alike(ours, number, TINY, monkeypatch)
            model.train()
    for number, (model, _) in enumerate(models):
        assert distance(ours.agent(number), model) <= 1e-6
    pruned = ours.agent(0)
    for name, mask in masks.items():
        assert not pruned.weights[name][~mask].any(), "pruned weights stay zero"
        assert not pruned.moments["exp_avg_sq"][name][~mask].any(), "and out of the moments"
        assert pruned.moments["exp_avg_sq"][name][mask].any()


@pytest.mark.parametrize(("name", "widths", "limit"), [("CartPole-v1", (64, 64), 7), ("Acrobot-v1", (20,), 30)])
def test_an_agents_numbers_are_the_same_whatever_the_fleet_around_it(kind, name, widths, limit):
    recipe = TINY.replaced({"widths": list(widths), "entropy": 0.01})
    features, actions = (4, 2) if name == "CartPole-v1" else (6, 3)
    agents = [Agent(seed, network(seed, widths, None, features, actions)) for seed in range(9)]
    masks = {"action_net.weight": torch.arange(actions * widths[-1]).view(actions, -1) % 3 > 0}
    agents[7] = replace(agents[7], masks=masks, weights={n: w * masks.get(n, 1) for n, w in agents[7].weights.items()})

    def outcome(company):
        ours = fleet(kind, [agents[number] for number in company], recipe, limit, name)
        share = [0.5 + number / 100 for number in company]
        ours.train(4, share, [0.9 * at for at in share])
        return {number: bits(ours.agent(at)) for at, number in enumerate(company)}

    whole = outcome(range(9))
    for company in ([7], [2, 7], [8, 7, 3, 4, 5]):
        for number, found in outcome(company).items():
            assert found == whole[number], f"agent {number} beside {company}"


def test_agents_taken_out_and_put_together_anew_go_on_as_if_nothing_had_been(kind):
    agents = [Agent(seed, network(seed)) for seed in range(3)]
    whole, parted = (fleet(kind, agents, limit=30) for _ in range(2))
    whole.train(4, [1] * 3, [0.5] * 3)
    parted.train(2, [1] * 3, [0.75] * 3)
    again = kind([parted.agent(number) for number in range(3)], parted.envs, TINY, games=parted.games)
    again.train(2, [0.75] * 3, [0.5] * 3)
    assert [bits(again.agent(number)) for number in range(3)] == [bits(whole.agent(number)) for number in range(3)]


def test_each_round_has_an_order_of_its_own_and_each_agent_too():
    ours = fleet(PPOFleet, [Agent(0, network()), Agent(1, network(1))])
    begin = torch.arange(4)[:, None, None] * 64
    orders = noise.words(ours._orders[:2, None], begin + torch.arange(64)).argsort(dim=-1).view(8, 64)
    assert len({tuple(order.tolist()) for order in orders}) == 8
    assert all(sorted(order.tolist()) == list(range(64)) for order in orders)
