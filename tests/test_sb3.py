import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO

from rlprune.pruner import CHANNELS, WEIGHTS, pruners
from rlprune.sb3 import PruneCallback

ONE_LEARN = [n for n in pruners().names() if n not in ("LTR", "IMP", "Dense") and not pruners().load(n).needs]


def agent(kind=A2C, env="CartPole-v1", **options):
    small = {"n_steps": 8} if kind is A2C else {"n_steps": 32, "batch_size": 16, "n_epochs": 2}
    return kind("MlpPolicy", env, policy_kwargs={"net_arch": [16, 16]}, device="cpu", **small, **options)


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
        zeros = sum(int((model.policy.get_parameter(n) == 0).sum()) for n in callback.pruning.masked.masks)
        assert zeros == sum(int((~mask).sum()) for mask in callback.pruning.masked.masks.values())
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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DQN("MlpPolicy", "CartPole-v1"), "DQN is not supported yet"),
        (lambda: A2C("MlpPolicy", "Pendulum-v1", use_sde=True), "use_sde"),
    ],
)
def test_what_cannot_be_pruned_is_refused_with_what_can(make, message):
    model = make()
    with pytest.raises(ValueError, match=rf"A2C and PPO agents with MLP policies.*{message}"):
        model.learn(100, callback=PruneCallback("CroP-S", 0.5))


def test_mistakes_are_told_where_they_are_made():
    with pytest.raises(KeyError, match="did you mean 'EarlyCroP-S'"):
        PruneCallback("EarlyCrop_S", 0.5)
    with pytest.raises(ValueError, match=r"got 1\.9"):
        PruneCallback("CroP-S", 1.9)
    with pytest.raises(ValueError, match="LTR trains and rewinds"):
        PruneCallback("LTR", 0.5)
    with pytest.raises(ValueError, match="rounds"):
        PruneCallback("CroP-S", 0.5, rounds=3)
