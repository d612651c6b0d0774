"""The losses of off-policy agents against the gradients that Stable-Baselines3's own ``train`` leaves behind."""

import numpy as np
import pytest
import torch
import worlds
from stable_baselines3 import DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from rlprune.training import td

TINY = {"learning_rate": 0.0, "batch_size": 16, "learning_starts": 40, "buffer_size": 100, "device": "cpu"}
KINDS = [DQN, SAC, TD3, DDPG]


def learned(kind, env=None, **options):
    """Return an agent with 40 random transitions that learns nothing from them."""
    env = env or ("CartPole-v1" if kind is DQN else "Pendulum-v1")
    options = {"train_freq": 1, "policy_kwargs": {"net_arch": [16, 16]}, "seed": 0} | options
    if kind is DQN:
        options |= {"max_grad_norm": 1e9}
    if kind is TD3:
        options |= {"policy_delay": 1}
    return kind("MlpPolicy", env, **TINY, **options).learn(40, log_interval=None)


def again(model):
    """Let the model learn once more; return the transitions and the noise that it was given."""
    given, sample = [], model.replay_buffer.sample
    model.replay_buffer.sample = lambda *args, **options: given.append(sample(*args, **options)) or given[-1]
    torch.manual_seed(5)
    model.train(1, batch_size=16)
    model.replay_buffer.sample = sample
    torch.manual_seed(5)
    shape = given[0].actions.shape
    uses = ("now", "next") if isinstance(model, SAC) else ("next",)
    return td.Transitions(given[0], {use: torch.randn(shape) for use in uses})


@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_each_networks_gradient_is_the_one_that_it_learns_from(kind, normalised, n_steps):
    env = make_vec_env("CartPole-v1" if kind is DQN else "Pendulum-v1", seed=0)
    model = learned(kind, VecNormalize(env) if normalised else env, n_steps=n_steps)
    batch = again(model)
    own = {name: p for name, p in model.policy.named_parameters() if "target" not in name}
    theirs = {name: p.grad.clone() for name, p in own.items()}
    model.policy.zero_grad()
    sum(td.losses(model, batch).values()).backward()
    for name in own if kind is DQN else [name for name in own if name.startswith("actor")]:  # for critics, see below
        assert torch.allclose(own[name].grad, theirs[name], rtol=1e-4, atol=1e-6), name
    assert all(p.grad is None for name, p in model.policy.named_parameters() if "target" in name)


@pytest.mark.parametrize("kind", [SAC, TD3, DDPG])
def test_the_critics_gradient_is_the_one_before_the_actor_learns(kind):
    model = learned(kind)
    seen, step = {}, model.critic.optimizer.step
    model.critic.optimizer.step = lambda: (
        seen.update({name: p.grad.clone() for name, p in model.critic.named_parameters()}),
        step(),
    )
    batch = again(model)
    model.policy.zero_grad()
    sum(td.losses(model, batch).values()).backward()
    assert seen
    for name, parameter in model.critic.named_parameters():
        assert torch.allclose(parameter.grad, seen[name], rtol=1e-4, atol=1e-6), name


def test_every_network_has_a_loss_of_its_own():
    def found(model):
        return td.losses(model, td.sampled(model, 8, np.random.SeedSequence(0))[0])

    assert {kind: list(found(learned(kind))) for kind in KINDS} == {
        DQN: ["network"],
        SAC: ["actor", "critic1", "critic2"],
        TD3: ["actor", "critic1", "critic2"],
        DDPG: ["actor", "critic"],
    }
    model = learned(SAC)
    losses = found(model)
    for name, prefix in {"actor": "actor.", "critic1": "critic.qf0", "critic2": "critic.qf1"}.items():
        model.policy.zero_grad()
        losses[name].backward(retain_graph=True)
        assert {n for n, p in model.policy.named_parameters() if p.grad is not None and n.startswith(prefix)}
        assert not [n for n, p in model.policy.named_parameters() if p.grad is not None and not n.startswith(prefix)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_seeds_sample_is_fixed_and_moves_no_generator(kind):
    model = learned(kind)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, same, other = (td.sampled(model, 1000, np.random.SeedSequence(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert [len(part.replay.rewards) for part in first] == [14, 14, 14], "40 transitions in batches of no more than 16"
    for one, two, third in zip(first, same, other, strict=True):
        assert torch.equal(one.replay.observations, two.replay.observations)
        assert not torch.equal(one.replay.observations, third.replay.observations)
        assert all(torch.equal(one.noise[use], two.noise[use]) for use in one.noise)
        pairs = zip(td.losses(model, one).values(), td.losses(model, two).values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_what_holds_nothing_and_who_learns_otherwise_are_refused():
    worlds.register()
    with pytest.raises(ValueError, match="the replay buffer is empty"):
        td.sampled(DQN("MlpPolicy", "CartPole-v1", buffer_size=10, device="cpu"), 10, np.random.SeedSequence(0))
    with pytest.raises(ValueError, match="what PPO learns from is not known; DQN, SAC, TD3 and DDPG are"):
        td.losses(PPO("MlpPolicy", "CartPole-v1", device="cpu"), None)
