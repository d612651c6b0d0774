"""Many A2C or PPO agents trained as one batch, each behind the same seam as a single one.

An agent's numbers depend on nothing but its own seed, plan and padded sizes: not on who else is in the fleet. Between
epochs an agent is a Stable-Baselines3 policy with its optimizer, so pruning, cutting, rewinding, saving and loading
are those of the trainer of one; for an epoch agents of equal sizes are joined into a ``Fleet``.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from rlprune.pruning.plan import TrainEpoch
from rlprune.training import environments, insides
from rlprune.training.a2c import A2CTrainer
from rlprune.training.batched import Agent, Fleet, Sizes, sizes
from rlprune.training.batched_ppo import PPOFleet
from rlprune.training.compiled.fleet import CompiledFleet, CompiledPPOFleet
from rlprune.training.onpolicy import OPTIMIZERS, Batch, OnPolicyTrainer, statistics
from rlprune.training.ppo import PPOTrainer
from rlprune.training.recipes import A2CRecipe, OnPolicyRecipe, PPORecipe
from rlprune.training.trainer import Seeds

R = TypeVar("R", bound=OnPolicyRecipe)


class Member(OnPolicyTrainer[R]):
    """One agent of a fleet; alone it is a fleet of one."""

    batched: ClassVar[type[Fleet]]
    """What agents are joined into for an epoch."""
    compiled: ClassVar[type[Fleet]]
    """The same on a CPU."""

    def __init__(self, recipe: R, seeds: Seeds, device: str) -> None:
        super().__init__(recipe, seeds, device)
        self.env = self.environments(recipe.environments, "environments")
        self.games = environments.Games(1, recipe.environments, device)
        self._seed, self._rollouts = _word(seeds, "actions"), 0

    @property
    def recipe(self) -> R:
        return self._recipe

    @property
    def samples(self) -> int:
        return self._rollouts * self._recipe.rollout_steps * self._recipe.environments

    def train_epoch(self, epoch: TrainEpoch) -> Mapping[str, float]:
        (measures,) = self.train_together([self], [epoch])
        return measures

    @staticmethod
    def train_together(trainers: Sequence["Member[Any]"], epochs: Sequence[TrainEpoch]) -> list[Mapping[str, float]]:
        measures: list[Mapping[str, float]] = [{}] * len(trainers)
        spans = [epoch.span(trainer.steps) for trainer, epoch in zip(trainers, epochs, strict=True)]
        for numbers in _alike(trainers, spans):
            some = [epochs[number] for number in numbers]
            _train_alike([trainers[number] for number in numbers], some, spans[numbers[0]])
            for number, epoch in zip(numbers, some, strict=True):
                if epoch.ends:
                    measures[number] = {**trainers[number].latest(), **trainers[number]._insides()}
        return measures

    def evaluate(self) -> Mapping[str, float]:
        (measures,) = self.evaluate_together([self])
        return measures

    @staticmethod
    def evaluate_together(trainers: Sequence["Member[Any]"]) -> list[Mapping[str, float]]:
        """Play each agent's fresh games greedily and, again, by sampling; add its latest training games."""
        measures: list[Mapping[str, float]] = [{}] * len(trainers)
        for numbers in _alike(trainers):
            agents = [trainers[number] for number in numbers]
            games = [_play(agents, greedily=greedily) for greedily in (True, False)]
            for number, agent, *returns in zip(numbers, agents, *games, strict=True):
                measures[number] = {**statistics(*returns), **agent.latest()}
        return measures

    def latest(self) -> dict[str, float]:
        """Return the mean return of the latest training games, or nothing before the first one ended."""
        mean = float(self.games.means()[0])
        return {} if np.isnan(mean) else {"return_train": mean}

    def forget(self) -> None:
        self.games.forget()

    def state(self) -> dict[str, Any]:
        return {
            "policy": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rollouts": self._rollouts,
            "batch": self.batch,
            "env": self.env.state(),
            "games": self.games.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._rollouts, self.batch = state["rollouts"], state["batch"]
        self.env.load_state(state["env"])
        self.games.load_state(state["games"])

    def close(self) -> None:
        super().close()
        self.env.close()

    # -- between a policy and a fleet ----------------------------------------------------------------------------

    def agent(self) -> Agent:
        """Return what a fleet needs to know: weights, masks, the optimizer's averages, and where its noise stands."""
        weights = {name: parameter.detach() for name, parameter in self.module.named_parameters()}
        states = {name: self.optimizer.state.get(parameter, {}) for name, parameter in self.module.named_parameters()}
        averages = [key for key in next(iter(states.values())) if key != "step"]
        return Agent(
            self._seed,
            weights,
            dict(self.masked.masks),
            moments={key: {name: state[key] for name, state in states.items()} for key in averages},
            updates=max((int(state["step"]) for state in states.values() if state), default=0),
            rollouts=self._rollouts,
        )

    def take(self, agent: Agent, batch: Batch, env: environments.BatchedEnv, games: environments.Games) -> None:
        """Take over what an agent became in a fleet, and what it learned from last."""
        for name, parameter in self.module.named_parameters():
            parameter.data.copy_(agent.weights[name])
            averages = {key: values[name] for key, values in agent.moments.items()}
            self.optimizer.state[parameter] = {"step": OPTIMIZERS[self._recipe.optimizer].updates(agent.updates), **averages}
        self._rollouts, self.batch, self.env, self.games = agent.rollouts, batch, env, games

    def saw(self, features: Tensor, epoch: TrainEpoch) -> None:
        """Keep the last observations [samples, features] of an epoch, at an aligned address of their own."""
        before = features[:0] if epoch.begins or not self._seen else self._seen.pop()
        self._seen.clear()
        self._seen.append(torch.cat([before, features])[-insides.SAMPLES :].clone())

    def _insides(self) -> Mapping[str, float]:
        """Return the measures of the networks as they are, on the last observations that the epoch saw."""
        return insides.measures(self.module, self._seen[-1])

    def environments(self, count: int, use: str) -> environments.BatchedEnv:
        """Return fresh environments, whose games follow from the agent's seed for this use."""
        recipe, device = self._recipe, str(self.model.device)
        env = environments.make(recipe.environment, count, recipe.max_episode_steps, device, recipe.plays_with)
        env.reset(torch.tensor([_word(self.seeds, use)]))
        return env


class FleetAgent(Member[A2CRecipe], A2CTrainer):
    """An A2C agent of a fleet."""

    batched, compiled = Fleet, CompiledFleet


class PPOFleetAgent(Member[PPORecipe], PPOTrainer):
    """A PPO agent of a fleet."""

    batched, compiled = PPOFleet, CompiledPPOFleet


def _alike(agents: Sequence[Member[Any]], spans: Sequence[range] | None = None) -> list[list[int]]:
    """Return the numbers of the agents of each size, and that train as long."""
    alike: dict[tuple[Sizes, range], list[int]] = defaultdict(list)
    for number, (agent, span) in enumerate(zip(agents, spans or [range(0)] * len(agents), strict=True)):
        alike[sizes(dict(agent.module.named_parameters())), span].append(number)
    return list(alike.values())


def _play(agents: Sequence[Member[Any]], *, greedily: bool) -> Tensor:
    """Return the returns ``[agents, evaluation_games]`` of one fresh game in each environment."""
    recipe = agents[0].recipe
    env = environments.join([agent.environments(recipe.evaluation_games, "evaluation") for agent in agents])
    fleet = _fleet(agents, env)
    noise = torch.tensor([_word(agent.seeds, "evaluation actions") for agent in agents])
    games = fleet.evaluate(env, noise, greedily=greedily).cpu()
    env.close()
    return games


def _fleet(agents: Sequence[Member[Any]], env: environments.BatchedEnv, games: environments.Games | None = None) -> Fleet:
    """Return the agents as a fleet of their device."""
    first, device = agents[0], agents[0].model.device
    kind = first.compiled if device.type == "cpu" else first.batched
    return kind([agent.agent() for agent in agents], env, first.recipe, str(device), games)


def _train_alike(agents: Sequence[Member[Any]], epochs: Sequence[TrainEpoch], span: range) -> None:
    recipe = agents[0].recipe
    env = environments.join([agent.env for agent in agents])
    games = environments.Games.join([agent.games for agent in agents])
    fleet = _fleet(agents, env, games)
    seen = fleet.train(recipe.iterations, [epoch.start for epoch in epochs], [epoch.end for epoch in epochs], span)
    parts = zip(agents, epochs, seen, fleet.envs.split(), fleet.games.split(), strict=True)
    for number, (agent, epoch, features, own, latest) in enumerate(parts):
        agent.take(fleet.agent(number), fleet.learned(number), own, latest)
        agent.saw(features, epoch)


def _word(seeds: Seeds, use: str) -> int:
    return int(seeds(use).generate_state(1, np.uint64).view(np.int64)[0])
