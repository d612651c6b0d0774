"""Any on-policy algorithm of Stable-Baselines3 learns behind the seam; PPO is one that makes many small steps from a rollout."""

from typing import Literal

import numpy as np
import pytest
import torch
import worlds
from stable_baselines3 import PPO
from subjects import bits, goes_on, seeds

from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.plan import TrainEpoch
from rlprune.pruning.pruner import pruners
from rlprune.training import a2c
from rlprune.training.onpolicy import OnPolicyTrainer
from rlprune.training.recipes import A2CRecipe, OnPolicyRecipe

SMALL = {
    "environment": "CartPole-v1",
    "budget": 384,
    "epochs": 3,
    "environments": 2,
    "rollout_steps": 32,
    "widths": (16, 16),
    "annealing": "constant",
    "scoring_steps": 100,
    "evaluation_games": 2,
}


class Clipped(OnPolicyRecipe):
    optimizer: Literal["rmsprop", "rmsprop-tf", "adam"] = "adam"

    @property
    def passes(self):
        return 4

    @property
    def batch(self):
        return 16

    @property
    def arguments(self):
        return {"n_epochs": self.passes, "batch_size": self.batch, "clip_range": 0.1}


class Clipper(OnPolicyTrainer):
    algorithm = PPO


def make(**fields):
    return Clipper(Clipped(**{**SMALL, **fields}), seeds, "cpu")


def test_an_algorithm_is_its_class_and_a_recipe():
    """Two epochs are one call of SB3's own learn from the same weights, streams and generators."""
    ours, theirs = make(), make()
    for _ in range(2):
        ours.train_epoch(TrainEpoch(1, 1))
    with theirs._generators.owned():
        theirs.model.learn(256)
    assert ours.samples == theirs.samples == 256
    assert ours.model._n_updates == 4 * 4
    assert (ours.model.batch_size, ours.model.clip_range(1), type(ours.optimizer)) == (16, 0.1, torch.optim.Adam)
    assert bits(ours.module, ours.optimizer) == bits(theirs.module, theirs.optimizer)


def test_a_checkpoint_goes_on_bit_identically(tmp_path):
    goes_on(make(), make(), make(), tmp_path / "checkpoint")


@pytest.mark.parametrize("name", ["SNIP", "EarlyCroP-S"])
def test_an_agent_of_any_algorithm_is_pruned_saved_and_loaded(name, tmp_path):
    trainer, pruner = make(), pruners().load(name)
    pruning = PlanFollower(trainer, pruner, pruner.settings(), 0.8, 3, "network", seeds)
    while (epoch := pruning.next_epoch()) is not None:
        trainer.train_epoch(epoch)
        pruning.epoch_done()
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.05)
    trainer.save(tmp_path / "small.zip")
    loaded = PPO.load(tmp_path / "small.zip", device="cpu")
    seen = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    assert np.array_equal(loaded.predict(seen, deterministic=True)[0], trainer.model.predict(seen, deterministic=True)[0])


def test_learning_several_times_from_a_sample_costs_as_often():
    once, often = a2c.A2CTrainer(A2CRecipe(**SMALL), seeds, "cpu"), make()
    forward = 2 * (4 * 16 + 16 * 16) + 16 * 2 + 16
    assert once.sample_macs() == 4 * forward
    assert often.sample_macs() == (1 + 3 * 4) * forward


def test_a_timed_step_learns_from_a_batch_of_the_algorithm_on_a_copy():
    trainer, seen = make(), []
    trainer.module.mlp_extractor.policy_net[0].register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    step, before = trainer.training_step(), bits(trainer.module)
    seen.clear()
    step()
    assert seen == [16]
    assert bits(trainer.module) == before


def test_spaces_that_the_policy_cannot_play_are_refused():
    worlds.register()
    with pytest.raises(ValueError, match=r"Act-tuple-v0 wants Tuple.*; an MLP policy acts by a flat Box of floats"):
        make(environment="Act-tuple-v0")
