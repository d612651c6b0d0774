"""Advantage actor-critic by Stable-Baselines3, one agent, behind the trainer's seam."""

import copy
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.utils import ConstantSchedule, LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor, nn
from torch.nn import functional

from rlprune.costs import cost
from rlprune.pruning.groups import Anatomy
from rlprune.pruning.masked import Masked
from rlprune.pruning.plan import TrainEpoch
from rlprune.pruning.probe import Loss, Scoring
from rlprune.training import policies, snapshots
from rlprune.training.recipes import A2CRecipe
from rlprune.training.trainer import Generators, Seeds

_OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.99, "eps": 1e-5, "weight_decay": 0}),
    "rmsprop-tf": (RMSpropTFLike, {"alpha": 0.99, "eps": 1e-5, "weight_decay": 0}),
    "adam": (torch.optim.Adam, {"eps": 1e-5}),
}
_ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


class Environments(DummyVecEnv):
    """Parallel environments whose streams come from one seed sequence, none shared with another seed's.

    What was played since they began is remembered: it tells again where a game stands whose world cannot be saved.
    """

    def __init__(self, recipe: A2CRecipe, count: int, seed: np.random.SeedSequence) -> None:
        super().__init__([partial(environment, recipe)] * count)
        self._seeds = [int(word) for word in seed.generate_state(count)]
        self._played: list[np.ndarray[Any, Any]] = []

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        super().step_async(actions)
        self._played.append(np.array(actions)[None])

    def played(self) -> Tensor:
        """Return all actions so far [T, E, ...], a byte each where that holds them."""
        if not self._played:
            return torch.empty(0)
        played = np.concatenate(self._played)
        if isinstance(self.action_space, spaces.Discrete) and self.action_space.n < 128:
            played = played.astype(np.int8)
        self._played = [played]
        return torch.from_numpy(played)

    def remember(self, played: Tensor) -> None:
        """Take these actions for those so far."""
        self._played = [played.numpy()] if len(played) else []

    def play(self, actions: Tensor) -> Any:
        """Play these actions, of environments of the same seed, from the beginning; return the last observations."""
        seen: Any = None
        for chosen in actions.numpy().astype(self.action_space.dtype):
            seen, *_ = self.step(chosen)
        return seen


def environment(recipe: A2CRecipe) -> gym.Env[Any, Any]:
    """Return one environment; its monitor sees the unscaled rewards."""
    env: gym.Env[Any, Any] = Monitor(gym.make(recipe.environment, max_episode_steps=recipe.max_episode_steps))
    return env if recipe.reward_scale == 1 else _Scaled(env, recipe.reward_scale)


class _Scaled(gym.RewardWrapper[Any, Any]):
    """Multiplies rewards by ``scale``, a number that a snapshot sees as it does not see into a function."""

    def __init__(self, env: gym.Env[Any, Any], scale: float) -> None:
        super().__init__(env)
        self._scale = scale

    def reward(self, reward: Any) -> float:
        return float(reward) * self._scale


class A2CTrainer:
    """Stable-Baselines3's A2C with separate actor and critic, trained an epoch at a time.

    Actions, initial weights, environments, scoring and evaluation each draw from a stream of their own, so what is
    done to the network in one place changes no random number in another.
    """

    def __init__(self, recipe: A2CRecipe, seeds: Seeds, device: str) -> None:
        self._recipe = recipe
        self.seeds = seeds
        schedule = (
            LinearSchedule(recipe.learning_rate, 0.0, 1.0)
            if recipe.annealing == "linear"
            else ConstantSchedule(recipe.learning_rate)
        )
        optimizer, options = _OPTIMIZERS[recipe.optimizer]
        envs = Environments(recipe, recipe.environments, seeds("environments"))
        check_spaces(recipe.environment, envs.observation_space, envs.action_space)
        with Generators.seeded(seeds("network")).owned(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You are trying to run A2C on the GPU")  # it was asked for
            self.model = A2C(
                "MlpPolicy",
                envs,
                learning_rate=schedule,
                n_steps=recipe.rollout_steps,
                gamma=recipe.discount,
                gae_lambda=recipe.gae_lambda,
                ent_coef=recipe.entropy,
                vf_coef=recipe.value_weight,
                max_grad_norm=recipe.clip,
                use_rms_prop=False,  # it would override the optimizer named here
                policy_kwargs={
                    "net_arch": {"pi": list(recipe.widths), "vf": list(recipe.widths)},
                    "activation_fn": _ACTIVATIONS[recipe.activation],
                    "optimizer_class": optimizer,
                    "optimizer_kwargs": options,
                },
                device=device,
            )
        self.model.set_logger(Logger(None, []))  # its own would leave a folder in /tmp behind
        self._anatomy = policies.anatomy(self.module)
        self.masked = Masked(self.module, self.optimizers)
        self._generators = Generators.seeded(seeds("actions"))
        self._callback: BaseCallback | None = None

    # -- what gets pruned ----------------------------------------------------------------------------------------

    @property
    def module(self) -> ActorCriticPolicy:
        return self.model.policy

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self.model.policy.optimizer

    @property
    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        return (self.optimizer,)

    @property
    def anatomy(self) -> Anatomy:
        return self._anatomy

    def resized(self) -> None:
        policies.resize(self.model)

    def redrawn(self) -> Mapping[str, Tensor]:
        return policies.redrawn(self.module)

    def scoring(self, round: int) -> Scoring:
        """Play ``scoring_steps`` steps of the current policy in fresh environments, in rollouts as training has them."""
        recipe = self._recipe
        rollouts = -(-recipe.scoring_steps // (recipe.rollout_steps * recipe.environments))

        def collect() -> list[Loss]:
            play, act = self.seeds(f"scoring/{round}").spawn(2)
            envs = Environments(recipe, recipe.environments, play)
            with Generators.seeded(act).owned():
                batch = rollout(self.module, envs, recipe, rollouts)
            envs.close()
            return [partial(loss, batch=batch, recipe=recipe)]

        return Scoring(collect, rollouts * recipe.rollout_steps * recipe.environments, policies.outputs, tempered=False)

    # -- training ------------------------------------------------------------------------------------------------

    @property
    def samples(self) -> int:
        return self.model.num_timesteps

    def train_epoch(self, epoch: TrainEpoch) -> Mapping[str, float]:
        model, recipe = self.model, self._recipe
        with self._generators.owned():
            callback = self._begin()
            for iteration in range(recipe.iterations):
                model._current_progress_remaining = epoch.start + (epoch.end - epoch.start) * iteration / recipe.iterations
                model.collect_rollouts(self._envs, callback, model.rollout_buffer, recipe.rollout_steps)
                model.train()
        games = [info["r"] for info in model.ep_info_buffer or ()]
        return {"return_train": float(np.mean(games))} if games else {}

    @staticmethod
    def train_together(trainers: Sequence["A2CTrainer"], epochs: Sequence[TrainEpoch]) -> list[Mapping[str, float]]:
        return [trainer.train_epoch(epoch) for trainer, epoch in zip(trainers, epochs, strict=True)]

    @staticmethod
    def evaluate_together(trainers: Sequence["A2CTrainer"]) -> list[Mapping[str, float]]:
        return [trainer.evaluate() for trainer in trainers]

    def sample_macs(self) -> float:
        """One pass of both networks to act, and one forward and two backward to learn."""
        return 4.0 * cost.macs(lambda: policies.outputs(self.module), self.module)

    def evaluate(self) -> Mapping[str, float]:
        """Play fresh games greedily and, again, by sampling; add the last 100 training games."""
        values = statistics(self._games(True), self._games(False))
        games = [info["r"] for info in self.model.ep_info_buffer or ()]
        return values | ({"return_train": float(np.mean(games))} if games else {})

    def forward(self) -> object:
        observation = torch.zeros(1, *self.model.observation_space.shape or (), device=self.model.device)
        with torch.no_grad():
            return self.module.get_distribution(observation).mode()

    def training_step(self) -> Callable[[], object]:
        recipe, policy = self._recipe, copy.deepcopy(self.module)
        make, options = _OPTIMIZERS[recipe.optimizer]
        optimizer = make(policy.parameters(), lr=recipe.learning_rate, **options)
        envs = Environments(recipe, recipe.environments, self.seeds("timing"))
        with Generators.seeded(self.seeds("timing")).owned():
            batch = rollout(policy, envs, recipe, 1)
        envs.close()

        def step() -> None:
            optimizer.zero_grad()
            loss(policy, 1.0, batch=batch, recipe=recipe).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(policy.parameters(), recipe.clip)
            optimizer.step()

        return step

    def deployed(self) -> tuple[nn.Module, Tensor]:
        return policies.Actor(self.module), torch.zeros(1, self.module.features_dim, device=self.model.device)

    def save(self, file: Path) -> None:
        """Write the zip that ``A2C.load`` reads; pruned weights stay pruned there."""
        masks = self.masked.masks
        self.model.policy_class = policies.Held(ActorCriticPolicy, masks) if masks else ActorCriticPolicy  # type: ignore[assignment]
        self.model.save(file)

    def illustration(self) -> None:
        """Return None: there is nothing to draw."""

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        model = self.model
        return {
            "policy": model.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": self._generators.state(),
            "steps": model.num_timesteps,
            "games": json.dumps(list(model.ep_info_buffer or ())),
            "environments": [snapshots.save(env) for env in self._envs.envs],
            "played": self._envs.played(),
            "observations": torch.as_tensor(np.array(model._last_obs)),
            "starts": torch.as_tensor(np.array(model._last_episode_starts)),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._begin()
        model = self.model
        model.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._generators.load_state(state["generators"])
        model.num_timesteps = state["steps"]
        assert model.ep_info_buffer is not None
        model.ep_info_buffer.extend(json.loads(state["games"]))
        self._resume(state["environments"], state["played"], state["observations"].numpy())
        model._last_obs = state["observations"].numpy()
        model._last_episode_starts = state["starts"].numpy()

    def _resume(self, saved: Sequence[str | None], played: Tensor, observations: np.ndarray[Any, Any]) -> None:
        """Bring the environments to where they were saved; where one could not be, all play their games again.

        Raises:
            ValueError: an environment that shows something else when it is played again.
        """
        snapshot = [state for state in saved if state is not None]
        if len(snapshot) == len(saved):
            self._envs.remember(played)
            for env, state in zip(self._envs.envs, snapshot, strict=True):
                snapshots.load(env, state)
            return
        with Generators.seeded(self.seeds("environments")).owned():
            seen = self._envs.play(played)
        if seen is not None and seen.tobytes() != observations.tobytes():
            raise ValueError(
                f"{self._recipe.environment} cannot go on from a checkpoint: its state cannot be saved, and played again with "
                "the same seeds and actions it shows something else; begin the cell anew"
            )

    def close(self) -> None:
        self._envs.close()

    # -- inside --------------------------------------------------------------------------------------------------

    @property
    def _envs(self) -> Environments:
        envs = self.model.get_env()
        assert isinstance(envs, Environments)
        return envs

    def _begin(self) -> BaseCallback:
        """Reset the environments, once; Stable-Baselines3 keeps a learning rate over ``learn`` calls, but not over epochs."""
        if self._callback is None:
            _, self._callback = self.model._setup_learn(self._recipe.budget)
        return self._callback

    def _games(self, greedily: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the return of each of ``evaluation_games`` games, played side by side in environments of fresh seeds."""
        seed = self.seeds("evaluation")
        envs = [environment(self._recipe) for _ in range(self._recipe.evaluation_games)]
        observations = [env.reset(seed=int(word))[0] for env, word in zip(envs, seed.generate_state(len(envs)), strict=True)]
        playing, returns = list(range(len(envs))), np.zeros(len(envs))
        with Generators.seeded(seed).owned():
            while playing:
                batch = torch.as_tensor(np.stack([observations[game] for game in playing]), device=self.model.device)
                with torch.no_grad():
                    actions = self.module.get_distribution(batch).get_actions(deterministic=greedily).cpu().numpy()
                for game, action in zip(tuple(playing), policies.played(self.model.action_space, actions), strict=True):
                    observations[game], reward, terminated, truncated, _ = envs[game].step(action)
                    returns[game] += float(reward)
                    if terminated or truncated:
                        playing.remove(game)
        for env in envs:
            env.close()
        return returns / self._recipe.reward_scale


def check_spaces(environment: str, observations: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
    """Refuse what an MLP policy of Stable-Baselines3 would not learn from, or not act in.

    Raises:
        ValueError: the space and what it should be.
    """
    match observations:
        case spaces.Box(shape=shape) if shape and not is_image_space(observations):
            pass
        case spaces.Discrete(start=0) | spaces.MultiBinary():
            pass
        case spaces.MultiDiscrete(nvec=counts, start=starts) if counts.ndim == 1 and not starts.any():
            pass
        case _:
            raise ValueError(
                f"{environment} shows {policies.described(observations)}; an MLP policy takes a Box of numbers that is no image, "
                "Discrete and MultiDiscrete that count from 0, or MultiBinary"
            )
    match actions:
        case spaces.Box(shape=(_,), low=low, high=high) if actions.dtype.kind == "f" and np.isfinite([low, high]).all():
            pass
        case spaces.Discrete(start=0) | spaces.MultiBinary(shape=(_,)):
            pass
        case spaces.MultiDiscrete(nvec=counts, start=starts) if counts.ndim == 1 and not starts.any():
            pass
        case _:
            raise ValueError(
                f"{environment} wants {policies.described(actions)}; A2C acts by a flat Box of floats within finite bounds, "
                "Discrete and MultiDiscrete that count from 0, or a flat MultiBinary"
            )


def statistics(greedy: Any, sampled: Any) -> dict[str, float]:
    """Return mean and standard deviation of greedy and of sampled games, given their returns."""
    values: dict[str, float] = {}
    for name, returns in (("greedy", np.asarray(greedy)), ("sampled", np.asarray(sampled))):
        values |= {f"return_{name}": float(returns.mean()), f"return_{name}_std": float(returns.std())}
    return values


def rollout(policy: ActorCriticPolicy, envs: Environments, recipe: A2CRecipe, rollouts: int) -> dict[str, Tensor]:
    """Play rollouts of ``rollout_steps`` steps and return their observations, actions, returns and advantages, flat and detached.

    A rollout's last value, and the value of the last observation of a game that ran out of time, stand for the rewards to come.
    """
    buffer = RolloutBuffer(
        recipe.rollout_steps,
        envs.observation_space,
        envs.action_space,
        policy.device,
        gae_lambda=recipe.gae_lambda,
        gamma=recipe.discount,
        n_envs=envs.num_envs,
    )
    observations, starts = np.asarray(envs.reset()), np.ones(envs.num_envs, dtype=bool)
    parts: dict[str, list[np.ndarray[Any, Any]]] = {"observations": [], "actions": [], "returns": [], "advantages": []}
    value_of = partial(_values, policy)
    for _ in range(rollouts):
        buffer.reset()
        for _ in range(recipe.rollout_steps):
            with torch.no_grad():
                actions, values, log_probs = policy(torch.as_tensor(observations, device=policy.device))
            chosen = actions.cpu().numpy()
            following, rewards, dones, infos = envs.step(policies.played(envs.action_space, chosen))
            for index in np.flatnonzero(dones):
                if infos[index].get("TimeLimit.truncated", False):
                    rewards[index] += recipe.discount * float(value_of(np.asarray(infos[index]["terminal_observation"])[None]))
            buffer.add(observations, chosen.reshape(envs.num_envs, -1), rewards, starts, values, log_probs)
            observations, starts = np.asarray(following), dones
        buffer.compute_returns_and_advantage(value_of(observations), starts)
        for name, collected in parts.items():
            collected.append(buffer.swap_and_flatten(getattr(buffer, name)))
    return {name: torch.as_tensor(np.concatenate(collected), device=policy.device) for name, collected in parts.items()}


def loss(policy: nn.Module, temperature: float = 1.0, *, batch: Mapping[str, Tensor], recipe: A2CRecipe) -> Tensor:
    """A2C's loss ``−mean(A log π) + value_weight · mse(R, V) − entropy · H``; a policy has no temperature, it is left at 1."""
    actions = policies.taken(policy.action_space, batch["actions"])  # type: ignore[arg-type]
    values, log_probs, entropy = policy.evaluate_actions(batch["observations"], actions)  # type: ignore[operator]
    advantages, returns = batch["advantages"].flatten(), batch["returns"].flatten()
    value_loss = functional.mse_loss(values.flatten(), returns)
    total: Tensor = -(advantages * log_probs).mean() + recipe.value_weight * value_loss - recipe.entropy * entropy.mean()
    return total


def _values(policy: ActorCriticPolicy, observations: np.ndarray[Any, Any]) -> Tensor:
    with torch.no_grad():
        return policy.predict_values(torch.as_tensor(observations, device=policy.device))
