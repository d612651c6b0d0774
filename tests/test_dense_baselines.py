"""A pruning comparison on a dense agent that has not learned is a coin flip: the tasks' own recipes must learn."""

from functools import partial

import pytest

from rlprune.pruning.plan import TrainEpoch
from rlprune.task import seed_sequence, tasks
from rlprune.training.fleet import FleetAgent


def dense(name, seeds, **changes):
    """The dense agents of a task, trained by its own recipe; the mean return of each one's last 100 training games."""
    task = tasks().load(name)
    recipe = task.settings(changes)
    agents = [FleetAgent(recipe, partial(seed_sequence, name, seed), "cpu") for seed in range(seeds)]
    for epoch in range(recipe.epochs):
        shares = TrainEpoch(1 - epoch / recipe.epochs, 1 - (epoch + 1) / recipe.epochs)
        FleetAgent.train_together(agents, [shares] * seeds)
    return sorted(agent.latest()["return_train"] for agent in agents)


@pytest.mark.slow
def test_cartpole_is_solved_by_nine_of_ten_dense_agents_and_stays_solved():
    assert dense("cartpole-v1", 10)[1] >= 475


@pytest.mark.slow
def test_acrobot_is_swung_up_by_nine_of_ten_dense_agents():
    assert dense("acrobot-v1", 10)[1] >= -90


def test_cartpole_is_learned_in_a_fifth_of_its_budget():
    assert dense("cartpole-v1", 4, budget=100_000)[0] >= 300
