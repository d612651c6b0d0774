import copy
import pickle
import re

import gymnasium as gym
import numpy as np
import pytest
import torch
import worlds
from gymnasium.wrappers import NormalizeObservation, RecordEpisodeStatistics
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecCheckNan, VecFrameStack, VecMonitor, VecNormalize
from torch import nn

from rlprune.pruning.follower import Missed
from rlprune.pruning.plan import Grow
from rlprune.pruning.pruner import CHANNELS, WEIGHTS, pruners
from rlprune.sb3 import PruneCallback
from rlprune.training import rehearsal, snapshots

# an error out of the import of Box2D's SWIG types takes the interpreter down
pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")

ONE_LEARN = [n for n in pruners().names() if n not in ("LTR", "IMP", "Dense") and not pruners().load(n).needs]


def agent(kind=A2C, env="CartPole-v1", arch=(16, 16), policy="MlpPolicy", **options):
    small = {"n_steps": 8} if issubclass(kind, A2C) else {"n_steps": 32, "batch_size": 16, "n_epochs": 2}
    kwargs = {"net_arch": arch if isinstance(arch, dict) else list(arch), **options.pop("policy_kwargs", {})}
    return kind(policy, env, policy_kwargs=kwargs, device="cpu", **{**small, **options})


def zeros(model):
    weights = [p for p in model.policy.parameters() if p.dim() > 1]
    return 1 - sum(int((p != 0).sum()) for p in weights) / sum(p.numel() for p in weights)


class Watch(BaseCallback):
    """Called after a callback that prunes, it remembers how many updates an agent had made when it was first pruned."""

    def __init__(self, pruning):
        super().__init__()
        self.updates, self._pruning = None, pruning

    def _on_step(self):
        if self.updates is None and self._pruning.pruning.progress.rounds:
            self.updates = self.model._n_updates
        return True

    _on_rollout_start = _on_rollout_end = _on_training_end = _on_step


@pytest.mark.parametrize("name", ONE_LEARN)
def test_every_pruner_prunes_an_agent_that_learns_on(name, tmp_path):
    pruner = pruners().load(name)
    settings = {"rounds": 3} if "rounds" in type(pruner.settings()).model_fields else {}
    callback = PruneCallback(name, 0.8, epochs=4, scoring_steps=64, **settings)
    model = agent().learn(400, callback=callback)
    assert callback.pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.1 if pruner.cut == CHANNELS else 0.002)
    assert model.num_timesteps == 400
    weights = model.policy.mlp_extractor.policy_net[0].weight
    if pruner.cut == WEIGHTS:
        masks = callback.pruning.masked.masks
        assert not any(bool(model.policy.get_parameter(n)[~mask].any()) for n, mask in masks.items())
        zeros = sum(int((model.policy.get_parameter(n) == 0).sum()) for n in masks)
        grows = any(isinstance(step, Grow) for step in callback.pruning.plan)  # into a unit that leads nowhere, say, and stays 0
        assert grows or zeros == sum(int((~mask).sum()) for mask in masks.values())
    else:
        assert weights.shape[0] < 16
    model.save(tmp_path / "small")
    loaded = A2C.load(tmp_path / "small")
    observations = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    assert np.array_equal(loaded.predict(observations, deterministic=True)[0], model.predict(observations, deterministic=True)[0])
    assert loaded.policy.mlp_extractor.policy_net[0].weight.shape == weights.shape


@pytest.mark.parametrize("kind", [A2C, PPO])
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_discrete_and_box_actions_of_a2c_and_ppo(kind, env, tmp_path):
    model = agent(kind, env)
    model.learn(256, callback=PruneCallback("EarlyCroP-S", 0.7, epochs=4, scoring_steps=64))
    widths = [layer.out_features for layer in model.policy.mlp_extractor.policy_net if isinstance(layer, torch.nn.Linear)]
    assert sum(widths) < 32
    model.save(tmp_path / "small")
    loaded = kind.load(tmp_path / "small", env=gym.make(env))
    loaded.learn(64)
    assert loaded.policy.net_arch["pi"] == widths


def test_progress_goes_to_the_agents_logger(tmp_path):
    from stable_baselines3.common.logger import configure

    model = agent()
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(400, callback=PruneCallback("EarlyCroP-U", 0.8, epochs=5), log_interval=1)
    model.logger.close()
    header = (tmp_path / "progress.csv").read_text().splitlines()[0].split(",")
    assert {"pruning/sparsity", "pruning/distance", "pruning/trigger"} <= set(header)


class Own(A2C):
    def train(self):
        super().train()


class Newer(OnPolicyAlgorithm):
    policy_aliases = PPO.policy_aliases
    defaults = {"learning_rate": 1e-3, "gamma": 0.99, "gae_lambda": 1.0, "ent_coef": 0.0, "vf_coef": 0.5, "max_grad_norm": 0.5}

    def __init__(self, policy, env, n_steps, batch_size, n_epochs, **options):
        super().__init__(policy, env, n_steps=n_steps, use_sde=False, sde_sample_freq=-1, **self.defaults, **options)


class OwnPolicy(ActorCriticPolicy):
    pass


def compiled(model):
    model.policy.action_net = torch.compile(model.policy.action_net)
    return model


def parametrized(model):
    torch.nn.utils.parametrizations.spectral_norm(model.policy.mlp_extractor.policy_net[0])
    return model


def shared(model):
    model.policy.mlp_extractor.value_net = model.policy.mlp_extractor.policy_net
    return model


def frozen(model):
    model.policy.action_net.requires_grad_(False)
    return model


def heads(model):
    model.policy.action_net = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 2))
    return model


def clamped(model):
    for parameter in model.policy.parameters():
        parameter.register_hook(lambda gradient: gradient.clamp(-1, 1))
    return model


def orphaned(model):
    model.policy.optimizer = torch.optim.Adam(model.policy.mlp_extractor.parameters())
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: agent(Newer), "A2C, PPO, DQN, SAC, TD3 and DDPG agents with .* own policies; Newer is not supported yet"),
        (lambda: agent(env="Pendulum-v1", use_sde=True), "use_sde"),
        (lambda: agent(Own), "Own trains in a way of its own"),
        (lambda: agent(policy=OwnPolicy), "this one is a OwnPolicy"),
        (lambda: compiled(agent()), "this one has a OptimizedModule for a Linear"),
        (lambda: parametrized(agent()), "is parametrized"),
        (lambda: shared(agent()), r"value_net\.0\.weight of this one is shared"),
        (lambda: frozen(agent()), r"action_net\.weight of this one is frozen"),
        (lambda: orphaned(agent()), r"action_net\.weight of this one is frozen or not in policy\.optimizer"),
        (lambda: clamped(agent()), r"policy_net\.0\.weight has a hook of its own"),
        (lambda: heads(agent()), "this one has a Sequential for a Linear"),
        (lambda: agent(arch={"pi": [], "vf": [16]}), "CroP-S cuts hidden units and the actor has none: take a pruner of weights"),
        (lambda: agent(arch={"pi": [16]}), "CroP-S cuts hidden units and the critic has none"),
        (lambda: agent(policy_kwargs={"activation_fn": lambda: nn.Softmax(-1)}), "which Softmax does not treat each for itself"),
        (
            lambda: agent(policy_kwargs={"activation_fn": lambda: nn.LayerNorm(16)}),
            "LayerNorm of this one|LayerNorm does not treat",
        ),
    ],
)
def test_what_cannot_be_pruned_is_refused_before_it_is_touched(make, message):
    worlds.register()
    model = make()
    before = [p.detach().clone() for p in model.policy.parameters()]
    with pytest.raises(ValueError, match=message):
        model.learn(100, callback=PruneCallback("CroP-S", 0.5))
    assert all(torch.equal(old, new) for old, new in zip(before, model.policy.parameters(), strict=True))


def test_state_of_other_shapes_is_refused_before_the_cut():
    model = agent(policy_kwargs={"optimizer_class": torch.optim.Adafactor, "optimizer_kwargs": {}})
    with pytest.raises(
        ValueError, match=r"^Adafactor keeps state in other shapes than its parameters \(row_var of mlp_extractor"
    ):
        model.learn(100, callback=PruneCallback("EarlyCroP-S", 0.5, epochs=4))
    assert model.policy.mlp_extractor.policy_net[0].out_features == 16
    assert model.predict(np.zeros(4, np.float32))[0] in (0, 1)


class Langevin(torch.optim.SGD):
    """SGD with noise."""

    def step(self, closure=None):
        super().step(closure)
        for weight in self.param_groups[0]["params"]:
            weight.data.add_(torch.randn_like(weight), alpha=1e-3)


def test_pruned_weights_stay_zero_whatever_the_agents_optimizer(tmp_path):
    model = agent(policy_kwargs={"optimizer_class": Langevin, "optimizer_kwargs": {}})
    callback = PruneCallback("EarlyCroP-U", 0.8, epochs=4)
    model.learn(200, callback=callback)
    assert callback.pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.002)
    model.save(tmp_path / "agent")
    again = A2C.load(tmp_path / "agent", env=model.get_env())
    again.learn(100)
    assert zeros(again) == pytest.approx(0.8, abs=0.002)


@pytest.mark.parametrize("arch", [{"pi": [], "vf": [16]}, {"pi": [16], "vf": []}, []])
def test_networks_without_hidden_layers_lose_weights(arch, tmp_path):
    model = agent(arch=arch).learn(16, callback=PruneCallback("CroP-U", 0.6, scoring_steps=16))
    assert zeros(model) == pytest.approx(0.6, abs=0.07)
    model.save(tmp_path / "small")
    assert zeros(A2C.load(tmp_path / "small")) == zeros(model)


@pytest.mark.parametrize("kind", [A2C, PPO])
@pytest.mark.parametrize("actions", worlds.ACTIONS)
def test_the_scoring_loss_has_stable_baselines3s_gradient(kind, actions):
    """One update on a rollout at a learning rate of zero leaves SB3's own gradient behind."""
    worlds.register()
    options = {"n_steps": 16, "batch_size": 16, "n_epochs": 1} if kind is PPO else {}
    model = agent(kind, f"Act-{actions}-v0", learning_rate=0.0, max_grad_norm=1e9, ent_coef=0.01, **options)
    callback = PruneCallback("Random-U", 0.01, epochs=2)
    model.learn(model.n_steps, callback=callback)
    theirs = {name: p.grad.clone() for name, p in model.policy.named_parameters()}
    (loss,) = callback._agent.scoring(0).collect()
    model.policy.optimizer.zero_grad()
    loss(model.policy).backward()
    for name, parameter in model.policy.named_parameters():
        assert torch.allclose(parameter.grad, theirs[name], atol=1e-6), name


def test_every_agent_is_pruned_from_anew():
    callback = PruneCallback("CroP-U", 0.9, scoring_steps=16)
    for _ in range(2):
        model = agent().learn(16, callback=callback)
        assert zeros(model) == pytest.approx(0.9, abs=0.01)
        assert callback.pruning.reached()["sparsity_weights"] == pytest.approx(zeros(model))


@pytest.mark.parametrize(
    ("kind", "n_steps", "n_envs", "total"), [(PPO, 64, 2, 500), (PPO, 64, 1, 129), (A2C, 5, 3, 40), (A2C, 50, 1, 60)]
)
def test_an_epoch_is_a_rollout_with_its_update_or_more(kind, n_steps, n_envs, total):
    callback = PruneCallback("EarlyCroP-U", 0.8, rounds=2, scoring_steps=16)
    watch = Watch(callback)
    model = agent(kind, make_vec_env("CartPole-v1", n_envs), n_steps=n_steps).learn(total, callback=[callback, watch])
    assert watch.updates >= 1
    assert callback.pruning.progress.trained <= -(-total // (n_steps * n_envs))
    assert callback.pruning.progress.epoch == callback.pruning.epochs
    assert zeros(model) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    ("total", "message"), [(0, "asked for no steps"), (8, "EarlyCroP-U trains .* 1 rollout.s. of 8 steps: ask for 16 steps")]
)
def test_too_few_rollouts_for_a_plan_are_refused(total, message):
    with pytest.raises(ValueError, match=message):
        agent().learn(total, callback=PruneCallback("EarlyCroP-U", 0.8))
    callback = PruneCallback("EarlyCroP-U", 0.8, rounds=1)
    watch = Watch(callback)
    agent().learn(16, callback=[callback, watch])
    assert watch.updates == 1


def test_learning_on_with_the_same_callback_goes_on_where_it_stopped():
    class Stop(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 100

    callback = PruneCallback("EarlyCroP-U", 0.8, epochs=4, rounds=2)
    model = agent().learn(400, callback=[callback, Stop()])
    assert callback.pruning.progress.epoch == 0, "of 13 rollouts; twelve were learned from"
    model.learn(200, callback=callback, reset_num_timesteps=False)
    assert (callback.pruning.progress.epoch, zeros(model)) == (2, pytest.approx(0.8, abs=0.01))
    model.learn(200, callback=callback)
    assert callback.pruning.progress.epoch == 4


def test_pruned_weights_stay_away_whatever_is_loaded(tmp_path):
    dense, model = agent().learn(16), agent()
    model.learn(16, callback=PruneCallback("CroP-U", 0.9, scoring_steps=16))
    model.save(tmp_path / "sparse")
    loaded = A2C.load(tmp_path / "sparse", env=gym.make("CartPole-v1"), device="cpu")
    for each in (model, loaded):
        with pytest.warns(UserWarning, match="weights that are pruned came with what was loaded; they are zero again"):
            each.set_parameters(dense.get_parameters())
        sparse = zeros(each)
        assert sparse == pytest.approx(0.9, abs=0.01)
        each.learn(40)
        assert zeros(each) == sparse
        for name, mask in each.policy_class.masks.items():
            assert not each.policy.optimizer.state[each.policy.get_parameter(name)]["square_avg"][~mask].any()
    observations = np.zeros((1, 4), dtype=np.float32)
    plain = A2C.load(tmp_path / "sparse", custom_objects={"policy_class": ActorCriticPolicy})
    assert plain.predict(observations, deterministic=True)[0].shape == (1,)


def test_pruned_weights_stay_away_from_a_part_that_is_loaded_and_from_weights_that_are_written(tmp_path):
    dense, model = agent().policy.mlp_extractor.state_dict(), agent(n_steps=2)
    model.learn(16, callback=PruneCallback("CroP-U", 0.9, scoring_steps=16))
    model.save(tmp_path / "sparse")
    loaded = A2C.load(tmp_path / "sparse", env=gym.make("CartPole-v1"), device="cpu")
    for each in (model, loaded):
        sparse = zeros(each)
        with pytest.warns(UserWarning, match="weights that are pruned came with what was loaded; they are zero again"):
            each.policy.mlp_extractor.load_state_dict(dense)
        assert zeros(each) == sparse == pytest.approx(0.9, abs=0.01)
        each.learn(240)
        each.policy.load_from_vector(np.full_like(each.policy.parameters_to_vector(), 0.1))
        assert zeros(each) == 0
        each.save(tmp_path / "written")
        with pytest.warns(UserWarning, match="weights that are pruned came with what was loaded; they are zero again"):
            A2C.load(tmp_path / "written", device="cpu")
        each.learn(240)
        assert zeros(each) == sparse
    copy.deepcopy(model.policy.mlp_extractor).load_state_dict(dense)
    assert pickle.dumps(loaded.policy.features_extractor)


def test_pruned_weights_that_come_back_to_a_target_network_are_told():
    model = DQN("MlpPolicy", "CartPole-v1", learning_starts=10, policy_kwargs={"net_arch": [16, 16]}, seed=0, device="cpu")
    dense = copy.deepcopy(model.policy.q_net_target.state_dict())
    model.learn(30, callback=PruneCallback("CroP-U", 0.9))
    with pytest.warns(UserWarning, match="weights that are pruned came with what was loaded; they are zero again"):
        model.policy.q_net_target.load_state_dict(dense)
    assert int((model.policy.q_net_target.q_net[2].weight == 0).sum()) > 100


def test_sparsity_counts_from_the_dense_network(tmp_path):
    model = agent().learn(16, callback=PruneCallback("CroP-S", 0.5, scoring_steps=16))
    model.save(tmp_path / "half")
    model = A2C.load(tmp_path / "half", env=gym.make("CartPole-v1"), device="cpu")
    callback = PruneCallback("CroP-S", 0.8, scoring_steps=16)
    with pytest.warns(UserWarning, match=r"(49|5\d)\..% of its dense network's weights are gone, and sparsity=0\.8 counts from"):
        model.learn(16, callback=callback)
    dense = 2 * (4 * 16 + 16 * 16) + 16 * 2 + 16
    assert sum(p.numel() for p in model.policy.parameters() if p.dim() > 1) == pytest.approx(0.2 * dense, abs=25)
    assert callback.pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.04)
    with pytest.warns(UserWarning, match="was pruned before"):
        model.learn(16, callback=PruneCallback("CroP-U", 0.95, scoring_steps=16))
    assert sum(int((p != 0).sum()) for p in model.policy.parameters() if p.dim() > 1) == pytest.approx(0.05 * dense, abs=1)
    with pytest.raises(ValueError, match="CroP-S cuts channels; this agent's weights are masked already"):
        model.learn(16, callback=PruneCallback("CroP-S", 0.97))
    before, callback = zeros(model), PruneCallback("CroP-U", 0.9)
    with pytest.warns(UserWarning, match=r"95\.\d% .* are gone, and no more will go for sparsity=0\.9"):
        model.learn(16, callback=callback)
    assert (zeros(model), callback.pruning.reached()["sparsity_weights"]) == (before, pytest.approx(0.95, abs=0.002))


def watched_world(folder):
    env = RecordEpisodeStatistics(NormalizeObservation(gym.make("CartPole-v1")))
    return DummyVecEnv([lambda: Monitor(env, str(folder / "own"))])


WRAPPERS = [VecCheckNan, VecNormalize, lambda env: VecFrameStack(env, 2), VecMonitor]


@pytest.mark.filterwarnings("ignore:The environment is already wrapped:UserWarning")
@pytest.mark.parametrize("wrap", WRAPPERS)
def test_scoring_games_leave_no_trace(wrap, tmp_path):
    env = wrap(watched_world(tmp_path))
    model = agent(env=env)
    model._setup_learn(100)
    world, log = env.unwrapped.envs[0], tmp_path / "own.monitor.csv"
    before = snapshots.save(world.unwrapped), world.total_steps, log.read_text(), model._last_obs.copy()
    assert before[0] is not None
    callback = PruneCallback("SNIP", 0.9, scoring_steps=200)
    callback.init_callback(model)
    draws = torch.get_rng_state()
    callback.on_training_start({}, {})
    assert callback.pruning.scoring_samples == 200
    assert torch.equal(torch.get_rng_state(), draws)
    assert (snapshots.save(world.unwrapped), world.total_steps, log.read_text()) == before[:3]
    assert np.array_equal(model._last_obs, before[3])
    assert (model.num_timesteps, len(model.ep_info_buffer), world.get_wrapper_attr("episode_count")) == (0, 0, 0)
    assert world.get_wrapper_attr("obs_rms").count < 2
    if isinstance(env, VecNormalize):
        assert env.obs_rms.count < 2
    env.close()


def test_a_world_that_cannot_be_copied_is_begun_again():
    env = make_vec_env("LunarLander-v3", 2, seed=0)
    model = agent(env=env)
    model.learn(16, callback=PruneCallback("SNIP", 0.9, scoring_steps=300))
    assert (env.envs[0].total_steps, env.envs[0].episode_returns) == (8, [])
    assert zeros(model) == pytest.approx(0.9, abs=0.01)


def test_a_world_that_may_not_be_begun_again_is_refused_before_it_is_played():
    """It was played for scores, and then its own monitor said that somebody had tried to reset it."""
    env = Monitor(gym.make("LunarLander-v3"), allow_early_resets=False)
    with pytest.raises(ValueError, match=r"^SNIP plays games .* Monitor cannot be kept from .*\(allow_early_resets=False"):
        agent(env=env).learn(16, callback=PruneCallback("SNIP", 0.9, scoring_steps=20))
    assert env.total_steps == 0
    small = Monitor(gym.make("CartPole-v1"), allow_early_resets=False)
    assert agent(env=small).learn(16, callback=PruneCallback("SNIP", 0.9, scoring_steps=20)).num_timesteps == 16


class Stuck(gym.Wrapper):
    """Knows something that cannot be copied."""

    def __init__(self, env):
        super().__init__(env)
        self.games = (game for game in range(9))


def test_environments_that_would_count_scoring_games_are_refused():
    env = DummyVecEnv([lambda: Stuck(gym.make("CartPole-v1"))])
    model, callback = agent(env=env), PruneCallback("SNIP", 0.9)
    for _ in range(2):  # what was refused once has not begun
        with pytest.raises(ValueError, match=r"SNIP plays games before training, and Stuck cannot be kept from .* \(.*generator"):
            model.learn(16, callback=callback)
    assert agent(env=env).learn(32, callback=PruneCallback("EarlyCroP-U", 0.9)).num_timesteps == 32
    elsewhere = SubprocVecEnv([lambda: gym.make("CartPole-v1")], start_method="fork")
    with pytest.raises(ValueError, match="SubprocVecEnv cannot be kept from counting them"), rehearsal.of(elsewhere, "SNIP"):
        pass
    elsewhere.close()


def test_the_callback_does_not_work_inside_another():
    outer = EvalCallback(Monitor(gym.make("CartPole-v1")), callback_after_eval=PruneCallback("SNIP", 0.9))
    with pytest.raises(ValueError, match=r"PruneCallback goes to learn\(\) itself or into a list, not into EvalCallback"):
        agent().learn(16, callback=outer)


def test_mistakes_are_told_where_they_are_made():
    with pytest.raises(KeyError, match=r"^no pruner is named 'EarlyCrop_S'; did you mean 'EarlyCroP-S'"):
        PruneCallback("EarlyCrop_S", 0.5)
    with pytest.raises(ValueError, match=r"got 1\.9"):
        PruneCallback("CroP-S", 1.9)
    with pytest.raises(ValueError, match="rate_held changes nothing here: the learning rate is the agent's own"):
        PruneCallback("EarlyCroP-S", 0.8, rate_held=0)
    with pytest.raises(ValueError, match="LTR trains and rewinds"):
        PruneCallback("LTR", 0.5)
    with pytest.warns(UserWarning, match="^Dense removes nothing, whatever sparsity it is given$"):
        PruneCallback("Dense", 0.5)
    with pytest.raises(ValueError, match=r"^EarlyCroP-S, setting 'until\.caps': no such key; did you mean 'cap'\?"):
        PruneCallback("EarlyCroP-S", 0.5, until={"caps": 0.3})
    with pytest.raises(TypeError, match=r"^PruneCallback needs sparsity; 'sparsty' is no argument; did you mean 'sparsity'\?$"):
        PruneCallback("EarlyCroP-S", sparsty=0.5)


ALLOWED = (
    "(allowed: scope, floor, moments, start, start_actor, start_critic, actor, critic, heads, rate_held, "
    "pruner, sparsity, epochs, scoring_steps, seed, verbose)"
)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sparsity": "0.5"}, "sparsity is the share of weights to remove, between 0 and 1; got '0.5'"),
        ({"sparsity": 95}, "sparsity is the share of weights to remove, between 0 and 1; got 95; did you mean 0.95?"),
        ({"sparsity": None}, "sparsity is the share of weights to remove, between 0 and 1; got None"),
        ({"epochs": 0}, "epochs is a whole number, at least 1; got 0"),
        ({"epochs": "3"}, "epochs is a whole number, at least 1; got '3'"),
        ({"epochs": 2.5}, "epochs is a whole number, at least 1; got 2.5"),
        ({"scoring_steps": True}, "scoring_steps is a whole number, at least 1; got True"),
        ({"seed": -1}, "seed is a whole number, at least 0; got -1"),
        ({"scope": "networks"}, "scope is one of global, network, layer, erk; got 'networks'; did you mean 'network'?"),
        ({"zzz": 1}, f"SNIP, setting 'zzz': no such key {ALLOWED}"),
        ({"floor": "x"}, "SNIP, setting 'floor': got \"x\"; must be a whole number"),
        ({"epoch": 3}, f"SNIP, setting 'epoch': no such key; did you mean 'epochs'? {ALLOWED}"),
        ({"verbos": 1}, f"SNIP, setting 'verbos': no such key; did you mean 'verbose'? {ALLOWED}"),
        ({"scoring_step": 1}, f"SNIP, setting 'scoring_step': no such key; did you mean 'scoring_steps'? {ALLOWED}"),
        ({"moments": "kep"}, "SNIP, setting 'moments': got \"kep\"; must be 'keep' or 'reset'; did you mean 'keep'?"),
    ],
)
def test_arguments_of_no_use_are_refused_in_plain_words(given, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PruneCallback("SNIP", **{"sparsity": 0.5, **given})


def test_numbers_may_be_numpys():
    PruneCallback("SNIP", np.float32(0.5), epochs=np.int64(3), seed=np.int32(1))


@pytest.mark.parametrize(("name", "reached"), [("SNIP", "0.9913"), ("CroP-S", "0.9811"), ("EarlyCroP-S", "0.9811")])
def test_a_sparsity_out_of_reach_is_said(name, reached):
    with pytest.warns(Missed, match=f"{name}: {reached} of the weights are removed, not 0.999: 1 stay in every"):
        agent().learn(8 * 40, callback=PruneCallback(name, 0.999))


def test_a_scope_that_is_asked_for_is_taken_and_else_the_pruners_own():
    def kept(**given):
        callback = PruneCallback("SET", 0.8, epochs=4, **given)
        agent().learn(400, callback=callback)
        return [int(mask.sum()) for mask in callback.pruning.masked.masks.values()]

    own, by_layer = kept(), kept(scope="layer")
    assert kept(scope="erk") == own != by_layer
    callback = PruneCallback("SET", 0.8, scope="global", actor=0.5)
    with pytest.raises(ValueError, match='scope = "global" ranks all networks as one'):
        agent().learn(400, callback=callback)
