"""What is measured: one kind of thing for a task's metric, a learning curve and a column of costs."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Better: TypeAlias = Literal["higher", "lower"]


@dataclass(frozen=True)
class Measure:
    """A number that is recorded, and how people read it: shown is ``value * scale`` in ``unit``.

    Args:
        name: key of the recorded value, say ``return_greedy``.
        title: what figures and tables call it.
        unit: of what is shown; empty for a count or a share.
        better: which values are better; None where nothing is won.
        scale: from the recorded value to the one that is shown.
    """

    name: str
    title: str
    unit: str = ""
    better: Better | None = "higher"
    scale: float = 1.0

    @property
    def heading(self) -> str:
        """Return title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title
