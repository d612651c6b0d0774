"""Both engines train agents that are drawn from one distribution: the fleet is no other algorithm than Stable-Baselines3's."""

from functools import partial

import pytest
from scipy.stats import ks_2samp, mannwhitneyu
from subjects import seeds

from rlprune.pruning.plan import TrainEpoch
from rlprune.task import tasks
from rlprune.training.a2c import A2CTrainer
from rlprune.training.fleet import FleetAgent

SEEDS = 10


@pytest.mark.slow
def test_ten_seeds_of_both_engines_earn_alike_while_they_learn():
    recipe = tasks().load("cartpole-v1").settings({"budget": 60_000, "epochs": 6})
    earned = {}
    for engine in (A2CTrainer, FleetAgent):
        agents = [engine(recipe, partial(seeds, number=number), "cpu") for number in range(SEEDS)]
        for epoch in range(recipe.epochs):
            step = TrainEpoch(1 - epoch / recipe.epochs, 1 - (epoch + 1) / recipe.epochs)
            measures = engine.train_together(agents, SEEDS * [step])
        earned[engine] = [measure["return_train"] for measure in measures]
        for agent in agents:
            agent.close()
    theirs, ours = earned.values()
    assert mannwhitneyu(theirs, ours).pvalue > 0.01, earned
    assert ks_2samp(theirs, ours).pvalue > 0.01, earned
