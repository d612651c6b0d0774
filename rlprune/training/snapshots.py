"""The state of Gymnasium environments as JSON, so that a checkpoint holds them without pickles.

Covers environments whose state is plain numbers and arrays (classic control and the standard wrappers). One that
keeps its world elsewhere, such as Box2D, cannot be saved: ``save`` returns None and the caller starts it afresh.
"""

import json
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np

_SPACES = ("observation_space", "action_space", "spec", "metadata")


def save(env: gym.Env[Any, Any]) -> str | None:
    """Return the state of an environment and its wrappers, or None when it holds more than plain values."""
    if type(env.unwrapped).__module__.startswith("gymnasium.envs.box2d"):
        return None
    return json.dumps([{key: _pack(value) for key, value in vars(layer).items() if _plain(value)} for layer in _layers(env)])


def load(env: gym.Env[Any, Any], state: str) -> None:
    """Bring an environment of the same construction into a saved state."""
    for layer, values in zip(_layers(env), json.loads(state), strict=True):
        for key, value in values.items():
            setattr(layer, key, _unpack(value))


def _layers(env: gym.Env[Any, Any]) -> Iterator[gym.Env[Any, Any]]:
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env
    yield env


def _plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | str | np.ndarray | np.generic | np.random.Generator)


def _pack(value: Any) -> Any:
    match value:
        case np.random.Generator():
            return {"generator": value.bit_generator.state}
        case np.ndarray():
            return {"array": value.tolist(), "dtype": str(value.dtype)}
        case np.generic():
            return {"array": value.item(), "dtype": str(value.dtype)}
        case list():
            return [_pack(item) for item in value]
        case tuple():
            return {"tuple": [_pack(item) for item in value]}
        case _:
            return value


def _unpack(value: Any) -> Any:
    match value:
        case {"generator": state}:
            bits = getattr(np.random, state["bit_generator"])()
            bits.state = state
            return np.random.Generator(bits)
        case {"array": items, "dtype": dtype}:
            array = np.array(items, dtype=dtype)
            return array if array.ndim else array[()]
        case {"tuple": items}:
            return tuple(_unpack(item) for item in items)
        case list():
            return [_unpack(item) for item in value]
        case _:
            return value
