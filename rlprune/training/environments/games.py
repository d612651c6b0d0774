"""A record of what agents earned in their latest games."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Games:
    """The returns of each agent's last ``WINDOW`` finished games, kept as tensors.

    Games that end in the same step count in the order of their environments.
    """

    WINDOW = 100

    def __init__(self, agents: int, environments: int, device: str = "cpu") -> None:
        self._running = torch.zeros(agents, environments, dtype=torch.float64, device=device)
        # one more column takes what is not to be kept
        self._returns = torch.zeros(agents, self.WINDOW + 1, dtype=torch.float64, device=device)
        self._count = torch.zeros(agents, dtype=torch.int64, device=device)

    def add(self, rewards: Tensor, ended: Tensor) -> None:
        """Count rewards and ends of games, both [P, T, E], of T steps one after another."""
        if self._count.device.type == "cpu":
            from rlprune.training.compiled import kernels

            record = self._running, self._returns, self._count, rewards.contiguous(), ended.contiguous()
            kernels.count(*(tensor.numpy() for tensor in record), self.WINDOW)
        else:
            self._add_tensors(rewards, ended)

    def _add_tensors(self, rewards: Tensor, ended: Tensor) -> None:
        totals = torch.empty(rewards.shape, dtype=torch.float64, device=rewards.device)
        for step in range(rewards.shape[1]):
            self._running += rewards[:, step]
            totals[:, step] = self._running
            self._running *= ~ended[:, step]
        finished = ended.flatten(1)
        order = finished.cumsum(1)
        number = order[:, -1:]
        kept = finished & (order > number - self.WINDOW)
        place = torch.where(kept, (order + (self._count[:, None] - 1)) % self.WINDOW, self.WINDOW)
        self._returns.scatter_(1, place, totals.flatten(1))
        self._count += number[:, 0]

    def means(self) -> Tensor:
        """Return the mean return of the last games of each agent [P], NaN before the first."""
        return self._returns[:, : self.WINDOW].sum(1) / self._count.clamp(max=self.WINDOW)

    def forget(self) -> None:
        """Begin anew; games that go on count whole once they end."""
        self._returns.zero_()
        self._count.zero_()

    def state(self) -> dict[str, Tensor]:
        return {"running": self._running.clone(), "returns": self._returns.clone(), "count": self._count.clone()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        device = self._count.device
        self._running, self._returns, self._count = (
            state[name].to(device, copy=True) for name in ("running", "returns", "count")
        )

    def keep(self, agents: Sequence[int]) -> None:
        self.load_state({name: rows[list(agents)] for name, rows in self.state().items()})

    @classmethod
    def join(cls, parts: "Sequence[Games]") -> "Games":
        """Return the record of all agents of ``parts``."""
        states = [part.state() for part in parts]
        whole = cls(len(parts), parts[0]._running.shape[1], str(parts[0]._count.device))
        whole.load_state({name: torch.cat([state[name] for state in states]) for name in states[0]})
        return whole

    def split(self) -> "list[Games]":
        """Return a record for each agent."""
        parts = []
        for agent in range(len(self._count)):
            parts.append(Games(1, self._running.shape[1], str(self._count.device)))
            parts[-1].load_state({name: rows[agent : agent + 1] for name, rows in self.state().items()})
        return parts
