"""DQN and SAC behind the seam: as Stable-Baselines3 learns, scored on what each network learns from, and begun again."""

import gymnasium as gym
import numpy as np
import oracles
import pytest
import torch
import worlds
from gymnasium import spaces
from stable_baselines3 import DQN, SAC
from subjects import bits, seeds

from rlprune.costs import cost
from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.plan import TrainEpoch
from rlprune.pruning.pruner import WEIGHTS, pruners
from rlprune.training import networks, offpolicy, td
from rlprune.training.dqn import DQNTrainer
from rlprune.training.recipes import DQNRecipe, SACRecipe
from rlprune.training.sac import SACTrainer

SMALL = {
    "budget": 192,
    "epochs": 3,
    "environments": 2,
    "widths": (16, 12),
    "replay": 100,
    "learning_starts": 20,
    "minibatch": 16,
    "play_steps": 8,
    "updates": 3,
    "scoring_steps": 40,
    "evaluation_games": 2,
    "max_episode_steps": 15,
}
KINDS = {
    "dqn": (DQNTrainer, DQNRecipe, DQN, {"environment": "CartPole-v1", "target_every": 24, "exploring": 0.5}),
    "sac": (SACTrainer, SACRecipe, SAC, {"environment": "Pendulum-v1"}),
}
EPOCHS = [TrainEpoch(1, 2 / 3), TrainEpoch(2 / 3, 1 / 3), TrainEpoch(1 / 3, 0)]
each = pytest.mark.parametrize("kind", KINDS)


class Pictures(worlds.World):
    """Games that show small pictures."""

    def __init__(self, render_mode=None):
        super().__init__(spaces.Box(0, 1, (2, 6, 6), np.uint8))


@each
def test_networks_are_measured_on_the_latest_of_the_replay(kind):
    trainer = make(kind)
    found = [trainer.train_epoch(epoch) for epoch in EPOCHS][-1]
    replay, state = trainer.model.replay_buffer, {name: t.double().numpy() for name, t in trainer.module.state_dict().items()}
    assert replay.full
    order = np.r_[replay.pos : replay.buffer_size, : replay.pos][::-1]  # the last first
    seen, did = (kept[order].reshape(-1, kept.shape[-1]).astype(np.float64) for kept in (replay.observations, replay.actions))
    names = {"dqn": {"critic": ["q_net.q_net"]}, "sac": {"actor": ["actor.latent_pi"], "critic": ["critic.qf0", "critic.qf1"]}}
    for network, bodies in names[kind].items():
        layers, ranks, squares = [], [], 0.0
        for body in bodies:
            inputs = np.hstack([seen, did]) if network == "critic" and kind == "sac" else seen
            for layer in (0, 2):
                inputs = np.maximum(inputs @ state[f"{body}.{layer}.weight"].T + state[f"{body}.{layer}.bias"], 0)
                layers.append(inputs)
            ranks.append(oracles.effective_rank(inputs, 0.99))
            own = [f"{body}.", *(["actor.mu.", "actor.log_std."] if network == "actor" else [])]
            squares += sum((value**2).sum() for name, value in state.items() if name.startswith(tuple(own)))
        assert found[f"dormant_{network}"] == oracles.dormant(layers, 0.025)
        assert found[f"rank_{network}"] == np.mean(ranks)
        assert found[f"norm_{network}"] == pytest.approx(np.sqrt(squares), rel=1e-6)


@pytest.fixture(scope="module")
def pictures():
    gym.register("Pictures-v0", Pictures, max_episode_steps=7)
    yield {"environment": "Pictures-v0", "filters": 5, "widths": (12,)}
    del gym.registry["Pictures-v0"]


def make(kind, **fields):
    trainer, recipe, _, own = KINDS[kind]
    return trainer(recipe(**{**SMALL, **own, **fields}), seeds, "cpu")


def everything(trainer):
    """All that training goes on from, as bytes."""
    found = [bits(trainer.module), [bits(trainer.module, optimizer) for optimizer in trainer.optimizers]]
    replay = trainer._replay
    return [*found, replay.pos, *(getattr(replay, name)[: replay.size()].tobytes() for name in offpolicy._HELD)]


def follow(trainer, name, sparsity=0.7, **settings):
    pruner = pruners().load(name)
    short = {key: 2 for key in ("levels", "rounds") if key in type(pruner.settings()).model_fields}
    return PlanFollower(trainer, pruner, pruner.settings(short | settings), sparsity, 3, "network", seeds, trainer.steps)


def finish(trainer, pruning):
    while (epoch := pruning.next_epoch()) is not None:
        trainer.train_epoch(epoch)
        pruning.epoch_done()
    return pruning


@each
def test_epochs_are_what_stable_baselines3_learns(kind):
    ours, theirs = make(kind), make(kind)
    for epoch in EPOCHS:
        ours.train_epoch(epoch)
    with theirs._generators.owned():
        theirs.model.learn(192)
    assert ours.samples == theirs.samples == 192
    assert ours.model._n_updates == theirs.model._n_updates == 3 * 11
    assert everything(ours) == everything(theirs)


@pytest.mark.parametrize(("kind", "stop", "held"), [("sac", 1, 32), ("dqn", 2, 50)])
def test_a_checkpoint_goes_on_bit_identically_from_a_replay_buffer_half_full_or_full(kind, stop, held, tmp_path):
    whole, resumed = make(kind), make(kind)
    for number, epoch in enumerate(EPOCHS, 1):
        whole.train_epoch(epoch)
        if number == stop:
            assert len(whole.state()["replay"]["rewards"]) == held, "what is filled, and no more"
            torch.save(whole.state(), tmp_path / "checkpoint")
    torch.rand(3), np.random.rand(3)
    resumed.load_state(torch.load(tmp_path / "checkpoint", weights_only=True))
    for epoch in EPOCHS[stop:]:
        resumed.train_epoch(epoch)
    assert everything(resumed) == everything(whole)
    assert resumed.evaluate() == whole.evaluate()


@pytest.mark.parametrize(("kind", "name"), [("dqn", "SNIP"), ("dqn", "EarlyCroP-S"), ("sac", "SynFlow"), ("sac", "EarlyCroP-S")])
def test_networks_are_pruned_apart_and_their_copies_with_them(kind, name):
    trainer = make(kind)
    pruning = finish(trainer, follow(trainer, name))
    for network, names in trainer.anatomy.weights.items():
        layers = pruning.layers()
        kept, dense = (sum(layers[n][what] for n in names) for what in ("kept", "dense"))
        assert abs(kept - 0.3 * dense) <= (1 if pruners().load(name).cut == WEIGHTS else 0.15 * dense), network
    assert trainer.anatomy.copies
    for copied, of in trainer.anatomy.copies.items():
        target, own = trainer.module.state_dict()[copied], trainer.module.state_dict()[of]
        assert target.shape == own.shape
        if of in trainer.masked.masks:
            assert not target[~trainer.masked.masks[of]].any()
            assert target.any()


@pytest.mark.parametrize("name", ["EarlyCroP-S", "EarlyCroP-U"])
def test_exploration_fades_while_a_plan_waits_and_the_learning_rate_is_held(name):
    fields = {"annealing": "linear", "exploration": 0.9}
    waiting, dense, seen = make("dqn", **fields), make("dqn", **fields), []
    pruning = follow(waiting, name, until={"epoch": 2, "cap": 1.0})
    for whole in EPOCHS:
        dense.train_epoch(whole)
        waiting.train_epoch(pruning.next_epoch())
        pruning.epoch_done()
        assert waiting.model.exploration_rate == pytest.approx(dense.model.exploration_rate)
        seen.append(waiting.optimizers[0].param_groups[0]["lr"])
    assert seen[0] == seen[1] > seen[2]


def test_twin_critics_are_ranked_by_their_own_losses():
    trainer = make("sac")
    batch = trainer.scoring(0).collect()[0].keywords["batch"]
    found = td.losses(trainer.model, batch)
    assert list(found) == list(trainer.anatomy.weights) == ["actor", "critic1", "critic2"]
    for network, loss in found.items():
        trainer.module.zero_grad()
        loss.backward(retain_graph=True)
        moved = {name for name, p in trainer.module.named_parameters() if p.grad is not None and p.grad.any()}
        assert moved >= set(trainer.anatomy.weights[network])
        others = [name for other, names in trainer.anatomy.weights.items() if other != network for name in names]
        assert moved.isdisjoint(others)


@each
def test_before_training_it_is_scored_on_random_actions_and_later_on_what_it_has_seen(kind):
    trainer = make(kind)
    before = everything(trainer), torch.get_rng_state(), np.random.get_state()[1].copy()
    first = trainer.scoring(0)
    assert first.samples == 40
    assert [len(loss.keywords["batch"].replay.rewards) for loss in first.collect()] == [14, 14, 14]
    assert everything(trainer) == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert np.array_equal(np.random.get_state()[1], before[2])
    trainer.train_epoch(EPOCHS[0])
    later = trainer.scoring(1)
    assert later.samples == 0
    seen = trainer._replay.observations[: trainer._replay.size()].reshape(-1, trainer._replay.obs_shape[0])
    for loss in later.collect():
        shown = loss.keywords["batch"].replay.observations.numpy()
        assert (shown[:, None] == seen[None]).all(-1).any(1).all(), "out of its replay buffer"
    assert trainer.learned(1).collect()[0].keywords["batch"].replay.rewards.shape == (16, 1)


@each
def test_an_algorithm_of_ones_own_replaces_what_networks_are_scored_on(kind, monkeypatch):
    trainer = make(kind)
    monkeypatch.setattr(type(trainer), "loss", lambda trainer, policy, temperature=1.0, *, batch: batch.replay.rewards.sum())
    assert {float(loss(trainer.module, 1.0)) for loss in trainer.scoring(0).collect()} == {
        float(loss.keywords["batch"].replay.rewards.sum()) for loss in trainer.scoring(0).collect()
    }


@pytest.mark.parametrize(("kind", "name"), [("dqn", "SNIP"), ("dqn", "CroP-S"), ("sac", "CroP-S")])
def test_a_pruned_agent_is_saved_and_loaded(kind, name, tmp_path):
    trainer = make(kind)
    finish(trainer, follow(trainer, name))
    trainer.save(tmp_path / "small.zip")
    loaded = KINDS[kind][2].load(tmp_path / "small.zip", device="cpu")
    shown = np.random.default_rng(0).normal(size=(20, *trainer.model.observation_space.shape)).astype(np.float32)
    assert np.array_equal(loaded.predict(shown, deterministic=True)[0], trainer.model.predict(shown, deterministic=True)[0])
    network, example = trainer.deployed()
    assert example.shape == (1, *trainer.model.observation_space.shape)
    with torch.no_grad():
        said = network(torch.as_tensor(shown)).numpy()
    if kind == "dqn":
        assert np.array_equal(said.argmax(1), trainer.model.predict(shown, deterministic=True)[0])
    else:
        assert np.allclose(2 * said, trainer.model.predict(shown, deterministic=True)[0], atol=1e-5)


def test_an_agent_that_sees_pictures_is_pruned_saved_and_loaded(pictures, tmp_path):
    trainer = make("dqn", **pictures)
    finish(trainer, follow(trainer, "CroP-S", 0.95))
    convolution = next(n for n in trainer.anatomy.all_weights() if "convolution" in n)
    assert len(trainer.module.get_parameter(convolution)) < 5
    trainer.save(tmp_path / "small.zip")
    loaded = DQN.load(tmp_path / "small.zip", device="cpu")
    shown = np.random.default_rng(0).integers(0, 2, (20, 2, 6, 6)).astype(np.uint8)
    assert np.array_equal(loaded.predict(shown, deterministic=True)[0], trainer.model.predict(shown, deterministic=True)[0])


def test_what_learning_takes_is_counted_by_network():
    """DQN: a pass to act, and four of a network for each of 3 · 16 transitions in 16 steps; 4-16-12-2 of CartPole."""
    once = 4 * 16 + 16 * 12 + 12 * 2
    assert make("dqn").sample_macs() == once * (1 + 3 * 4)
    actor, critic = 3 * 16 + 16 * 12 + 2 * 12, 4 * 16 + 16 * 12 + 12
    assert make("sac").sample_macs() == actor * (1 + 3 * 4) + 2 * critic * 3 * 7


def test_steps_before_learning_starts_take_no_learning():
    once = 4 * 16 + 16 * 12 + 12 * 2
    trainer = make("dqn", learning_starts=10**6)
    trainer.train_epoch(TrainEpoch(1.0, 0.5))
    assert trainer.sample_macs() == once
    trainer = make("dqn", learning_starts=0)
    trainer.train_epoch(TrainEpoch(1.0, 0.5))
    assert trainer.sample_macs() == once * (1 + 3 * 4)


@each
def test_a_timed_step_learns_on_a_copy(kind):
    trainer = make(kind)
    before = everything(trainer)
    step = trainer.training_step()
    step()
    assert everything(trainer) == before


def test_the_coefficient_of_the_entropy_goes_on_through_rewinding():
    trainer = make("sac")
    pruning, seen = follow(trainer, "LTR"), []
    while (epoch := pruning.next_epoch()) is not None:
        trainer.train_epoch(epoch)
        pruning.epoch_done()
        seen.append(trainer.model.log_ent_coef.item())
    assert len(set(seen)) == len(seen) > 3
    for copied, of in trainer.anatomy.copies.items():
        if of in trainer.masked.masks:
            assert not trainer.module.get_parameter(copied)[~trainer.masked.masks[of]].any()
    assert trainer.model.ent_coef_optimizer not in trainer.optimizers


def test_observations_in_double_precision_are_kept_in_single():
    gym.register("Double-v0", lambda: worlds.World(spaces.Box(-1, 1, (3,), np.float64)), max_episode_steps=7)
    try:
        trainer = make("dqn", environment="Double-v0")
        trainer.train_epoch(EPOCHS[0])
        assert trainer.state()["replay"]["observations"].dtype == torch.float32
        assert trainer._replay.observations[: trainer._replay.size()].any()
    finally:
        del gym.registry["Double-v0"]


def test_actions_that_an_algorithm_does_not_know_are_refused():
    with pytest.raises(ValueError, match=r"Pendulum-v1 wants a Box .*; DQN acts by Discrete"):
        make("dqn", environment="Pendulum-v1")
    with pytest.raises(ValueError, match=r"CartPole-v1 wants Discrete\(2\); SAC acts by a flat Box"):
        make("sac", environment="CartPole-v1")


def test_what_a_policy_is_made_of_is_named_as_its_losses_are():
    for kind in KINDS:
        trainer = make(kind)
        assert [branch.name for branch in networks.branches(trainer.module)] == list(trainer.anatomy.weights)


@each
@pytest.mark.parametrize("name", ["Random-U", "Random-S"])
def test_a_size_is_that_of_the_networks_that_learn_whoever_cut_them(kind, name):
    """Targets counted as dense: masks left DQN with five times the parameters of as many channels gone."""
    trainer, pruner = make(kind), pruners().load(name)
    pruning = PlanFollower(trainer, pruner, pruner.settings({}), 0.9, 3, "network", seeds)
    while pruning.next_epoch() is not None:
        pruning.epoch_done()
    left = {n: w for n, w in trainer.module.named_parameters() if n not in trainer.masked.copies}
    assert len(left) < len(dict(trainer.module.named_parameters()))
    masks = trainer.masked.masks
    found = cost.sizes(trainer.module, masks, trainer.masked.copies)
    assert found["parameters"] == sum(int(masks[n].sum()) if n in masks else w.numel() for n, w in left.items())
    assert found["disk_dense_mb"] == sum(w.numel() for w in left.values()) * 4 / 1e6
    assert found["disk_file_mb"] < cost.sizes(trainer.module, masks)["disk_file_mb"]
