"""Many environments of many agents at once, reset in the step in which a game ends.

A world holds agents times environments. Its state is a dictionary of tensors whose first dimension is the agent, so
that worlds of several agents are joined for an epoch and split again, and a checkpoint holds an agent's part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import pi
from typing import ClassVar

import torch
from torch import Tensor

from rlprune.training.lots import uniform

GAMES = 100
"""How many of an agent's latest games are remembered."""


@dataclass(frozen=True)
class Step:
    """What a step yields; all ``[agents, environments]``, observations with a last dimension of features.

    Args:
        observations: what the next action is chosen on: after a reset where a game ended.
        rewards: as the environment gives them.
        terminated: the game ended by its own rules.
        truncated: the game ran out of time, and its last observation still has a value.
        last: the observation in which this step ended, before any reset.
    """

    observations: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    last: Tensor


class World:
    """A kind of environment; ``KINDS`` has them by Gymnasium's id.

    Args:
        state: from ``begin``, ``split`` or a checkpoint.
        limit: steps after which a game is truncated.
    """

    actions: ClassVar[int]
    features: ClassVar[int]
    limit: ClassVar[int]

    def __init__(self, state: Mapping[str, Tensor], limit: int | None = None) -> None:
        self.state = dict(state)
        self._limit = limit or type(self).limit

    @classmethod
    def begin(cls, keys: Tensor, environments: int, limit: int | None = None) -> "World":
        """Return a world in its first states.

        Args:
            keys: int64, one an agent; the streams of all its games follow from it.
            environments: how many each agent has.
            limit: another time limit than the environment's own.
        """
        shape = len(keys), environments
        empty = {
            "keys": keys,
            "games": torch.zeros(shape, dtype=torch.int64, device=keys.device),
            "steps": torch.zeros(shape, dtype=torch.int64, device=keys.device),
            "returns": torch.zeros(shape, dtype=torch.float64, device=keys.device),
            "latest": torch.zeros(len(keys), GAMES + 1, dtype=torch.float64, device=keys.device),
            "finished": torch.zeros(len(keys), dtype=torch.int64, device=keys.device),
        }
        world = cls(empty, limit)
        world.state["physics"] = world.first(world._noise())
        return world

    @classmethod
    def join(cls, worlds: Sequence["World"]) -> "World":
        """Return one world of all agents of ``worlds``."""
        names = worlds[0].state
        return cls({name: torch.cat([world.state[name] for world in worlds]) for name in names}, worlds[0]._limit)

    def split(self) -> list["World"]:
        """Return a world for each agent."""
        count = len(self.state["keys"])
        return [
            type(self)({name: part[i : i + 1].clone() for name, part in self.state.items()}, self._limit) for i in range(count)
        ]

    @property
    def horizon(self) -> int:
        """The longest that a game can last, in steps."""
        return self._limit

    def observe(self) -> Tensor:
        """Return float32 observations ``[agents, environments, features]``."""
        return self.seen(self.state["physics"])

    def step(self, actions: Tensor) -> Step:
        """Move every environment by one step and start ended games anew."""
        state = self.state
        physics, rewards, terminated = self.move(state["physics"], actions)
        state["steps"] += 1
        state["returns"] += rewards
        truncated = (state["steps"] >= self._limit) & ~terminated
        done = terminated | truncated
        last = self.seen(physics)
        if not done.is_cuda and not done.any():  # on a GPU the question costs more than the answer
            state["physics"] = physics
            return Step(last, rewards, terminated, truncated, last)
        self._remember(done)
        state["games"] += done
        state["steps"].masked_fill_(done, 0)
        state["returns"].masked_fill_(done, 0.0)
        state["physics"] = torch.where(done.unsqueeze(-1), self.first(self._noise()), physics)
        return Step(self.observe(), rewards, terminated, truncated, last)

    def latest(self) -> Tensor:
        """Return each agent's mean return over its latest games ``[agents]``, NaN before the first one ended."""
        known = self.state["finished"].clamp(max=GAMES)
        return self.state["latest"][:, :GAMES].sum(1) / known

    def first(self, noise: Tensor) -> Tensor:
        """Return first states from noise ``[agents, environments, 4]`` in [0, 1)."""
        raise NotImplementedError

    def seen(self, physics: Tensor) -> Tensor:
        """Return the observation of a state."""
        raise NotImplementedError

    def move(self, physics: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next state, rewards, and whether the game is over."""
        raise NotImplementedError

    def _noise(self) -> Tensor:
        environments = self.state["games"].shape[1]
        own = torch.arange(environments, device=self.state["keys"].device) << 40
        return uniform(self.state["keys"].unsqueeze(1), self.state["games"] + own, 4)

    def _remember(self, done: Tensor) -> None:
        """Write the returns of ended games over the oldest ones; a place beyond the last takes the others."""
        state = self.state
        order = state["finished"].unsqueeze(1) + done.cumsum(1) - 1
        places = torch.where(done, order % GAMES, torch.full_like(order, GAMES))
        state["latest"].scatter_(1, places, state["returns"])
        state["finished"] += done.sum(1)


class CartPole(World):
    """Gymnasium's CartPole-v1: one point a step until the pole leans 12 degrees or the cart leaves the track."""

    actions, features, limit = 2, 4, 500

    def first(self, noise: Tensor) -> Tensor:
        return noise.double() * 0.1 - 0.05

    def seen(self, physics: Tensor) -> Tensor:
        return physics.float()

    def move(self, physics: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, speed, angle, spin = physics.unbind(-1)
        force = actions * 20.0 - 10.0
        cosine, sine = angle.cos(), angle.sin()
        push = (force + 0.05 * spin.square() * sine) / 1.1
        twist = (9.8 * sine - cosine * push) / (0.5 * (4.0 / 3.0 - 0.1 * cosine.square() / 1.1))
        thrust = push - 0.05 * twist * cosine / 1.1
        moved = torch.stack([x + 0.02 * speed, speed + 0.02 * thrust, angle + 0.02 * spin, spin + 0.02 * twist], dim=-1)
        over = (moved[..., 0].abs() > 2.4) | (moved[..., 2].abs() > 12 * 2 * pi / 360)
        return moved, torch.ones_like(x), over


class Acrobot(World):
    """Gymnasium's Acrobot-v1: minus one point a step until the tip swings above the bar."""

    actions, features, limit = 3, 6, 500

    def first(self, noise: Tensor) -> Tensor:
        return (noise * 0.2 - 0.1).double()

    def seen(self, physics: Tensor) -> Tensor:
        one, two, spin_one, spin_two = physics.unbind(-1)
        return torch.stack([one.cos(), one.sin(), two.cos(), two.sin(), spin_one, spin_two], dim=-1).float()

    def move(self, physics: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        torque = actions.double() - 1.0
        k1 = self._slope(physics, torque)
        k2 = self._slope(physics + 0.1 * k1, torque)
        k3 = self._slope(physics + 0.1 * k2, torque)
        k4 = self._slope(physics + 0.2 * k3, torque)
        one, two, spin_one, spin_two = (physics + 0.2 / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)).unbind(-1)
        one, two = _wrapped(one), _wrapped(two)
        moved = torch.stack([one, two, spin_one.clamp(-4 * pi, 4 * pi), spin_two.clamp(-9 * pi, 9 * pi)], dim=-1)
        over = -one.cos() - (two + one).cos() > 1.0
        return moved, over.double() - 1.0, over

    def _slope(self, physics: Tensor, torque: Tensor) -> Tensor:
        """The equations of motion "from the book" (Sutton & Barto, 2018), links of length 1, mass 1, inertia 1."""
        one, two, spin_one, spin_two = physics.unbind(-1)
        cosine, sine = two.cos(), two.sin()
        d1 = 0.25 + (1.25 + cosine) + 2.0
        d2 = (0.25 + 0.5 * cosine) + 1.0
        phi2 = 0.5 * 9.8 * (one + two - pi / 2).cos()
        phi1 = -0.5 * spin_two.square() * sine - spin_two * spin_one * sine + 1.5 * 9.8 * (one - pi / 2).cos() + phi2
        swing_two = (torque + d2 / d1 * phi1 - 0.5 * spin_one.square() * sine - phi2) / (1.25 - d2.square() / d1)
        swing_one = -(d2 * swing_two + phi1) / d1
        return torch.stack([spin_one, spin_two, swing_one, swing_two], dim=-1)


def _wrapped(angle: Tensor) -> Tensor:
    """Bring an angle into [−π, π] by whole turns."""
    turned = torch.where(angle > pi, angle - 2 * pi * ((angle - pi) / (2 * pi)).ceil(), angle)
    return torch.where(turned < -pi, turned + 2 * pi * ((-pi - turned) / (2 * pi)).ceil(), turned)


KINDS: Mapping[str, type[World]] = {"CartPole-v1": CartPole, "Acrobot-v1": Acrobot}
