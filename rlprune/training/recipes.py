"""Recipes: the numbers of each kind of training, apart from the trainers so that reading a suite imports no torch."""

import importlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from rlprune import reason
from rlprune.costs.measures import Measure
from rlprune.data import glue
from rlprune.nets import known
from rlprune.pruning.pruner import Start
from rlprune.task import Recipe
from rlprune.training import simulators
from rlprune.training.spaces import FLEET, Playable
from rlprune.words import nearest

if TYPE_CHECKING:
    import gymnasium
    from gymnasium.envs.registration import EnvSpec

ALLOW_IMPORT = "RLPRUNE_ALLOW_IMPORT"
"""The variable that, set to 1, lets ``environment = "module:Id"`` import a module; workers inherit it."""

_MOST = 10_000_000  # transitions held at once: beyond it a typo asks for more memory than there is

_Size: TypeAlias = Annotated[int, Field(ge=1, le=65_536)]


def specification(environment: str) -> "EnvSpec":
    """Return what Gymnasium knows of an environment.

    Raises:
        ValueError: an environment that is not registered, or one that would import a module.
    """
    import gymnasium

    module, _, name = environment.rpartition(":")
    if module:
        if os.environ.get(ALLOW_IMPORT) != "1":
            raise ValueError(
                f"'{environment}' would import {module} and run what is in it, maybe from the current folder: "
                "name a registered environment, or allow it (--allow-import)"
            )
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ValueError(f"'{environment}' cannot be imported: {error}") from None
    if name not in gymnasium.registry:
        raise ValueError(f"Gymnasium knows no environment '{name}' here{nearest(name, gymnasium.registry)}")
    return gymnasium.registry[name]


def made(environment: str, limit: int | None) -> "gymnasium.Env[Any, Any]":
    """Return an environment of Gymnasium's, its time limit replaced if one is given."""
    import gymnasium

    if environment in simulators.MINATAR:
        importlib.import_module("rlprune.training.environments.minatar")  # registers it
    with _no_log_of_mujoco(gymnasium.registry.get(environment)):
        return gymnasium.make(environment, max_episode_steps=limit)


@contextmanager
def _no_log_of_mujoco(spec: "EnvSpec | None") -> Iterator[None]:
    """Let no file MUJOCO_LOG.TXT come into the working folder because a model of Gymnasium's has something deprecated."""
    if spec is None or not str(spec.entry_point).startswith("gymnasium.envs.mujoco."):
        yield
        return
    import mujoco

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda text: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


PLAYED = frozenset({"return_greedy", "return_sampled", "return_train"})
"""What agents are measured by: fresh games, played greedily and by sampling, and the last ones of training."""


class AgentRecipe(Recipe):
    """An agent of Stable-Baselines3 that plays Gymnasium.

    Args:
        budget: environment steps over all parallel environments.
        environment: a Gymnasium id. ``module:Id`` imports the module first, where that is allowed.
        max_episode_steps: time limit in steps; None keeps the environment's own, and there must be one.
        environments: parallel environments.
        widths: hidden layers of each network.
        activation: between hidden layers.
        learning_rate: at the start.
        annealing: ``linear`` to zero at the budget's end, or ``constant``.
        discount: gamma.
        reward_scale: training rewards are multiplied by it; reported returns are not.
        scoring_steps: environment steps collected to score one pruning round.
        evaluation_games: games of the final evaluation, with fresh seeds.
    """

    unit: ClassVar[str] = "steps"
    start: ClassVar[Start] = "rescaled"
    """Without it an A2C agent that lost most of its weights hardly learns (docs/start.md); PPO's does (docs/results/ppo.md)."""
    plays: ClassVar[Playable] = Playable(
        "an MLP policy",
        observations=("box", "discrete from 0", "multidiscrete from 0", "multibinary"),
        actions=("bounded box", "discrete from 0", "multidiscrete from 0", "flat multibinary"),
    )
    """The spaces that one agent can play."""
    fleet_plays: ClassVar[Playable] = FLEET
    """The spaces that a fleet can play, of those."""
    environment: str = Field(max_length=200)
    max_episode_steps: int | None = Field(default=None, ge=1, le=1_000_000_000)
    environments: int = Field(default=16, ge=1, le=10_000)
    widths: tuple[_Size, ...] = Field(default=(128, 128, 128), min_length=1, max_length=64)
    activation: Literal["tanh", "relu"] = "tanh"
    learning_rate: float = Field(default=7e-4, gt=0)
    annealing: Literal["linear", "constant"] = "linear"
    discount: float = Field(default=0.99, gt=0, le=1)
    reward_scale: float = Field(default=1.0, gt=0)
    scoring_steps: int = Field(default=2048, ge=1, le=_MOST)
    evaluation_games: int = Field(default=100, ge=1, le=100_000)

    @property
    def anneals(self) -> bool:
        return self.annealing == "linear"

    @property
    def curve(self) -> Measure:
        return Measure("return_train", "return (training games)")

    @property
    def about(self) -> str:
        return self.environment + (f" ({self.max_episode_steps} steps)" if self.max_episode_steps else "")

    @property
    def extra(self) -> tuple[str, str] | None:
        return simulators.EXTRAS.get(self.environment)

    def misfit(self, *, fleet: bool) -> str:
        if self.environment in simulators.KNOWN or (self.extra and find_spec(self.extra[0]) is None):
            return ""
        try:
            with warnings.catch_warnings(action="ignore"), closing(made(self.environment, self.max_episode_steps)) as env:
                spaces = env.observation_space, env.action_space
        except Exception as error:  # somebody else's environment may fail in any way
            return f"{self.environment} cannot be made: {reason.line(error)}"
        alone = self.plays.refusal(self.environment, *spaces)
        return alone or (self.fleet_plays.refusal(self.environment, *spaces) if fleet else "")

    def shrunk(self) -> Self:
        """Return a small recipe of the same kind: narrow networks, and games of at most 20 steps, some ending in every epoch."""
        return self.replaced(
            {
                "budget": 360,
                "epochs": 3,
                "max_episode_steps": min(20, self.max_episode_steps or 20),
                "environments": 4,
                "widths": [12] * len(self.widths),
                "scoring_steps": 20,
                "evaluation_games": 4,
            }
        )

    @field_validator("environment")
    @classmethod
    def _is_registered(cls, name: str) -> str:
        if name not in simulators.NAMED:  # the import of Gymnasium takes half a second
            specification(name)
        return name

    @model_validator(mode="after")
    def _games_end(self) -> Self:
        limited = self.max_episode_steps is not None or self.environment in simulators.NAMED
        if not limited and specification(self.environment).max_episode_steps is None:
            raise ValueError(f"{self.environment} has no time limit, and its games may never end: set max_episode_steps")
        return self


class OnPolicyRecipe(AgentRecipe):
    """An on-policy algorithm of Stable-Baselines3 with separate actor and critic networks; the defaults are A2C's.

    Args:
        rollout_steps: steps an environment between updates.
        optimizer: RMSprop (PyTorch's), RMSprop as TensorFlow has it (epsilon inside the root, averages from one), Adam.
        gae_lambda: 1 is the plain n-step advantage.
        entropy: coefficient of the entropy bonus.
        value_weight: coefficient of the value loss.
        clip: largest gradient norm, over both networks together.
    """

    rollout_steps: int = Field(default=5, ge=1, le=1_000_000)
    optimizer: Literal["rmsprop", "rmsprop-tf", "adam"] = "rmsprop"
    gae_lambda: float = Field(default=1.0, ge=0, le=1)
    entropy: float = Field(default=0.0, ge=0)
    value_weight: float = Field(default=0.5, ge=0)
    clip: float = Field(default=0.5, gt=0)

    ready: ClassVar[str] = "rlprune.training.compiled.ready"
    """Imported it loads, or compiles, what fleets need on a CPU."""

    def modules(self, *, fleet: bool, device: str) -> tuple[str, ...]:
        return (*super().modules(fleet=fleet, device=device), *([self.ready] if _compiled(fleet, device) else []))

    def machine(self, *, fleet: bool, device: str) -> Mapping[str, str]:
        return {"products": resolve_name(_PRODUCTS)()[0]} if _compiled(fleet, device) else {}

    @property
    def plays_with(self) -> Literal["gymnasium", "envpool"]:
        """What fleets play with."""
        return "gymnasium"

    def trains_as(self, kind: "type[OnPolicyRecipe]") -> bool:
        """Say whether this is ``kind`` or differs from it in numbers alone: what has a fleet is one algorithm, and no other."""
        own = type(self)
        return own.trainer == kind.trainer and own.arguments is kind.arguments

    @property
    def iterations(self) -> int:
        """Rollouts, each followed by an update, in an epoch."""
        return max(1, round(self.budget / (self.epochs * self.rollout_steps * self.environments)))

    @property
    def trained(self) -> int:
        return self.iterations * self.epochs * self.rollout_steps * self.environments

    @property
    def passes(self) -> int:
        """How often a sample is learned from."""
        return 1

    @property
    def batch(self) -> int:
        """Samples of an optimizer step."""
        return self.rollout_steps * self.environments

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of Stable-Baselines3's class that only this algorithm has."""
        return {}

    def shrunk(self) -> Self:
        return super().shrunk().replaced({"rollout_steps": 5})

    @model_validator(mode="after")
    def _a_rollout_fits_into_memory(self) -> "OnPolicyRecipe":
        if (steps := self.environments * self.rollout_steps) > _MOST:
            raise ValueError(f"environments * rollout_steps must be {_MOST:,} or less, got {steps:,}")
        return self


class A2CRecipe(OnPolicyRecipe):
    """Advantage actor-critic, alone or in fleets.

    Args:
        simulator: what fleets play with; ``envpool``, an extra, plays some environments (``training/simulators.py``) faster,
            with other random numbers, for suites whose cells all train in fleets. Scoring always plays Gymnasium's own.
    """

    trainer: ClassVar[str] = "rlprune.training.a2c:A2CTrainer"
    measures: ClassVar[frozenset[str]] = PLAYED
    simulator: Literal["gymnasium", "envpool"] = "gymnasium"

    @property
    def fleet(self) -> str:
        return "rlprune.training.fleet:FleetAgent" if self.trains_as(A2CRecipe) else ""

    @property
    def plays_with(self) -> Literal["gymnasium", "envpool"]:
        return self.simulator

    @property
    def arguments(self) -> dict[str, Any]:
        return {"use_rms_prop": False}  # it would override the optimizer that is named here

    @property
    def fleets_only(self) -> str:
        return "" if self.simulator == "gymnasium" else f"{self.simulator} plays in fleets only"

    @property
    def extra(self) -> tuple[str, str] | None:
        return super().extra if self.simulator == "gymnasium" else (self.simulator, self.simulator)

    @model_validator(mode="after")
    def _the_simulator_knows_the_environment(self) -> "A2CRecipe":
        if self.simulator != "gymnasium" and self.environment not in (played := simulators.played_by(self.simulator)):
            only = f"plays {', '.join(played)} only, not {self.environment}"
            raise ValueError(f"simulator = '{self.simulator}' {only}: leave simulator out")
        return self


_PRODUCTS = "rlprune.training.compiled.products:library"  # by its name: reading a suite imports no torch


def _compiled(fleet: bool, device: str) -> bool:
    """Say whether agents train by compiled code there."""
    return fleet and device == "cpu"


class PPORecipe(OnPolicyRecipe):
    """Proximal policy optimisation: every rollout is learned from several times, in minibatches.

    In fleets on CartPole, Acrobot and LunarLander where it does not normalise, alone anywhere else.

    Args:
        minibatch: samples of an optimizer step.
        rounds: how often a rollout is learned from.
        clip_range: how far the ratio of probabilities may go from 1; annealed as the learning rate is.
        normalise: give networks observations less their mean by their deviation, and divide rewards by the deviation of
            returns, of training so far. Rollouts end before what they have shown takes effect.
        log_deviation: natural logarithm of the first standard deviation of continuous actions.
        orthogonal: draw orthogonal first weights, as Stable-Baselines3 does by itself; or PyTorch's.
    """

    trainer: ClassVar[str] = "rlprune.training.ppo:PPOTrainer"
    measures: ClassVar[frozenset[str]] = PLAYED
    ready: ClassVar[str] = "rlprune.training.compiled.ready_ppo"
    environments: int = Field(default=1, ge=1, le=10_000)
    rollout_steps: int = Field(default=2048, ge=1, le=1_000_000)
    widths: tuple[_Size, ...] = Field(default=(64, 64), min_length=1, max_length=64)
    learning_rate: float = Field(default=3e-4, gt=0)
    annealing: Literal["linear", "constant"] = "constant"
    optimizer: Literal["rmsprop", "rmsprop-tf", "adam"] = "adam"
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    minibatch: int = Field(default=64, ge=2, le=_MOST)
    rounds: int = Field(default=10, ge=1, le=10_000)
    clip_range: float = Field(default=0.2, gt=0)
    normalise: bool = False
    log_deviation: float = Field(default=0.0, ge=-20, le=2)
    orthogonal: bool = True

    @property
    def fleet(self) -> str:
        together = self.trains_as(PPORecipe) and self.environment in simulators.KNOWN and not self.normalise
        return "rlprune.training.fleet:PPOFleetAgent" if together else ""

    @property
    def passes(self) -> int:
        return self.rounds

    @property
    def batch(self) -> int:
        return min(self.minibatch, self.rollout_steps * self.environments)

    @property
    def arguments(self) -> dict[str, Any]:
        return {"n_epochs": self.rounds, "batch_size": self.batch}

    def shrunk(self) -> Self:
        return super().shrunk().replaced({"minibatch": 10, "rounds": 2})

    @model_validator(mode="after")
    def _minibatches_are_equal(self) -> "PPORecipe":
        if (steps := self.environments * self.rollout_steps) % self.batch:
            raise ValueError(f"minibatch must divide a rollout, environments * rollout_steps = {steps:,}; got {self.minibatch}")
        return self


class OffPolicyRecipe(AgentRecipe):
    """An off-policy algorithm of Stable-Baselines3: it learns from a sample of what it has seen, again and again.

    Args:
        replay: transitions that are kept to learn from.
        learning_starts: environment steps of random actions before it learns.
        minibatch: transitions of an optimizer step.
        play_steps: steps an environment between updates.
        updates: optimizer steps then.
        filters: channels of one 3x3 convolution before the hidden layers; None where observations are flat.
    """

    environments: int = Field(default=1, ge=1, le=10_000)
    activation: Literal["tanh", "relu"] = "relu"
    annealing: Literal["linear", "constant"] = "constant"
    replay: int = Field(default=100_000, ge=1, le=_MOST)
    learning_starts: int = Field(default=1_000, ge=0, le=10**9)
    minibatch: int = Field(default=128, ge=1, le=_MOST)
    play_steps: int = Field(default=1, ge=1, le=1_000_000)
    updates: int = Field(default=1, ge=1, le=1_000_000)
    filters: _Size | None = None

    @property
    def iterations(self) -> int:
        """Pieces of playing, each followed by updates, in an epoch."""
        return max(1, round(self.budget / (self.epochs * self.play_steps * self.environments)))

    @property
    def trained(self) -> int:
        return self.iterations * self.epochs * self.play_steps * self.environments

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of Stable-Baselines3's class that only this algorithm has."""
        return {}

    def shrunk(self) -> Self:
        small = {"environments": 2, "replay": 200, "learning_starts": 20, "minibatch": 8, "play_steps": 15, "updates": 2}
        return super().shrunk().replaced({**small, "filters": self.filters and 4})


class DQNRecipe(OffPolicyRecipe):
    """Deep Q-learning: one network says what each action is worth, and a copy of it from before what comes after.

    Args:
        target_every: environment steps after which the copy is made anew.
        exploring: share of the budget over which random actions become as rare as they will be.
        exploration: their share from then on.
        clip: largest gradient norm.
    """

    trainer: ClassVar[str] = "rlprune.training.dqn:DQNTrainer"
    measures: ClassVar[frozenset[str]] = PLAYED - {"return_sampled"}
    plays: ClassVar[Playable] = Playable(
        "DQN", observations=("box", "discrete from 0", "multidiscrete from 0", "multibinary"), actions=("discrete from 0",)
    )
    widths: tuple[_Size, ...] = Field(default=(256, 256), min_length=1, max_length=64)
    target_every: int = Field(default=1_000, ge=1, le=10**9)
    exploring: float = Field(default=0.1, ge=0, le=1)
    exploration: float = Field(default=0.05, ge=0, le=1)
    clip: float = Field(default=10.0, gt=0)

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "target_update_interval": self.target_every,
            "exploration_fraction": self.exploring,
            "exploration_final_eps": self.exploration,
            "max_grad_norm": self.clip,
        }

    def shrunk(self) -> Self:
        return super().shrunk().replaced({"target_every": 30})


class SACRecipe(OffPolicyRecipe):
    """Soft actor-critic: continuous actions, two critics, an entropy that is held at minus the number of actions.

    Args:
        following: share of the way to the critics that their copies go at every update.
    """

    trainer: ClassVar[str] = "rlprune.training.sac:SACTrainer"
    measures: ClassVar[frozenset[str]] = PLAYED
    plays: ClassVar[Playable] = Playable(
        "SAC", observations=("box", "discrete from 0", "multidiscrete from 0", "multibinary"), actions=("bounded box",)
    )
    widths: tuple[_Size, ...] = Field(default=(256, 256), min_length=1, max_length=64)
    learning_rate: float = Field(default=3e-4, gt=0)
    replay: int = Field(default=1_000_000, ge=1, le=_MOST)
    learning_starts: int = Field(default=10_000, ge=0, le=10**9)
    minibatch: int = Field(default=256, ge=1, le=_MOST)
    following: float = Field(default=0.005, gt=0, le=1)

    @property
    def arguments(self) -> dict[str, Any]:
        return {"tau": self.following}


_Count: TypeAlias = Annotated[int, Field(ge=1, le=10**9)]


class SupervisedRecipe(Recipe):
    """Training on batches; an epoch is one pass over the training data.

    Args:
        budget: epochs, dense phase included.
        epochs: the same number.
        batch_size: samples an optimizer step.
        micro_batch: samples whose activations are held at once in training; None is the whole batch.
        scoring_micro_batch: the same in scoring; None is as in training.
        learning_rate: Adam's, at its peak.
        schedule: ``one-cycle`` over the epochs that remain, or ``constant``. It is held at its peak while a plan waits,
            unless ``rate_held`` says otherwise.
        weight_decay: L2, as PyTorch's Adam has it.
        clip: largest gradient norm.
        scoring_batches: batches that score one pruning round.
        score_on_cpu: leave the network on the CPU until something is cut or trained, for one that its device could not train.
    """

    derived: ClassVar[frozenset[str]] = frozenset({"epochs"})
    gpu: ClassVar[bool] = True
    budget: int = Field(ge=2, le=10_000)
    batch_size: _Size = 256
    micro_batch: _Size | None = None
    scoring_micro_batch: _Size | None = None
    learning_rate: float = Field(default=2e-3, gt=0)
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    weight_decay: float = Field(default=5e-5, ge=0)
    clip: float = Field(default=10.0, gt=0)
    scoring_batches: int = Field(default=5, ge=1, le=10**6)
    score_on_cpu: bool = False

    @property
    def anneals(self) -> bool:
        return self.schedule == "one-cycle"

    @model_validator(mode="before")
    @classmethod
    def _an_epoch_is_a_pass(cls, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("epochs", given.get("budget")) != given.get("budget"):
            raise ValueError("an epoch is one pass over the data: set budget, and leave epochs out")
        return {**given, "epochs": given.get("budget")}

    @model_validator(mode="after")
    def _pieces_are_equal(self) -> "SupervisedRecipe":
        for name in ("micro_batch", "scoring_micro_batch"):
            if (size := getattr(self, name)) and self.batch_size % size:
                raise ValueError(f"{name} must divide batch_size, {self.batch_size}")
        return self

    def shrunk(self) -> Self:
        """Return a small recipe of the same kind: three passes of small batches, in two pieces where this one has pieces."""
        halved = {name: 4 for name in ("micro_batch", "scoring_micro_batch") if getattr(self, name)}
        return self.replaced({"budget": 3, "batch_size": 8, "scoring_batches": 1, **halved})


def _smallest(name: str, there: tuple[str, ...]) -> str:
    """Return the small network of a network's family, as ``resnet-small`` is ``resnet50``'s; itself where there is none."""
    small = f"{re.split(r'[-0-9]', name)[0]}-small"
    return small if small in there else name


def _missing(name: str, there: tuple[str, ...]) -> str:
    return "" if name in there else f"no network has this name{nearest(name, there)} (networks: {', '.join(there)})"


class ImageRecipe(SupervisedRecipe):
    """Classification of images.

    Args:
        data: name of the data set; ``shapes`` is made by the program, others are read from ``--data``.
        network: name of the network; ``torchvision/NAME`` is one of torchvision's.
        train_images: how many training images to use, the classes as equal as they come; None is all.
        resize: side in pixels that images are brought to, after augmentation; None leaves them.
        crop: pixels of padding from which a random crop of the old size is taken.
        flip: mirror every other image.
        rotate: largest random rotation in degrees.
    """

    trainer: ClassVar[str] = "rlprune.training.images:ImageTrainer"
    measures: ClassVar[frozenset[str]] = frozenset({"top1", "top5", "loss_test", "train_images", "test_images"})
    data: str = Field(default="shapes", min_length=1)
    network: str
    train_images: _Count | None = None
    resize: int | None = Field(default=None, ge=8, le=4096)
    crop: int = Field(default=0, ge=0, le=4096)
    flip: bool = False
    rotate: float = Field(default=0.0, ge=0, le=180)

    @property
    def curve(self) -> Measure:
        return Measure("loss_train", "training loss (cross-entropy)", better="lower")

    @property
    def about(self) -> str:
        return f"{self.network}, {self.data}"

    @property
    def reads(self) -> str | None:
        return None if self.data == "shapes" else self.data

    def unknown(self, field: str) -> str:
        if field != "network":
            return ""
        if self.network.startswith(known.PUBLISHED):
            there = known.published()
            return "" if self.network in there else f"torchvision has no classifier of this name{nearest(self.network, there)}"
        return _missing(self.network, (*known.classifiers(), f"{known.PUBLISHED}NAME"))

    def shrunk(self) -> Self:
        """Return a small recipe of the same kind: the small network of the family, and 16 images of 16 pixels' side.

        A network of torchvision stays as it is, and so does the size of its images.
        """
        network = _smallest(self.network, known.classifiers())
        side = self.resize if network.startswith(known.PUBLISHED) else 16
        return super().shrunk().replaced({"network": network, "train_images": min(16, self.train_images or 16), "resize": side})


class DepthRecipe(SupervisedRecipe):
    """Depth from single images.

    Args:
        data: name of the data set; ``rooms`` is made by the program, others are read from ``--data``.
        network: name of the network.
        height: pixels that images are brought to.
        width: the same.
        train_images: how many training images to use, evenly spread over them; None is all.
        flip: mirror every other image.
    """

    trainer: ClassVar[str] = "rlprune.training.depth:DepthTrainer"
    measures: ClassVar[frozenset[str]] = frozenset({"rmse", "rel", "delta1", "rmse_constant", "train_images", "test_images"})
    data: str = Field(default="rooms", min_length=1)
    network: str
    height: int = Field(default=48, ge=8, le=4096)
    width: int = Field(default=64, ge=8, le=4096)
    train_images: _Count | None = None
    flip: bool = True

    def unknown(self, field: str) -> str:
        return _missing(self.network, known.depth_networks()) if field == "network" else ""

    @property
    def curve(self) -> Measure:
        return Measure("loss_train", "training loss (reverse Huber)", better="lower")

    @property
    def about(self) -> str:
        return f"{self.network}, {self.data}"

    @property
    def reads(self) -> str | None:
        return None if self.data == "rooms" else self.data

    def shrunk(self) -> Self:
        """Return a small recipe of the same kind: the small network of the family, and 16 images of 20x16 pixels."""
        network = _smallest(self.network, known.depth_networks())
        images = min(16, self.train_images or 16)
        return super().shrunk().replaced({"network": network, "train_images": images, "height": 16, "width": 20})


class GlueRecipe(SupervisedRecipe):
    """Classification of sentences and pairs of them by BERT; STS-B is a regression.

    Args:
        data: ``pairs``, which the program makes, or one of GLUE's tasks, read from ``--data``.
        checkpoint: folder of the pre-trained network, under ``--data`` or an absolute path; empty is a new one.
        layers: of a new network, as are the next four.
        hidden: width of the stream.
        heads: of each layer.
        intermediate: feed-forward units of each layer.
        vocabulary: most pieces that its tokenizer learns.
        max_tokens: longest row.
        train_texts: how many training rows to use, the first ones; None is all.
    """

    trainer: ClassVar[str] = "rlprune.training.glue:GlueTrainer"
    data: str = "pairs"
    checkpoint: str = ""
    layers: int = Field(default=2, ge=1, le=1000)
    hidden: _Size = 64
    heads: _Size = 4
    intermediate: _Size = 256
    vocabulary: int = Field(default=2000, ge=100, le=10**7)
    max_tokens: int = Field(default=64, ge=8, le=65_536)
    train_texts: _Count | None = None

    @field_validator("data")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in glue.NAMES:
            raise ValueError(f"must be one of {', '.join(glue.NAMES)}{nearest(name, glue.NAMES)}")
        return name

    @model_validator(mode="after")
    def _heads_are_equal(self) -> "GlueRecipe":
        if self.hidden % self.heads:
            raise ValueError(f"heads must divide hidden, {self.hidden}")
        return self

    @property
    def curve(self) -> Measure:
        of = "squared error" if self.data == "stsb" else "cross-entropy"
        return Measure("loss_train", f"training loss ({of})", better="lower")

    @property
    def about(self) -> str:
        return f"BERT, {self.data}"

    @property
    def reads(self) -> str | None:
        return None if self.data == "pairs" else self.data

    @property
    def starts_from(self) -> str | None:
        return self.checkpoint or None

    @property
    def extra(self) -> tuple[str, str] | None:
        return ("transformers", "glue")

    def shrunk(self) -> Self:
        """Return a small recipe of the same kind: a new BERT of one narrow layer, with no checkpoint, and 16 rows."""
        network = {"checkpoint": "", "layers": 1, "hidden": 8, "heads": 2, "intermediate": 6, "vocabulary": 120, "max_tokens": 20}
        return super().shrunk().replaced({**network, "train_texts": min(16, self.train_texts or 16)})


class LanguageRecipe(SupervisedRecipe):
    """The next word of a text; a sample is a chunk of it.

    Args:
        data: name of the text; ``prose`` is at hand, others are read from ``--data``.
        hidden: width of embedding and state.
        tokens: length of a chunk, words as far as the pointer sees.
        vocabulary: most words to know, the most frequent ones; all others are one word. None knows all of the training part.
        train_tokens: how many training words to use, the first ones; None is all.
    """

    trainer: ClassVar[str] = "rlprune.training.language:LanguageTrainer"
    measures: ClassVar[frozenset[str]] = frozenset(
        {
            "log_perplexity",
            "perplexity",
            "log_perplexity_valid",
            "unigram",
            "fivegram",
            "train_tokens",
            "test_tokens",
            "vocabulary",
        }
    )
    data: str = Field(default="prose", min_length=1)
    hidden: _Size = 300
    tokens: int = Field(default=80, ge=2, le=65_536)
    vocabulary: int | None = Field(default=None, ge=3, le=10**7)
    train_tokens: int | None = Field(default=None, ge=3, le=10**12)
    batch_size: _Size = 128
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float = Field(default=0.25, gt=0)

    @property
    def curve(self) -> Measure:
        return Measure("loss_train", "training loss", "nats per word", better="lower")

    @property
    def about(self) -> str:
        return f"PSMM, {self.data}"

    @property
    def reads(self) -> str | None:
        return None if self.data == "prose" else self.data

    def shrunk(self) -> Self:
        """Return a small recipe of the same kind: a narrow network on 400 words, 40 of them known."""
        words = min(400, self.train_tokens or 400)
        return super().shrunk().replaced({"hidden": 6, "tokens": 8, "vocabulary": 40, "train_tokens": words})
