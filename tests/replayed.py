"""What agents of a fleet met, met again by Stable-Baselines3's own algorithm."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.vec_env import VecEnv

from rlprune.pruning.masked import Masked

OPTIMIZERS = {"rmsprop": torch.optim.RMSprop, "rmsprop-tf": RMSpropTFLike, "adam": torch.optim.Adam}


def of_each_length(cases, cut_short):
    """Try each case with games of 500 steps and of 7, which are cut short: those not named ``cut_short`` so among slow tests."""
    tried = [(case, limit, limit == 500 or case in cut_short) for case in cases for limit in (500, 7)]
    marked = [pytest.param(case, limit, marks=() if soon else pytest.mark.slow) for case, limit, soon in tried]
    return pytest.mark.parametrize(("case", "limit"), marked)


def network(seed=0, actor=(16, 16), critic=None, features=4, actions=2, head=0.01):
    """The weights of a Stable-Baselines3 policy, its biases not left at zero."""
    spaces = gym.spaces.Box(-1, 1, (features,)), gym.spaces.Discrete(actions)
    torch.manual_seed(seed)
    arch = {"pi": list(actor), "vf": list(critic or actor)}
    weights = ActorCriticPolicy(*spaces, lambda _: 1e-3, net_arch=arch).state_dict()
    return {name: w + 0.1 * torch.randn(w.shape) if name.endswith("bias") else w for name, w in weights.items()}


def bits(agent):
    tensors = [agent.weights, *agent.moments.values()]
    return [tensor.numpy().tobytes() for named in tensors for _, tensor in sorted(named.items())]


class Recorded:
    """Environments that remember what each step of theirs brought."""

    def __init__(self, envs):
        self._envs = envs
        self.start = envs.observations
        self.steps = []

    def __getattr__(self, name):
        return getattr(self._envs, name)

    def step(self, actions):
        moved = self._envs.step(actions)
        self.steps.append((actions.clone(), moved))
        return moved


class Replay(VecEnv):
    """One agent's recorded steps as a vector environment of Stable-Baselines3's."""

    def __init__(self, recorded, agent, reward_scale):
        self.recorded, self.agent, self.at, self.scale = recorded, agent, 0, reward_scale
        high = np.full(recorded.features, np.inf, dtype=np.float32)
        super().__init__(recorded.environments, gym.spaces.Box(-high, high), gym.spaces.Discrete(recorded.actions))

    def reset(self):
        return self.recorded.start[self.agent].numpy()

    def step_async(self, actions):
        expected, _ = self.recorded.steps[self.at]
        assert np.array_equal(actions, expected[self.agent].numpy())

    def step_wait(self):
        moved = [part[self.agent].numpy() for part in self.recorded.steps[self.at][1]]
        self.at += 1
        observations, rewards, terminated, truncated, final = moved
        infos = [
            {"terminal_observation": last, "TimeLimit.truncated": bool(late and not over)} if late or over else {}
            for last, late, over in zip(final, truncated, terminated, strict=True)
        ]
        return observations, (rewards * self.scale).astype(np.float32), terminated | truncated, infos

    def close(self): ...
    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * self.num_envs

    def env_method(self, *args, **kwargs): ...
    def get_attr(self, attr_name, indices=None):
        return [None] * self.num_envs

    def set_attr(self, *args, **kwargs): ...


class Told(ActorCriticPolicy):
    """A policy whose actions are those of the recording."""

    def forward(self, obs, deterministic=False):
        actions = self.replay.recorded.steps[self.replay.at][0][self.replay.agent]
        values, log_probs, _ = self.evaluate_actions(obs, actions)
        return actions, values, log_probs


def reference(agent, recorded, number, recipe, kind=A2C):
    """Stable-Baselines3's own algorithm, about to meet what an agent of the fleet met."""
    replay = Replay(recorded, number, recipe.reward_scale)
    hidden = {
        key: [agent.weights[name].shape[0] for name in agent.weights if body in name and name.endswith("weight")]
        for key, body in (("pi", "policy_net"), ("vf", "mlp_extractor.value_net"))
    }
    options = {"eps": 1e-5} if recipe.optimizer == "adam" else {"alpha": 0.99, "eps": 1e-5}
    model = kind(
        Told,
        replay,
        learning_rate=lambda remaining: recipe.learning_rate * (remaining if recipe.annealing == "linear" else 1),
        n_steps=recipe.rollout_steps,
        gamma=recipe.discount,
        gae_lambda=recipe.gae_lambda,
        ent_coef=recipe.entropy,
        vf_coef=recipe.value_weight,
        max_grad_norm=recipe.clip,
        policy_kwargs={
            "net_arch": hidden,
            "activation_fn": {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[recipe.activation],
            "optimizer_class": OPTIMIZERS[recipe.optimizer],
            "optimizer_kwargs": options,
        },
        device="cpu",
        **recipe.arguments,
    )
    model.set_logger(Logger(None, []))
    model.policy.replay = replay
    model.policy.load_state_dict(agent.weights)
    Masked(model.policy, [model.policy.optimizer]).set(agent.masks)
    _, callback = model._setup_learn(1)
    return model, callback


def distance(agent, model):
    """How far an agent is from Stable-Baselines3's, relative to the norm of all its parameters.

    Not parameter by parameter: RMSprop's first step divides each gradient by its own size, so in the action head, which
    begins a hundred times smaller than the rest, rounding shows as 1e-6, in Stable-Baselines3 as much as here.
    """
    theirs = model.policy.state_dict()
    ours = torch.cat([agent.weights[name].flatten() - theirs[name].flatten() for name in agent.weights])
    return float(ours.norm() / torch.cat([theirs[name].flatten() for name in agent.weights]).norm())
