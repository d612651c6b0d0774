"""Which of Gymnasium's environments something else plays as well, and what; it imports neither Gymnasium nor torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

_HERE = "rlprune.training.environments"


@dataclass(frozen=True)
class Simulated:
    """An environment that fleets need not leave to Gymnasium.

    Args:
        entry_point: Gymnasium's class: others may have the environment's name and be something else.
        tensors: ``"module:Class"``, its games as tensor arithmetic, all at once; made from environments, limit and device.
        games: ``"module:Class"``, the same games as Gymnasium's one by one, only faster; made from the limit.
        pools: names of the simulators, beyond Gymnasium, that a recipe may choose for it.
    """

    entry_point: str
    tensors: str = ""
    games: str = ""
    pools: tuple[str, ...] = ()


KNOWN: Mapping[str, Simulated] = {
    "CartPole-v1": Simulated("gymnasium.envs.classic_control.cartpole:CartPoleEnv", tensors=f"{_HERE}.simulated:CartPole"),
    "Acrobot-v1": Simulated("gymnasium.envs.classic_control.acrobot:AcrobotEnv", tensors=f"{_HERE}.simulated:Acrobot"),
    "LunarLander-v3": Simulated(
        "gymnasium.envs.box2d.lunar_lander:LunarLander", games=f"{_HERE}.lander:Lander", pools=("envpool",)
    ),
}
"""By Gymnasium's ids. All have a time limit, and spaces that an MLP policy and a fleet can play."""


MINATAR: Mapping[str, str] = {
    f"rlprune/MinAtar-{title}-v1": game
    for title, game in (
        ("Asterix", "asterix"),
        ("Breakout", "breakout"),
        ("Freeway", "freeway"),
        ("Seaquest", "seaquest"),
        ("SpaceInvaders", "space_invaders"),
    )
}
"""MinAtar's games, by the ids that ``environments/minatar.py`` registers."""

EXTRAS: Mapping[str, tuple[str, str]] = {
    **{f"{name}-v5": ("mujoco", "mujoco") for name in ("HalfCheetah", "Hopper", "Walker2d", "Ant")},
    **dict.fromkeys(MINATAR, ("minatar", "minatar")),
}
"""Environments whose package is no dependency, and that package and the extra that installs it."""


NAMED: frozenset[str] = frozenset({*KNOWN, *EXTRAS, "MountainCar-v0", "Pendulum-v1"})
"""Environments that tasks name: that they are registered and that their games end, nobody needs to ask Gymnasium."""


def of(spec: "EnvSpec") -> Simulated | None:
    """Return what plays an environment besides Gymnasium, or None; one that is changed by keywords or wrappers is another."""
    if spec.kwargs or spec.additional_wrappers:
        return None
    return next((known for known in KNOWN.values() if known.entry_point == spec.entry_point), None)


def played_by(pool: str) -> list[str]:
    """Return the ids of the environments that a simulator beyond Gymnasium plays."""
    return [name for name, known in KNOWN.items() if pool in known.pools]
