"""Prune your own Stable-Baselines3 agent while it learns.

from rlprune.sb3 import PruneCallback

model = A2C("MlpPolicy", env)
model.learn(100_000, callback=PruneCallback("EarlyCroP-S", sparsity=0.9))
model.save("small")     # A2C.load("small") builds the small agent
"""

import copy
import hashlib
import math
import warnings
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import torch
from pydantic import ValidationError
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, EventCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from torch import nn

from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.plan import Plan, PruneTo, Train, after, begin, next_action, trained_epochs
from rlprune.pruning.probe import Scoring
from rlprune.pruning.pruner import CHANNELS, CommonSettings, Pruner, Scope, pruners
from rlprune.registry import nearest
from rlprune.training import onpolicy, policies, rehearsal
from rlprune.training.trainer import Generators, Seeds
from rlprune.words import in_words


class PruneCallback(BaseCallback):
    """Prunes an A2C or PPO agent with an MLP policy inside its own ``learn``.

    ``-S`` pruners really make the policy smaller, optimizer state included, so that ``learn`` goes on and ``save``,
    ``load`` and ``predict`` work on the small agent; ``-U`` pruners hold the removed weights at zero for good, in an
    agent that was saved and loaded, too. The agent's learning rate stays its owner's. Sparsity, distance and trigger go
    to the agent's logger under ``pruning/``.

    Scores come from the agent's latest rollouts. A pruner that prunes before training plays ``scoring_steps`` steps
    first, which nothing counts: the environments and what is wrapped around them work on copies meanwhile.

    On another agent the callback begins anew. Sparsity counts from the dense network, also where an agent was pruned
    before.

    Args:
        pruner: a name from ``rlprune list pruners``.
        sparsity: share of the policy's weights to remove, in (0, 1).
        epochs: how many epochs ``learn``'s rollouts are divided into, at most: all have as many, at least one with its
            update. Plans advance at their ends.
        scope: what is ranked against what; left out, what the pruner says, or else actor and critic apart.
        scoring_steps: environment steps to score on.
        seed: draws lots for pruners that need noise.
        verbose: as in Stable-Baselines3.
        **settings: settings of the pruner, say ``rounds=7``, or of all: ``actor=0.9, critic=0.95``, ``heads="dense"``.

    Raises:
        KeyError: no pruner of this name.
        ValueError: an argument out of range, a plan that rewinds; in ``learn`` an agent, or environments, that cannot be pruned
            yet, or too few rollouts for the plan.
    """

    def __init__(
        self,
        pruner: str,
        sparsity: float,
        *,
        epochs: int = 30,
        scope: Scope | None = None,
        scoring_steps: int = 2048,
        seed: int = 0,
        verbose: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(verbose)
        self._pruner = pruners().load(pruner)
        if not isinstance(sparsity, float | np.floating) or not 0 < sparsity < 1:
            raise ValueError(f"sparsity is the share of weights to remove, between 0 and 1; got {sparsity!r}")
        for name, value, least in (("epochs", epochs, 1), ("scoring_steps", scoring_steps, 1), ("seed", seed, 0)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{name} is a whole number, at least {least}; got {value!r}")
        if scope not in (None, *get_args(Scope)):
            raise ValueError(f"scope is one of {', '.join(get_args(Scope))}; got {scope!r}{nearest(str(scope), get_args(Scope))}")
        self._settings = _settings(self._pruner, {**settings, "scope": scope})
        if trained_epochs(self._pruner.steps(self._settings), epochs, sparsity) > epochs:
            raise ValueError(f"{self._pruner.name} trains and rewinds many times; a single learn() cannot follow it")
        self._sparsity, self._asked, self._seed = sparsity, epochs, seed
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
        if isinstance(self.parent, EventCallback):
            raise ValueError(f"PruneCallback goes to learn() itself or into a list, not into {type(self.parent).__name__}")
        if self._follower is None or self._agent.policy is not self.model.policy:
            self._begin()

    def _begin(self) -> None:
        """Begin with an agent that this callback has not met."""
        model = supported(self.model, self._pruner)
        rollout = model.n_steps * model.n_envs
        rollouts = -(-(model._total_timesteps - model.num_timesteps) // rollout)
        if rollouts < 1:
            raise ValueError(f"learn() was asked for no steps; a rollout with its update takes {rollout}")
        length = -(-rollouts // self._asked)
        epochs = -(-rollouts // length)
        plan = self._pruner.steps(self._settings)
        if (wanted := _training(plan, self._asked, self._sparsity)) != _training(plan, epochs, self._sparsity):
            enough = (n for n in range(epochs, self._asked) if _training(plan, n, self._sparsity) == wanted)
            raise ValueError(
                f"{self._pruner.name} trains before or between its cuts, and this learn() is {rollouts} rollout(s) of {rollout} "
                f"steps: ask for {next(enough, self._asked) * rollout} steps, or for shorter rollouts (n_steps)"
            )
        agent = _Agent(model, self._scoring_steps, self._pruner, self._seeds)
        follower = PlanFollower(agent, self._pruner, self._settings, self._sparsity, epochs, "network", self._seeds, length)
        agent.go_on_from_earlier(follower)
        policies.hold(agent.policy, agent.masked)
        self._agent, self._follower = agent, follower
        self._epochs, self._length, self._all, self._rollouts = epochs, length, rollouts, 0
        try:
            self._advance()
        except BaseException:  # nothing was begun: another learn() begins anew
            self._follower = None
            raise

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self._agent.policy is not self.model.policy:
            raise ValueError("the agent's policy was replaced while it was pruned: load weights into it by set_parameters()")
        self._catch_up()

    def _on_rollout_end(self) -> None:
        self._agent.remember()
        self._rollouts += 1
        self.logger.record("pruning/sparsity", self.pruning.reached()["sparsity_weights"])
        for name, value in (("distance", self.pruning.travelled), ("trigger", self.pruning.trigger_value)):
            if value is not None:
                self.logger.record(f"pruning/{name}", value)

    def _on_training_end(self) -> None:
        self._catch_up()

    def _catch_up(self) -> None:
        """End the epochs, or the parts of them, whose rollouts were played and learned from."""
        played = self._epochs * self._length if self._rollouts >= self._all else self._rollouts
        while self._due <= played:
            self.pruning.epoch_done()
            self._advance()

    def _advance(self) -> None:
        """Do what is due, and take note of the rollout after which something is again."""
        rounds, epoch = self.pruning.progress.rounds, self.pruning.next_epoch()
        self._due = math.inf if epoch is None else self.pruning.progress.epoch * self._length + epoch.last
        if self.pruning.progress.rounds > rounds:
            self._agent.record()
            if self.verbose:
                reached = self.pruning.reached()["sparsity_weights"]
                self.logger.log(
                    f"{self._pruner.name}: {reached:.1%} of the policy's weights removed at step {self.num_timesteps}"
                )

    def _seeds(self, use: str) -> np.random.SeedSequence:
        digest = hashlib.sha256(f"{self._seed}/{use}".encode()).digest()
        return np.random.SeedSequence(int.from_bytes(digest[:16], "big"))


def _settings(pruner: Pruner, given: Mapping[str, Any]) -> CommonSettings:
    try:
        return pruner.settings(given)
    except ValidationError as error:
        told = in_words(error, type(pruner.settings()))
        raise ValueError("; ".join(f"{pruner.name}, setting '{keys[0]}': {message}" for keys, message in told)) from None


def supported(model: BaseAlgorithm, pruner: Pruner) -> OnPolicyAlgorithm:
    """Return the model if it can be pruned.

    Raises:
        ValueError: what about it cannot, and what can.
    """
    what = "rlprune prunes A2C and PPO agents with MLP policies"
    if not isinstance(model, A2C | PPO):
        raise ValueError(f"{what}; {type(model).__name__} is not supported yet")
    if type(model).train not in (A2C.train, PPO.train):
        raise ValueError(f"{what}; {type(model).__name__} trains in a way of its own, whose loss is not known")
    if model.use_sde:
        raise ValueError(f"{what}; state-dependent exploration (use_sde=True) is not supported yet")
    policy = model.policy
    if type(policy) is not ActorCriticPolicy:
        raise ValueError(f"{what}; this one is a {type(policy).__name__}")
    heads: list[tuple[nn.Module, type[nn.Module]]] = [(head, nn.Linear) for head in (policy.action_net, policy.value_net)]
    extractors = (policy.features_extractor, policy.pi_features_extractor, policy.vf_features_extractor)
    flat = [(extractor, FlattenExtractor) for extractor in extractors]
    for part, wanted in (*flat, (policy.mlp_extractor, MlpExtractor), *heads):
        if type(part) is not wanted:
            raise ValueError(f"{what}; this one has a {type(part).__name__} for a {wanted.__name__}")
    _whole(policy, what)
    if pruner.cut == CHANNELS:
        _with_channels(policy, pruner.name)
    return model


def _whole(policy: ActorCriticPolicy, what: str) -> None:
    """Raise a ValueError where a weight is not one layer's own, or does not learn."""
    weights, named = policies.anatomy(policy).all_weights(), dict(policy.named_parameters())
    trained = {id(parameter) for group in policy.optimizer.param_groups for parameter in group["params"]}
    for name in (*weights, *named):
        if name not in named:
            raise ValueError(f"{what}; {name} of this one is shared or parametrised")
        if name not in weights and named[name].dim() > 1:
            raise ValueError(f"{what}; {name} of this one belongs to no such layer")
        if name in weights and (not named[name].requires_grad or id(named[name]) not in trained):
            raise ValueError(f"{what}, all of whose weights learn; {name} of this one is frozen or not in policy.optimizer")


def _with_channels(policy: ActorCriticPolicy, pruner: str) -> None:
    """Raise a ValueError where hidden units cannot be cut out one by one."""
    for network, body in (("actor", policy.mlp_extractor.policy_net), ("critic", policy.mlp_extractor.value_net)):
        layers = list(body.children())
        if not layers:
            raise ValueError(f"{pruner} cuts hidden units and the {network} has none: take a pruner that ends in -U")
        for linear, activation in pairwise(layers):
            if isinstance(linear, nn.Linear) and not _elementwise(activation, linear.out_features):
                kind = type(activation).__name__
                raise ValueError(
                    f"{pruner} cuts hidden units, which {kind} does not treat each for itself: take one that ends in -U"
                )


def _elementwise(activation: nn.Module, width: int) -> bool:
    alone, lots = copy.deepcopy(activation).cpu().eval(), torch.Generator().manual_seed(0)
    units = torch.randn(4, width + 1, generator=lots)
    try:
        with torch.no_grad():
            whole, part = alone(units), alone(units[:, 1:])
    except (RuntimeError, ValueError, IndexError):  # it wants a width of its own
        return False
    return whole.shape == units.shape and torch.allclose(whole[:, 1:], part)


def _training(plan: Plan, epochs: int, sparsity: float) -> list[bool]:
    """Return before which rounds of pruning a plan trains whole epochs, and whether it does after the last."""
    plan = [step for step in plan if not (isinstance(step, Train) and step.fine)]
    progress, trained = begin(plan, sparsity, epochs), 0
    found = []
    while (action := next_action(plan, sparsity, epochs, progress)) is not None:
        if isinstance(action, PruneTo):
            found.append(progress.trained > trained)
            trained = progress.trained
        progress = after(plan, sparsity, epochs, progress, action)
    return [*found, progress.trained > trained]


_DENSE = "dense_net_arch"  # where an agent remembers, saved with it, what it was before it was first pruned


class _Agent(onpolicy.Agent):
    """Somebody's agent, scored on what it played last."""

    def __init__(self, model: OnPolicyAlgorithm, scoring_steps: int, pruner: Pruner, seeds: Seeds) -> None:
        self._dense: policies.Widths = getattr(model, _DENSE, None) or policies.widths(model.policy)
        super().__init__(model, self._dense)
        self.policy = model.policy
        self._pruner, self._seeds = pruner, seeds
        self._wanted = max(1, -(-scoring_steps // (model.n_steps * model.n_envs)))
        self._rollouts: deque[onpolicy.Batch] = deque(maxlen=self._wanted)

    def go_on_from_earlier(self, follower: PlanFollower) -> None:
        """Count what was pruned before from the dense network, and tell it.

        Raises:
            ValueError: channels to be cut where weights are masked.
        """
        kind: object = self.model.policy_class
        masks = kind.masks if isinstance(kind, policies.Held) else {}
        if not masks and self._dense == policies.widths(self.policy):
            return
        if masks and self._pruner.cut == CHANNELS:
            raise ValueError(
                f"{self._pruner.name} cuts channels; this agent's weights are masked already: take one that ends in -U"
            )
        follower.counted_from(policies.shapes(self.policy, self._dense), masks)
        gone, wanted = follower.reached()["sparsity_weights"], follower.sparsity
        done = all(1 - tally.kept / tally.dense > tally.sparsity - 1 / tally.dense for tally in follower.tallies())
        told = f"this agent was pruned before: {gone:.1%} of its dense network's weights are gone"
        if done:
            warnings.warn(f"{told}, and no more will go for sparsity={wanted}", stacklevel=2)
            follower.progress = replace(follower.progress, step=len(follower.plan), epoch=follower.epochs)
        else:
            warnings.warn(f"{told}, and sparsity={wanted} counts from that network", stacklevel=2)

    def record(self) -> None:
        """Leave in the agent what it has to remember of its pruning when it is saved."""
        setattr(self.model, _DENSE, self._dense)
        if masks := self.masked.masks:
            self.model.policy_class = policies.Held(self.model.policy_class, masks)  # type: ignore[assignment]

    def remember(self) -> None:
        """Keep the rollout just played."""
        self.batch = onpolicy.remembered(self.model.rollout_buffer)
        self._rollouts.append(self.batch)

    def scoring(self, round: int) -> Scoring:
        return self.scored_on(self._wanted, self._latest)

    def _latest(self) -> Iterable[onpolicy.Batch]:
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
            model._last_obs = model.env.reset()  # type: ignore[assignment]
            model._last_episode_starts = np.ones(model.n_envs, dtype=bool)


class _Silent(BaseCallback):
    def _on_step(self) -> bool:
        return True
