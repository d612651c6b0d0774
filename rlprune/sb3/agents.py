"""Somebody's agent as a subject of pruning: what it is scored on, and what it has to remember of its pruning when it is saved."""

import copy
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.type_aliases import TrainFrequencyUnit
from stable_baselines3.common.utils import get_parameters_by_name
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from rlprune.pruning import surgery
from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.groups import Anatomy
from rlprune.pruning.masked import Masked, Masks
from rlprune.pruning.plan import Grow
from rlprune.pruning.probe import Scoring
from rlprune.pruning.pruner import CHANNELS, Pruner
from rlprune.sb3.supported import supported, with_channels
from rlprune.training import networks, onpolicy, policies, ppo, rehearsal, td
from rlprune.training.trainer import Generators, Seeds

_DENSE = "dense_net_arch"  # where an agent remembers, saved with it, what it was before it was first pruned


class NotYetError(Exception):
    """There is nothing to score on yet."""


class Agent:
    """Somebody's agent.

    Args:
        steps: environment steps, or transitions, to score on.
    """

    least = 0
    """Rollouts that are enough to score on where none can be played beforehand."""

    def __init__(self, model: Any, pruner: Pruner, seeds: Seeds, steps: int) -> None:
        self.model: Any = model
        self.policy: BasePolicy = model.policy
        self.unit, self.warmup = paces(model)
        self._pruner, self._seeds, self._steps = pruner, seeds, steps
        model.policy_kwargs = networks.unshared(model.policy_kwargs)  # the dense network is built of them again
        self.dense = dense(model)
        self._shapes, self._arch = networks.shapes(self.dense), networks.arch(self.dense)
        try:
            self._anatomy = networks.anatomy(self.dense, channels=True)
        except ValueError:  # what cannot be followed can lose weights all the same
            if pruner.cut == CHANNELS:
                raise
            self._anatomy = networks.anatomy(self.dense, channels=False)
        if pruner.cut == CHANNELS:
            with_channels(self._anatomy, pruner.name)
        self.masked = masked(self.policy)

    @property
    def module(self) -> Any:
        return self.policy

    @property
    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        return networks.optimizers(self.policy)

    @property
    def anatomy(self) -> Anatomy:
        return self._anatomy

    def resized(self) -> None:
        """Let the agent's own ``load`` find the present sizes, in ``net_arch`` where that can say them."""
        model, policy = self.model, self.policy
        networks.settled(policy)
        for target in ("q_net_target", "actor_target", "critic_target"):
            if hasattr(policy, target):
                name = target.removesuffix("_target")
                listed = f"{name}_batch_norm_stats" if isinstance(model, TD3) else "batch_norm_stats"  # of tensors that are cut
                setattr(model, listed, get_parameters_by_name(getattr(policy, name), ["running_"]))
                setattr(model, f"{listed}_target", get_parameters_by_name(getattr(policy, target), ["running_"]))
        said = arch(self.policy, self._shapes)
        model.policy_kwargs = {**model.policy_kwargs, "net_arch": self._arch if said is None else said}

    def redrawn(self) -> Mapping[str, Tensor]:
        return networks.redrawn(self.policy, self._anatomy.all_weights())

    def remember(self) -> None:
        """Take note of a rollout that was just played."""

    def go_on_from_earlier(self, follower: PlanFollower) -> None:
        """Count what was pruned before from the dense network, and tell it.

        Raises:
            ValueError: channels to be cut where weights are masked, or where something would be left behind.
        """
        kind: object = self.model.policy_class
        masks = kind.masks if isinstance(kind, policies.Held) else {}
        if self._pruner.cut == CHANNELS:
            if masks:
                raise ValueError(
                    f"{self._pruner.name} cuts channels; this agent's weights are masked already: take one of weights, as SNIP is"
                )
            surgery.bound(self.policy, self._anatomy.all_members(), self.optimizers)
        if not masks and networks.shapes(self.policy) == self._shapes:
            return
        follower.counted_from(self._shapes, masks)
        gone, wanted = follower.reached()["sparsity_weights"], follower.sparsity
        done = all(1 - tally.kept / tally.dense > tally.sparsity - 1 / tally.dense for tally in follower.tallies())
        told = f"this agent was pruned before: {gone:.1%} of its dense network's weights are gone"
        if done:
            moves = ", and none will be moved" if any(isinstance(step, Grow) for step in follower.plan) else ""
            warnings.warn(f"{told}, and no more will go for sparsity={wanted}{moves}", stacklevel=2)
            follower.progress = replace(follower.progress, step=len(follower.plan), epoch=follower.epochs)
        else:
            warnings.warn(f"{told}, and sparsity={wanted} counts from that network", stacklevel=2)

    def record(self) -> None:
        """Leave in the agent what it has to remember of its pruning when it is saved."""
        setattr(self.model, _DENSE, self._arch)
        said = arch(self.policy, self._shapes) is not None
        kept(self.model, self.masked.masks, {} if said else networks.shapes(self.policy))


class OnPolicy(Agent, onpolicy.Agent):
    """A2C and PPO: scored on their latest rollouts, each by its own loss."""

    def __init__(self, model: OnPolicyAlgorithm, pruner: Pruner, seeds: Seeds, steps: int, least: int) -> None:
        Agent.__init__(self, model, pruner, seeds, steps)
        self.batch: onpolicy.Batch | None = None
        self._wanted = max(1, -(-steps // self.unit))
        self.least = min(least, self._wanted)
        self._rollouts: deque[onpolicy.Batch] = deque(maxlen=self._wanted)

    def gains(self, log_probs: Tensor) -> Tensor:
        return ppo.ratio(log_probs) if isinstance(self.model, PPO) else log_probs

    def remember(self) -> None:
        self.batch = onpolicy.remembered(self.model.rollout_buffer)
        self._rollouts.append(self.batch)

    def scoring(self, round: int) -> Scoring:
        return self.scored_on(len(self._rollouts) or self._wanted, self._latest)

    def scored_on(self, rollouts: int, play: Any) -> Scoring:
        return replace(super().scored_on(rollouts, lambda: self._in_parts(play())), outputs=networks.outputs)

    def _in_parts(self, batches: Iterable[onpolicy.Batch]) -> Iterator[onpolicy.Batch]:
        """Return PPO's rollouts some steps at a time: whole ones may be more than memory holds.

        Advantages are normalised in each part, as in minibatches. So a part has steps of all games and of all times.
        """
        for batch in batches:
            size = len(batch["advantages"])
            least = 3  # so that no part is a single step, which has no deviation to normalise by
            most = max(self._steps, self.model.batch_size, least) if isinstance(self.model, PPO) else size
            parts = -(-size // most)
            for first in range(parts):
                yield tree_map(lambda values, rows=slice(first, None, parts): values[rows], dict(batch))

    def _latest(self) -> Iterable[onpolicy.Batch]:
        if len(self._rollouts) < self.least and elsewhere(self.model):
            raise NotYetError
        if not self._rollouts:
            self._play()
        return self._rollouts

    def _play(self) -> None:
        """Play before training: the agent's own rollouts, of which nothing but what was remembered is left."""
        model = self.model
        assert model.env is not None
        counted = ("num_timesteps", "ep_info_buffer", "ep_success_buffer", "_last_obs", "_last_episode_starts")
        before = {name: getattr(model, name) for name in counted}
        silent = _Silent()
        silent.init_callback(model)
        devices = [model.device] if model.device.type == "cuda" else []
        owned = Generators.seeded(self._seeds("scoring")).owned()
        with rehearsal.of(model.env, self._pruner.name) as restored, torch.random.fork_rng(devices), owned:
            vars(model).update(copy.deepcopy(before))
            try:
                for _ in range(self._wanted):
                    model.collect_rollouts(model.env, silent, model.rollout_buffer, model.n_steps)
                    self.remember()
            finally:
                vars(model).update(before)
        if not restored:
            model._last_obs = model.env.reset()
            model._last_episode_starts = np.ones(model.n_envs, dtype=bool)


class OffPolicy(Agent):
    """DQN, SAC, TD3 and DDPG: scored on a sample of their replay, each network on its own loss."""

    def scoring(self, round: int) -> Scoring:
        held = self.model.replay_buffer.size() * self.model.n_envs
        return self._scored_on(self._steps, f"scoring/{round}", min(self._steps, held))

    def learned(self, round: int) -> Scoring:
        return self._scored_on(self.model.batch_size, f"learned/{round}", 0)

    def _scored_on(self, transitions: int, use: str, samples: int) -> Scoring:
        def collect() -> list[Any]:
            batches = td.sampled(self.model, transitions, self._seeds(use))
            return [partial(td.loss, self.model, batch=batch) for batch in batches]

        return Scoring(collect, samples, networks.outputs, tempered=False)


def paces(model: Any) -> tuple[int, int]:
    """Return the environment steps of a rollout with its update, and those before anything is learned from."""
    if isinstance(model, OnPolicyAlgorithm):
        return model.n_steps * model.n_envs, 0
    frequency = model.train_freq
    return model.n_envs * (frequency.frequency if frequency.unit == TrainFrequencyUnit.STEP else 1), model.learning_starts


def subject(model: BaseAlgorithm, pruner: Pruner, seeds: Seeds, steps: int, least: int) -> "OnPolicy | OffPolicy":
    """Return a supported agent as a subject of pruning.

    Raises:
        ValueError: one whose channels cannot be cut.
    """
    if isinstance(model, OffPolicyAlgorithm):
        return OffPolicy(model, pruner, seeds, steps)
    assert isinstance(model, OnPolicyAlgorithm)
    return OnPolicy(model, pruner, seeds, steps, least)


def resume_pruning(model: BaseAlgorithm) -> float:
    """Hold at zero what is zero in an agent, from now on and in what it is saved as; return the share of its weights.

    For agents whose masks did not come with them: loaded without rlprune's policy class, or given weights by hand.

    Raises:
        ValueError: an agent that rlprune cannot prune, or without weights that are zero.
    """
    supported(model)
    policy: Any = model.policy
    named: dict[str, Tensor] = {
        name: policy.get_parameter(name).detach() for name in networks.anatomy(policy, channels=False).all_weights()
    }
    gone = sum(int((weight == 0).sum()) for weight in named.values())
    if not gone:
        raise ValueError("there is no pruning to resume: none of this agent's weights is zero")
    holder = masked(policy)
    holder.set({name: weight != 0 for name, weight in named.items() if not bool(weight.all())})
    policies.hold(policy, holder)
    kind: object = model.policy_class
    shapes = networks.shapes(policy) if isinstance(kind, policies.Held) and kind.shapes else {}
    if not hasattr(model, _DENSE):
        setattr(model, _DENSE, networks.arch(policy))
    kept(model, holder.masks, shapes)
    return gone / sum(weight.numel() for weight in named.values())


def masked(policy: Any) -> Masked:
    """Return masks for a policy, its optimizers and its targets."""
    trained = networks.optimizers(policy)
    starts = {"square_avg": 1.0} if any(isinstance(optimizer, RMSpropTFLike) for optimizer in trained) else {}
    return Masked(policy, trained, networks.copies(policy), starts)


def kept(model: Any, masks: Masks, shapes: networks.Shapes) -> None:
    """Let an agent be loaded with these masks, and cut to these shapes."""
    kind = model.policy_class.kind if isinstance(model.policy_class, policies.Held) else model.policy_class
    model.policy_class = policies.Held(kind, masks, shapes) if masks or shapes else kind


def dense(model: Any) -> Any:
    """Return the policy that an agent had before it was first pruned, freshly drawn if it was: its sizes are what matters."""
    if not hasattr(model, _DENSE):
        return model.policy
    kind = model.policy_class.kind if isinstance(model.policy_class, policies.Held) else model.policy_class
    options = {**networks.unshared(model.policy_kwargs), "net_arch": getattr(model, _DENSE)}
    with torch.random.fork_rng([]):
        return kind(model.observation_space, model.action_space, model.lr_schedule, **options)


def arch(policy: nn.Module, whole: networks.Shapes) -> networks.Arch | None:
    """Return the ``net_arch`` that, with whole features extractors, builds a policy of these sizes, or None."""
    cut = any(tuple(whole[name]) != shape for name, shape in networks.features(policy).items())
    return None if cut else networks.arch(policy)


def elsewhere(model: Any) -> bool:
    """Return whether an agent's environments are in other processes, which count every game that is played."""
    return not isinstance(model.env.unwrapped, DummyVecEnv)


class _Silent(BaseCallback):
    def _on_step(self) -> bool:
        return True
