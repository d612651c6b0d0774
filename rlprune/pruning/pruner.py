"""The pruner interface: what to score, what to cut, and when.

A pruner is the paper's formula and its plan:

    def score(probe: Probe) -> Scores:
        '''``|w · g|`` ...'''
        gradient = probe.gradient()
        return {name: (w * gradient[name]).abs() for name, w in probe.weights.items()}

    SNIP = Pruner("SNIP", score, cut=WEIGHTS, plan=[Prune(), Train()])

A plan that has settings is a function with keyword parameters; so is a score. Their defaults are the paper's
values, and a suite may set exactly these (``[pruner.LTR] levels = 3``).
"""

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model

from rlprune.pruning.plan import Grow, Hold, MaskDistance, Plan, Prune, Rewind, Score, Scores, Step, Train
from rlprune.registry import Registry
from rlprune.words import in_words, nearest

Count: TypeAlias = Annotated[int, Field(ge=1, le=1000)]
"""A setting that counts rounds or levels."""

Share: TypeAlias = Annotated[float, Field(gt=0, lt=1)]
"""A setting that is a share of the budget."""

Cut: TypeAlias = Literal["weights", "channels", "nothing"]
Scope: TypeAlias = Literal["global", "network", "layer", "erk"]
Start: TypeAlias = Literal["kept", "rescaled", "measured", "fan-in", "redrawn", "shuffled", "shuffled-rescaled"]
OwnStart: TypeAlias = Literal["kept", "rescaled", "measured", "fan-in"]
"""Starts that one network may have beside another's."""
SHUFFLED: tuple[Start, ...] = ("shuffled", "shuffled-rescaled")
CONTROLS: tuple[Start, ...] = ("redrawn", *SHUFFLED)
"""Starts that ask what a choice was worth, of all networks together."""


Need: TypeAlias = Literal["batchnorm", "feedforward"]
"""What a network may lack."""

WEIGHTS: Cut = "weights"
CHANNELS: Cut = "channels"
NOTHING: Cut = "nothing"


class CommonSettings(BaseModel):
    """What a suite may set on every pruner.

    Args:
        scope: what is ranked against what: everything (``global``), each network for itself (``network``, say actor
            and critic), each layer for itself, all losing an equal share (``layer``), or each layer for itself by the densities
            of an Erdős-Rényi kernel (``erk``; pruners of weights). Left out, the task decides.
        floor: weights that stay in every tensor, or channels in every group, whatever their score.
        moments: whether the optimizer's averages of what stays are kept when something is pruned, or start anew.
        start: where training begins after a cut: from the weights that stay (``kept``); from these, each layer multiplied so that
            its mean squared gain is as before (``rescaled``), or so that its mean squared output is, on the data that scores are
            taken on (``measured``), or each output by its inputs before and now (``fan-in``); as controls, from new weights at
            the same places (``redrawn``), or from as many old ones at other places, as they are (``shuffled``) or multiplied as
            ``rescaled`` is (``shuffled-rescaled``).
        start_actor: where the network of this name starts, if elsewhere: from its weights as they are, or multiplied.
        start_critic: the same of the critic.
        actor: sparsity of the network of this name, which is then ranked and counted for itself; left out, that of the cell.
        critic: the same of the critic.
        heads: whether the weights that make the outputs are ranked like all others (``pruned``) or stay whole (``dense``) and
            count as kept, so that the others of their network pay for them. Of channels nothing changes: outputs are never cut.
        rate_held: epochs for which the learning rate is held at its peak, before it runs down over what remains (and PPO's clip
            range, which goes with it); 0 lets it fall from the first one on. Left out, as long as the plan waits for its moment.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    scope: Scope | None = None
    floor: int = Field(default=1, ge=1, le=1_000_000)
    moments: Literal["keep", "reset"] = "keep"
    start: Start = "kept"
    start_actor: OwnStart | None = None
    start_critic: OwnStart | None = None
    actor: float | None = Field(default=None, ge=0, lt=1)
    critic: float | None = Field(default=None, ge=0, lt=1)
    heads: Literal["pruned", "dense"] = "pruned"
    rate_held: Annotated[int, Field(ge=0, le=10_000)] | None = None
    later: ClassVar[frozenset[str]] = frozenset({"start", "start_actor", "start_critic", "actor", "critic", "heads", "rate_held"})
    """Settings that came when cells had been stored: left out of a cell's configuration where they are at their defaults."""


@dataclass(frozen=True, eq=False)
class Pruner:
    """A method, named as in its paper.

    Args:
        name: ends in ``-U`` (weights, unstructured) or ``-S`` (channels, structured) where both exist.
        score: the formula; extra keyword parameters are settings. None for a pruner that removes nothing.
        cut: WEIGHTS, CHANNELS or NOTHING.
        plan: the steps, or a function of settings that returns them.
        scope: what the method itself ranks against what; None leaves it to the task. A suite may set another.
        start: where training begins after the method's cuts. A suite may set another.
        needs: what a network must have, of ``"batchnorm"`` and ``"feedforward"``; a cell without it is skipped with that reason.
    """

    name: str
    score: "Callable[..., Scores] | None"
    cut: Cut
    plan: Plan | Callable[..., Plan]
    needs: frozenset[str] = frozenset()
    scope: Scope | None = None
    start: Start = "kept"

    def __post_init__(self) -> None:
        scopes = (None, *get_args(Scope))
        said: list[tuple[str, object, tuple[Any, ...]]] = [
            ("cut", self.cut, get_args(Cut)),
            ("scope", self.scope, scopes),
            ("start", self.start, get_args(Start)),
        ]
        said += [("needs", need, get_args(Need)) for need in self.needs]
        for key, got, allowed in said:
            if got not in allowed:
                names = [name for name in allowed if name is not None]
                hint = nearest(str(got), names)
                raise ValueError(f"{key} of pruner {self.name}: got {got!r}; must be {' or '.join(names)}{hint}")
        if self.score is not None and not callable(self.score):
            raise ValueError(f"score of pruner {self.name}: got {self.score!r}; must be a function of the probe, or None")
        _settings_model(self)

    def starts(self, otherwise: Start) -> Start:
        """Return where training begins after the method's cuts where nobody says: as it says itself, or else its subject does."""
        return otherwise if self.start == "kept" else self.start

    def settings(self, given: Mapping[str, Any] | None = None) -> CommonSettings:
        """Validate settings and fill in the defaults.

        Raises:
            pydantic.ValidationError: an unknown setting or a value out of range.
        """
        return _settings_model(self).model_validate(dict(given or {}))

    def asked(self, given: Mapping[str, Any], taker: type) -> CommonSettings:
        """Validate settings that somebody gave to a class beside its own arguments; warn if nothing will be removed.

        Raises:
            ValueError: an unknown setting or a value out of range, in one line.
        """
        if self.cut == NOTHING:
            warnings.warn(f"{self.name} removes nothing, whatever sparsity it is given", stacklevel=4)  # past `spelled`
        try:
            return self.settings(given)
        except ValidationError as error:
            own = [name for name, one in inspect.signature(taker).parameters.items() if one.kind is not one.VAR_KEYWORD]
            told = [(".".join(map(str, keys)), message) for keys, message in in_words(error, type(self.settings()), own)]
        raise ValueError("; ".join(f"{self.name}, setting '{key}': {message}" for key, message in told))

    def steps(self, settings: CommonSettings) -> Plan:
        """Return the plan under these settings.

        Raises:
            ValueError: a step that this pruner cannot take.
        """
        plan: object = self.plan(**_chosen(self.plan, settings)) if callable(self.plan) else self.plan
        if not isinstance(plan, Iterable):
            raise ValueError(f"the plan of {self.name} is a list of steps; got {plan!r}")
        steps, pruned, dropped = tuple(plan), False, False
        for number, step in enumerate(steps, 1):
            if not isinstance(step, Step):
                made = f"the class {step.__name__}: write {step.__name__}()" if isinstance(step, type) else f"{step!r}"
                raise ValueError(f"step {number} of the plan of {self.name} is {made}")
            if isinstance(step, Prune) and step.by is None and self.score is None:
                raise ValueError(f"{self.name} prunes and has no score: give it one, or Prune(by=...)")
            if isinstance(step, Grow | Rewind) and self.cut == CHANNELS:
                verb = "grows" if isinstance(step, Grow) else "rewinds"
                raise ValueError(f"{self.name} cuts channels and {verb}: what was cut cannot come back")
            if isinstance(step, Train) and isinstance(step.until, MaskDistance) and self.cut != CHANNELS:
                raise ValueError(f"{self.name} waits for a MaskDistance, which compares channels, and cuts {self.cut}")
            if isinstance(step, Grow) and not pruned:
                raise ValueError(f"{self.name} grows in step {number}, and nothing was pruned before: Prune() comes first")
            pruned |= isinstance(step, Prune)
            dropped = (dropped or (isinstance(step, Prune) and step.beyond > 0)) and not isinstance(step, Grow)
        if dropped:
            raise ValueError(f"{self.name} drops more than its sparsity, Prune(beyond=...), and no Grow brings it back")
        return steps if settings.rate_held is None else (Hold(settings.rate_held), *steps)

    def formula(self, settings: CommonSettings) -> "Score":
        """Return the score under these settings, a function of the probe alone.

        Raises:
            TypeError: this pruner removes nothing and has no formula.
        """
        if self.score is None:
            raise TypeError(f"{self.name} removes nothing and has no score")
        return partial(self.score, **_chosen(self.score, settings))


def pruners() -> Registry[Pruner]:
    """Return the registry of pruners: the files of ``rlprune/pruners`` and the entry points ``rlprune.pruners``."""
    return _PRUNERS


_PRUNERS = Registry("rlprune.pruners", Pruner)


@cache
def _settings_model(pruner: Pruner) -> type[CommonSettings]:
    """Return the model of a pruner's settings.

    Raises:
        ValueError: a setting without a type, or of one that cannot be checked.
    """
    fields: dict[str, Any] = {"start": (Start, pruner.start)}
    said: dict[str, Any] = {}
    for function in (pruner.score, pruner.plan):
        if callable(function):
            for name, parameter in _keywords(function).items():
                where = f"setting '{name}' of pruner {pruner.name}"
                if name in CommonSettings.model_fields:
                    raise ValueError(f"{where}: every pruner has a setting of this name; call it otherwise")
                if parameter.annotation is parameter.empty:
                    kind = type(parameter.default).__name__
                    raise ValueError(f"{where} needs a type, say {name}: {kind} = {parameter.default!r}")
                if isinstance(parameter.annotation, str):
                    raise ValueError(f"{where} is of type {parameter.annotation}, which is not there when the pruner is loaded")
                if said.setdefault(name, (parameter.annotation, parameter.default)) != (parameter.annotation, parameter.default):
                    raise ValueError(f"{where}: score and plan have it, with another type or default; one setting has one")
                fields[name] = said[name]
    try:
        return create_model(pruner.name, __base__=CommonSettings, **fields)
    except (PydanticUserError, TypeError) as error:
        why = str(error).partition("\n")[0]
        raise ValueError(f"the settings of pruner {pruner.name} are of a type that cannot be checked: {why}") from None


def _chosen(function: Callable[..., Any], settings: CommonSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in _keywords(function)}


def _keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except Exception:  # a type that is imported for checkers alone, say
        parameters = inspect.signature(function).parameters
    return {name: parameter for name, parameter in parameters.items() if parameter.default is not parameter.empty}
