"""What environments of many agents owe to those who train them.

Shapes: P agents, E environments each, D features. A game that ends is followed by the next one in the same step. The
start of a game depends on its agent's seed, its environment and its number alone.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, Self

from torch import Tensor


class Transition(NamedTuple):
    """What one step of all environments brought.

    Args:
        observations: float32 [P, E, D]; where a game ended, the first one of the next game.
        rewards: float32 [P, E].
        terminated: bool [P, E], the game is over.
        truncated: bool [P, E], its time is over; both may be true.
        final: float32 [P, E, D]; where a game ended, its last observation, else as ``observations``.
    """

    observations: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    final: Tensor


class BatchedEnv(Protocol):
    """``environments`` environments for each of ``agents`` agents, with the same ``features`` and ``actions``.

    ``limit`` is the least number of steps between two truncations of an environment; a step that is ``simulated`` is
    arithmetic on the device alone, which a CUDA graph can repeat.
    """

    @property
    def simulated(self) -> bool: ...

    @property
    def agents(self) -> int: ...
    @property
    def environments(self) -> int: ...
    @property
    def features(self) -> int: ...
    @property
    def actions(self) -> int: ...
    @property
    def limit(self) -> int: ...

    @property
    def observations(self) -> Tensor:
        """The observations [P, E, D] that the next actions answer."""

    def reset(self, seeds: Tensor) -> Tensor:
        """Begin the first games of agents with these int64 seeds [P]; return their observations [P, E, D]."""

    def step(self, actions: Tensor) -> Transition:
        """Take int64 actions [P, E]."""

    def state(self) -> dict[str, Tensor]:
        """Return all there is to save, each tensor with one row an agent."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from saved rows, of as many agents as there are rows."""

    def keep(self, agents: Sequence[int]) -> None:
        """Go on with these agents only, in this order; none may be named twice."""

    def take(self, other: Self) -> None:
        """Add the agents of ``other``, which is used up."""

    def split(self) -> "Sequence[Self]":
        """Return the environments of each agent by themselves; the whole is used up."""

    def close(self) -> None:
        """Let go of the environments."""
