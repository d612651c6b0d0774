"""Kinds of observation and action spaces, by the names in which recipes say what they can play."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlprune.words import nearest

if TYPE_CHECKING:
    from gymnasium.spaces import Space

WORDS: Mapping[str, str] = {
    "box": "a Box of numbers that is no image",
    "flat box": "a flat Box",
    "bounded box": "a flat Box of floats within finite bounds",
    "discrete": "Discrete",
    "discrete from 0": "Discrete that counts from 0",
    "multidiscrete from 0": "a flat MultiDiscrete that counts from 0",
    "multibinary": "MultiBinary",
    "flat multibinary": "a flat MultiBinary",
}
"""Every kind, as messages put it."""


@dataclass(frozen=True)
class Playable:
    """The spaces that somebody can play.

    Args:
        by: who plays, for messages.
        observations: kinds that it learns from, names of ``WORDS``.
        actions: kinds that it acts by.
        otherwise: what to do about other spaces.

    Raises:
        ValueError: a kind that there is not, or none.
    """

    by: str
    observations: tuple[str, ...]
    actions: tuple[str, ...]
    otherwise: str = ""

    def __post_init__(self) -> None:
        for name in (*self.observations, *self.actions):
            if name not in WORDS:
                raise ValueError(f"no kind of spaces is named '{name}'{nearest(name, WORDS)} (kinds: {', '.join(WORDS)})")
        if not self.observations or not self.actions:
            raise ValueError(f"{self.by} must name at least one kind of observations and one of actions")

    def refusal(self, environment: str, observations: "Space[Any]", actions: "Space[Any]") -> str:
        """Return why an environment with these spaces cannot be played, or an empty string."""
        for verb, space, playing, wanted in (
            ("shows", observations, "takes", self.observations),
            ("wants", actions, "acts by", self.actions),
        ):
            if kinds(space).isdisjoint(wanted):
                *first, last = (WORDS[kind] for kind in wanted)
                allowed = f"{', '.join(first)} or {last}" if first else last
                advice = f": {self.otherwise}" if self.otherwise else ""
                return f"{environment} {verb} {described(space)}; {self.by} {playing} {allowed}{advice}"
        return ""


FLEET = Playable("a fleet", ("flat box",), ("discrete",), "train alone (engine = 'sb3')")
"""What environments of many agents at once offer."""


def kinds(space: "Space[Any]") -> frozenset[str]:
    """Return the names of all kinds that a space is of; none for what nobody here can play."""
    import numpy as np
    from gymnasium import spaces  # half a second, which listing tasks must not take

    match space:
        case spaces.Box(shape=shape, low=low, high=high, dtype=dtype):
            image = len(shape) == 3 and dtype == np.uint8 and not low.any() and bool((high == 255).all())
            bounded = np.issubdtype(dtype, np.floating) and bool(np.isfinite([low, high]).all())
            given = {"box": bool(shape) and not image, "flat box": len(shape) == 1, "bounded box": len(shape) == 1 and bounded}
        case spaces.Discrete(start=start):
            given = {"discrete": True, "discrete from 0": start == 0}
        case spaces.MultiDiscrete(nvec=counts, start=starts):
            given = {"multidiscrete from 0": counts.ndim == 1 and not starts.any()}
        case spaces.MultiBinary(shape=shape):
            given = {"multibinary": True, "flat multibinary": len(shape) == 1}
        case _:
            given = {}
    return frozenset(name for name, has in given.items() if has)


def described(space: "Space[Any]") -> str:
    """Return a space in a few words, without the bounds of every number."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        return f"a Box of {space.dtype} {space.shape} from {space.low.min()} to {space.high.max()}"
    words = repr(space)
    return words if len(words) <= 100 else type(space).__name__
