from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
import worlds
from pydantic import ValidationError
from stable_baselines3 import A2C
from subjects import SMALL_AGENT, bits, seeds

from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.plan import TrainEpoch
from rlprune.pruning.pruner import CHANNELS, pruners
from rlprune.task import tasks
from rlprune.training import a2c, onpolicy, snapshots
from rlprune.training.environments import parallel
from rlprune.training.recipes import ALLOW_IMPORT, A2CRecipe
from rlprune.training.trainer import Generators

# an error out of the import of Box2D's SWIG types takes the interpreter down
pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
TINY = SMALL_AGENT.model_copy(update={"widths": (16, 16)})
worlds.register()
KNOWN = [f"Act-{name}-v0" for name in worlds.ACTIONS] + [f"See-{name}-v0" for name in worlds.OBSERVATIONS]
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


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"entropy": 0.01, "max_episode_steps": 15, "optimizer": "adam"},
        {"environment": "Pendulum-v1", "max_episode_steps": 15, "entropy": 0.01},
        {"environment": "FrozenLake-v1", "optimizer": "rmsprop-tf", "activation": "relu"},
    ],
)
def test_an_epoch_is_stable_baselines3_learning(fields):
    """Two epochs with a linear rate are one call of SB3's own learn from the same weights, streams and generators."""
    given = TINY.model_validate({**TINY.model_dump(), **fields})
    ours = a2c.A2CTrainer(given, seeds, "cpu")
    theirs = a2c.A2CTrainer(given, seeds, "cpu")
    theirs.optimizer.param_groups[0] |= {"foreach": None} if "foreach" in theirs.optimizer.defaults else {}
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
    assert list(ours.model.ep_info_buffer) != []
    assert [(game["r"], game["l"]) for game in ours.model.ep_info_buffer] == [
        (game["r"], game["l"]) for game in theirs.model.ep_info_buffer
    ]


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


def recipe(environment, **fields):
    return TINY.model_validate({**TINY.model_dump(), "environment": environment, "epochs": 2, "budget": 80, **fields})


@pytest.mark.parametrize("environment", [*KNOWN, "Pendulum-v1", "FrozenLake-v1"])
def test_actions_and_observations_of_every_kind_are_learned_from_as_stable_baselines3_does(environment):
    """The loss that scores has the gradient of SB3's own update on the same games, and every door takes such spaces."""
    chosen = recipe(environment, learning_rate=1e-30, clip=1e9, entropy=0.01, reward_scale=1.0)
    trainer = a2c.A2CTrainer(chosen, seeds, "cpu")
    model = trainer.model
    model.set_env(parallel.Environments(chosen, 4, seeds("play")))
    with Generators.seeded(seeds("act")).owned():
        _, callback = model._setup_learn(80)
        model.collect_rollouts(model.env, callback, model.rollout_buffer, 5)
        model.train()
    theirs = {name: p.grad.clone() for name, p in trainer.module.named_parameters()}
    with Generators.seeded(seeds("act")).owned():
        batch = onpolicy.rollout(trainer.model, parallel.Environments(chosen, 4, seeds("play")), 1)
    trainer.optimizer.zero_grad()
    trainer.loss(trainer.module, batch=batch).backward()
    for name, parameter in trainer.module.named_parameters():
        assert torch.allclose(parameter.grad, theirs[name], atol=1e-6), name
    assert trainer.evaluate().keys() >= {"return_greedy", "return_sampled"}
    trainer.training_step()()
    network, example = trainer.deployed()
    actions = torch.as_tensor(trainer.forward())
    assert network(example).shape[0] == actions.shape[0] == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            "Image-v0",
            r"Image-v0 shows a Box of uint8 \(36, 36, 3\) from 0 to 255; an MLP policy takes a Box of numbers that is no image",
        ),
        ("See-dict-v0", "See-dict-v0 shows Dict"),
        ("Act-tuple-v0", r"Act-tuple-v0 wants Tuple\(Discrete\(2\), Discrete\(2\)\); an MLP policy acts by"),
        ("Act-shifted-v0", r"Act-shifted-v0 wants Discrete\(3, start=1\)"),
        ("Act-endless-v0", "Act-endless-v0 wants a Box of float32 .* from -inf to inf; .* finite bounds"),
    ],
)
def test_other_spaces_are_refused_when_the_trainer_meets_them(environment, message):
    with pytest.raises(ValueError, match=message):
        a2c.A2CTrainer(recipe(environment), seeds, "cpu")


@pytest.mark.parametrize("environment", ["Hidden-v0", "LunarLander-v3", "Act-box-v0", "See-discrete-v0", "Careless-v0"])
def test_a_checkpoint_of_any_world_goes_on_bit_identically(environment, tmp_path):
    chosen = recipe(environment, epochs=3, budget=480)
    whole, begun, resumed = (a2c.A2CTrainer(chosen, seeds, "cpu") for _ in range(3))
    epochs = [TrainEpoch(1, 0.6), TrainEpoch(0.6, 0.3), TrainEpoch(0.3, 0)]
    measures = [whole.train_epoch(epoch) for epoch in epochs]
    begun.train_epoch(epochs[0])
    for number, epoch in enumerate(epochs[1:], start=1):  # saved twice: what was resumed can be resumed
        torch.save(begun.state(), tmp_path / "checkpoint")
        resumed = a2c.A2CTrainer(chosen, seeds, "cpu")
        resumed.load_state(torch.load(tmp_path / "checkpoint", weights_only=True))
        assert resumed.train_epoch(epoch) == measures[number]
        begun = resumed
    assert bits(resumed.module, resumed.optimizer) == bits(whole.module, whole.optimizer)
    assert resumed.evaluate() == whole.evaluate()


def test_a_world_that_no_seed_governs_is_not_resumed():
    trainer = a2c.A2CTrainer(recipe("Wild-v0"), seeds, "cpu")
    trainer.train_epoch(TrainEpoch(1, 0.5))
    with pytest.raises(ValueError, match=r"Wild-v0 cannot go on from a checkpoint: .* it shows something else"):
        a2c.A2CTrainer(recipe("Wild-v0"), seeds, "cpu").load_state(trainer.state())


class Odd(gym.Wrapper):
    pass


@pytest.mark.parametrize(
    "value",
    [worlds.Box(), (n for n in ()), len, {1, 2}, np.array([None]), np.random.RandomState(0), [[print]], {"a": (worlds.Box(),)}],
    ids=lambda value: type(value).__name__,
)
def test_a_world_that_knows_more_than_plain_values_has_no_snapshot(value):
    env = Odd(gym.make("CartPole-v1"))
    env.reset(seed=0)
    assert snapshots.save(env) is not None
    env.unwrapped.known = value
    assert snapshots.save(env) is None


def test_what_two_places_share_has_no_snapshot():
    env = Odd(gym.make("CartPole-v1"))
    env.reset(seed=0)
    for shared in (env.unwrapped.np_random, env.unwrapped.state, env.unwrapped.state[:2], env.unwrapped):
        env.known = shared
        assert snapshots.save(env) is None
    env.known = env.unwrapped.state.copy()
    env.space = gym.spaces.Discrete(3)
    assert snapshots.save(env) is not None
    env.space.seed(0)
    assert snapshots.save(env) is None


@pytest.mark.parametrize("kind", [gym.spaces.Tuple, lambda parts: gym.spaces.Dict(a=parts[0], b=gym.spaces.Tuple(parts[1:]))])
def test_a_space_inside_a_space_that_is_drawn_from_has_no_snapshot(kind):
    """Only the space around it was asked whether anybody draws, and games went on by other draws."""
    env, parts = Odd(gym.make("CartPole-v1")), [gym.spaces.Discrete(3), gym.spaces.Discrete(100)]
    env.reset(seed=0)
    env.space = kind(parts)
    assert snapshots.save(env) is not None
    parts[1].sample()
    assert snapshots.save(env) is None


def test_plain_values_come_back_as_they_were():
    env, other = Odd(gym.make("CartPole-v1")), Odd(gym.make("CartPole-v1"))
    known = [1, 2.5, float("inf"), "ü", b"\xff", (1, (2,)), {3: [None], "a": True}, np.float32(0.1), np.int64(7)]
    arrays = [np.arange(6.0).reshape(2, 3)[:, ::2], np.array([b"ab", b"c"]), np.array([], dtype=np.int8), np.array(np.nan)]
    env.known, env.arrays, env.luck = known, arrays, np.random.Generator(np.random.MT19937(3))
    snapshots.load(other, snapshots.save(env))
    assert other.known == known
    assert [type(value) for value in other.known] == [type(value) for value in known]
    for ours, theirs in zip(other.arrays, arrays, strict=True):
        assert (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())
    assert other.luck.random() == env.luck.random()


def test_a_sparse_agent_that_is_saved_stays_sparse_when_it_learns_on(tmp_path):
    trainer = finish(*make("SNIP"))
    trainer.save(tmp_path / "sparse.zip")
    loaded = A2C.load(tmp_path / "sparse.zip", env=gym.make("CartPole-v1"), device="cpu")
    before = {name: p == 0 for name, p in loaded.policy.named_parameters() if p.dim() > 1}
    loaded.learn(50)
    assert sum(int(zero.sum()) for zero in before.values()) > 500
    assert all(torch.equal(loaded.policy.get_parameter(name) == 0, zero) for name, zero in before.items())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"environment": "CartPoel-v1"}, "knows no environment 'CartPoel-v1' here; did you mean 'CartPole-v1'"),
        ({"environment": "LunarLander-v2"}, "did you mean 'LunarLander-v3'"),
        ({"environment": "CartPole"}, "did you mean 'CartPole-v1'"),
        ({"environment": ""}, "knows no environment ''"),
        (
            {"environment": "worlds:See-vector-v0"},
            "'worlds:See-vector-v0' would import worlds and run what is in it, .*--allow-import",
        ),
        ({"environment": "Endless-v0"}, "Endless-v0 has no time limit, and its games may never end: set max_episode_steps"),
        ({"widths": [0]}, "greater than or equal to 1"),
        ({"widths": []}, "at least 1"),
        ({"widths": [10**12]}, "less than or equal to 65536"),
        ({"widths": [8] * 1000}, "at most 64"),
        ({"learning_rate": float("inf")}, "finite"),
        ({"learning_rate": float("nan")}, "finite"),
        ({"clip": float("inf")}, "finite"),
        ({"reward_scale": -1.0}, "greater than 0"),
        ({"scoring_steps": 10**12}, "less than or equal to 10000000"),
        ({"evaluation_games": 10**9}, "less than or equal to 100000"),
        ({"environments": 10_000, "rollout_steps": 10_000}, r"environments \* rollout_steps must be 10,000,000 or less"),
    ],
)
def test_numbers_and_names_that_cannot_work_are_refused_by_the_recipe(given, message):
    with pytest.raises(ValidationError, match=message):
        TINY.model_validate({**TINY.model_dump(), **given})


def test_a_module_is_imported_where_that_is_allowed(monkeypatch):
    monkeypatch.setenv(ALLOW_IMPORT, "1")
    trainer = a2c.A2CTrainer(recipe("worlds:See-vector-v0"), seeds, "cpu")
    assert trainer.module.features_dim == 3
    with pytest.raises(ValidationError, match="'worldz:See-vector-v0' cannot be imported: No module named 'worldz'"):
        recipe("worldz:See-vector-v0")


def test_an_agent_that_rewinds_goes_on_from_a_checkpoint_bit_identically(tmp_path):
    whole = finish(*make("LTR", levels=1))
    trainer, pruning = make("LTR", levels=1)
    for _ in range(2):
        trainer.train_epoch(pruning.next_epoch())
        pruning.epoch_done()
    torch.save([pruning.state(), trainer.state()], tmp_path / "checkpoint")
    saved = torch.load(tmp_path / "checkpoint", weights_only=True)
    resumed, pruning = make("LTR", levels=1)
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
    envs = parallel.Environments(recipe, 2, seeds("play"))
    with Generators.seeded(seeds("act")).owned():
        batch = onpolicy.rollout(trainer.model, envs, 1)
    model.set_env(parallel.Environments(recipe, 2, seeds("play")))
    with Generators.seeded(seeds("act")).owned():
        _, callback = model._setup_learn(80)
        model.collect_rollouts(model.env, callback, model.rollout_buffer, 4)
    buffer = model.rollout_buffer
    for name in ("observations", "actions", "returns", "advantages"):
        assert np.array_equal(batch[name].numpy(), buffer.swap_and_flatten(getattr(buffer, name))), name
    assert float(batch["returns"].max()) != pytest.approx(1.0), "truncated games were counted as lost"


def logits(policy, observations):
    """What an actor of two hidden layers says, by its weights in numpy."""
    hidden, weights = observations, {name: tensor.numpy() for name, tensor in policy.state_dict().items()}
    for layer in ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2"):
        hidden = np.tanh(hidden @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"])
    return hidden @ weights["action_net.weight"].T + weights["action_net.bias"]


@pytest.mark.parametrize("kind", ["greedy", "sampled"])
def test_evaluation_counts_unscaled_rewards_of_fresh_games(kind):
    """Plain Gymnasium, played by the network's own weights; lots are drawn for all games that go on at once."""
    trainer = make()[0]
    trainer.train_epoch(TrainEpoch(1, 0.5))
    envs = [gym.make("CartPole-v1") for _ in range(3)]
    words = seeds("evaluation").generate_state(3)
    seen = {game: env.reset(seed=int(word))[0] for game, (env, word) in enumerate(zip(envs, words, strict=True))}
    returns = np.zeros(3)
    with Generators.seeded(seeds("evaluation")).owned():
        while seen:
            said = torch.as_tensor(logits(trainer.module, np.stack(list(seen.values()))))
            actions = said.argmax(1) if kind == "greedy" else torch.distributions.Categorical(logits=said).sample()
            for game, action in zip(tuple(seen), actions.tolist(), strict=True):
                seen[game], reward, terminated, truncated, _ = envs[game].step(action)
                returns[game] += reward
                if terminated or truncated:
                    del seen[game]
    values = trainer.evaluate()
    assert values[f"return_{kind}"] == pytest.approx(returns.mean())
    assert values[f"return_{kind}_std"] == pytest.approx(returns.std())
    assert len(set(returns)) > 1


@pytest.mark.parametrize(("optimizer", "kind"), [("rmsprop", "RMSprop"), ("rmsprop-tf", "RMSpropTFLike"), ("adam", "Adam")])
def test_the_recipe_chooses_the_optimizer(optimizer, kind):
    trainer = a2c.A2CTrainer(TINY.model_copy(update={"optimizer": optimizer}), seeds, "cpu")
    assert type(trainer.optimizer).__name__ == kind
    trainer.train_epoch(TrainEpoch(1, 0.5))
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(7e-4 * (1 - 0.5 * 15 / 16))


def test_an_environment_is_saved_as_plain_text_and_goes_on_alike():
    env, other = parallel.environment(TINY), parallel.environment(TINY)
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
    assert parallel.environment(recipe).spec.max_episode_steps == 200
