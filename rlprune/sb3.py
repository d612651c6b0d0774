"""Prune your own Stable-Baselines3 agent while it learns.

from rlprune.sb3 import PruneCallback

model = A2C("MlpPolicy", env)
model.learn(100_000, callback=PruneCallback("EarlyCroP-S", sparsity=0.9))
model.save("small")     # A2C.load("small") builds the small agent
"""

import hashlib
from collections import deque
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor, nn
from torch.nn import functional

from rlprune.groups import Anatomy
from rlprune.plan import trained_epochs
from rlprune.probe import Loss, Scoring
from rlprune.pruner import Scope, pruners
from rlprune.pruning import PlanFollower
from rlprune.training import policies


class PruneCallback(BaseCallback):
    """Prunes an A2C or PPO agent with an MLP policy inside its own ``learn``.

    ``-S`` pruners really make the policy smaller, optimizer state included, so that ``learn`` goes on and ``save``,
    ``load`` and ``predict`` work on the small agent; ``-U`` pruners hold the removed weights at zero while the
    callback is in use. The agent's learning rate stays its owner's. Sparsity, distance and trigger go to the agent's
    logger under ``pruning/``.

    Scores come from the agent's latest rollouts. A pruner that prunes before training plays ``scoring_steps`` steps
    first and resets the environment; they do not count as training.

    Args:
        pruner: a name from ``rlprune list pruners``.
        sparsity: share of the policy's weights to remove, in (0, 1).
        epochs: how many epochs ``learn``'s steps are divided into; plans advance at their ends.
        scope: what is ranked against what; actor and critic apart by default.
        scoring_steps: environment steps to score on.
        seed: draws lots for pruners that need noise.
        verbose: as in Stable-Baselines3.
        **settings: settings of the pruner, say ``rounds=7``.

    Raises:
        KeyError: no pruner of this name.
        ValueError: a sparsity out of range, a plan that rewinds, or an algorithm or policy that cannot be pruned yet.
    """

    def __init__(
        self,
        pruner: str,
        sparsity: float,
        *,
        epochs: int = 30,
        scope: Scope = "network",
        scoring_steps: int = 2048,
        seed: int = 0,
        verbose: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(verbose)
        if not 0 < sparsity < 1:
            raise ValueError(f"sparsity is the share of weights to remove, between 0 and 1; got {sparsity}")
        self._pruner = pruners().load(pruner)
        self._settings = self._pruner.settings(settings)
        if trained_epochs(self._pruner.steps(self._settings), epochs, sparsity) > epochs:
            raise ValueError(f"{self._pruner.name} trains and rewinds many times; a single learn() cannot follow it")
        self._sparsity, self._epochs, self._scope, self._seed = sparsity, epochs, scope, seed
        self._scoring_steps = scoring_steps
        self._follower: PlanFollower | None = None

    @property
    def pruning(self) -> PlanFollower:
        """The plan at work: ``pruning.reached()`` and ``pruning.layers()`` say what is left.

        Raises:
            RuntimeError: ``learn`` was not called yet.
        """
        if self._follower is None:
            raise RuntimeError("pruning begins when learn() does")
        return self._follower

    def _on_training_start(self) -> None:
        if self._follower is None:
            self._agent = _Agent(supported(self.model), self._scoring_steps)
            self._follower = PlanFollower(
                self._agent, self._pruner, self._settings, self._sparsity, self._epochs, self._scope, self._seeds
            )
            self._begun = self.num_timesteps
            self._length = (self.model._total_timesteps - self._begun) / self._epochs
            self._advance()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._agent.remember()
        while self.pruning.progress.epoch < min(self._epochs, int((self.num_timesteps - self._begun) / self._length + 1e-9)):
            self.pruning.epoch_done()
            self._advance()
        self.logger.record("pruning/sparsity", self.pruning.reached()["sparsity_weights"])
        for name, value in (("distance", self.pruning.travelled), ("trigger", self.pruning.trigger_value)):
            if value is not None:
                self.logger.record(f"pruning/{name}", value)

    def _advance(self) -> None:
        rounds = self.pruning.progress.rounds
        self.pruning.next_epoch()
        if self.verbose and self.pruning.progress.rounds > rounds:
            reached = self.pruning.reached()["sparsity_weights"]
            self.logger.log(f"{self._pruner.name}: {reached:.1%} of the policy's weights removed at step {self.num_timesteps}")

    def _seeds(self, use: str) -> np.random.SeedSequence:
        digest = hashlib.sha256(f"{self._seed}/{use}".encode()).digest()
        return np.random.SeedSequence(int.from_bytes(digest[:16], "big"))


def supported(model: BaseAlgorithm) -> OnPolicyAlgorithm:
    """Return the model if it can be pruned.

    Raises:
        ValueError: what about it cannot, and what can.
    """
    what = "rlprune prunes A2C and PPO agents with MLP policies"
    if not isinstance(model, A2C | PPO):
        raise ValueError(f"{what}; {type(model).__name__} is not supported yet")
    policy = model.policy
    if type(policy) is not ActorCriticPolicy or not isinstance(policy.features_extractor, FlattenExtractor):
        raise ValueError(f"{what}; this one is a {type(policy).__name__} on {type(policy.features_extractor).__name__}")
    if model.use_sde:
        raise ValueError(f"{what}; state-dependent exploration (use_sde=True) is not supported yet")
    if not isinstance(model.action_space, spaces.Discrete | spaces.Box):
        raise ValueError(f"{what} and Discrete or Box actions; this one's are {type(model.action_space).__name__}")
    return model


class _Agent:
    """Somebody's agent as a subject of pruning."""

    def __init__(self, model: OnPolicyAlgorithm, scoring_steps: int) -> None:
        self._model = model
        self._anatomy = policies.anatomy(model.policy)
        self._rollouts: deque[dict[str, Tensor]] = deque(maxlen=max(1, -(-scoring_steps // (model.n_steps * model.n_envs))))

    @property
    def module(self) -> nn.Module:
        return self._model.policy

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self._model.policy.optimizer

    @property
    def anatomy(self) -> Anatomy:
        return self._anatomy

    def resized(self) -> None:
        policies.resize(self._model)

    def remember(self) -> None:
        """Keep the rollout just played."""
        buffer = self._model.rollout_buffer
        names = ("observations", "actions", "returns", "advantages")
        self._rollouts.append({name: torch.as_tensor(buffer.swap_and_flatten(getattr(buffer, name)).copy()) for name in names})

    def scoring(self, round: int) -> Scoring:
        maxlen = self._rollouts.maxlen or 1

        def collect() -> list[Loss]:
            if not self._rollouts:
                self._play(maxlen)
            return [partial(_loss, model=self._model, batch=batch) for batch in self._rollouts]

        return Scoring(collect, maxlen * self._model.n_steps * self._model.n_envs, policies.outputs, tempered=False)

    def _play(self, rollouts: int) -> None:
        """Play before training: the model's own rollouts, uncounted, then the environment is reset."""
        model = self._model
        assert model.env is not None
        silent = _Silent()
        silent.init_callback(model)
        steps, games = model.num_timesteps, model.ep_info_buffer
        for _ in range(rollouts):
            model.collect_rollouts(model.env, silent, model.rollout_buffer, model.n_steps)
            self.remember()
        model.num_timesteps = steps
        if games is not None:
            games.clear()
        model._last_obs = model.env.reset()  # type: ignore[assignment]
        model._last_episode_starts = np.ones(model.n_envs, dtype=bool)


class _Silent(BaseCallback):
    def _on_step(self) -> bool:
        return True


def _loss(policy: nn.Module, temperature: float = 1.0, *, model: OnPolicyAlgorithm, batch: dict[str, Tensor]) -> Tensor:
    """The policy-gradient loss of A2C, and of PPO at the policy that played: there the probability ratio is one."""
    placed = {name: tensor.to(model.device) for name, tensor in batch.items()}
    actions = placed["actions"].long().flatten() if isinstance(model.action_space, spaces.Discrete) else placed["actions"]
    values, log_probs, entropy = policy.evaluate_actions(placed["observations"], actions)  # type: ignore[operator]
    advantages = placed["advantages"].flatten()
    if model.normalize_advantage:  # type: ignore[attr-defined]
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    value_loss = functional.mse_loss(values.flatten(), placed["returns"].flatten())
    loss: Tensor = -(advantages * log_probs).mean() + model.vf_coef * value_loss - model.ent_coef * entropy.mean()
    return loss
