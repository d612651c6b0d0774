"""The task interface: what is learned, as a declaration."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import isfinite
from typing import Any, ClassVar, Self, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from rlprune.costs.measures import MEASURES, Measure
from rlprune.pruning.pruner import Scope, Start
from rlprune.registry import Registry
from rlprune.safely import plain
from rlprune.words import nearest


class Recipe(BaseModel):
    """The numbers of one kind of training, and who trains by them. Every field may be set by a suite.

    Args:
        budget: how long to train, dense phase included, in ``unit``.
        epochs: how many epochs the budget has; plans advance at their ends.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)
    derived: ClassVar[frozenset[str]] = frozenset()
    """Fields that follow from others."""
    trainer: ClassVar[str]
    """``"module:Class"``, imported when a cell runs, so that declaring a task imports no torch."""
    measures: ClassVar[frozenset[str]] = frozenset()
    """What this trainer's evaluation measures: a task judged by something else is told before it trains. Empty: unknown."""
    unit: ClassVar[str] = "epochs"
    """Of the budget: ``steps`` or ``epochs``."""
    gpu: ClassVar[bool] = False
    """Whether it trains faster on a GPU where there is one."""
    start: ClassVar[Start] = "kept"
    """Where training begins after a cut, unless a pruner or a suite says otherwise."""

    budget: int = Field(ge=1, le=10**12)
    epochs: int = Field(default=30, ge=2, le=10_000)

    @property
    def trained(self) -> int:
        """How much of ``unit`` is really trained: the budget, or whole rollouts that come near it."""
        return self.budget

    @property
    def curve(self) -> Measure:
        """What learning curves show, measured every epoch."""
        return Measure("loss_train", "training loss", better="lower")

    @property
    def about(self) -> str:
        """What is played, or which network learns which data: a task's title and anchors hold for its own recipe's."""
        return ""

    @property
    def reads(self) -> str | None:
        """Name of the data set that must be in the folder given by ``--data``; None where nothing is read."""
        return None

    @property
    def starts_from(self) -> str | None:
        """Folder of the checkpoint that training starts from, under ``--data`` or absolute; None for a new network."""
        return None

    @property
    def fleet(self) -> str:
        """The same as ``trainer`` for one that trains many as one batch; empty where each trains alone."""
        return ""

    @property
    def fleets_only(self) -> str:
        """Why a cell of this recipe cannot train alone; empty where it can."""
        return ""

    @property
    def anneals(self) -> bool:
        """Whether its learning rate follows a schedule, so that a plan that waits may hold it."""
        return True

    def misfit(self, *, fleet: bool) -> str:
        """Return why no network can learn this, in a fleet or alone, or an empty string; asked before anything runs."""
        return ""

    def unknown(self, field: str) -> str:
        """Return why there is nothing of the name that this field has, or an empty string; asked when a suite sets it."""
        return ""

    @property
    def extra(self) -> tuple[str, str] | None:
        """A package beyond the dependencies and the extra that installs it, where the recipe needs one."""
        return None

    def modules(self, *, fleet: bool, device: str) -> tuple[str, ...]:
        """Return the modules that training needs, in a fleet or alone; imported beforehand they cost its cells nothing."""
        return ((self.fleet if fleet else self.trainer).partition(":")[0],)

    def machine(self, *, fleet: bool, device: str) -> Mapping[str, str]:
        """Return what of the machine training depends on, beyond what is recorded of every cell; asked where it trained."""
        return {}

    def replaced(self, given: Mapping[str, Any]) -> Self:
        """Return this recipe with some fields replaced.

        Raises:
            pydantic.ValidationError: an unknown field or a value out of range.
        """
        return type(self).model_validate({**self.model_dump(exclude=set(self.derived)), **given})

    def shrunk(self) -> Self:
        """Return a recipe of the same kind, data and options that trains three epochs in about a second on one core.

        For a look whether a task runs from end to end, and for the laws of ``rlprune/laws/tasks.py``; what it reaches tells
        nothing of the task. Kinds of recipes shrink their networks, data and games as well.
        """
        return self.replaced({"budget": 3, "epochs": 3})

    @classmethod
    def measured(cls) -> frozenset[str]:
        """Return what its trainer measures quality by; empty where the class that names the trainer does not say."""
        own = next((kind for kind in cls.__mro__ if "trainer" in vars(kind)), cls)
        return frozenset(vars(own).get("measures", ()))

    @field_validator("*", mode="before")
    @classmethod
    def _lists_are_tuples(cls, value: Any, info: ValidationInfo) -> Any:
        """A suite has lists where a field says ``tuple``."""
        of = cls.model_fields[info.field_name].annotation if isinstance(value, list) and info.field_name else None
        return tuple(value) if tuple in {get_origin(one) or one for one in (of, *get_args(of))} else value


ANCHORS = ("random", "dense")


@dataclass(frozen=True)
class Task:
    """Environment or data, network, recipe, metric, budget.

    Args:
        name: how suites name it.
        title: how figures name it.
        recipe: the numbers, with the paper's or measured values; its class says who trains.
        metric: what it is judged by at the end of training.
        also: what else its networks are measured by, for a table of its own.
        scope: what pruners rank against what unless a suite says otherwise.
        anchors: metric of a random policy or constant predictor (``random``) and of the dense network (``dense``),
            used to normalise aggregates over tasks.
        chance: which of ``also`` says what such a predictor reaches on a cell's own data, in the place of ``random``: that
            holds for the recipe's, and a suite may set another vocabulary, or use fewer images.
    """

    name: str
    title: str
    recipe: Recipe
    metric: Measure
    also: tuple[Measure, ...] = ()
    scope: Scope = "global"
    anchors: Mapping[str, float] = field(default_factory=dict)
    chance: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.metric, Measure):
            raise TypeError(f"metric of task {self.name}: got {self.metric!r}; must be a Measure(name, title)")
        if not (isinstance(self.also, Sequence) and all(isinstance(one, Measure) for one in self.also)):
            raise TypeError(f"also of task {self.name}: got {self.also!r}; must be Measures, in a tuple")
        for key, text in (("title", self.title), ("metric", self.metric.heading), ("curve", self.recipe.curve.heading)):
            if not text.strip() or not text.isprintable() or len(text) > 200:
                raise ValueError(f"{key} of task {plain(self.name, 100)} must be 1 to 200 characters on one line")
        if scaled := [one.name for one in (self.metric, *self.also, self.recipe.curve) if one.scale != 1]:
            raise ValueError(
                f"measures of task {self.name}: {', '.join(scaled)} must be in the unit that is shown, without a scale"
            )
        for key, got, allowed in (("scope", self.scope, get_args(Scope)), ("better", self.metric.better, ("higher", "lower"))):
            if got not in allowed:
                raise ValueError(
                    f"{key} of task {self.name}: got {got!r}; must be {' or '.join(allowed)}{nearest(str(got), allowed)}"
                )
        for name, value in self.anchors.items():
            if name not in ANCHORS:
                raise ValueError(f"anchors of task {self.name}: {name!r} is none of {', '.join(ANCHORS)}{nearest(name, ANCHORS)}")
            if not isinstance(value, int | float | np.number) or not isfinite(value):
                raise ValueError(f"anchors of task {self.name}: {name} must be a finite number; got {value!r}")
        if self.chance and self.chance not in (known := [one.name for one in self.also]):
            raise ValueError(f"chance of task {self.name}: {self.chance} is none of what else is measured, {', '.join(known)}")
        kind = type(self.recipe)
        measures = kind.measured()
        for one in (self.metric, *self.also) if measures else ():
            if one.name not in measures | MEASURES.keys():
                raise ValueError(
                    f"{self.name} is to be measured by '{one.name}', which {kind.__name__}'s training does not "
                    f"measure{nearest(one.name, sorted(measures))}; it measures {', '.join(sorted(measures))}"
                )
        if "trainer" in kind.model_fields:  # a suite could set it, and have code imported
            raise ValueError(f"trainer of {kind.__name__} is no field: write trainer: ClassVar[str] = 'module:Class'")
        if not re.fullmatch(r"\w+(\.\w+)*:\w+", place := str(getattr(kind, "trainer", ""))):
            raise ValueError(f"trainer of {kind.__name__}: got {place!r}; must be 'module:Class', whose class trains by it")

    def settings(self, given: Mapping[str, Any] | None = None) -> Recipe:
        """Return the recipe with some numbers replaced.

        Raises:
            pydantic.ValidationError: an unknown field or a value out of range.
        """
        return self.recipe.replaced(given or {})


def seed_sequence(task: str, seed: int, use: str) -> np.random.SeedSequence:
    """Return the seed of one use of randomness; the pruner has no part in it: all meet the same network and episodes."""
    return np.random.SeedSequence(int.from_bytes(sha256(json.dumps([task, seed, use]).encode()).digest()))


def tasks() -> Registry[Task]:
    """Return the registry of tasks: the files of ``rlprune/tasks`` and the entry points ``rlprune.tasks``."""
    return _TASKS


_TASKS = Registry("rlprune.tasks", Task)
