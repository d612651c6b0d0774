"""The callback: a plan that advances inside somebody's ``learn``."""

import math
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EventCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from rlprune.pruning.arguments import scope_of, seed_sequence, share, whole
from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.plan import Plan, Prune, PruneTo, Train, after, begin, next_action, trained_epochs
from rlprune.pruning.pruner import CHANNELS, Scope, pruners
from rlprune.registry import spelled
from rlprune.sb3 import agents
from rlprune.sb3.summary import Summary, summary
from rlprune.sb3.supported import supported
from rlprune.training import networks, policies
from rlprune.training.recipes import AgentRecipe
from rlprune.words import several


class PruneCallback(BaseCallback):
    """Prunes an A2C, PPO, DQN, SAC, TD3 or DDPG agent inside its own ``learn``.

    ``-S`` pruners really make the networks smaller, optimizer state and targets included, so that ``learn`` goes on and
    ``save``, ``load`` and ``predict`` work on the small agent; ``-U`` pruners hold the removed weights at zero for good, in
    an agent that was saved and loaded, too. The agent's learning rate stays its owner's. Sparsity, distance and trigger go
    to the agent's logger under ``pruning/``.

    A2C and PPO are scored on their latest rollouts. A pruner that prunes before training plays ``scoring_steps`` steps
    first, which nothing counts: the environments and what is wrapped around them work on copies meanwhile. Where they are in
    other processes it waits for so many steps, an epoch at most, that the dense agent plays and learns from. The others are
    scored on a sample of their replay, each network on its own loss, and every pruner waits until ``learning_starts`` steps
    are collected; its epochs are those of the steps after.

    On another agent the callback begins anew. Sparsity counts from the dense network, also where an agent was pruned
    before.

    Args:
        pruner: a name from ``rlprune list pruners``.
        sparsity: share of the networks' weights to remove, in (0, 1).
        epochs: how many epochs ``learn``'s rollouts are divided into, at most: all have as many, at least one with its
            update. Plans advance at their ends.
        scope: what is ranked against what; left out, what the pruner says, or else every network apart, twin critics too.
            A features extractor that several share is a network of its own.
        scoring_steps: environment steps, or transitions of the replay, to score on.
        seed: draws lots for pruners that need noise.
        verbose: 1 tells whenever weights were removed.
        **settings: settings of the pruner, say ``rounds=7``, or of all: ``actor=0.9, critic=0.95``, ``heads="dense"``. What stays
            is rescaled, so that each layer passes on as much as before; ``start="kept"`` leaves it as it is, as papers do.
            ``rate_held`` has nothing to say here.

    Raises:
        UnknownName: no pruner of this name, a KeyError.
        ValueError: an argument out of range, a plan that rewinds; in ``learn`` an agent, or environments, that cannot be pruned
            yet, or too few rollouts for the plan.
    """

    @spelled
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
        sparsity, epochs, scope = share(sparsity), whole("epochs", epochs, 1), scope_of(scope)
        scoring_steps, seed = whole("scoring_steps", scoring_steps, 1), whole("seed", seed, 0)
        start = self._pruner.starts(AgentRecipe.start)
        self._settings = self._pruner.asked({"start": start, **settings, "scope": scope}, PruneCallback)
        if trained_epochs(self._pruner.steps(self._settings), epochs, sparsity) > epochs:
            raise ValueError(f"{self._pruner.name} trains and rewinds many times; a single learn() cannot follow it")
        if self._settings.rate_held is not None:
            raise ValueError("rate_held changes nothing here: the learning rate is the agent's own")
        self._sparsity, self._asked, self._seeds = sparsity, epochs, partial(seed_sequence, seed)
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

    @property
    def done(self) -> bool:
        """Whether all is pruned that the plan asks for."""
        follower = self._follower
        return follower is not None and not any(isinstance(step, Prune) for step in follower.plan[follower.progress.step :])

    def evaluate_after(self, callback: BaseCallback | list[BaseCallback]) -> BaseCallback:
        """Return a callback, of one or of a list, that begins once pruning is done, so that EvalCallback's best model is pruned.

        ``learn(callback=[pruning, pruning.evaluate_after(EvalCallback(...))])``
        """
        return _After(self, CallbackList(callback) if isinstance(callback, list) else callback)

    def summary(self, actions_a_second: float | None = None) -> Summary:
        """Return sizes, the sparsity of every layer, and latency beside a dense agent's; printed, it is two tables.

        Args:
            actions_a_second: measure energy, too, three seconds an agent, and give it for an hour of so many actions.

        Raises:
            RuntimeError: ``learn`` was not called yet.
            ValueError: a number of actions that is not positive and finite.
        """
        return summary(self.pruning, self._agent, actions_a_second)

    def _on_training_start(self) -> None:
        if isinstance(self.parent, EventCallback):
            raise ValueError(f"PruneCallback goes to learn() itself or into a list, not into {type(self.parent).__name__}")
        if self._follower is None or self._agent.policy is not self.model.policy:
            self._begin()

    def _begin(self) -> None:
        """Begin with an agent that this callback has not met."""
        model = self.model
        supported(model)
        self._alone()
        unit, warmup = agents.paces(model)
        replays = isinstance(model, OffPolicyAlgorithm)
        rollouts = -(-(model._total_timesteps - max(model.num_timesteps, warmup)) // unit)
        if rollouts < 1:
            steps = model._total_timesteps - model.num_timesteps
            begins = f", and learning begins after {warmup} (learning_starts)" if warmup else ""
            raise ValueError(f"learn() was asked for {steps or 'no'} steps{begins}; a rollout with its update takes {unit}")
        length = -(-rollouts // self._asked)
        epochs = -(-rollouts // length)
        plan = self._pruner.steps(self._settings)
        if (wanted := _training(plan, self._asked, self._sparsity)) != _training(plan, epochs, self._sparsity):
            enough = (n for n in range(epochs, self._asked) if _training(plan, n, self._sparsity) == wanted)
            raise ValueError(
                f"{self._pruner.name} trains before or between its cuts, and this learn() is {rollouts} rollout(s) of {unit} "
                f"steps: ask for {next(enough, self._asked) * unit + warmup} steps, or for shorter rollouts "
                f"({'train_freq' if replays else 'n_steps'})"
            )
        networks.forget(model.policy)
        agent = agents.subject(model, self._pruner, self._seeds, self._scoring_steps, length)
        follower = PlanFollower(agent, self._pruner, self._settings, self._sparsity, epochs, "network", self._seeds, length)
        agent.go_on_from_earlier(follower)
        policies.hold(agent.policy, agent.masked)
        self._agent, self._follower = agent, follower
        self._epochs, self._length, self._all, self._steps = epochs, length, rollouts, 0
        self._waits, self._replays, self._gone = True, replays, follower.reached()["sparsity_weights"]
        try:
            if not replays:
                self._advance()
        except BaseException:  # nothing was begun: another learn() begins anew
            self._follower = None
            raise
        if self._waits and not replays:
            warnings.warn(
                f"{self._pruner.name} needs games before training, and these environments, in other processes, would count "
                f"them: it waits for {agent.least} rollout(s) that the dense agent plays and learns from",
                stacklevel=2,
            )

    def _alone(self) -> None:
        """Refuse another callback of the same ``learn`` that is at work, where one of the two cuts what the other knows.

        Raises:
            ValueError: which of them cuts, and which is not done.
        """
        for other in _each(self.locals.get("callback")):
            if isinstance(other, PruneCallback) and other is not self and other._follower is not None and not other.done:
                cutting = next((one._pruner.name for one in (other, self) if one._pruner.cut == CHANNELS), None)
                if cutting and other._agent.policy is self.model.policy:
                    raise ValueError(
                        f"{cutting} cuts channels while another callback is at work, for {self._pruner.name} begins before "
                        f"{other._pruner.name} is done: let one learn() follow the other"
                    )

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self._agent.policy is not self.model.policy:
            raise ValueError("the agent's policy was replaced while it was pruned: load weights into it by set_parameters()")
        self._catch_up()
        self._played = self.model.num_timesteps

    def _on_rollout_end(self) -> None:
        self._agent.remember()
        learned = self.model.num_timesteps - max(self._played, self._agent.warmup)
        self._steps += max(0, learned)
        if self._waits and self._replays and learned > 0:
            self._advance()  # what comes next is the first update
            self._tell_how_little()
        self.logger.record("pruning/sparsity", self._gone)
        for name, value in (("distance", self.pruning.travelled), ("trigger", self.pruning.trigger_value)):
            if value is not None:
                self.logger.record(f"pruning/{name}", value)

    def _on_training_end(self) -> None:
        self._catch_up()

    def _tell_how_little(self) -> None:
        """Warn where there was less to score on than learning itself waits for, as of an agent loaded without its replay."""
        model: Any = self.model
        held, most = (size * model.n_envs for size in (model.replay_buffer.size(), model.replay_buffer.buffer_size))
        if self.pruning.scoring_samples and held < min(self._scoring_steps, self._agent.warmup, most):
            warnings.warn(
                f"{self._pruner.name} was scored on {held} transition{'s' if held > 1 else ''}, all that the replay holds: "
                "load_replay_buffer() before learn()",
                stacklevel=2,
            )

    def _catch_up(self) -> None:
        """End the epochs, or the parts of them, whose rollouts were played and learned from."""
        rollouts = -(-self._steps // self._agent.unit)  # of the first, what comes before learning does not count
        played = self._epochs * self._length if rollouts >= self._all else rollouts
        if self._waits and played and not self._replays:
            self._advance()
        while not self._waits and self._due <= played:
            self.pruning.epoch_done()
            self._advance()

    def _advance(self) -> None:
        """Do what is due, and take note of the rollout after which something is again."""
        rounds, before = self.pruning.progress.rounds, self._gone
        networks.forget(self._agent.policy)
        try:
            epoch = self.pruning.next_epoch()
        except agents.NotYetError:
            return
        self._waits = False
        self._due = math.inf if epoch is None else self.pruning.progress.epoch * self._length + epoch.last
        if self.pruning.progress.rounds > rounds:
            self._agent.record()
            self._gone = self.pruning.reached()["sparsity_weights"]
            if self.verbose and self._gone != before:
                weights = sum(layer["dense"] for layer in self.pruning.layers().values())
                at = f"step {self.num_timesteps:,}, after {self.pruning.progress.trained} of {self._epochs} epochs"
                why = {None: "", True: "; its trigger fired", False: "; the latest moment came first, its trigger had not fired"}
                told = f"{self._pruner.name}: {self._gone:.1%} of {weights:,.0f} weights are removed at {at}"
                sys.stdout.write(f"{told}{why[self.pruning.fired]}\n")
                if collapsed := self.pruning.collapsed():
                    sys.stdout.write(f"{self._pruner.name}: hardly anything passes any more: left are {several(collapsed)}\n")


class _After(BaseCallback):
    """Passes on what ``learn`` tells once pruning is done."""

    def __init__(self, pruning: PruneCallback, callback: BaseCallback) -> None:
        super().__init__()
        self._pruning, self._callback = pruning, callback

    def _init_callback(self) -> None:
        self._callback.init_callback(self.model)

    def _on_training_start(self) -> None:
        self._callback.on_training_start(self.locals, self.globals)

    def _on_step(self) -> bool:
        return not self._pruning.done or self._callback.on_step()

    def _on_rollout_start(self) -> None:
        if self._pruning.done:
            self._callback.on_rollout_start()

    def _on_rollout_end(self) -> None:
        if self._pruning.done:
            self._callback.on_rollout_end()

    def _on_training_end(self) -> None:
        self._callback.on_training_end()

    def update_child_locals(self, locals_: dict[str, Any]) -> None:
        self._callback.update_locals(locals_)


def _each(callback: BaseCallback | None) -> Iterator[BaseCallback]:
    """Return the callbacks of a list, and of lists in it."""
    if isinstance(callback, CallbackList):
        for inner in callback.callbacks:
            yield from _each(inner)
    elif callback is not None:
        yield callback


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
