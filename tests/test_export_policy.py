import re
import subprocess
from ctypes import CDLL, POINTER, c_float, c_int
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import onnxruntime
import pytest
import torch
import worlds
from gymnasium import spaces
from safetensors.torch import load_file, save_file
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor, VecNormalize
from torch import nn

import rlprune
from rlprune.export import load, trial
from rlprune.export.c99 import Header
from rlprune.export.player import player

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
gcc = pytest.mark.skipif(trial.compiler() is None, reason="there is no C compiler")

ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.ELU, nn.Identity, partial(nn.LeakyReLU, 0.2))


def agent(kind=A2C, env="CartPole-v1", policy="MlpPolicy", arch=(16, 12), **options):
    """An agent whose weights are large enough for its actions to differ."""
    worlds.register()
    kwargs = {"net_arch": list(arch), **options.pop("policy_kwargs", {})}
    few = {} if kind in (A2C, PPO) else {"buffer_size": 100}
    model = kind(policy, env, seed=0, device="cpu", policy_kwargs=kwargs, **few, **options)
    lots = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            size = parameter[0].numel() ** 0.5 if parameter.dim() > 1 else 10
            parameter.copy_(torch.randn(parameter.shape, generator=lots) / size)
    return model


def quiet(text):
    """Tell nobody."""


def shown(model, count=1000):
    """What its environment may show, drawn."""
    model.observation_space.seed(0)
    return np.array([model.observation_space.sample() for _ in range(count)])


@gcc
@pytest.mark.parametrize("actions", worlds.ACTIONS)
def test_c_acts_as_predict_does_on_every_space_of_actions(actions, tmp_path):
    model = agent(PPO, f"Act-{actions}-v0")
    _, row = rlprune.export_policy(model, tmp_path / "policy.h", observations=shown(model), tell=quiet)
    assert row.agreement == 1
    assert row.seconds > 0
    if actions == "box":
        assert row.off < 1e-5


@pytest.mark.parametrize("actions", worlds.ACTIONS)
def test_safetensors_act_as_predict_does_on_every_space_of_actions(actions, tmp_path):
    model = agent(PPO, f"Act-{actions}-v0")
    _, row = rlprune.export_policy(model, tmp_path / "policy.safetensors", observations=shown(model), tell=quiet)
    assert row.agreement == 1


@gcc
@pytest.mark.parametrize("observations", worlds.OBSERVATIONS)
def test_c_is_shown_what_the_environment_shows(observations, tmp_path):
    model = agent(DQN, f"See-{observations}-v0")
    _, row = rlprune.export_policy(model, tmp_path / "policy.h", observations=shown(model), tell=quiet)
    assert row.agreement == 1


@gcc
@pytest.mark.parametrize(("kind", "activation"), [*((SAC, made) for made in ACTIVATIONS), (TD3, nn.ReLU)])
def test_squashed_actions_and_every_activation(kind, activation, tmp_path):
    model = agent(kind, "Act-box-v0", policy_kwargs={"activation_fn": activation})
    _, row = rlprune.export_policy(model, tmp_path / "policy.h", observations=shown(model), tell=quiet)
    assert row.agreement == 1
    assert row.off < 2e-6


@gcc
def test_state_dependent_exploration_that_squashes(tmp_path):
    model = agent(PPO, "Act-box-v0", use_sde=True, policy_kwargs={"squash_output": True})
    _, row = rlprune.export_policy(model, tmp_path / "policy.h", observations=shown(model), tell=quiet)
    assert row.agreement == 1
    assert row.off < 2e-6
    model = agent(SAC, "Act-box-v0", use_sde=True)
    _, row = rlprune.export_policy(model, tmp_path / "policy.safetensors", observations=shown(model), tell=quiet)
    assert row.off < 2e-6


@gcc
@pytest.mark.parametrize(("compiler", "standard"), [("gcc", "c99"), ("g++", "c++11")])
def test_a_thousand_observations_by_somebody_elses_program(compiler, standard, tmp_path):
    """Compiled strictly as C and as C++, and called without what rlprune tries headers with."""
    model = agent(A2C, "CartPole-v1")
    rlprune.export_policy(model, tmp_path / "7 my-policy.h", observations=shown(model), tell=quiet)
    source = tmp_path / ("own.c" if compiler == "gcc" else "own.cpp")
    opened = 'extern "C" ' if compiler == "g++" else ""
    source.write_text(
        f"""#include "7 my-policy.h"
{opened}int act(const float *seen);
{opened}void forward(const float *seen, float *told);
int act(const float *seen) {{ return _7_my_policy_act(seen); }}
void forward(const float *seen, float *told) {{ _7_my_policy_forward(seen, told); }}
"""
    )
    strict = [f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *strict, source, "-o", tmp_path / "own.so", "-lm"], check=True)
    own = CDLL(str(tmp_path / "own.so"))
    own.act.restype, own.act.argtypes, own.forward.argtypes = c_int, [POINTER(c_float)], 2 * [POINTER(c_float)]
    seen = np.random.default_rng(1).normal(size=(1000, 4)).astype(np.float32)
    told = np.zeros((1000, 2), np.float32)
    at = [
        (row.ctypes.data_as(POINTER(c_float)), out.ctypes.data_as(POINTER(c_float))) for row, out in zip(seen, told, strict=True)
    ]
    for row, out in at:
        own.forward(row, out)
    assert np.array_equal([own.act(row) for row, _ in at], model.predict(seen, deterministic=True)[0])
    with torch.no_grad():
        logits = model.policy.get_distribution(torch.as_tensor(seen)).distribution.logits
    assert np.diff(told) == pytest.approx(np.diff(logits), abs=1e-5)


@gcc
def test_the_examples_cartpole_is_gymnasiums(tmp_path):
    """The same agent plays as long in C as in Gymnasium, over many games."""
    model = agent()
    rlprune.export_policy(model, tmp_path / "policy.h", observations=shown(model), tell=quiet)
    source = Path(__file__).parent.parent / "examples" / "policy_from_c" / "main.c"
    built = [trial.compiler(), *trial.STRICT, f"-I{tmp_path}", source, "-o", tmp_path / "main", "-lm"]
    subprocess.run(built, check=True)
    told = subprocess.run([tmp_path / "main"], check=True, capture_output=True, text=True).stdout
    mean = float(re.search(r"1000 games: mean return ([\d.]+)", told)[1])
    envs = gym.make_vec("CartPole-v1", 500, vectorization_mode="vector_entry_point")
    seen, _ = envs.reset(seed=0)
    taken, lasted, over = player(model, None), np.zeros(500), np.zeros(500, bool)
    while not over.all():
        seen, _, terminated, truncated, _ = envs.step(taken(torch.as_tensor(seen))[1].numpy())
        lasted += ~over
        over |= terminated | truncated
    assert mean == pytest.approx(lasted.mean(), abs=4 * lasted.std() * (1 / 500 + 1 / 1000) ** 0.5)
    assert lasted.std() > 0


def normalised(mean=1e4, deviation=0.01):
    """Environments that show numbers far from zero and near each other, with statistics to match; some are clipped."""
    worlds.register()
    env = VecMonitor(VecNormalize(DummyVecEnv(2 * [lambda: gym.make("See-vector-v0")]), clip_obs=1.5))
    env.venv.obs_rms.mean, env.venv.obs_rms.var = np.full(3, mean + 1 / 3), np.array([1, 2, 0.5]) * deviation**2
    return env


@gcc
@pytest.mark.parametrize("suffix", ["h", "safetensors"])
def test_statistics_of_vecnormalize_are_inside_exactly(suffix, tmp_path):
    env = normalised()
    raw = (1e4 + 1 / 3 + 0.02 * np.random.default_rng(0).normal(size=(2000, 3))).astype(np.float32)
    model = agent(PPO, env, n_steps=8, batch_size=8)
    assert (np.abs(env.venv.normalize_obs(raw)) == 1.5).mean() > 0.1, "the clip is to be met"
    _, row = rlprune.export_policy(model, tmp_path / f"policy.{suffix}", observations=raw, tell=quiet)
    assert row.agreement == 1
    taken = player(model, env.venv)
    logits = model.policy.get_distribution(torch.as_tensor(env.venv.normalize_obs(raw))).distribution.logits.detach()
    assert np.diff(taken(torch.as_tensor(raw))[0], axis=1) == pytest.approx(np.diff(logits, axis=1), abs=1e-5)


class Late(worlds.World):
    """Shows the time in seconds since 1970, in double."""

    def __init__(self):
        super().__init__(spaces.Box(-np.inf, np.inf, (3,), np.float64))

    def _see(self):
        return 1.7e9 + self.np_random.normal(size=3)


def test_what_float32_cannot_hold_of_an_observation_is_found_out(tmp_path):
    """VecNormalize computes in double; ``predict`` was shown observations in float32, too, and agreed."""
    env = VecNormalize(DummyVecEnv([Late]), training=False)
    env.obs_rms.mean, env.obs_rms.var = np.full(3, 1.7e9), np.ones(3)
    model = agent(env=env)
    given = 1.7e9 + np.random.default_rng(0).normal(size=(100, 3))
    for shown in (None, given):
        with pytest.raises(RuntimeError, match=r"^what was read of the agent: it acts as predict does in \d\d\.\d% of"):
            rlprune.export_policy(model, tmp_path / "late.safetensors", observations=shown, tell=quiet)


def test_statistics_of_an_agent_without_its_environment(tmp_path):
    env = normalised(mean=0, deviation=1)
    model = agent(PPO, env, n_steps=8, batch_size=8)
    model.save(tmp_path / "agent")
    loaded, told = PPO.load(tmp_path / "agent"), []
    _, row = rlprune.export_policy(loaded, tmp_path / "policy.safetensors", vec_normalize=env.venv, tell=told.append)
    assert row.agreement == 1
    assert told[0].endswith("drawn from the agent's space, for it has no environment.")
    rlprune.export_policy(loaded, tmp_path / "policy.safetensors", tell=told.append)
    assert told[1].endswith("if it learned under VecNormalize, hand that over, too (vec_normalize=env).")
    rlprune.export_policy(loaded, tmp_path / "policy.safetensors", vec_normalize=env.venv, tell=quiet)
    seen = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    action = load(tmp_path / "policy.safetensors")(torch.as_tensor(seen))[1]
    assert np.array_equal(action, model.predict(env.venv.normalize_obs(seen), deterministic=True)[0])


@gcc
@pytest.mark.parametrize("kept", [0.0, 0.05, 1.0])
def test_rows_are_sparse_where_that_is_smaller(kept, tmp_path):
    model = agent(arch=(40, 300))
    lots = torch.Generator().manual_seed(1)
    for name, weight in model.policy.named_parameters():
        if name in ("mlp_extractor.policy_net.0.weight", "mlp_extractor.policy_net.2.weight"):
            weight.data *= torch.rand(weight.shape, generator=lots) < kept
    _, row = rlprune.export_policy(model, tmp_path / "policy.h", observations=shown(model), tell=quiet)
    assert row.agreement == 1
    left = sum(int(model.policy.mlp_extractor.policy_net[at].weight.count_nonzero()) for at in (0, 2))
    beside = 4 * (40 + 300 + 2 + 600)  # biases, and the last layer
    if kept == 1:
        assert row.bytes == beside + 4 * left
    elif kept:
        assert row.bytes == beside + 5 * left + 40 + 2 * 300  # a byte a column; ends of 40 rows in one, of 300 in two
    else:
        assert row.bytes == beside + 2 * 5 + 40 + 300  # one zero a layer, for C has no empty arrays
    assert ("sparse_8_8" in (tmp_path / "policy.h").read_text()) == (kept < 1)


@gcc
def test_numbers_of_any_size_mean_what_they_were(tmp_path):
    model = agent(env="Act-box-v0", arch=())
    with torch.no_grad():
        weight = model.policy.action_net.weight
        weight.copy_(torch.tensor([[1e-45, 1.0, -3e38], [16777216.0, 1e-5, 0.1]]))
        model.policy.action_net.bias.zero_()
    seen = np.concatenate([np.eye(3), np.eye(3)]).astype(np.float32)
    found = trial.tried(Header(player(model, None), "policy"), seen)
    assert np.array_equal(found[0][:3], weight.detach().numpy().T)


def test_onnx_and_int8_of_a_normalised_agent(tmp_path):
    env = normalised(mean=0, deviation=1)
    env.venv.clip_obs = 10.0
    model, told = agent(A2C, env, arch=(64, 64)), []
    files = [tmp_path / name for name in ("policy.onnx", "policy.int8.onnx")]
    theirs, whole, small = rlprune.export_policy(model, *files, tell=told.append)
    assert theirs.agreement == whole.agreement == 1
    assert small.agreement > 0.9
    assert small.bytes == files[1].stat().st_size < whole.bytes == files[0].stat().st_size
    assert small.format in ("ONNX int8, static", "ONNX int8, dynamic")
    assert all(
        word in told[0] for word in ("ONNX float32", "policy.int8.onnx", f"{small.bytes:,}", f"{small.agreement:.1%}", "µs")
    )
    session = onnxruntime.InferenceSession(str(files[0]), providers=["CPUExecutionProvider"])
    seen = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    output, action = session.run(["output", "action"], {"observation": seen})
    assert output.shape == (7, 3)
    assert np.array_equal(action, model.predict(env.venv.normalize_obs(seen), deterministic=True)[0])
    assert all(b"site-packages" not in file.read_bytes() and b"player.py" not in file.read_bytes() for file in files)


def test_images_are_taken_by_onnx_and_safetensors(tmp_path):
    small = {"features_extractor_kwargs": {"features_dim": 8}}
    model = agent(DQN, "Image-v0", "CnnPolicy", policy_kwargs=small)
    seen = np.random.default_rng(0).integers(0, 256, (40, 3, 36, 36), np.uint8)
    files = [tmp_path / name for name in ("policy.onnx", "policy.safetensors")]
    _, *rows = rlprune.export_policy(model, *files, observations=seen, tell=quiet)
    assert [row.agreement for row in rows] == [1, 1]
    output, action = load(files[1])(torch.as_tensor(seen))
    with torch.no_grad():
        assert torch.allclose(output, model.q_net(torch.as_tensor(seen)), atol=1e-6)
    assert len(action.unique()) > 1
    with pytest.raises(ValueError, match=r"a Conv2d cannot be written in C: it is for MLPs of ReLU, Tanh.*\.onnx takes it"):
        rlprune.export_policy(model, tmp_path / "policy.h", observations=seen, tell=quiet)


def test_what_is_measured_leaves_no_trace(tmp_path):
    first, second = agent(n_steps=8), agent(n_steps=8)
    for model in (first, second):
        model.set_random_seed(0)
        model.learn(40)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    rlprune.export_policy(second, tmp_path / "policy.safetensors", tell=quiet)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])
    assert second.num_timesteps == 40
    for model in (first, second):
        torch.manual_seed(1)
        model.learn(40, reset_num_timesteps=False)
    assert np.array_equal(first._last_obs, second._last_obs)
    assert list(first.ep_info_buffer)[-1]["l"] == list(second.ep_info_buffer)[-1]["l"]
    for mine, other in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6), "sums depend on where in memory they are"


def test_what_draws_actions_is_not_disturbed(tmp_path):
    model = agent(DQN, "See-vector-v0", exploration_initial_eps=1.0)
    model.action_space.seed(0)
    expected = [model.action_space.sample() for _ in range(20)]
    model.action_space.seed(0)
    rlprune.export_policy(model, tmp_path / "policy.safetensors", tell=quiet)
    assert [model.action_space.sample() for _ in range(20)] == expected


def test_without_a_compiler_the_header_is_written_untried(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    _, row = rlprune.export_policy(agent(), tmp_path / "policy.h", tell=quiet)
    assert (row.seconds, row.agreement) == (None, None)
    assert row.bytes == 4 * (5 * 16 + 17 * 12 + 13 * 2)
    assert (tmp_path / "policy.h").is_file()


class OwnPolicy(ActorCriticPolicy):
    pass


def stacked():
    worlds.register()
    return VecFrameStack(VecNormalize(make_vec_env("See-vector-v0", 1)), 2)


def broken(model):
    next(model.policy.parameters()).data[0] = float("nan")
    return model


@pytest.mark.parametrize(
    ("make", "file", "message"),
    [
        (agent, "policy.pickle", r"one of \.onnx, \.int8\.onnx, \.safetensors, \.h"),
        (agent, ".h", r"cannot write '\.h'"),
        (agent, "fine.safetensors", r"fine\.safetensors is named twice"),
        (agent, "nowhere/policy.h", r"nowhere is no folder: make it first"),
        (lambda: agent(policy=OwnPolicy), "policy.h", "this one is a OwnPolicy"),
        (lambda: agent(env="See-dict-v0", policy="MultiInputPolicy"), "policy.onnx", "a MultiInputActorCriticPolicy"),
        (lambda: agent(policy_kwargs={"activation_fn": nn.SiLU}), "policy.h", "a SiLU cannot be written in C"),
        (lambda: agent(policy_kwargs={"activation_fn": nn.GELU}), "policy.safetensors", "a GELU cannot be described"),
        (lambda: agent(env=stacked()), "policy.h", "VecFrameStack stands between VecNormalize and the agent"),
        (lambda: agent(env=VecNormalize(normalised().venv)), "policy.h", "normalised twice"),
        (lambda: broken(agent()), "policy.h", r"weight of this agent holds infinities or values that are not numbers"),
    ],
)
def test_what_is_not_known_is_refused_by_name(make, file, message, tmp_path):
    model = make()
    with pytest.raises(ValueError, match=message):
        rlprune.export_policy(model, tmp_path / "fine.safetensors", tmp_path / file, tell=quiet)
    assert not list(tmp_path.iterdir())


@gcc
@pytest.mark.parametrize(
    ("where", "file"),
    [("action_net", "policy.h"), ("action_net", "policy.safetensors"), ("mlp_extractor.policy_net", "policy.h")],
)
def test_what_no_file_can_hold_is_found_out(where, file, tmp_path):
    model = agent()
    model.policy.get_submodule(where).register_forward_hook(lambda layer, given, output: -output)
    with pytest.raises(RuntimeError, match="nothing was written"):
        rlprune.export_policy(model, tmp_path / file, observations=shown(model), tell=quiet)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [np.zeros((5, 3)), np.zeros((1, 4)), np.zeros(4)])
def test_observations_of_another_shape_are_refused(given, tmp_path):
    with pytest.raises(ValueError, match=r"at least two of shape \(4,\), one a row"):
        rlprune.export_policy(agent(), tmp_path / "policy.safetensors", observations=given, tell=quiet)


def test_a_strangers_file_builds_nothing_but_known_layers(tmp_path):
    file = tmp_path / "policy.safetensors"
    rlprune.export_policy(agent(), file, tell=quiet)
    tensors = load_file(file)
    for words in (
        '{"layers": [{"is": "Bilinear"}], "decide": {"is": "Largest"}}',
        '{"layers": [{"is": "Linear", "in_features": 1000000, "out_features": 1000000, "bias": true}], '
        '"decide": {"is": "Largest", "counts": [2], "several": false}}',
        "[]",
    ):
        save_file(tensors, file, {"policy": words})
        with pytest.raises(ValueError, match="holds no policy that export_policy wrote"):
            load(file)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing.safetensors")
