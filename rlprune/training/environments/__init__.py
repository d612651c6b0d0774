"""Environments of many agents at once: CartPole and Acrobot as tensor arithmetic, any other by Gymnasium or EnvPool."""

from collections.abc import Sequence
from typing import Literal

from rlprune.training.environments.contract import BatchedEnv, Transition
from rlprune.training.environments.games import Games
from rlprune.training.environments.simulated import Acrobot, CartPole, Simulation
from rlprune.training.environments.stepped import GymnasiumEnv
from rlprune.training.recipes import specification

__all__ = ["Acrobot", "BatchedEnv", "CartPole", "Games", "GymnasiumEnv", "Transition", "join", "make"]

_SIMULATIONS: dict[object, type[Simulation]] = {  # by what they simulate: others have its name and are something else
    "gymnasium.envs.classic_control.cartpole:CartPoleEnv": CartPole,
    "gymnasium.envs.classic_control.acrobot:AcrobotEnv": Acrobot,
}


def make(
    environment: str,
    environments: int,
    limit: int | None = None,
    device: str = "cpu",
    simulator: Literal["gymnasium", "envpool"] = "gymnasium",
) -> BatchedEnv:
    """Return the batched form of a Gymnasium environment, its time limit replaced if one is given.

    Raises:
        ValueError: actions that are not discrete or observations that are not flat.
        ImportError: a simulator that is not installed.
    """
    if simulator == "envpool":
        from rlprune.training.environments.pooled import EnvPoolEnv

        return EnvPoolEnv(environment, environments, limit, device)
    spec = specification(environment)
    if (simulation := _SIMULATIONS.get(spec.entry_point)) and not spec.kwargs and not spec.additional_wrappers:
        return simulation(environments, limit or spec.max_episode_steps or 500, device)
    return GymnasiumEnv(environment, environments, limit, device)


def join(envs: Sequence[BatchedEnv]) -> BatchedEnv:
    """Return the environments of all agents of ``envs``, which are of one kind, as one; the parts are used up."""
    whole, *others = envs
    for env in others:
        whole.take(env)
    return whole
