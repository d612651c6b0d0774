"""Plans in words, for people who ask what a pruner does when."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from rlprune.pruning.plan import (
    Cubic,
    Exponential,
    Grow,
    Halving,
    Hold,
    LazyRegime,
    Level,
    MaskDistance,
    Plan,
    Prune,
    Rewind,
    Save,
    Schedule,
    Step,
    Train,
    Trigger,
)

Words: TypeAlias = tuple[str, str]
"""A step in words, with a place for the one number that differs from round to round, and that number."""


def plan(steps: Plan) -> list[str]:
    """Return a plan in words: a line a step, or for steps that come again and again."""
    left, lines = list(map(_words, steps)), []
    while left:
        length, times = max(((one, _times(left, one)) for one in range(1, len(left) // 2 + 1)), key=_covered, default=(1, 1))
        if times < 2:
            length, times = 1, 1
        turns = [left[turn * length : (turn + 1) * length] for turn in range(times)]
        told = "; ".join(_together(same) for same in zip(*turns, strict=True))
        lines.append(f"{times} times: {told}" if times > 1 else told)
        left = left[length * times :]
    return lines


def when(steps: Plan) -> str:
    """Return when a plan removes something, in a few words; nothing where it never does."""
    prunes = [place for place, step in enumerate(steps) if isinstance(step, Prune)]
    trains = [place for place, step in enumerate(steps) if isinstance(step, Train)]
    if not prunes:
        return ""
    if any(isinstance(step, Rewind) for step in steps):
        return "after training, and trains again"
    first = steps[prunes[0]]
    rounds = getattr(first.schedule, "rounds", 1) if isinstance(first, Prune) and not isinstance(first.schedule, Level) else 1
    if not trains or prunes[0] < trains[0]:
        told = "before training" + (f", in {rounds} rounds" if rounds > 1 else "")
        return told + (", and moves while it trains" if any(isinstance(step, Grow) for step in steps) else "")
    if prunes[-1] > trains[-1]:
        return "after training"
    return "little by little while it trains" if len(prunes) > 2 else "once it has trained a while"


def _times(steps: Sequence[Words], length: int) -> int:
    """Return how often the first so many steps come in a row, but for their numbers."""
    kinds = [text for text, _ in steps]
    times = 1
    while kinds[times * length : (times + 1) * length] == kinds[:length]:
        times += 1
    return times


def _covered(found: tuple[int, int]) -> tuple[int, int]:
    length, times = found
    return (length * times if times > 1 else 0, -length)


def _together(steps: Sequence[Words]) -> str:
    """Return one step of all rounds, with the numbers from the first to the last."""
    numbers = list(dict.fromkeys(number for _, number in steps))
    if len(numbers) > 3:
        numbers = [*numbers[:2], "…", numbers[-1]]
    return steps[0][0].replace("{}", ", ".join(numbers))


def _words(step: Step) -> Words:
    match step:
        case Hold(held):
            return f"hold the learning rate for {held} epochs" if held else "let the learning rate fall from the start", ""
        case Save():
            return "save", ""
        case Rewind():
            return "rewind to what was saved", ""
        case Grow(by=by):
            return f"grow as many, by {formula(by)}", ""
        case Prune(schedule=schedule, by=by, beyond=beyond):
            text, number = _rounds(schedule)
            if beyond:
                text, number = f"{text}, and {{}} more of what is kept", f"{100 * beyond:.3g} %"
            return text + (f", by {formula(by)}" if by else ""), number
        case Train():
            text, number = _length(step)
            text += f", with an L1 penalty of {step.penalty:g} on the scales of batch normalisation" if step.penalty else ""
            return text + (", gates and outputs alone" if step.only == "gates" else ""), number


def _length(step: Train) -> Words:
    if step.epochs is not None:
        return ("train 1 epoch", "") if step.epochs == 1 else (f"train {step.epochs} epochs", "")
    if step.share is not None:
        return "train up to {} of the budget", f"{100 * step.share:.3g} %"
    return ("train to the end of the budget", "") if step.until is None else (f"train until {_moment(step.until)}", "")


def _moment(trigger: Trigger) -> str:
    latest = f", after {100 * trigger.cap:.3g} % of the epochs at the latest"
    match trigger:
        case LazyRegime(epoch=int() as epoch):
            return f"the end of epoch {epoch}"
        case LazyRegime():
            return f"the lazy regime{latest}"
        case MaskDistance():
            return f"the channels that would stay no longer change{latest}"
    return f"{type(trigger).__name__} fires{latest}"


def _rounds(schedule: Schedule) -> Words:
    if isinstance(schedule, Level):
        text, _ = _rounds(schedule.of)
        return text.replace("prune in ", "prune, round {} of "), str(schedule.index)
    match schedule:
        case Halving(rounds=1):
            return "prune", ""
        case Halving(rounds=rounds):
            return f"prune in {rounds} rounds that halve what is missing", ""
        case Exponential(rounds=rounds):
            return f"prune in {rounds} rounds that remove equal shares of what is left", ""
        case Cubic(rounds=rounds):
            return f"prune in {rounds} rounds, fast at first and slowly in the end", ""
    return f"prune by {type(schedule).__name__}", ""


def formula(score: Callable[..., Any]) -> str:
    """Return a score in words: the first line of what it says of itself, or its name."""
    told = (score.__doc__ or "").strip().partition("\n")[0].replace("``", "").rstrip(".")
    return told or getattr(score, "__name__", "a score of its own")
