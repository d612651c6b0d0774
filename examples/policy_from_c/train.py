"""Learn CartPole with a policy cut to 5 % of its weights before training, and take it away as C."""

from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule

import rlprune
from rlprune.sb3 import PruneCallback

env = make_vec_env("CartPole-v1", n_envs=8, seed=0)
model = A2C("MlpPolicy", env, learning_rate=LinearSchedule(2e-3, 0.0, 1.0), seed=0, device="cpu")
model.learn(200_000, callback=PruneCallback("Random-S", sparsity=0.95, start="rescaled"))
rlprune.export_policy(model, "policy.h", "policy.onnx", "policy.int8.onnx", "policy.safetensors")
