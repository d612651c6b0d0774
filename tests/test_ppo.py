"""PPO behind the seam: its surrogate, its clipping, and observations that the network normalises itself."""

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from subjects import bits, goes_on, seeds

from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.plan import TrainEpoch
from rlprune.pruning.pruner import pruners
from rlprune.training.normaliser import Normaliser
from rlprune.training.onpolicy import remembered
from rlprune.training.ppo import PPOTrainer
from rlprune.training.recipes import PPORecipe

SMALL = {
    "environment": "CartPole-v1",
    "budget": 192,
    "epochs": 3,
    "environments": 2,
    "rollout_steps": 32,
    "widths": (16, 16),
    "minibatch": 32,
    "rounds": 3,
    "scoring_steps": 64,
    "evaluation_games": 2,
}


def make(**fields):
    return PPOTrainer(PPORecipe(**{**SMALL, **fields}), seeds, "cpu")


def test_an_epoch_is_what_stable_baselines3_learns():
    ours, theirs = make(annealing="linear"), make(annealing="linear")
    for start, end in ((1, 0.5), (0.5, 0)):
        ours.train_epoch(TrainEpoch(start, end))
    theirs.model._total_timesteps = 128
    with theirs._generators.owned():
        theirs.model._setup_learn(128)
        for remaining in (1.0, 0.5):
            theirs._collect()
            theirs.model._current_progress_remaining = remaining
            theirs.model.train()
    assert ours.model.clip_range(0.5) == pytest.approx(0.1)
    assert bits(ours.module, ours.optimizer) == bits(theirs.module, theirs.optimizer)


def test_the_surrogate_has_the_gradient_of_the_clipped_loss_at_the_policy_that_played():
    """The oracle is PPO's own first step: SGD on it moves weights by the gradient of what it learns from."""
    trainer = make(rounds=1, minibatch=64, clip_range=0.1, entropy=0.01)
    model = trainer.model
    model.max_grad_norm = 1e9
    with trainer._generators.owned():
        trainer._begin()
        trainer._collect()
        batch = remembered(model.rollout_buffer)
        loss = trainer.loss(trainer.module, batch=batch)
        gradient = torch.autograd.grad(loss, list(trainer.module.parameters()))
        before = [parameter.detach().clone() for parameter in trainer.module.parameters()]
        model.policy.optimizer = torch.optim.SGD(trainer.module.parameters(), lr=1.0)
        model.lr_schedule = lambda _: 1.0
        model.train()
    for old, new, slope in zip(before, trainer.module.parameters(), gradient, strict=True):
        assert torch.allclose(old - new, slope, atol=1e-5)


def test_the_surrogate_bends_otherwise_than_the_loss_of_a2c():
    """d²/dx² of exp(x − x₀) is 1 where that of x is 0."""
    trainer, point = make(), torch.tensor(0.3, requires_grad=True)
    (slope,) = torch.autograd.grad(trainer.gains(point), point, create_graph=True)
    (bend,) = torch.autograd.grad(slope, point)
    assert (slope.item(), bend.item()) == (1.0, 1.0)


def test_observations_are_brought_to_mean_0_and_deviation_1():
    trainer = make(normalise=True, environment="Acrobot-v1")
    seen, see = [], trainer.module.features_extractor.see
    trainer.module.features_extractor.see = lambda shown: (seen.append(shown.clone()), see(shown))[1]
    trainer.train_epoch(TrainEpoch(1, 0.5))
    trainer.train_epoch(TrainEpoch(0.5, 0))
    shown = torch.cat(seen).numpy().astype(np.float64)
    assert len(shown) == trainer.samples == 128
    normaliser = trainer.module.features_extractor
    np.testing.assert_allclose(normaliser.mean, shown.mean(0), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(normaliser.variance, shown.var(0), rtol=1e-9)
    found = normaliser(torch.tensor([[1e6, *[0.0] * 5]]))
    assert float(found[0, 0]) == 10.0, "as far as VecNormalize lets it go"
    expected = -shown.mean(0)[1:] / np.sqrt(shown.var(0)[1:] + 1e-8)
    np.testing.assert_allclose(found[0, 1:].detach(), expected.clip(-10, 10), rtol=1e-5)


def test_before_anything_is_seen_observations_are_as_they_are():
    trainer = make(normalise=True)
    shown = torch.tensor([[0.5, -1.0, 2.0, 0.0]])
    assert torch.allclose(trainer.module.features_extractor(shown), shown)


def test_evaluation_and_scoring_leave_what_normalises_alone():
    trainer = make(normalise=True)
    trainer.train_epoch(TrainEpoch(1, 0.5))
    envs = trainer.model.get_env()
    assert isinstance(envs, VecNormalize)
    before = bits(trainer.module), float(envs.ret_rms.var), envs.returns.copy()
    trainer.evaluate()
    assert trainer.scoring(0).collect()
    assert bits(trainer.module) == before[0]
    assert (float(envs.ret_rms.var), envs.returns.tolist()) == (before[1], before[2].tolist())
    assert float(envs.ret_rms.var) != 1.0


def test_scores_are_on_rewards_divided_as_in_training():
    trainer = make(normalise=True)
    trainer.train_epoch(TrainEpoch(1, 0.5))
    deviation = float(np.sqrt(trainer.model.get_env().ret_rms.var + 1e-8))
    envs = trainer._opened(seeds("games"))
    envs.reset()
    _, rewards, _, _ = envs.step(np.array([0, 1]))
    assert rewards == pytest.approx([1 / deviation] * 2, rel=1e-6)


def test_a_saved_agent_normalises_what_it_is_shown(tmp_path):
    trainer, pruner = make(normalise=True, environment="Acrobot-v1"), pruners().load("EarlyCroP-S")
    pruning = PlanFollower(trainer, pruner, pruner.settings(), 0.8, 3, "network", seeds)
    while (epoch := pruning.next_epoch()) is not None:
        trainer.train_epoch(epoch)
        pruning.epoch_done()
    trainer.save(tmp_path / "small.zip")
    loaded = PPO.load(tmp_path / "small.zip", device="cpu")
    assert isinstance(loaded.policy.features_extractor, Normaliser)
    shown = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32) * 3
    assert np.array_equal(loaded.predict(shown, deterministic=True)[0], trainer.model.predict(shown, deterministic=True)[0])
    network, _ = trainer.deployed()
    with torch.no_grad():
        logits = trainer.module.get_distribution(torch.as_tensor(shown)).distribution.logits
        assert torch.allclose(network(torch.as_tensor(shown)).log_softmax(-1), logits, atol=1e-5)


def test_a_checkpoint_goes_on_with_what_it_normalised_by(tmp_path):
    goes_on(*(make(normalise=True) for _ in range(3)), tmp_path / "checkpoint")


def test_a_minibatch_divides_a_rollout():
    with pytest.raises(ValueError, match=r"minibatch must divide a rollout, environments \* rollout_steps = 64; got 48"):
        make(minibatch=48)


def test_what_rewards_are_divided_by_goes_back_with_the_network():
    """It went on: the rewound network met its rewards on another scale than it had met them first."""
    trainer = make(normalise=True)
    pruner = pruners().load("LTR")
    pruning = PlanFollower(trainer, pruner, pruner.settings({"levels": 1, "epoch": 1}), 0.5, 2, "network", seeds, trainer.steps)
    met = []
    while (epoch := pruning.next_epoch()) is not None:
        met.append((pruning.progress.epoch, float(trainer._rewards.ret_rms.count), float(trainer._rewards.ret_rms.var)))
        trainer.train_epoch(epoch)
        pruning.epoch_done()
    assert [epoch for epoch, *_ in met] == [0, 1, 1]
    assert met[1] == met[2]
    assert met[0] != met[1]
