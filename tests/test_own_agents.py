"""Somebody's own agents of every algorithm and kind of observations, pruned while they learn, saved, loaded and trained on."""

import copy
import math

import gymnasium as gym
import numpy as np
import pytest
import torch
import worlds
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import SubprocVecEnv, VecNormalize
from torch import nn

from rlprune.export import export_policy
from rlprune.pruning import surgery
from rlprune.pruning.pruner import pruners
from rlprune.sb3 import PruneCallback, resume_pruning
from rlprune.training import networks, policies

OFF = {"learning_starts": 20, "batch_size": 16, "buffer_size": 200, "train_freq": 1}
ON = {A2C: {"n_steps": 10}, PPO: {"n_steps": 10, "batch_size": 10, "n_epochs": 1}}
IMAGE = spaces.Box(0, 255, (1, 44, 44), np.uint8)
MIXED = spaces.Dict({"image": spaces.Box(0, 255, (1, 36, 36), np.uint8), "vector": worlds.VECTOR, "other": IMAGE})


def agent(kind, policy="MlpPolicy", env=None, net_arch=(16, 12), **options):
    env = env or ("CartPole-v1" if kind in (A2C, PPO, DQN) else "Pendulum-v1")
    kwargs = {**({} if net_arch is None else {"net_arch": list(net_arch)}), **options.pop("policy_kwargs", {})}
    return kind(policy, env, policy_kwargs=kwargs, seed=0, **{"device": "cpu", **ON.get(kind, OFF), **options})


def learn(model, callback, steps=80):
    return model.learn(steps, callback=callback, log_interval=None)


def seen(model, count):
    return np.stack([model.observation_space.sample() for _ in range(count)])


def pruned(kind, name="EarlyCroP-S", sparsity=0.8, **options):
    model = agent(kind, **options)
    callback = PruneCallback(name, sparsity, epochs=4, scoring_steps=20, **({"rounds": 2} if name.startswith("Early") else {}))
    return learn(model, callback), callback


def separate_images():
    return agent(PPO, "CnnPolicy", worlds.World(IMAGE), None, policy_kwargs={"share_features_extractor": False})


SEEN = {
    "shared images": lambda: agent(A2C, "CnnPolicy", worlds.World(IMAGE), None),
    "separate images": separate_images,
    "images of DQN": lambda: agent(DQN, "CnnPolicy", worlds.World(IMAGE), None),
    "mixed": lambda: agent(A2C, "MultiInputPolicy", worlds.World(MIXED)),
    "mixed of DQN": lambda: agent(DQN, "MultiInputPolicy", worlds.World(MIXED)),
}
ACTING = {kind.__name__: lambda kind=kind: agent(kind) for kind in (A2C, PPO, DQN, SAC, TD3, DDPG)}


def check(model, callback, tmp_path):
    """What was pruned is in the targets, in every optimizer, in the saved agent, and in what that learns on."""
    policy, masks = model.policy, callback.pruning.masked.masks
    tensors = dict(policy.named_parameters())
    for copied, of in networks.copies(policy).items():
        assert tensors[copied].shape == tensors[of].shape
        assert of not in masks or not tensors[copied][~masks[of]].any()
    for optimizer in networks.optimizers(policy):
        held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        assert {id(parameter) for parameter in held} <= {id(parameter) for parameter in tensors.values()}
        for parameter in held:
            assert all(value.shape in ((), parameter.shape) for value in optimizer.state[parameter].values())
    model.save(tmp_path / "small")
    loaded = type(model).load(tmp_path / "small", env=model.get_env(), device=model.device)
    assert networks.shapes(loaded.policy) == networks.shapes(policy)
    for name, tensor in loaded.policy.state_dict().items():
        assert torch.equal(tensor, policy.state_dict()[name])
    observation = model.get_env().observation_space.sample()
    actions = [each.predict(observation, deterministic=True)[0] for each in (model, loaded)]
    assert np.array_equal(*actions)
    before = {name: tensor.detach().clone() for name, tensor in loaded.policy.named_parameters()}
    loaded.learn(getattr(loaded, "learning_starts", 0) + 10, log_interval=None)
    assert any(not torch.equal(before[name], tensor) for name, tensor in loaded.policy.named_parameters())
    assert networks.shapes(loaded.policy) == networks.shapes(policy)
    for name, mask in masks.items():
        assert not loaded.policy.get_parameter(name)[~mask].any()
    return loaded


@pytest.mark.parametrize(
    ("kind", "name"),
    [*((kind, "EarlyCroP-S") for kind in (A2C, PPO, DQN, SAC, TD3)), *((kind, "CroP-U") for kind in (DQN, SAC, DDPG))],
)
def test_every_algorithms_agent_is_pruned_saved_and_learns_on(kind, name, tmp_path):
    model, callback = pruned(kind, name)
    for tally in callback.pruning.tallies():
        gone = 1 - tally.kept / tally.dense
        assert tally.kept == round(tally.dense * 0.2) if name == "CroP-U" else gone == pytest.approx(0.8, abs=0.06)
    assert model.num_timesteps == 80
    check(model, callback, tmp_path)


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore:You are trying to run")
@pytest.mark.parametrize("name", ["EarlyCroP-S", "CroP-U"])
@pytest.mark.parametrize("kind", [A2C, PPO, DQN, SAC, TD3])
def test_agents_on_a_gpu_are_pruned_saved_and_learn_on(kind, name, tmp_path):
    model, callback = pruned(kind, name, device="cuda")
    assert {tensor.device.type for tensor in model.policy.state_dict().values()} == {"cuda"}
    assert callback.summary()["costs"]["microseconds an action"][1] > 0
    loaded = check(model, callback, tmp_path)
    assert loaded.device.type == "cuda"
    if name == "CroP-U":
        plain = {"policy_class": type(model.policy)}
        lost = kind.load(tmp_path / "small", env=model.get_env(), custom_objects=plain, device="cuda")
        assert resume_pruning(lost) == pytest.approx(callback.pruning.reached()["sparsity_weights"])
    export_policy(model, tmp_path / "policy.safetensors", tmp_path / "policy.onnx", observations=seen(model, 20), tell=str)


@pytest.mark.parametrize(
    ("seen", "name"),
    [
        *(pytest.param(seen, "EarlyCroP-S", marks=pytest.mark.slow if seen == "mixed of DQN" else ()) for seen in SEEN),
        ("shared images", "CroP-U"),
        pytest.param("mixed of DQN", "SNIP", marks=pytest.mark.slow),
    ],
)
def test_agents_that_see_images_and_several_things(seen, name, tmp_path):
    model = SEEN[seen]()
    callback = PruneCallback(name, 0.8, epochs=3, scoring_steps=20, **({"rounds": 1} if name.startswith("Early") else {}))
    learn(model, callback, 30 if isinstance(model, A2C | PPO) else 32)
    assert callback.pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.01 if name.endswith("S") else 1e-4)
    check(model, callback, tmp_path)


@pytest.mark.parametrize("which", [*SEEN, *ACTING])
def test_a_cut_network_computes_what_the_masked_one_did(which):
    policy = {**SEEN, **ACTING}[which]().policy.double()
    groups = networks.anatomy(policy, channels=True).all_groups()
    lots, tensors = torch.Generator().manual_seed(0), dict(policy.named_parameters())
    kept = {group.name: torch.rand(group.size, generator=lots) < 0.5 for group in groups}
    dense = networks.outputs(policy)
    with torch.no_grad():
        for group in groups:
            for member in (member for member in group.members if not member.produces):
                gone = [
                    member.offset + (o * group.size + c) * member.inner + i
                    for c in range(group.size)
                    if not kept[group.name][c]
                    for o in range(member.outer)
                    for i in range(member.inner)
                ]
                tensors[member.tensor].index_fill_(member.dim, torch.tensor(gone), 0)
    masked = networks.outputs(policy)
    cuts = surgery.cuts(policy, groups, kept)
    copies = networks.copies(policy)
    surgery.cut(policy, cuts | {name: cuts[of] for name, of in copies.items() if of in cuts}, networks.optimizers(policy))
    networks.settled(policy)
    for before, one, other in zip(dense, masked, networks.outputs(policy), strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)
        assert not torch.allclose(before, other, rtol=1e-3)


@pytest.mark.parametrize("kind", [A2C, PPO])
def test_an_agent_is_scored_on_its_own_algorithms_loss(kind):
    """PPO's surrogate has the gradient of A2C's loss where the policy played, and bends otherwise."""
    model = agent(kind)
    callback = PruneCallback("EarlyCroP-S", 0.5, epochs=2, rounds=1)
    learn(model, callback, 20)
    own = callback._agent
    batch, policy = own.batch, model.policy
    chosen = policy.evaluate_actions(batch["observations"], batch["actions"].long().flatten())
    gains = {A2C: lambda logs: logs, PPO: lambda logs: (logs - logs.detach()).exp()}[kind](chosen[1])
    advantages = batch["advantages"].flatten()
    if kind is PPO:
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    loss = -(advantages * gains).mean() + model.vf_coef * (batch["returns"].flatten() - chosen[0].flatten()).square().mean()
    weight = policy.action_net.weight
    for mine, theirs in zip(bends(own.loss(policy, batch=batch), weight), bends(loss, weight), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def bends(loss, weight):
    """The gradient by a weight, and the gradient of its squared norm."""
    (slope,) = torch.autograd.grad(loss, weight, create_graph=True)
    return slope, *torch.autograd.grad(slope.square().sum(), weight)


class Updates(BaseCallback):
    """Takes note of how many updates an agent had made when it was first pruned, and at which step."""

    def __init__(self, pruning):
        super().__init__()
        self.seen, self._pruning = None, pruning

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        if self.seen is None and self._pruning.pruning.progress.rounds:
            self.seen = self.num_timesteps, self.model._n_updates


@pytest.mark.parametrize(("kind", "starts"), [(DQN, 40), (SAC, 40), (SAC, 0)])
def test_a_pruner_waits_for_replay_and_prunes_before_the_first_update(kind, starts):
    model, callback = agent(kind, learning_starts=starts), PruneCallback("SNIP", 0.8, epochs=4)
    watch = Updates(callback)
    learn(model, [callback, watch], starts + 12)
    assert watch.seen == (starts + 1, 0)
    assert callback.pruning.scoring_samples == starts + 1
    assert callback.pruning.progress.epoch == 4
    with pytest.raises(ValueError, match=r"asked for 20 steps, and learning begins after 20 \(learning_starts\)"):
        learn(agent(kind), PruneCallback("SNIP", 0.8), 20)


def test_an_agent_that_was_loaded_without_its_replay_is_scored_on_little_and_that_is_told(tmp_path):
    model = learn(agent(SAC), None)
    model.save(tmp_path / "agent")
    model.save_replay_buffer(tmp_path / "replay")
    model = SAC.load(tmp_path / "agent", env=model.get_env(), device="cpu")
    with pytest.warns(UserWarning, match=r"^SNIP was scored on 1 transition, .*: load_replay_buffer\(\) before learn\(\)"):
        model.learn(20, PruneCallback("SNIP", 0.8, epochs=2), log_interval=None, reset_num_timesteps=False)
    model = SAC.load(tmp_path / "agent", env=model.get_env(), device="cpu")
    model.load_replay_buffer(tmp_path / "replay")
    callback = PruneCallback("SNIP", 0.8, epochs=2)
    model.learn(20, callback, log_interval=None, reset_num_timesteps=False)
    assert callback.pruning.scoring_samples == 81
    model = SAC.load(tmp_path / "agent", env=model.get_env(), device="cpu")
    model.learn(20, PruneCallback("Random-U", 0.8, epochs=2), log_interval=None, reset_num_timesteps=False)  # needs none


@pytest.mark.parametrize("starts", [20, 21, 23])
@pytest.mark.parametrize("kind", [DQN, SAC])
def test_a_plan_ends_with_learning_wherever_that_starts(kind, starts):
    model = agent(kind, learning_starts=starts, train_freq=4)
    callback = PruneCallback("Magnitude-After", 0.8, epochs=4, share=0.99)  # of four epochs, after the last
    learn(model, callback)
    assert callback.pruning.progress.epoch == callback.pruning.epochs == 4
    assert callback.done
    assert callback.pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("kind", [SAC, TD3])
def test_twin_critics_are_ranked_apart_and_may_have_a_sparsity_of_their_own(kind):
    model = agent(kind)
    callback = PruneCallback("CroP-U", 0.5, epochs=2, critic=0.9)
    learn(model, callback, 26)
    left = {
        network: sum(callback.pruning.layers()[n]["kept"] for n in names)
        for network, names in networks.anatomy(model.policy, channels=False).weights.items()
    }
    dense = {
        network: sum(callback.pruning.layers()[n]["dense"] for n in names)
        for network, names in networks.anatomy(model.policy, channels=False).weights.items()
    }
    assert left == {name: round(dense[name] * (0.5 if name == "actor" else 0.1)) for name in ("actor", "critic1", "critic2")}


def test_the_entropy_coefficient_goes_on_learning():
    model, _ = pruned(SAC)
    assert model.log_ent_coef.requires_grad
    assert model.ent_coef_optimizer.param_groups[0]["params"][0] is model.log_ent_coef
    assert float(model.log_ent_coef.detach()) != 0


class Parametrized(networks.BaseFeaturesExtractor):
    def __init__(self, space):
        super().__init__(space, 8)
        self.body = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 8)))

    def forward(self, observations):
        return self.body(observations)


class Attends(networks.BaseFeaturesExtractor):
    def __init__(self, space):
        super().__init__(space, 8)
        self.body, self.attends = nn.Linear(4, 8), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, observations):
        sequence = self.body(observations)[:, None]
        return self.attends(sequence, sequence, sequence)[0][:, 0]


@pytest.mark.parametrize(
    ("extractor", "named"),
    [(Parametrized, "'features_extractor.body.0' is parametrized"), (Attends, "MultiheadAttention 'features_extractor.attends'")],
)
def test_layers_that_are_refused_are_named_as_the_policy_names_them(extractor, named):
    model = agent(PPO, policy_kwargs={"features_extractor_class": extractor})
    with pytest.raises(ValueError, match=named):
        learn(model, PruneCallback("CroP-S", 0.5))


class Normed(networks.BaseFeaturesExtractor):
    """Normalises by the batch."""

    def __init__(self, space):
        super().__init__(space, 8)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(space.shape), 8), nn.BatchNorm1d(8), nn.ReLU())

    def forward(self, observations):
        return self.body(observations)


NORMED = {"features_extractor_class": Normed}


@pytest.mark.parametrize("name", ["Random-U", "Random-S", "SynFlow", "Magnitude-Before", "SET", "SNIP", "CroP-S"])
def test_statistics_of_batch_normalisation_are_those_of_what_was_played(name):
    class Ends(BaseCallback):
        def _on_step(self):
            return False

    model = agent(PPO, policy_kwargs=NORMED)
    learn(model, [PruneCallback(name, 0.5, epochs=4, scoring_steps=20), Ends()])
    norm = model.policy.features_extractor.body[2]
    assert int(norm.num_batches_tracked) == 0
    assert torch.equal(norm.running_var, torch.ones_like(norm.running_var))
    assert torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))


@pytest.mark.parametrize("name", ["SNIP", "CroP-S", "Random-S", "Random-U"])
@pytest.mark.parametrize("kind", [PPO, DQN, SAC])
def test_agents_that_normalise_by_the_batch_are_saved_and_loaded(kind, name, tmp_path):
    model, _ = pruned(kind, name, policy_kwargs=NORMED)
    model.save(tmp_path / "small")
    loaded, some = kind.load(tmp_path / "small", device="cpu"), seen(model, 5)
    assert np.array_equal(loaded.predict(some, deterministic=True)[0], model.predict(some, deterministic=True)[0])


@pytest.mark.parametrize("name", ["SNIP", "CroP-S"])
def test_looking_at_an_agent_changes_nothing_of_it(name):
    model, callback = pruned(DQN, name, policy_kwargs=NORMED)
    before, mode = copy.deepcopy(model.policy.state_dict()), model.policy.training
    assert "costs" in callback.summary()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.policy.state_dict().items())
    assert model.policy.training == mode


class Given(networks.BaseFeaturesExtractor):
    """An encoder that somebody made before."""

    def __init__(self, space, encoder):
        super().__init__(space, 12)
        self.encoder = encoder

    def forward(self, observations):
        return self.encoder(observations)


@pytest.mark.parametrize("name", ["Random-U", "Random-S"])
def test_an_encoder_among_the_arguments_is_the_agents_own(name, tmp_path):
    """The dense network was built around the agent's own: to look at the agent drew it anew, or failed once it was cut."""
    encoder = nn.Sequential(nn.Linear(4, 20), nn.ReLU(), nn.Linear(20, 12), nn.ReLU())
    given = {"features_extractor_class": Given, "features_extractor_kwargs": {"encoder": encoder}}
    model, callback = pruned(A2C, name, 0.5, policy_kwargs=given)
    loaded, dense = check(model, callback, tmp_path), 4 * 20 + 20 * 12
    for each in (model, loaded):
        again = PruneCallback(name, 0.8, epochs=2)
        with pytest.warns(UserWarning, match=r"^this agent was pruned before: (49|50|51)\..% of its dense network's weights"):
            learn(each, again)
        assert again.pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.03)
        before = copy.deepcopy(each.policy.state_dict())
        assert again.summary()["costs"]["weights, features"][0] == dense
        assert all(torch.equal(tensor, before[key]) for key, tensor in each.policy.state_dict().items())


class Wide(worlds.World):
    """Its bounds are those of its type, as those of many who know none."""

    def __init__(self, dtype):
        most = np.finfo(dtype).max
        super().__init__(spaces.Box(-most, most, (40,), dtype))

    def _see(self):
        return self.np_random.normal(size=40).astype(self.observation_space.dtype)


@pytest.mark.parametrize(("kind", "dtype"), [(PPO, np.float32), (PPO, np.float64), (DQN, np.float64)])
def test_bounds_of_observations_may_be_as_wide_as_floats_are(kind, dtype):
    """An observation was drawn of such a space, and what networks make of it is no number."""
    _, callback = pruned(kind, "Random-S", env=Wide(dtype), policy_kwargs={"activation_fn": nn.ReLU})
    dense, left = callback.summary()["costs"]["multiply-accumulates an action"]
    assert dense > left > 0


def test_statistics_of_batch_normalisation_go_on_reaching_the_target():
    model, _ = pruned(DQN, "EarlyCroP-S", policy_kwargs=NORMED, target_update_interval=1, tau=1.0)
    own, target = (net.features_extractor.body[2] for net in (model.q_net, model.q_net_target))
    assert len(own.running_mean) < 8
    model._on_step()
    assert torch.equal(own.running_mean, target.running_mean)
    assert own.running_mean.data_ptr() in [tensor.data_ptr() for tensor in model.batch_norm_stats]


def test_samples_are_those_that_were_played_by_then():
    """They were told to be as many as were asked for, though fewer rollouts had been played."""
    callback = PruneCallback("EarlyCroP-S", 0.8, epochs=4, rounds=1, scoring_steps=1000, until={"margin": 1e9})
    learn(agent(A2C), callback, 80)  # eight rollouts of ten
    assert callback.pruning.scoring_samples == 40


def test_ppo_is_scored_some_steps_at_a_time():
    """All of a rollout went through the networks at once, whatever ``scoring_steps``: of images more than memory holds."""
    for steps, wanted in ((20, [17, 17, 16]), (4, [10] * 5), (100, [50] * 2)):  # minibatches have ten
        callback = PruneCallback("SNIP", 0.8, epochs=2, scoring_steps=steps)
        learn(agent(PPO, env=make_vec_env("CartPole-v1", 5)), callback, 100)
        losses = callback._agent.scoring(0).collect()
        assert [len(loss.keywords["batch"]["advantages"]) for loss in losses] == wanted
        if steps < 50:  # one rollout
            played, parts = callback._agent.batch["returns"], [loss.keywords["batch"]["returns"] for loss in losses]
            assert all(torch.equal(part, played[first :: len(parts)]) for first, part in enumerate(parts)), (
                "of all games and times"
            )
        assert callback.pruning.scoring_samples == sum(wanted)
    few = PruneCallback("SNIP", 0.8, epochs=2, scoring_steps=1)
    learn(agent(PPO, n_steps=20, batch_size=2, env=make_vec_env("CartPole-v1", 2)), few, 80)
    assert {len(loss.keywords["batch"]["advantages"]) for loss in few._agent.scoring(0).collect()} == {2, 3}


@pytest.mark.parametrize("kind", [PPO, SAC])
def test_normalised_environments(kind):
    env = VecNormalize(make_vec_env("Pendulum-v1", seed=0))
    _, callback = pruned(kind, "CroP-U", env=env)
    before = copy.deepcopy(env.obs_rms.mean)
    callback._agent.scoring(7).collect()
    assert np.array_equal(env.obs_rms.mean, before)
    assert callback.pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.003)


def test_environments_in_other_processes_play_before_the_first_cut():
    env = SubprocVecEnv([lambda: gym.make("CartPole-v1")], start_method="fork")
    model, callback = agent(A2C, env=env), PruneCallback("SNIP", 0.8, epochs=4, scoring_steps=20)
    with pytest.warns(
        UserWarning, match=r"SNIP needs games before training, .* it waits for 2 rollout\(s\) that the dense agent plays"
    ):
        learn(model, callback)
    assert callback.pruning.scoring_samples == 20
    assert callback.pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.002)
    env.close()


class Look(BaseCallback):
    """Notes what each layer passes on whenever a rollout begins."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _on_rollout_start(self):
        named = dict(self.model.policy.named_parameters())
        self.seen.append({name: float(p.detach().square().sum()) / len(p) for name, p in named.items() if p.dim() > 1})

    def _on_step(self):
        return True


def test_layers_pass_on_what_they_did_at_the_cut_that_had_to_wait():
    """They were multiplied to what they passed on before the dense agent learned from the rollouts that it waited for."""
    env = SubprocVecEnv([lambda: gym.make("CartPole-v1")], start_method="fork")
    model, callback = agent(PPO, env=env, learning_rate=0.05), PruneCallback("SNIP", 0.5, epochs=4, scoring_steps=20)
    before, after = Look(), Look()
    with pytest.warns(UserWarning, match="it waits for 2 rollout"):
        learn(model, [before, callback, after])
    env.close()
    (cut,) = [number for number, pair in enumerate(zip(before.seen, after.seen, strict=True)) if pair[0] != pair[1]]
    assert after.seen[cut] == pytest.approx(before.seen[cut], rel=1e-5)
    assert before.seen[cut] != pytest.approx(before.seen[0], rel=0.1), "they have learned meanwhile"


def test_training_by_games_prunes_between_them():
    model = agent(TD3, env=gym.make("Pendulum-v1", max_episode_steps=10), train_freq=(1, "episode"), gradient_steps=2)
    callback = PruneCallback("EarlyCroP-S", 0.8, epochs=4, rounds=1)
    learn(model, callback)
    assert callback.pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: agent(SAC, use_sde=True), "state-dependent exploration"),
        (lambda: agent(type("OwnSAC", (SAC,), {"train": lambda self, *_, **__: None})), "OwnSAC trains in a way of its own"),
        (lambda: agent(DQN, type("OwnPolicy", (networks.DQNPolicy,), {})), "this one is a OwnPolicy"),
        (lambda: replaced(agent(SAC), "actor.mu"), "this one has a Sequential for a Linear"),
        (lambda: agent(SAC, policy_kwargs={"activation_fn": lambda: nn.Softmax(-1)}), "Softmax does not treat each for itself"),
        (
            lambda: agent(DQN, policy_kwargs={"features_extractor_class": Strange}),
            r"those of q_net\.features_extractor\.layer stay for",
        ),
    ],
)
def test_what_cannot_be_pruned_is_refused_before_learning_begins(make, message):
    model = make()
    before = copy.deepcopy(model.policy.state_dict())
    with pytest.raises(ValueError, match=message):
        learn(model, PruneCallback("CroP-S", 0.5))
    assert model.num_timesteps == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.policy.state_dict().items())


class Strange(networks.BaseFeaturesExtractor):
    """Reads its own features in an order that no group can say."""

    def __init__(self, space):
        super().__init__(space, 4)
        self.layer = nn.Linear(4, 6)

    def forward(self, observations):
        return self.layer(observations).sort(-1).values[:, :4]


def replaced(model, name):
    owner, _, own = name.rpartition(".")
    setattr(model.policy.get_submodule(owner), own, nn.Sequential(nn.Linear(12, 1)))
    return model


def test_an_extractor_of_ones_own_that_cannot_be_followed_loses_weights():
    _, callback = pruned(DQN, "SNIP", policy_kwargs={"features_extractor_class": Strange})
    assert callback.pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.003)
    assert "q_net.features_extractor.layer.weight" in callback.pruning.masked.masks


@pytest.mark.parametrize("names", [("EarlyRandom-S", "SNIP"), ("SNIP", "EarlyRandom-S"), ("Random-S", "EarlyRandom-S")])
def test_two_callbacks_at_a_time(names):
    """The second cut came upon sizes, or masks, that were not its own, and all that was learned by then was lost."""
    model = agent(A2C)
    callbacks = [PruneCallback(name, sparsity, epochs=4) for name, sparsity in zip(names, (0.5, 0.8), strict=True)]
    if names[0] == "Random-S":  # it is done when the other begins
        with pytest.warns(UserWarning, match="this agent was pruned before"):
            learn(model, callbacks)
        assert callbacks[1].pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.02)
        return
    before = networks.shapes(model.policy)
    with pytest.raises(ValueError, match=r"^EarlyRandom-S cuts channels.* (while|masked)"):
        learn(model, callbacks)
    assert model.num_timesteps == 0
    assert networks.shapes(model.policy) == before


@pytest.mark.parametrize("kind", [A2C, SAC])
def test_a_copy_is_held_once_pruning_is_resumed(kind):
    model, _ = pruned(kind, "Random-U")
    twin = copy.deepcopy(model)
    assert resume_pruning(twin) == pytest.approx(0.8, abs=0.01)
    zeros = {name: p == 0 for name, p in twin.policy.named_parameters() if p.dim() > 1}
    learn(twin, None)
    assert all(not twin.policy.get_parameter(name)[gone].any() for name, gone in zeros.items())


@pytest.mark.parametrize("kind", [A2C, SAC])
def test_pruning_is_resumed_where_masks_were_lost(kind, tmp_path):
    model, callback = pruned(kind, "CroP-U")
    gone = callback.pruning.reached()["sparsity_weights"]
    model.save(tmp_path / "sparse")
    plain = {"policy_class": type(model.policy)}
    lost = kind.load(tmp_path / "sparse", env=model.get_env(), custom_objects=plain, device="cpu")
    assert resume_pruning(lost) == pytest.approx(gone)
    learn(lost, None, 30)
    lost.save(tmp_path / "again")
    again = learn(kind.load(tmp_path / "again", env=model.get_env(), device="cpu"), None, 30)
    for each in (lost, again):
        for name, mask in callback.pruning.masked.masks.items():
            assert not each.policy.get_parameter(name)[~mask].any()
    with pytest.raises(ValueError, match="there is no pruning to resume: none of this agent's weights is zero"):
        resume_pruning(agent(kind))


def test_sparsity_counts_from_the_dense_network_of_twins_that_were_cut_apart(tmp_path):
    model, _ = pruned(SAC, sparsity=0.5, net_arch=(40, 30))
    assert isinstance(model.policy_class, policies.Held), "twins of different sizes have no net_arch"
    model.save(tmp_path / "half")
    model = SAC.load(tmp_path / "half", env=model.get_env(), device="cpu")
    callback = PruneCallback("CroP-S", 0.8, epochs=2)
    with pytest.warns(UserWarning, match=r"(49|5\d)\..% of its dense network's weights are gone"):
        learn(model, callback)
    dense = 3 * 40 + 40 * 30 + 2 * 30 + 2 * (4 * 40 + 40 * 30 + 30)
    assert sum(layer["dense"] for layer in callback.pruning.layers().values()) == dense
    assert callback.pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.05)


def test_rounds_are_told_and_the_rest_is_summed_up(capsys):
    callback = PruneCallback("EarlyCroP-S", 0.8, epochs=4, rounds=2, verbose=1)
    with pytest.raises(RuntimeError, match="pruning begins when learn"):
        callback.summary()
    model = learn(agent(SAC), callback)
    told = capsys.readouterr().out.splitlines()
    gone, why = callback.pruning.reached()["sparsity_weights"], "the latest moment came first, its trigger had not fired"
    assert told == [f"EarlyCroP-S: {gone:.1%} of 800 weights are removed at step 50, after 2 of 4 epochs; {why}"]
    callback = PruneCallback("EarlyCroP-S", 0.8, epochs=4, rounds=1, verbose=1, until={"margin": 1e9})
    learn(agent(SAC), callback)
    assert capsys.readouterr().out.splitlines()[-1].endswith("after 2 of 4 epochs; its trigger fired")
    learn(agent(SAC), PruneCallback("Random-U", 0.98, verbose=1))
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("Random-U: hardly anything passes any more: left are 1 of ")
    callback = PruneCallback("EarlyCroP-S", 0.8, epochs=4, rounds=2, verbose=1)
    model = learn(agent(SAC), callback)
    found = callback.summary()
    assert found["layers"]["actor.latent_pi.0.weight"]["shape"] == tuple(model.policy.actor.latent_pi[0].weight.shape)
    assert found["costs"]["weights, actor"][0] == 3 * 16 + 16 * 12 + 2 * 12
    own = [p for name, p in model.policy.named_parameters() if "target" not in name]
    assert found["costs"]["parameters"][1] == sum(parameter.numel() for parameter in own)
    assert found["costs"]["multiply-accumulates an action"] == found["costs"]["weights, actor"]
    assert "the same, zeros left out" not in found["costs"], "channels are gone"
    callback = PruneCallback("Random-U", 0.8, epochs=4)
    learn(agent(SAC), callback)
    costs = callback.summary()["costs"]
    assert costs["multiply-accumulates an action"] == (costs["weights, actor"][0],) * 2, "zeros cost what other numbers do"
    assert costs["the same, zeros left out"] == costs["weights, actor"]
    assert all(value > 0 for value in found["costs"]["microseconds an action"])
    lines = str(found).splitlines()
    assert lines[0].split() == ["weights", "dense", "left", "removed", "shape"]
    assert any(line.startswith("parameters ") for line in lines)
    for wrong in (-5, 0, math.inf, math.nan, True, "50"):
        with pytest.raises(ValueError, match=f"^actions_a_second is a positive, finite number; got {wrong!r}$"):
            callback.summary(actions_a_second=wrong)


@pytest.mark.parametrize("several", [False, True])
def test_the_best_model_of_an_evaluation_is_a_pruned_one(several, tmp_path):
    callback = PruneCallback("EarlyCroP-S", 0.8, epochs=4, rounds=2)
    evaluation = EvalCallback(Monitor(gym.make("CartPole-v1")), best_model_save_path=tmp_path, eval_freq=20, verbose=0)
    model = learn(agent(A2C), [callback, callback.evaluate_after([evaluation] if several else evaluation)])
    assert callback.done
    assert evaluation.best_mean_reward > 0
    best = A2C.load(tmp_path / "best_model", device="cpu")
    assert networks.shapes(best.policy) == networks.shapes(model.policy)
    assert evaluation.n_calls < model.num_timesteps


def test_what_has_learned_before_can_be_copied_to_be_scored():
    model, callback = learn(agent(A2C), None, 30), PruneCallback("SynFlow", 0.8, epochs=2, rounds=2)
    learn(model, callback, 30)
    assert callback.pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.003)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [DQN, SAC])
@pytest.mark.parametrize("name", [name for name in pruners().names() if not pruners().load(name).needs - {"feedforward"}])
def test_every_pruner_that_one_learn_can_follow(name, kind, tmp_path):
    if name in ("LTR", "IMP", "Dense"):
        pytest.skip("removes nothing, or rewinds")
    callback = PruneCallback(name, 0.7, epochs=4, scoring_steps=40)
    model = learn(agent(kind), callback, 100)
    assert callback.pruning.reached()["sparsity_weights"] == pytest.approx(0.7, abs=0.05 if name.endswith("S") else 0.03)
    check(model, callback, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["EarlyCroP-S", "EarlyCroP-U"])
@pytest.mark.parametrize("kind", [PPO, A2C, DQN, SAC, TD3])
def test_the_quick_start_agents_as_written(kind, name, tmp_path):
    env = (
        make_vec_env("CartPole-v1", n_envs=4) if kind in (PPO, A2C) else gym.make("CartPole-v1" if kind is DQN else "Pendulum-v1")
    )
    noise = {"action_noise": NormalActionNoise(np.zeros(1), 0.1 * np.ones(1))} if kind is TD3 else {}
    model, callback = kind("MlpPolicy", env, verbose=0, **noise), PruneCallback(name, 0.9, epochs=3, rounds=2)
    model.learn(total_timesteps=25_000 if kind is PPO else 1_000, callback=callback)
    assert callback.pruning.reached()["sparsity_weights"] == pytest.approx(0.9, abs=0.01)
    check(model, callback, tmp_path)
