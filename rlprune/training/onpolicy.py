"""On-policy algorithms of Stable-Baselines3 with an MLP policy: an agent that is pruned, and one behind the trainer's seam."""

import copy
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional
from torch.utils._pytree import tree_map

from rlprune.costs import cost
from rlprune.pruning.groups import Anatomy
from rlprune.pruning.masked import Masked, Masks
from rlprune.pruning.plan import TrainEpoch
from rlprune.pruning.probe import Loss, Scoring
from rlprune.training import insides, policies
from rlprune.training.environments.parallel import Environments, games
from rlprune.training.played import ACTIVATIONS, Played
from rlprune.training.recipes import OnPolicyRecipe
from rlprune.training.trainer import Generators, Seeds

Batch: TypeAlias = Mapping[str, Tensor]
"""What a loss needs of rollouts: observations, actions, returns and advantages, flat and detached."""
Array: TypeAlias = np.ndarray[Any, Any]

R = TypeVar("R", bound=OnPolicyRecipe)


class Optimizer(NamedTuple):
    """An optimizer that a recipe may name: its class, its options, and how its state keeps the number of updates."""

    kind: Callable[..., torch.optim.Optimizer]
    options: Mapping[str, Any]
    updates: Callable[[int], Tensor | int]


def _tensor(updates: int) -> Tensor:
    return torch.tensor(float(updates))


OPTIMIZERS: Mapping[str, Optimizer] = {
    "rmsprop": Optimizer(torch.optim.RMSprop, {"alpha": 0.99, "eps": 1e-5, "weight_decay": 0, "foreach": True}, _tensor),
    "rmsprop-tf": Optimizer(RMSpropTFLike, {"alpha": 0.99, "eps": 1e-5, "weight_decay": 0}, int),
    "adam": Optimizer(torch.optim.Adam, {"eps": 1e-5}, _tensor),
}


class Agent:
    """A Stable-Baselines3 on-policy agent with separate actor and critic as a subject of pruning.

    Args:
        model: the agent.
        dense: hidden layers of the dense network, whose numbering the anatomy has; by default the present ones.
    """

    def __init__(self, model: OnPolicyAlgorithm, dense: policies.Widths | None = None) -> None:
        self.model = model
        self.batch: Batch | None = None
        starts = {"square_avg": 1.0} if isinstance(self.optimizer, RMSpropTFLike) else {}
        self.masked = Masked(self.module, self.optimizers, starts=starts)
        self._anatomy = policies.anatomy(self.module, dense)

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
        raise NotImplementedError

    def learned(self, round: int) -> Scoring:
        """Return the rollout that it learned from last, if it remembers one."""
        if (batch := self.batch) is None:
            return self.scoring(round)
        return replace(self.scored_on(1, lambda: [batch]), samples=0)

    def scored_on(self, rollouts: int, play: Callable[[], Iterable[Batch]]) -> Scoring:
        """Return scoring on the loss of each batch that ``play`` makes of so many rollouts."""

        def collect() -> list[Loss]:
            return [partial(self.loss, batch=batch) for batch in play()]

        samples = rollouts * self.model.n_steps * self.model.n_envs
        return Scoring(collect, samples, policies.outputs, tempered=False)

    def gains(self, log_probs: Tensor) -> Tensor:
        """Return what advantages are multiplied by: ``log π`` of A2C.

        PPO's ratio of probabilities has the same gradient at the policy that played, though other second derivatives.
        """
        return log_probs

    def loss(self, policy: nn.Module, temperature: float = 1.0, *, batch: Batch) -> Tensor:
        """The policy-gradient loss ``−mean(A · gains(log π)) + value_weight · mse(R, V) − entropy · H``.

        A policy has no temperature, it is left at 1.
        """
        model = self.model
        placed = tree_map(lambda tensor: tensor.to(model.device), dict(batch))  # observations may be a dict
        actions = policies.taken(model.action_space, placed["actions"])
        values, log_probs, entropy = policy.evaluate_actions(placed["observations"], actions)  # type: ignore[operator]
        advantages, returns = placed["advantages"].flatten(), placed["returns"].flatten()
        if model.normalize_advantage:  # type: ignore[attr-defined]
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        value_loss = functional.mse_loss(values.flatten(), returns)
        gains = self.gains(log_probs)
        total: Tensor = -(advantages * gains).mean() + model.vf_coef * value_loss - model.ent_coef * entropy.mean()
        return total


class OnPolicyTrainer(Agent, Played[R]):
    """One agent that plays Gymnasium and learns by an on-policy algorithm of Stable-Baselines3, an epoch at a time.

    Actions, initial weights, environments, scoring and evaluation each draw from a stream of their own, so what is
    done to the network in one place changes no random number in another. An algorithm's trainer names its class, and
    has a ``loss`` of its own where scores need another; its numbers are the recipe's.
    """

    model: OnPolicyAlgorithm
    algorithm: ClassVar[type[OnPolicyAlgorithm]]

    def __init__(self, recipe: R, seeds: Seeds, device: str) -> None:
        self._recipe = recipe
        self.seeds = seeds
        optimizer = OPTIMIZERS[recipe.optimizer]
        envs = self._opened(seeds("environments"))
        if refusal := recipe.plays.refusal(recipe.environment, envs.observation_space, envs.action_space):
            raise ValueError(refusal)
        with Generators.seeded(seeds("network")).owned(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You are trying to run .* on the GPU")  # it was asked for
            model = self.algorithm(
                "MlpPolicy",
                envs,
                learning_rate=self._schedule(recipe.learning_rate),
                n_steps=recipe.rollout_steps,
                gamma=recipe.discount,
                gae_lambda=recipe.gae_lambda,
                ent_coef=recipe.entropy,
                vf_coef=recipe.value_weight,
                max_grad_norm=recipe.clip,
                policy_kwargs={
                    "net_arch": {"pi": list(recipe.widths), "vf": list(recipe.widths)},
                    "activation_fn": ACTIVATIONS[recipe.activation],
                    "optimizer_class": optimizer.kind,
                    "optimizer_kwargs": dict(optimizer.options),
                    **self._policy(),
                },
                device=device,
                **recipe.arguments,
            )
        model.set_logger(Logger(None, []))  # its own would leave a folder in /tmp behind
        super().__init__(model)
        self._generators = Generators.seeded(seeds("actions"))
        self._seen = insides.latest(recipe.rollout_steps * recipe.environments)

    def _opened(self, seed: np.random.SeedSequence) -> VecEnv:
        """Return new environments to train or score in."""
        return Environments(self._recipe, self._recipe.environments, seed)

    def _policy(self) -> dict[str, Any]:
        """Return keyword arguments of the policy that only this algorithm has."""
        return {}

    # -- what gets pruned ----------------------------------------------------------------------------------------

    def scoring(self, round: int) -> Scoring:
        """Play ``scoring_steps`` steps of the current policy in fresh environments, in rollouts as training has them."""
        recipe = self._recipe
        rollouts = -(-recipe.scoring_steps // (recipe.rollout_steps * recipe.environments))
        return self.scored_on(rollouts, lambda: [self._played(rollouts, *self.seeds(f"scoring/{round}").spawn(2))])

    def _played(self, rollouts: int, environments: np.random.SeedSequence, actions: np.random.SeedSequence) -> Batch:
        envs = self._opened(environments)
        with Generators.seeded(actions).owned():
            batch = rollout(self.model, envs, rollouts)
        envs.close()
        return batch

    # -- training ------------------------------------------------------------------------------------------------

    def train_epoch(self, epoch: TrainEpoch) -> Mapping[str, float]:
        model, recipe = self.model, self._recipe
        if epoch.begins:
            self._seen.clear()
        with self._generators.owned(), unchecked():
            self._begin()
            span = epoch.span(recipe.iterations)
            for iteration in span:
                model._current_progress_remaining = epoch.remaining(iteration / recipe.iterations)
                self._collect()
                if iteration == span[-1]:
                    self.batch = remembered(model.rollout_buffer)  # learning from it changes its shapes
                self._seen.append(model.rollout_buffer.to_torch(model.rollout_buffer.observations).flatten(0, 1))  # a copy
                self._learn()
        return {**self.latest(), **self._insides()} if epoch.ends else {}

    def _collect(self) -> None:
        """Do what ``collect_rollouts`` does, to the bit, but for its callbacks."""
        model, begun = self.model, (np.asarray(self.model._last_obs), np.asarray(self.model._last_episode_starts))
        envs = model.get_env()
        assert envs is not None
        model._last_obs, model._last_episode_starts = play(
            model, envs, model.rollout_buffer, *begun, lambda value: model.gamma * value, model._update_info_buffer
        )
        model.num_timesteps += model.n_steps * model.n_envs

    def _learn(self) -> None:
        """Learn from the rollout."""
        self.model.train()

    def _insides(self) -> Mapping[str, float]:
        """Return the measures of the networks as they are, on the last observations that the epoch saw."""
        if not self._seen:
            return {}
        with torch.no_grad():
            features = self.module.extract_features(torch.cat(list(self._seen))[-insides.SAMPLES :])
        assert isinstance(features, Tensor)  # one extractor for both networks
        return insides.measures(self.module, features)

    def evaluate(self) -> Mapping[str, float]:
        """Play fresh games greedily and, again, by sampling; add the last 100 training games."""
        return {**statistics(self._games(True), self._games(False)), **self.latest()}

    def normalise_anew(self) -> None:
        """Do nothing: an MLP policy has no normalisation layer."""

    # -- costs ---------------------------------------------------------------------------------------------------

    def sample_macs(self, masks: Masks | None = None) -> float:
        """One pass of both networks to act, and one forward and two backward each time that a sample is learned from."""
        return (1.0 + 3.0 * self._recipe.passes) * cost.macs(lambda: policies.outputs(self.module), self.module, masks)

    def forward(self) -> object:
        observation = torch.zeros(1, *self.model.observation_space.shape or (), device=self.model.device)
        with torch.no_grad():
            return self.module.get_distribution(observation).mode()

    def training_step(self) -> Callable[[], object]:
        recipe, seed = self._recipe, self.seeds("timing")
        batch = {name: rows[: recipe.batch] for name, rows in self._played(1, seed, seed).items()}
        policy = copy.deepcopy(self.module)
        kind, options, _ = OPTIMIZERS[recipe.optimizer]
        optimizer = kind(policy.parameters(), lr=recipe.learning_rate, **options)

        def step() -> None:
            optimizer.zero_grad()
            self.loss(policy, batch=batch).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(policy.parameters(), recipe.clip)
            optimizer.step()

        return step

    # -- what is taken away --------------------------------------------------------------------------------------

    def deployed(self) -> tuple[nn.Module, Tensor]:
        return policies.Actor(self.module), torch.zeros(1, self.module.features_dim, device=self.model.device)

    def save(self, file: Path) -> None:
        """Write the zip that the ``load`` of Stable-Baselines3's class reads; pruned weights stay pruned there."""
        masks = self.masked.masks
        self.model.policy_class = policies.Held(ActorCriticPolicy, masks) if masks else ActorCriticPolicy  # type: ignore[assignment]
        self.model.save(file)

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        model = self.model
        return {
            "policy": model.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": self._generators.state(),
            "steps": model.num_timesteps,
            "games": json.dumps(list(model.ep_info_buffer or ())),
            "environments": self._envs.state(),
            "batch": self.batch,
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
        self.batch = state["batch"]
        assert model.ep_info_buffer is not None
        model.ep_info_buffer.extend(json.loads(state["games"]))
        model._last_obs = state["observations"].numpy()
        model._last_episode_starts = state["starts"].numpy()
        self._envs.load_state(state["environments"], state["observations"].numpy())

    # -- inside --------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Reset the environments, once; Stable-Baselines3 keeps a learning rate over ``learn`` calls, but not over epochs."""
        if self.model._last_obs is None:
            self.model._setup_learn(self._recipe.budget)

    def _games(self, greedily: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the return of each of ``evaluation_games`` games."""

        def act(observations: Tensor) -> Array:
            actions = self.module.get_distribution(observations.to(self.model.device)).get_actions(deterministic=greedily)
            return policies.played(self.model.action_space, actions.cpu().numpy())

        with unchecked():
            return games(self._recipe, self.seeds("evaluation"), act)


def statistics(greedy: Any, sampled: Any) -> dict[str, float]:
    """Return mean and standard deviation of greedy and of sampled games, given their returns."""
    values: dict[str, float] = {}
    for name, returns in (("greedy", np.asarray(greedy)), ("sampled", np.asarray(sampled))):
        values |= {f"return_{name}": float(returns.mean()), f"return_{name}_std": float(returns.std())}
    return values


@contextmanager
def unchecked() -> Iterator[None]:
    """Let torch's distributions take what they are given without looking at every number: that is a tenth of an epoch."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def rollout(model: OnPolicyAlgorithm, envs: VecEnv, rollouts: int) -> Batch:
    """Play rollouts of ``model.n_steps`` steps in environments of their own, of which the agent's counts know nothing."""
    buffer = RolloutBuffer(
        model.n_steps,
        envs.observation_space,
        envs.action_space,
        model.policy.device,
        gae_lambda=model.gae_lambda,
        gamma=model.gamma,
        n_envs=envs.num_envs,
    )
    at = np.asarray(envs.reset()), np.ones(envs.num_envs, dtype=bool)
    parts: list[Batch] = []
    for _ in range(rollouts):
        at = play(model, envs, buffer, *at, lambda value: model.gamma * float(value))
        parts.append(remembered(buffer))
    return {name: torch.cat([part[name] for part in parts]).to(model.policy.device) for name in parts[0]}


def play(
    model: OnPolicyAlgorithm,
    envs: VecEnv,
    buffer: RolloutBuffer,
    observations: Array,
    starts: Array,
    later: Callable[[Tensor], Any],
    tell: Callable[[list[dict[str, Any]], Array], None] = lambda infos, dones: None,
) -> tuple[Array, Array]:
    """Fill a buffer with a rollout from these observations on; return the next ones, and which of them begin a game.

    A rollout's last value, and the value of the last observation of a game that ran out of time, stand for the rewards to come.

    Args:
        later: the discounted value of a game that ran out of time: training rounds it as Stable-Baselines3 does.
        tell: called with what each step says of its games.
    """
    passes, device = policies.Passes(model.policy), model.policy.device
    buffer.reset()
    with torch.inference_mode():
        for _ in range(model.n_steps):
            actions, values, log_probs = passes.act(torch.as_tensor(observations, device=device))
            chosen = actions.cpu().numpy()
            following, rewards, dones, infos = envs.step(policies.played(envs.action_space, chosen))
            tell(infos, dones)
            for index in np.flatnonzero(dones):
                if infos[index].get("TimeLimit.truncated", False):
                    last = np.asarray(infos[index]["terminal_observation"])[None]
                    rewards[index] += later(passes.values(torch.as_tensor(last, device=device))[0])
            buffer.add(observations, chosen.reshape(envs.num_envs, -1), rewards, starts, values, log_probs)
            observations, starts = np.asarray(following), dones
        buffer.compute_returns_and_advantage(passes.values(torch.as_tensor(observations, device=device)), starts)
    return observations, starts


def remembered(buffer: RolloutBuffer) -> Batch:
    """Return what a full buffer holds, copied; observations may be a dict."""
    held = {name: getattr(buffer, name) for name in ("observations", "actions", "returns", "advantages")}
    batch: Batch = tree_map(lambda values: torch.as_tensor(buffer.swap_and_flatten(values).copy()), held)
    return batch
