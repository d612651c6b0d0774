"""Environments of many agents at once: CartPole and Acrobot as tensor arithmetic, any other by Gymnasium or EnvPool."""

from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Literal

from rlprune.training import simulators
from rlprune.training.environments.contract import BatchedEnv, Transition
from rlprune.training.environments.games import Games
from rlprune.training.environments.simulated import Acrobot, CartPole, Simulation
from rlprune.training.environments.stepped import GymnasiumEnv
from rlprune.training.recipes import specification

__all__ = ["Acrobot", "BatchedEnv", "CartPole", "Games", "GymnasiumEnv", "Transition", "join", "make"]


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
    if (known := simulators.of(spec)) and known.tensors:
        simulation: type[Simulation] = resolve_name(known.tensors)
        return simulation(environments, limit or spec.max_episode_steps or 500, device)
    return GymnasiumEnv(environment, environments, limit, device)


def join(envs: Sequence[BatchedEnv]) -> BatchedEnv:
    """Return the environments of all agents of ``envs``, which are of one kind, as one; the parts are used up."""
    whole, *others = envs
    for env in others:
        whole.take(env)
    return whole
