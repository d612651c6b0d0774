from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C
from subjects import bits, seeds

from rlprune.plan import TrainEpoch
from rlprune.pruner import CHANNELS, pruners
from rlprune.pruning import PlanFollower
from rlprune.task import tasks
from rlprune.training import a2c, snapshots
from rlprune.training.recipes import A2CRecipe

TINY = A2CRecipe(
    environment="CartPole-v1",
    budget=960,
    epochs=3,
    environments=4,
    widths=(16, 16),
    scoring_steps=40,
    evaluation_games=3,
    reward_scale=0.1,
)
CHANNEL_PRUNERS = [name for name in pruners().names() if pruners().load(name).cut == CHANNELS and not pruners().load(name).needs]


def make(name="Dense", sparsity=0.8, recipe=TINY, number=0, **settings):
    trainer = a2c.A2CTrainer(recipe, partial(seeds, number=number), "cpu")
    pruner = pruners().load(name)
    return trainer, PlanFollower(
        trainer, pruner, pruner.settings(settings), sparsity, recipe.epochs, "network", partial(seeds, number=number)
    )


def finish(trainer, pruning):
    while (epoch := pruning.next_epoch()) is not None:
        trainer.train_epoch(epoch)
        pruning.epoch_done()
    return trainer


def test_an_epoch_is_stable_baselines3_learning():
    """Two epochs with a linear rate are one call of SB3's own learn from the same weights, streams and generators."""
    ours = a2c.A2CTrainer(TINY, seeds, "cpu")
    theirs = a2c.A2CTrainer(TINY, seeds, "cpu")
    for start, end in ((1, 0.5), (0.5, 0)):
        ours.train_epoch(TrainEpoch(start, end))
    with theirs._generators.owned():
        # SB3 moves its schedule before an update, our epochs before the rollout: one update of 20 steps apart
        theirs.model._update_current_progress_remaining = lambda steps, total: setattr(
            theirs.model, "_current_progress_remaining", 1 - (steps - 20) / total
        )
        theirs.model.learn(640)
    assert ours.samples == theirs.samples == 640
    assert bits(ours.module) == bits(theirs.module)


def test_the_same_seed_gives_the_same_agent_and_leaves_global_generators_alone():
    before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    first, second = finish(*make("EarlyCroP-S")), finish(*make("EarlyCroP-S"))
    assert bits(first.module, first.optimizer) == bits(second.module, second.optimizer)
    assert first.evaluate() == second.evaluate()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], before[1])


def test_neighbouring_seeds_share_no_environment_stream():
    words = [set(make(number=number)[0].model.get_env()._seeds) for number in range(4)]
    assert len(set.union(*words)) == 16


def test_all_pruners_meet_the_same_network_and_episodes():
    dense, pruned = make("Dense")[0], make("Random-U")[0]
    assert bits(dense.module) == bits(pruned.module)
    assert dense.model.get_env()._seeds == pruned.model.get_env()._seeds


@pytest.mark.parametrize("name", CHANNEL_PRUNERS)
def test_a_small_agent_is_saved_loaded_and_trained_on(name, tmp_path):
    trainer = finish(*make(name))
    policy = trainer.module
    widths = policy.net_arch
    assert sum(widths["pi"]) < 32
    trainer.model.save(tmp_path / "small")
    loaded = A2C.load(tmp_path / "small", env=gym.make("CartPole-v1"))
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    assert loaded.policy.net_arch == widths
    assert np.array_equal(
        loaded.predict(observations, deterministic=True)[0], trainer.model.predict(observations, deterministic=True)[0]
    )
    before = bits(loaded.policy)
    loaded.learn(100)
    assert bits(loaded.policy) != before


def test_a_cut_agent_goes_on_learning_in_every_layer_with_its_square_averages():
    trainer, pruning = make("EarlyCroP-S")
    while pruning.pruning_epoch is None:
        trainer.train_epoch(pruning.next_epoch())
        pruning.epoch_done()
        pruning.next_epoch()
    for parameter in trainer.module.parameters():
        assert trainer.optimizer.state[parameter]["square_avg"].shape == parameter.shape
        assert trainer.optimizer.state[parameter]["square_avg"].any()
    before = [p.detach().clone() for p in trainer.module.parameters()]
    trainer.train_epoch(TrainEpoch(1, 1))
    assert all(not torch.equal(old, new) for old, new in zip(before, trainer.module.parameters(), strict=True))


@pytest.mark.parametrize("name", ["Dense", "SNIP", "EarlyCroP-S", "LTR"])
def test_a_checkpoint_goes_on_bit_identically(name, tmp_path):
    settings = {"levels": 1} if name == "LTR" else {}
    whole = finish(*make(name, **settings))
    trainer, pruning = make(name, **settings)
    for _ in range(2):
        trainer.train_epoch(pruning.next_epoch())
        pruning.epoch_done()
    torch.save([pruning.state(), trainer.state()], tmp_path / "checkpoint")
    saved = torch.load(tmp_path / "checkpoint", weights_only=True)
    resumed, pruning = make(name, **settings)
    pruning.load_state(saved[0])
    resumed.load_state(saved[1])
    finish(resumed, pruning)
    assert resumed.samples == whole.samples
    assert bits(resumed.module, resumed.optimizer) == bits(whole.module, whole.optimizer)
    assert resumed.evaluate() == whole.evaluate()


def test_a_time_limit_is_not_a_death():
    """The last reward of a game that ran out of time carries the value of its last observation, as SB3's own rollouts do."""
    recipe = A2CRecipe(
        environment="CartPole-v1", max_episode_steps=3, budget=80, environments=2, rollout_steps=4, widths=(8,), discount=0.9
    )
    trainer = a2c.A2CTrainer(recipe, seeds, "cpu")
    model = trainer.model
    envs = a2c.Environments(recipe, 2, seeds("play"))
    with a2c.Generators.seeded(seeds("act")).owned():
        batch = a2c.rollout(trainer.module, envs, recipe, 1)
    model.set_env(a2c.Environments(recipe, 2, seeds("play")))
    with a2c.Generators.seeded(seeds("act")).owned():
        _, callback = model._setup_learn(80)
        model.collect_rollouts(model.env, callback, model.rollout_buffer, 4)
    buffer = model.rollout_buffer
    for name in ("observations", "actions", "returns", "advantages"):
        assert np.array_equal(batch[name].numpy(), buffer.swap_and_flatten(getattr(buffer, name))), name
    assert float(batch["returns"].max()) != pytest.approx(1.0), "truncated games were counted as lost"


def test_evaluation_counts_unscaled_rewards_of_fresh_games():
    trainer = make()[0]
    values = trainer.evaluate()
    assert 8 <= values["return_greedy"] <= 500
    assert values["return_greedy"] == float(trainer._games(True).mean())
    assert values["return_greedy"] * 3 == pytest.approx(round(values["return_greedy"] * 3)), "three games have a whole sum"


@pytest.mark.parametrize(("optimizer", "kind"), [("rmsprop", "RMSprop"), ("rmsprop-tf", "RMSpropTFLike"), ("adam", "Adam")])
def test_the_recipe_chooses_the_optimizer(optimizer, kind):
    trainer = a2c.A2CTrainer(TINY.model_copy(update={"optimizer": optimizer}), seeds, "cpu")
    assert type(trainer.optimizer).__name__ == kind
    trainer.train_epoch(TrainEpoch(1, 0.5))
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(7e-4 * (1 - 0.5 * 15 / 16))


def test_an_environment_is_saved_as_plain_text_and_goes_on_alike():
    env, other = a2c.environment(TINY), a2c.environment(TINY)
    env.reset(seed=3)
    other.reset(seed=8)
    for _ in range(4):
        env.step(0)
    snapshots.load(other, snapshots.save(env))
    for action in (1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0):
        ours, theirs = env.step(action), other.step(action)
        assert np.array_equal(ours[0], theirs[0])
        assert ours[1:4] == theirs[1:4]
        if ours[2]:
            assert np.array_equal(env.reset()[0], other.reset()[0])


def test_cartpole_v0_ends_after_200_steps():
    recipe = tasks().load("cartpole-v0").settings({"evaluation_games": 1})
    assert a2c.environment(recipe).spec.max_episode_steps == 200
