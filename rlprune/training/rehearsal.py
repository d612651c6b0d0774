"""Play in somebody's environments without a trace: for as long, everything around them works on copies of what it knows."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium.wrappers import RecordVideo
from stable_baselines3.common.monitor import Monitor, ResultsWriter
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecVideoRecorder

_Layer: TypeAlias = "VecEnv | gym.Env[Any, Any]"


@contextmanager
def of(env: VecEnv, who: str) -> Iterator[bool]:
    """Let statistics, records and games of ``env`` stand still; yield whether the worlds inside do so as well.

    A world that cannot be copied, such as Box2D's, is played itself: reset it afterwards. Files are not written to.

    Args:
        env: environments and their wrappers.
        who: wants to play, for the message.

    Raises:
        ValueError: environments in other processes, or a wrapper that films or cannot be copied.
    """
    wrappers, worlds = _layers(env, who)
    still = True
    try:
        copies = _copied([*wrappers, *worlds], [])
    except Exception:  # whatever a stranger's object raises that cannot be copied
        still, copies = False, []
        for wrapper in wrappers:
            if isinstance(wrapper, Monitor) and not wrapper.allow_early_resets:
                raise _refusal(who, wrapper, "allow_early_resets=False, and the world inside cannot be copied") from None
            try:
                _copied([wrapper], [*wrappers, *worlds])
            except Exception as error:
                raise _refusal(who, wrapper, str(error)) from None
        copies = _copied(wrappers, worlds)
    layers = [*wrappers, *worlds] if still else wrappers
    originals = [vars(layer) for layer in layers]
    try:
        for layer, known in zip(layers, copies, strict=True):
            layer.__dict__ = known
        yield still
    finally:
        for layer, known in zip(layers, originals, strict=True):
            layer.__dict__ = known


def _layers(env: VecEnv, who: str) -> tuple[list[_Layer], list[_Layer]]:
    """Return what is wrapped around the worlds, and the worlds."""
    wrappers: list[_Layer] = []
    while isinstance(env, VecEnvWrapper):
        wrappers.append(env)
        env = env.venv
    if not isinstance(env, DummyVecEnv):
        raise _refusal(who, env, "other processes count for themselves; DummyVecEnv has none")
    wrappers.append(env)
    worlds: list[_Layer] = []
    for inner in env.envs:
        while isinstance(inner, gym.Wrapper):
            wrappers.append(inner)
            inner = inner.env
        worlds.append(inner)
    for wrapper in wrappers:
        if isinstance(wrapper, RecordVideo | VecVideoRecorder):
            raise _refusal(who, wrapper, "it would film them")
    return wrappers, worlds


def _copied(layers: list[_Layer], others: list[_Layer]) -> list[dict[str, Any]]:
    """Return copies of what layers know; they go on pointing at one another, and write no file."""
    memo: dict[int, Any] = {id(layer): layer for layer in (*layers, *others)}
    for layer in layers:
        memo |= {id(value): None for value in vars(layer).values() if isinstance(value, ResultsWriter)}
        if isinstance(layer, VecEnvWrapper):
            memo[id(layer.class_attributes)] = layer.class_attributes  # of its class, not its own
    return copy.deepcopy([vars(layer) for layer in layers], memo)


def _refusal(who: str, layer: _Layer, why: str) -> ValueError:
    return ValueError(
        f"{who} plays games before training, and {type(layer).__name__} cannot be kept from counting them ({why}): "
        "train without it, or take a pruner that prunes later, such as EarlyCroP-U"
    )
