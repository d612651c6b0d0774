"""Off-policy algorithms of Stable-Baselines3, which learn from a replay buffer, behind the trainer's seam."""

import copy
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from torch import Tensor, nn

from rlprune.costs import cost
from rlprune.pruning.groups import Anatomy
from rlprune.pruning.masked import Masked, Masks
from rlprune.pruning.plan import TrainEpoch
from rlprune.pruning.probe import Scoring
from rlprune.training import insides, networks, policies, td
from rlprune.training.convolution import Convolution
from rlprune.training.environments.parallel import Environments, games
from rlprune.training.played import ACTIVATIONS, Played
from rlprune.training.recipes import OffPolicyRecipe
from rlprune.training.trainer import Generators, Seeds

R = TypeVar("R", bound=OffPolicyRecipe)

_HELD = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
"""What a replay buffer holds of each transition."""


class OffPolicyTrainer(Played[R]):
    """One agent that plays Gymnasium and learns by an off-policy algorithm of Stable-Baselines3, an epoch at a time.

    It is scored on transitions out of its replay buffer, each network on its own loss; before there are any, on those of random
    actions. Target networks follow masks and cuts. What it has seen outlives a rewind.
    """

    model: OffPolicyAlgorithm
    algorithm: ClassVar[type[OffPolicyAlgorithm]]
    learnings: ClassVar[Mapping[str, float]]
    """How many forward passes of each network learning from a transition costs, backward ones counted as two."""

    def __init__(self, recipe: R, seeds: Seeds, device: str) -> None:
        self._recipe = recipe
        self.seeds = seeds
        envs = Environments(recipe, recipe.environments, seeds("environments"))
        if refusal := recipe.plays.refusal(recipe.environment, envs.observation_space, envs.action_space):
            raise ValueError(refusal)
        convolved = recipe.filters and {
            "features_extractor_class": Convolution,
            "features_extractor_kwargs": {"filters": recipe.filters},
        }
        with Generators.seeded(seeds("network")).owned(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You are trying to run .* on the GPU")  # it was asked for
            self.model = self.algorithm(
                "MlpPolicy",
                envs,
                learning_rate=self._schedule(recipe.learning_rate),
                buffer_size=recipe.replay,
                learning_starts=recipe.learning_starts,
                batch_size=recipe.minibatch,
                gamma=recipe.discount,
                train_freq=recipe.play_steps,
                gradient_steps=recipe.updates,
                policy_kwargs={
                    "net_arch": list(recipe.widths),
                    "activation_fn": ACTIVATIONS[recipe.activation],
                    **(convolved or {}),
                },
                device=device,
                **recipe.arguments,
            )
        self.model.set_logger(Logger(None, []))  # its own would leave a folder in /tmp behind
        self.model.action_space = _drawing(envs.action_space, seeds("random actions"))
        for name in ("observations", "next_observations"):
            if (held := getattr(self._replay, name)).dtype == np.float64:  # networks read them in single precision anyway
                setattr(self._replay, name, np.zeros(held.shape, np.float32))
        self._anatomy = networks.anatomy(self.module, channels=True)
        self.masked = Masked(self.module, self.optimizers, self._anatomy.copies)
        self._generators = Generators.seeded(seeds("actions"))
        self._learning = 1.0  # share of the steps that were learned after, in the last piece of training

    # -- what gets pruned ----------------------------------------------------------------------------------------

    @property
    def module(self) -> BasePolicy:
        return self.model.policy

    @property
    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        return networks.optimizers(self.module)

    @property
    def anatomy(self) -> Anatomy:
        return self._anatomy

    def resized(self) -> None:
        networks.settled(self.module)

    def redrawn(self) -> Mapping[str, Tensor]:
        return networks.redrawn(self.module, self._anatomy.all_weights())

    def scoring(self, round: int) -> Scoring:
        """Score on ``scoring_steps`` transitions out of the replay buffer, or of random actions where it is empty."""
        return self._scored(f"scoring/{round}", self._recipe.scoring_steps)

    def learned(self, round: int) -> Scoring:
        """Score on one minibatch, which learning draws anew each time."""
        return self._scored(f"learned/{round}", self._recipe.minibatch) if self._replay.size() else self.scoring(round)

    def _scored(self, use: str, transitions: int) -> Scoring:
        def collect() -> list[Callable[[nn.Module, float], Tensor]]:
            with self._something_seen(use, transitions):
                batches = td.sampled(self.model, transitions, self.seeds(use))
            return [partial(self.loss, batch=batch) for batch in batches]

        samples = 0 if self._replay.size() else transitions
        return Scoring(collect, samples, networks.outputs, tempered=False)

    def loss(self, policy: nn.Module, temperature: float = 1.0, *, batch: td.Transitions) -> Tensor:
        """The sum of what each network learns from, whose gradient is each one's own; there is no temperature."""
        return td.loss(self.model, policy, temperature, batch=batch)

    @contextmanager
    def _something_seen(self, use: str, transitions: int) -> Iterator[None]:
        """Let the replay buffer hold transitions of random actions for a while, if it holds none."""
        held = self._replay
        if not held.size():
            self.model.replay_buffer = self._at_random(transitions, *self.seeds(f"{use}/random").spawn(2))
        try:
            yield
        finally:
            self.model.replay_buffer = held

    def _at_random(self, transitions: int, environments: np.random.SeedSequence, actions: np.random.SeedSequence) -> ReplayBuffer:
        envs = Environments(self._recipe, self._recipe.environments, environments)
        lots, model = _drawing(envs.action_space, actions), self.model
        steps = -(-transitions // envs.num_envs)
        buffer = ReplayBuffer(
            steps * envs.num_envs, envs.observation_space, envs.action_space, device=model.device, n_envs=envs.num_envs
        )
        observations = np.asarray(envs.reset())
        for _ in range(steps):
            chosen = np.array([lots.sample() for _ in range(envs.num_envs)])
            following, rewards, dones, infos = envs.step(chosen)
            last = np.array(following)
            for index in np.flatnonzero(dones):
                last[index] = infos[index]["terminal_observation"]
            taken = model.policy.scale_action(chosen) if isinstance(lots, spaces.Box) else chosen
            buffer.add(observations, last, taken, rewards, dones, infos)
            observations = np.asarray(following)
        envs.close()
        return buffer

    # -- training ------------------------------------------------------------------------------------------------

    def train_epoch(self, epoch: TrainEpoch) -> Mapping[str, float]:
        model, recipe, learned = self.model, self._recipe, 0
        with self._generators.owned():
            self._begin()
            for iteration in (span := epoch.span(recipe.iterations)):
                for step in range(1, recipe.play_steps + 1):
                    done = (iteration + step / recipe.play_steps) / recipe.iterations
                    self._play(epoch.remaining(done), epoch.left(done))
                if model.num_timesteps > recipe.learning_starts:
                    model.train(recipe.updates, recipe.minibatch)
                    learned += 1
        self._learning = learned / max(1, len(span))
        return {**self.latest(), **self._insides()} if epoch.ends else {}

    def _insides(self) -> Mapping[str, float]:
        """Return measures of the networks as they are, on what was seen last: DQN's is a critic, and twin critics are one."""
        replay, policy = self._replay, self.module
        if not replay.size():
            return {}
        rows = (replay.pos - 1 - np.arange(min(replay.size(), -(-insides.SAMPLES // replay.n_envs)))) % replay.buffer_size
        seen, actions = (
            replay.to_torch(kept[rows]).flatten(0, 1)[: insides.SAMPLES] for kept in (replay.observations, replay.actions)
        )
        found: dict[str, list[insides.Part]] = {}
        with torch.no_grad():
            observations = preprocess_obs(seen, policy.observation_space, normalize_images=policy.normalize_images)
            for branch in networks.branches(policy):
                features = branch.extractor(observations)
                inputs = torch.cat([features, actions], 1) if branch.acts else features
                assert isinstance(branch.body, nn.Sequential)
                name = "actor" if branch.name == "actor" else "critic"
                found.setdefault(name, []).append(insides.Part(branch.body, branch.heads, inputs))
        return insides.measured(found)

    def _play(self, remaining: float, left: float) -> None:
        """Take one step of what ``collect_rollouts`` takes, to the bit, but for its callbacks; the schedules are the plan's.

        Args:
            remaining: of the learning rate's schedule.
            left: of the budget, by which exploration fades.
        """
        model, envs = self.model, self._envs
        model.policy.set_training_mode(False)
        actions, kept = model._sample_action(model.learning_starts, model.action_noise, envs.num_envs)
        observations, rewards, dones, infos = envs.step(actions)
        model.num_timesteps += envs.num_envs
        model._update_info_buffer(infos, dones)
        model._store_transition(self._replay, kept, observations, rewards, dones, infos)  # type: ignore[arg-type]
        model._current_progress_remaining = left
        model._on_step()
        model._current_progress_remaining = remaining

    def evaluate(self) -> Mapping[str, float]:
        """Play fresh games greedily; add the last 100 training games."""
        return {**self.played("greedy"), **self.latest()}

    def played(self, name: str, *, greedily: bool = True) -> dict[str, float]:
        """Return mean and standard deviation of the returns of fresh games."""

        def act(observations: Tensor) -> np.ndarray[Any, Any]:
            return self.module.predict(observations.numpy(), deterministic=greedily)[0]

        returns = games(self._recipe, self.seeds("evaluation"), act)
        return {f"return_{name}": float(returns.mean()), f"return_{name}_std": float(returns.std())}

    def normalise_anew(self) -> None:
        """Do nothing: there is no normalisation layer."""

    # -- costs ---------------------------------------------------------------------------------------------------

    def sample_macs(self, masks: Masks | None = None) -> float:
        """One pass of the network that acts, and what each network's learning takes as often as a transition is learned from.

        Where training has begun, as often as it was in the last piece of it: none is before ``learning_starts`` steps.
        """
        recipe, (observations, actions) = self._recipe, networks.example(self.module)[0]
        often = self._learning * recipe.updates * recipe.minibatch / (recipe.play_steps * recipe.environments)
        total = 0.0
        for place, branch in enumerate(networks.branches(self.module)):
            once = cost.macs(partial(_through, branch, observations, actions), self.module, masks)
            total += once * (often * self.learnings[branch.name] + (place == 0))
        return total

    def forward(self) -> object:
        space = self.model.observation_space
        observation = np.zeros((1, *(space.shape or ())), space.dtype)
        with torch.no_grad():
            return self.module._predict(torch.as_tensor(observation, device=self.model.device), deterministic=True)

    def training_step(self) -> Callable[[], object]:
        with self._something_seen("timing", self._recipe.minibatch):
            batch = td.sampled(self.model, self._recipe.minibatch, self.seeds("timing"))[0]
        self.forward()  # whose distribution, without a graph, can be copied
        policy = copy.deepcopy(self.module)
        optimizers = networks.optimizers(policy)

        def step() -> None:
            for optimizer in optimizers:
                optimizer.zero_grad()
            self.loss(policy, batch=batch).backward()  # type: ignore[no-untyped-call]
            for optimizer in optimizers:
                optimizer.step()

        return step

    # -- what is taken away --------------------------------------------------------------------------------------

    def deployed(self) -> tuple[nn.Module, Tensor]:
        """Return the network that acts: observations [batch, ...] to values of actions, or to means between −1 and 1."""
        acting, ((observations, _), _) = networks.branches(self.module)[0], networks.example(self.module)
        squash = [nn.Tanh()] if self.module.squash_output else []
        return nn.Sequential(acting.extractor, acting.body, *acting.heads[:1], *squash), torch.zeros_like(observations)

    def save(self, file: Path) -> None:
        """Write the zip that the ``load`` of Stable-Baselines3's class reads; pruned weights stay pruned there."""
        model, masks, found = self.model, self.masked.masks, networks.arch(self.module)
        shapes: networks.Shapes = {}
        if found is None or self._recipe.filters:  # no argument of the policy says how small it is
            shapes = networks.shapes(self.module)
        else:
            model.policy_kwargs = {**model.policy_kwargs, "net_arch": found}
        kind = type(self.module)
        model.policy_class = policies.Held(kind, masks, shapes) if masks or shapes else kind  # type: ignore[assignment]
        model.save(file)

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        model, replay = self.model, self._replay
        return {
            "policy": model.policy.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generators": self._generators.state(),
            "lots": json.dumps(model.action_space.np_random.bit_generator.state),
            "counts": {name: getattr(model, name) for name in self._counts()},
            "games": json.dumps(list(model.ep_info_buffer or ())),
            "environments": self._envs.state(),
            "observations": torch.as_tensor(np.array(model._last_obs)),
            "replay": {name: torch.from_numpy(getattr(replay, name)[: replay.size()]) for name in _HELD},
            "position": replay.pos,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._begin()
        model, replay = self.model, self._replay
        model.policy.load_state_dict(state["policy"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._generators.load_state(state["generators"])
        model.action_space.np_random.bit_generator.state = json.loads(state["lots"])
        for name, value in state["counts"].items():
            setattr(model, name, value)
        assert model.ep_info_buffer is not None
        model.ep_info_buffer.extend(json.loads(state["games"]))
        for name, saved in state["replay"].items():
            getattr(replay, name)[: len(saved)] = saved.numpy()
        replay.pos, replay.full = state["position"], len(state["replay"]["rewards"]) == replay.buffer_size
        model._last_obs = state["observations"].numpy()
        self._envs.load_state(state["environments"], state["observations"].numpy())

    # -- inside --------------------------------------------------------------------------------------------------

    @property
    def _replay(self) -> ReplayBuffer:
        assert self.model.replay_buffer is not None
        return self.model.replay_buffer

    def _counts(self) -> tuple[str, ...]:
        """Return the names of what the algorithm counts, beside its networks."""
        return ("num_timesteps", "_n_updates")

    def _begin(self) -> None:
        """Reset the environments, once."""
        if self.model._last_obs is None:
            self.model._setup_learn(self._recipe.budget)


def _drawing(space: spaces.Space[Any], seed: np.random.SeedSequence) -> spaces.Space[Any]:
    """Return a copy of a space that draws from a stream of its own; the environment's own stays as it was built."""
    drawing = copy.deepcopy(space)
    drawing.seed(int(seed.generate_state(1)[0]))
    return drawing


def _through(branch: networks.Branch, observations: Tensor, actions: Tensor) -> object:
    with torch.no_grad():
        features = branch.extractor(observations)
        hidden = branch.body(torch.cat([features, actions], 1) if branch.acts else features)
        return [head(hidden) for head in branch.heads]
