"""Plans: what a pruner does over time, as data, and the state machine that walks through them.

A plan is a tuple of steps. It is advanced at epoch ends and never runs anything itself, so the same plan drives
a benchmark cell, a fleet in lockstep, somebody's callback, and a run resumed after a crash:

    progress = begin(plan, sparsity, epochs)
    while (action := next_action(plan, sparsity, epochs, progress)) is not None:
        ...do it...
        progress = after(plan, sparsity, epochs, progress, action, reading)

Whoever can stop inside an epoch says into how many ``parts`` it falls, say its optimizer steps; most plans train whole epochs
all the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, TypeAlias

from pydantic import Field

if TYPE_CHECKING:
    from torch import Tensor

    from rlprune.pruning.probe import Probe

Scores: TypeAlias = "dict[str, Tensor]"
"""High is kept. For weights: parameter name to a tensor of its shape. For channels: group name to one number a channel."""

Score: TypeAlias = "Callable[[Probe], Scores]"

Cap: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

# -- when to stop waiting ----------------------------------------------------------------------------------------


class Watch(Protocol):
    """What a trigger may look at when an epoch ends."""

    def distance(self, reference: Literal["start", "epoch1"]) -> float:
        """Return ``‖θ_t − θ_ref‖₂`` over the trainable parameters."""

    def norm(self) -> float:
        """Return ``‖θ_0‖₂``, the norm of the initial trainable parameters."""

    def mask_distance(self, window: int) -> float:
        """Return how far the channels that the pruner would keep now are from those of the last epochs.

        The largest share of channels that differ from any of the ``window − 1`` epochs before; 1 while there are fewer.
        """


class Trigger(Protocol):
    """Decides at an epoch's end whether to stop waiting. ``cap`` is the latest moment, as a share of all epochs."""

    @property
    def cap(self) -> float: ...

    def measure(self, watch: Watch) -> float:
        """Return the number to remember for this epoch."""

    def value(self, readings: Sequence[float]) -> float | None:
        """Return the statistic that is compared and logged, or None while there are too few readings."""

    def fires(self, readings: Sequence[float], sparsity: float) -> bool:
        """Return True when training has gone far enough, given one reading an epoch."""


@dataclass(frozen=True)
class LazyRegime:
    """Fire when weights stop travelling: ``|D_t − D_{t−1}| / D_1 < margin · (1 − ρ)``, t >= 2.

    ``D_t = ‖θ_t − θ_ref‖`` at the end of epoch t. The paper's equations 10 to 12, its Algorithm 1, its slides and
    its code differ, so every part is a setting; the defaults are the ruling of this benchmark.

    Args:
        margin: factor on the threshold ``1 − ρ``.
        cap: share of all epochs after which it fires regardless.
        reference: distances from the initial weights or from the weights after epoch 1.
        normaliser: divide by ``D_1`` (``first``; with reference ``epoch1``, the first one that is not zero), by
            ``‖θ_0‖`` (``start``) or by ``D_t`` (``current``).
        squared: use squared distances.
        epoch: fire at the end of this epoch instead, whatever the value; 0 is before training. Needs a ``cap`` that lets it.

    Source: Rachwan et al., 2022, section 4.2.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # a suite's misspelt key is a mistake, not nothing

    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    cap: Cap = 0.5
    reference: Literal["start", "epoch1"] = "start"
    normaliser: Literal["first", "start", "current"] = "first"
    squared: bool = False
    epoch: Annotated[int, Field(ge=0, le=10_000)] | None = None

    def measure(self, watch: Watch) -> float:
        distance = watch.distance(self.reference)
        if self.normaliser == "start":
            distance /= watch.norm()
        return distance**2 if self.squared else distance

    def value(self, readings: Sequence[float]) -> float | None:
        if len(readings) < 2:
            return None
        change = abs(readings[-1] - readings[-2])
        match self.normaliser:
            case "start":
                return change
            case "first":
                scale = next((reading for reading in readings if reading > 0), 0.0)
            case "current":
                scale = readings[-1]
        return change / scale if scale > 0 else 0.0

    def fires(self, readings: Sequence[float], sparsity: float) -> bool:
        if self.epoch is not None:
            return len(readings) >= self.epoch
        value = self.value(readings)
        return value is not None and value < self.margin * (1 - sparsity)


@dataclass(frozen=True)
class MaskDistance:
    """Fire when the channels that would be kept no longer change: all distances within ``window`` epochs below ``threshold``.

    Args:
        window: epochs whose masks are compared.
        threshold: normalised Hamming distance.
        cap: share of all epochs after which it fires regardless.

    Source: You et al., 2020, section 3.2 (window 5, threshold 0.1).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    window: Annotated[int, Field(ge=2, le=1000)] = 5
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.1
    cap: Cap = 0.5

    def measure(self, watch: Watch) -> float:
        return watch.mask_distance(self.window)

    def value(self, readings: Sequence[float]) -> float | None:
        return readings[-1] if readings else None

    def fires(self, readings: Sequence[float], sparsity: float) -> bool:
        return bool(readings) and readings[-1] < self.threshold


# -- how far to prune --------------------------------------------------------------------------------------------


class Schedule(Protocol):
    """The sparsities of the rounds of one pruning step, the last one its target."""

    def sparsities(self, target: float) -> list[float]: ...


@dataclass(frozen=True)
class Halving:
    """``ρ_i = ρ − (ρ − ρ_s)/2^i`` for i = 0, 1, ..., then ρ, with ``ρ_s = min(1/2, ρ/2)``; one round is plain one-shot.

    Source: Rachwan et al., 2022, appendix (7 rounds).
    """

    rounds: int = 7

    def sparsities(self, target: float) -> list[float]:
        start = min(0.5, target / 2)
        return [target - (target - start) / 2**i for i in range(self.rounds - 1)] + [target]


@dataclass(frozen=True)
class Exponential:
    """``1 − ρ_i = (1 − ρ)^(i/n)`` for i = 1..n: each round removes the same share of what is left.

    Source: Tanaka et al., 2020 (SynFlow, n = 100); Frankle & Carbin, 2019 (iterative magnitude pruning).
    """

    rounds: int

    def sparsities(self, target: float) -> list[float]:
        return [1 - (1 - target) ** (i / self.rounds) for i in range(1, self.rounds)] + [target]


@dataclass(frozen=True)
class Cubic:
    """``ρ_i = ρ (1 − (1 − i/n)³)`` for i = 1..n: fast while there is much, slow in the end.

    Source: Zhu & Gupta, 2017.
    """

    rounds: int

    def sparsities(self, target: float) -> list[float]:
        return [target * (1 - (1 - i / self.rounds) ** 3) for i in range(1, self.rounds)] + [target]


@dataclass(frozen=True)
class Level:
    """The one round number ``index`` (from 1) of another schedule, for plans that train between rounds."""

    of: Schedule
    index: int

    def sparsities(self, target: float) -> list[float]:
        return [self.of.sparsities(target)[self.index - 1]]


# -- steps -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Train:
    """Train ``epochs`` epochs, or up to ``share`` of the budget, or until a trigger fires; by default to the budget's end.

    While a trigger is awaited the learning rate is held, unless a ``Hold`` says how long: a decaying one would imitate the lazy
    regime.

    Args:
        penalty: L1 on the scales of batch normalisation, its gradient added at every optimizer step.
        only: ``gates`` freezes all but batch normalisation and the layers that make the outputs.
        fine: let ``share`` end inside an epoch, where whoever trains can stop there.
    """

    epochs: int | None = None
    share: float | None = None
    until: Trigger | None = None
    penalty: float = 0.0
    only: Literal["everything", "gates"] = "everything"
    fine: bool = False

    def __post_init__(self) -> None:
        if self.share is not None and not 0 <= self.share <= 1:
            raise ValueError(f"share is one of the budget, at least 0 and at most 1; got {self.share}")


@dataclass(frozen=True)
class Prune:
    """Score and prune, once for every round of ``schedule``, with no training in between.

    Args:
        schedule: the sparsities of the rounds.
        by: another score than the pruner's own.
        beyond: share of what the schedule keeps that goes as well, to be grown elsewhere; left out while nothing was trained
            since the network was pruned or grown last, and where nothing will be.
    """

    schedule: Schedule = Halving(rounds=1)
    by: "Score | None" = None
    beyond: float = 0.0

    def __post_init__(self) -> None:
        _checked(self, self.schedule, [] if self.by is None else [self.by])
        if not 0 <= self.beyond < 1:
            raise ValueError(f"beyond is a share of what is kept, at least 0 and less than 1; got {self.beyond}")


@dataclass(frozen=True)
class Grow:
    """Bring weights back, those with the highest scores, until the network is as sparse as ``schedule`` says.

    They begin at zero, and the optimizer's averages of them as at its start. Channels that were cut cannot come back. Left out
    while nothing was trained since the network was pruned or grown last, but for what goes ``beyond``, and where nothing will be.

    Args:
        by: the score.
        schedule: its last sparsity is the one to grow to.
    """

    by: "Score"
    schedule: Schedule = Halving(rounds=1)

    def __post_init__(self) -> None:
        _checked(self, self.schedule, [self.by])


def _checked(step: object, schedule: object, scores: Sequence[object]) -> None:
    """Refuse a step that is made of something else than a schedule and scores.

    Raises:
        ValueError: which, and what it is.
    """
    if not callable(getattr(schedule, "sparsities", None)):
        raise ValueError(f"the schedule of {type(step).__name__} is one as Halving(rounds=20) is; got {schedule!r}")
    for score in scores:
        if not callable(score):
            raise ValueError(f"by is a score, a function of the probe; got {score!r}")


@dataclass(frozen=True)
class Hold:
    """Let the learning rate begin to fall when so many epochs of the budget are over, whatever the plan waits for."""

    epochs: int


@dataclass(frozen=True)
class Save:
    """Remember weights, statistics, optimizer and schedule position."""


@dataclass(frozen=True)
class Rewind:
    """Go back to what ``Save`` remembered; masks stay."""


Step: TypeAlias = Train | Prune | Grow | Hold | Save | Rewind
Plan: TypeAlias = Sequence[Step]


# -- the state machine -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainEpoch:
    """Train one epoch, or some of its ``parts``, while the schedule's remaining share goes from ``start`` to ``end``.

    Args:
        start: what of the schedule remains when the whole epoch begins; 1 at first.
        end: and when it ends; 0 at the end.
        first: the part to begin with.
        last: the part to stop before.
        parts: equal parts into which the epoch falls.
        budget: what of the budget remains when the whole epoch begins and ends, which waiting for a trigger does not hold; left
            out, as the schedule says.
    """

    start: float
    end: float
    first: int = 0
    last: int = 1
    parts: int = 1
    budget: tuple[float, float] | None = None

    @property
    def begins(self) -> bool:
        """Whether it begins the epoch."""
        return self.first == 0

    @property
    def ends(self) -> bool:
        """Whether it ends the epoch."""
        return self.last == self.parts

    def span(self, count: int) -> range:
        """Return which of ``count`` equal pieces of the whole epoch, say its batches, to train."""
        return range(self.first * count // self.parts, self.last * count // self.parts)

    def remaining(self, done: float) -> float:
        """Return what of the schedule remains when this share of the whole epoch is done."""
        return self.start + (self.end - self.start) * done

    def left(self, done: float) -> float:
        """Return what of the budget remains when this share of the whole epoch is done."""
        start, end = self.budget or (self.start, self.end)
        return start + (end - start) * done


@dataclass(frozen=True)
class PruneTo:
    """Score once and prune to this sparsity of the dense network. ``round`` counts all rounds of the plan; see ``Prune``."""

    sparsity: float
    round: int
    by: "Score | None" = None
    beyond: float = 0.0


@dataclass(frozen=True)
class GrowTo:
    """Score once and grow to this sparsity of the dense network; see ``Grow``."""

    sparsity: float
    round: int
    by: "Score"


Action: TypeAlias = TrainEpoch | PruneTo | GrowTo | Save | Rewind


@dataclass(frozen=True)
class Progress:
    """Where a plan stands: plain numbers, saved with checkpoints.

    Args:
        step: index of the current step.
        inside: epochs or rounds done inside that step.
        epoch: position in the budget; rewinding turns it back.
        part: parts of the epoch at that position that are trained already.
        trained: epochs really trained, rewound ones included.
        rounds: pruning rounds done.
        anneal: epoch from which the schedule runs down to the budget's end.
        saved: (epoch, anneal) at ``Save``.
        readings: the trigger's measurements, one an epoch since the step began.
        still: whether nothing was trained since the network was pruned, or grown to what it is to have.
    """

    step: int = 0
    inside: int = 0
    epoch: int = 0
    part: int = 0
    trained: int = 0
    rounds: int = 0
    anneal: int = 0
    saved: tuple[int, int] | None = None
    readings: tuple[float, ...] = field(default=())
    still: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "Progress":
        saved = state["saved"]
        return cls(**{**state, "saved": saved and (saved[0], saved[1]), "readings": tuple(state["readings"])})


def begin(plan: Plan, sparsity: float, epochs: int, parts: int = 1) -> Progress:
    """Return where a plan stands before anything was done."""
    return _settle(plan, sparsity, epochs, parts, Progress())


def next_action(plan: Plan, sparsity: float, epochs: int, progress: Progress, parts: int = 1) -> Action | None:
    """Return what a plan does next, or None when it is finished.

    Args:
        plan: the steps.
        sparsity: the target ρ, share of weights removed, in [0, 1).
        epochs: the budget.
        progress: where the plan stands, from ``begin`` or ``after``.
        parts: into how many parts whoever trains can divide an epoch.
    """
    if progress.step == len(plan):
        return None
    match plan[progress.step]:
        case Train() as step:
            held, left = _held(plan, step), _left(step, epochs, parts, progress)
            return TrainEpoch(
                start=1.0 if held else _remaining(progress.epoch, progress.anneal, epochs),
                end=1.0 if held else _remaining(progress.epoch + 1, progress.anneal, epochs),
                first=progress.part,
                last=min(parts, progress.part + left),
                parts=parts,
                budget=(_remaining(progress.epoch, 0, epochs), _remaining(progress.epoch + 1, 0, epochs)),
            )
        case Prune(schedule, by, beyond):
            return PruneTo(schedule.sparsities(sparsity)[progress.inside], progress.rounds, by, beyond)
        case Grow(by, schedule):
            return GrowTo(schedule.sparsities(sparsity)[-1], progress.rounds, by)
        case Hold():
            raise AssertionError("it is over as soon as it is met")
        case step:
            return step


def after(
    plan: Plan,
    sparsity: float,
    epochs: int,
    progress: Progress,
    action: Action,
    reading: float | None = None,
    parts: int = 1,
) -> Progress:
    """Return where the plan stands once ``action`` was done.

    Args:
        reading: after a ``TrainEpoch`` that waits for a trigger, what ``waiting_for(...).measure`` returned.

    Raises:
        ValueError: a plan that saves or rewinds inside an epoch, or rewinds before it saves.
    """
    if isinstance(action, Save | Rewind) and progress.part:
        raise ValueError("the plan saves or rewinds inside an epoch: let the Train(...) before it end with one")
    match action:
        case TrainEpoch(ends=False):
            moved = replace(progress, part=action.last, still=False)
        case TrainEpoch():
            readings = progress.readings if reading is None else (*progress.readings, reading)
            moved = replace(
                progress,
                inside=progress.inside + 1,
                epoch=progress.epoch + 1,
                part=0,
                trained=progress.trained + 1,
                readings=readings,
                still=False,
            )
        case PruneTo():
            still = action.beyond == 0
            moved = replace(progress, inside=progress.inside + 1, rounds=progress.rounds + 1, still=still)
        case GrowTo():
            moved = replace(progress, inside=progress.inside + 1, rounds=progress.rounds + 1, still=True)
        case Save():
            moved = replace(progress, step=progress.step + 1, inside=0, saved=(progress.epoch, progress.anneal))
        case Rewind():
            if progress.saved is None:
                raise ValueError("the plan rewinds before it saves: put Save() in front of Rewind()")
            epoch, anneal = progress.saved
            moved = replace(progress, step=progress.step + 1, inside=0, epoch=epoch, anneal=anneal)
    return _settle(plan, sparsity, epochs, parts, moved)


def waiting_for(plan: Plan, progress: Progress) -> Trigger | None:
    """Return the trigger that the current step waits for, if any."""
    step = plan[progress.step] if progress.step < len(plan) else None
    return step.until if isinstance(step, Train) else None


def waits(plan: Plan) -> bool:
    """Return whether a plan waits for a trigger at any time."""
    return any(isinstance(step, Train) and step.until is not None for step in plan)


def trained_epochs(plan: Plan, epochs: int, sparsity: float = 0.9) -> int:
    """Return how many epochs a plan trains at most, found by walking through it with triggers that fire at their cap."""
    progress = begin(plan, sparsity, epochs)
    while (action := next_action(plan, sparsity, epochs, progress)) is not None:
        if isinstance(step := plan[progress.step], Train):  # all its epochs but the last in one stride
            inside, epoch, trained = progress.inside, progress.epoch, progress.trained
            stride = _left(step, epochs, 1, progress) - 1
            progress = replace(progress, inside=inside + stride, epoch=epoch + stride, trained=trained + stride)
        progress = after(plan, sparsity, epochs, progress, action)
    return progress.trained


def unheard(plan: Plan, epochs: int) -> str:
    """Return why a moment that a plan is told would not be its moment, or an empty string.

    Args:
        plan: the steps.
        epochs: the budget.
    """
    for trigger in (step.until for step in plan if isinstance(step, Train) and step.until is not None):
        told, latest = getattr(trigger, "epoch", None), min(epochs, round(trigger.cap * epochs))
        if told is not None and told > latest:
            return f"until.epoch = {told} is after the latest moment, epoch {latest} of {epochs} (until.cap = {trigger.cap:g})"
    return ""


def reached(plan: Plan, sparsity: float) -> float | None:
    """Return the sparsity that a plan comes to last when this one is asked for; None where it never prunes."""
    rounds = [share for step in plan if isinstance(step, Prune | Grow) for share in step.schedule.sparsities(sparsity)]
    return rounds[-1] if rounds else None


def _settle(plan: Plan, sparsity: float, epochs: int, parts: int, progress: Progress) -> Progress:
    """Pass over the steps that are finished."""
    while progress.step < len(plan) and _finished(plan[progress.step], sparsity, epochs, parts, progress):
        anneal, step = progress.anneal, plan[progress.step]
        if isinstance(step, Hold):
            anneal = step.epochs
        elif isinstance(step, Train) and _held(plan, step):
            anneal = progress.epoch
        progress = replace(progress, step=progress.step + 1, inside=0, readings=(), anneal=anneal)
    return progress


def _held(plan: Plan, step: Train) -> bool:
    """Return whether the learning rate is held as long as a step waits."""
    return step.until is not None and not any(isinstance(other, Hold) for other in plan)


def _left(step: Train, epochs: int, parts: int, progress: Progress) -> int:
    """Return how many parts of epochs a step trains from here on if its trigger does not fire."""
    done = progress.epoch * parts + progress.part
    left = epochs * parts - done
    if step.epochs is not None:
        return min(left, (step.epochs - progress.inside) * parts - progress.part)
    if (share := step.until.cap if step.share is None and step.until is not None else step.share) is not None:
        end = round(share * epochs) * parts
        if step.fine:  # whoever cannot stop inside an epoch prunes at its end: before it would be too early
            end = round(share * epochs * parts) if parts > 1 else ceil(share * epochs - 1e-9)
        return min(left, end - done)
    return left


def _finished(step: Step, sparsity: float, epochs: int, parts: int, progress: Progress) -> bool:
    match step:
        case Train():
            listens = step.epochs is None and step.share is None
            fires = listens and step.until is not None and step.until.fires(progress.readings, sparsity)
            return fires or _left(step, epochs, parts, progress) <= 0
        case Prune(schedule, _, beyond):
            idle = progress.still or _over(epochs, progress)
            return progress.inside >= len(schedule.sparsities(sparsity)) or (beyond > 0 and idle)
        case Grow():
            return progress.inside > 0 or progress.still or _over(epochs, progress)
        case Hold():
            return True
        case _:
            return False


def _over(epochs: int, progress: Progress) -> bool:
    """Return whether the budget is spent, so that what moves would move for nothing."""
    return progress.epoch >= epochs


def _remaining(epoch: int, anneal: int, epochs: int) -> float:
    return 1.0 if epoch <= anneal else (epochs - epoch) / (epochs - anneal)
