"""Dormant units, effective rank and parameter norm: against numpy, and the same whoever trains an agent and beside whom."""

from functools import partial

import numpy as np
import oracles
import pytest
import torch
import worlds
from subjects import seeds

from rlprune.pruning.plan import TrainEpoch
from rlprune.training import environments, insides
from rlprune.training.a2c import A2CTrainer
from rlprune.training.batched import Fleet
from rlprune.training.fleet import FleetAgent
from rlprune.training.recipes import A2CRecipe

NAMES = {f"{measure}_{network}" for measure in ("dormant", "rank", "norm") for network in ("actor", "critic")}
TINY = {
    "environment": "CartPole-v1",
    "budget": 3 * 1280,
    "epochs": 3,
    "environments": 8,
    "rollout_steps": 16,
    "widths": (20, 12),
    "learning_rate": 0.01,
    "scoring_steps": 40,
    "evaluation_games": 2,
}
WHOLE = TrainEpoch(1, 1)


def make(kind, number=0, **fields):
    return kind(A2CRecipe(**{**TINY, **fields}), partial(seeds, number=number), "cpu")


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# -- against numpy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.025, 0.5, 1.0])
def test_dormant_units_are_those_of_a_loop(threshold):
    layers = [random(30, 40) * torch.logspace(-4, 1, 40), random(30, 7) * torch.logspace(-2, 1, 7)]
    share = insides.dormant(layers, threshold)
    assert 0 < share < 1
    assert share == oracles.dormant([layer.numpy() for layer in layers], threshold)


def test_a_layer_that_puts_out_nothing_is_dormant_as_a_whole():
    assert insides.dormant([torch.zeros(5, 3), torch.ones(5, 1)]) == 3 / 4


@pytest.mark.parametrize(("samples", "units"), [(50, 20), (20, 50), (7, 1)])
@pytest.mark.parametrize("decay", [1.0, 0.7, 0.3])
def test_the_effective_rank_is_that_of_singular_values(samples, units, decay):
    matrix = random(samples, units) * decay ** torch.arange(units)
    assert insides.effective_rank(matrix) == oracles.effective_rank(matrix.numpy(), 0.99)


def test_the_effective_rank_of_what_is_known():
    assert insides.effective_rank(torch.eye(200)) == 198
    assert insides.effective_rank(torch.ones(30, 10)) == 1
    assert insides.effective_rank(torch.zeros(30, 10)) == 0
    assert np.isnan(insides.effective_rank(torch.full((3, 2), torch.inf)))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_both_networks_are_measured_on_what_their_layers_put_out(activation):
    agent = make(A2CTrainer, activation=activation)
    agent.train_epoch(WHOLE)
    features = random(300, 4).float()
    values, state = insides.measures(agent.module, features), agent.module.state_dict()
    assert set(values) == NAMES
    act = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}[activation]
    for network, body, head in (("actor", "policy_net", "action_net"), ("critic", "value_net", "value_net")):
        names = [f"mlp_extractor.{body}.0", f"mlp_extractor.{body}.2", head]
        weights, biases = ([state[f"{name}.{part}"].double().numpy() for name in names] for part in ("weight", "bias"))
        first = act(features.double().numpy() @ weights[0].T + biases[0])
        second = act(first @ weights[1].T + biases[1])
        assert values[f"dormant_{network}"] == oracles.dormant([first, second], 0.025)
        assert values[f"rank_{network}"] == oracles.effective_rank(second, 0.99)
        assert values[f"norm_{network}"] == pytest.approx(np.sqrt(sum((own**2).sum() for own in (*weights, *biases))), rel=1e-12)
    assert values["rank_actor"] > 1


# -- on what training saw ----------------------------------------------------------------------------------------


def test_an_agent_is_measured_as_it_stands_on_what_it_saw_last():
    agent, inputs = make(A2CTrainer), []
    agent.module.mlp_extractor.policy_net[0].register_forward_hook(lambda _, given, __: inputs.append(given[0].detach().clone()))
    row = agent.train_epoch(WHOLE)
    acted = torch.cat([rows for rows in inputs if len(rows) == 8])
    assert len(acted) == 1280
    assert torch.equal(inputs[-1], acted[-1000:])
    assert row.items() >= insides.measures(agent.module, acted[-1000:]).items()


class Recorded:
    """Environments that remember what they showed."""

    def __init__(self, envs):
        self._envs, self.shown = envs, [envs.observations.clone()]

    def __getattr__(self, name):
        return getattr(self._envs, name)

    def step(self, actions):
        moved = self._envs.step(actions)
        self.shown.append(moved.observations.clone())
        return moved


@pytest.mark.parametrize(("iterations", "samples"), [(10, 1000), (2, 256)])
def test_a_fleet_returns_what_its_agents_acted_on_last(iterations, samples):
    agents = [make(FleetAgent, number) for number in range(2)]
    envs = Recorded(environments.join([agent.env for agent in agents]))
    seen = Fleet([agent.agent() for agent in agents], envs, agents[0].recipe).train(iterations, [1, 1], [1, 1])
    assert seen.shape == (2, samples, 4)
    assert torch.equal(seen, torch.cat(envs.shown[:-1], 1)[:, -samples:])


def test_a_fleet_and_stable_baselines3_measure_equal_networks_alike():
    agent, twin, solo = make(FleetAgent), make(FleetAgent), make(A2CTrainer)
    row = agent.train_epoch(WHOLE)
    recipe = agent.recipe
    (seen,) = Fleet([twin.agent()], twin.env, recipe).train(recipe.iterations, [1], [1])
    solo.module.load_state_dict(agent.module.state_dict())
    solo._seen.append(seen)
    assert {name: row[name] for name in NAMES} == solo._insides()


@pytest.mark.parametrize("size", [2, 5, 16])
def test_an_agent_measures_the_same_alone_and_in_company(size):
    def rows(agents):
        return [FleetAgent.train_together(agents, [epoch] * len(agents)) for epoch in (WHOLE, TrainEpoch(1, 0))]

    alone = rows([make(FleetAgent)])
    agents = [make(FleetAgent, number, **({"widths": (40, 12)} if number == 1 else {})) for number in range(size)]
    together = rows(agents[::-1])
    assert [epoch[-1] for epoch in together] == [epoch[0] for epoch in alone]
    assert set(alone[0][0]) >= NAMES
    assert alone[0][0] != alone[1][0]


@pytest.mark.parametrize("observations", sorted(worlds.OBSERVATIONS))
def test_any_observations_that_an_agent_can_play_will_do(observations):
    worlds.register()
    row = make(A2CTrainer, environment=f"See-{observations}-v0", budget=384).train_epoch(WHOLE)
    assert set(row) >= NAMES
    assert all(np.isfinite(row[name]) for name in NAMES)
