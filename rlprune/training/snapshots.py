"""The state of Gymnasium environments as JSON, so that a checkpoint holds them without pickles.

Covers environments and wrappers that hold plain numbers, arrays and numpy's generators (classic control, toy text, the
standard wrappers). What holds anything else cannot be saved: ``save`` returns None, and the caller plays its games again.
"""

import json
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from torch.utils._pytree import tree_leaves


def save(env: gym.Env[Any, Any]) -> str | None:
    """Return the state of an environment and its wrappers, or None when there is more than plain values, each in one place."""
    met: set[int] = set()
    try:
        return json.dumps([_known(layer, met) for layer in _layers(env)])
    except _NotPlain:
        return None


def load(env: gym.Env[Any, Any], state: str) -> None:
    """Bring an environment of the same construction into a saved state."""
    for layer, values in zip(_layers(env), json.loads(state), strict=True):
        for key, value in values.items():
            setattr(layer, key, _unpack(value))


class _NotPlain(Exception):  # noqa: N818 (a reason, not an error)
    pass


def _layers(env: gym.Env[Any, Any]) -> Iterator[gym.Env[Any, Any]]:
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env
    yield env


def _known(layer: gym.Env[Any, Any], met: set[int]) -> dict[str, Any]:
    if any(set(getattr(kind, "__slots__", ())) - {"__dict__", "__weakref__"} for kind in type(layer).__mro__):
        raise _NotPlain
    inside = layer.env if isinstance(layer, gym.Wrapper) else layer
    return {key: _pack(value, met) for key, value in vars(layer).items() if value is not inside and not _built(value)}


def _built(value: object) -> bool:
    """Return True for what stays as its environment was built: a spec, or a space that nobody draws from."""
    if not isinstance(value, gym.Space):
        return isinstance(value, EnvSpec)
    inside = [part for part in tree_leaves(vars(value)) if isinstance(part, gym.Space)]
    return all(map(_built, inside)) and value._np_random is None


def _pack(value: Any, met: set[int]) -> Any:
    """Return what ``json`` can write.

    Args:
        met: what may change in place and was met already; in two places it would be torn apart.

    Raises:
        _NotPlain: anything else.
    """
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is bytes:
        return {"bytes": value.hex()}
    if isinstance(value, np.generic) and value.dtype.kind in "biufSU":
        return {"scalar": value.tobytes().hex(), "dtype": value.dtype.str}
    if kind is tuple:
        return {"tuple": [_pack(item, met) for item in value]}
    if kind not in (list, dict, np.ndarray, np.random.Generator):
        raise _NotPlain
    owner = value.bit_generator if kind is np.random.Generator else value
    while isinstance(owner, np.ndarray) and isinstance(owner.base, np.ndarray):
        owner = owner.base
    if id(owner) in met:
        raise _NotPlain
    met.add(id(owner))
    if kind is list:
        return [_pack(item, met) for item in value]
    if kind is dict:
        return {"dict": [[_pack(key, met), _pack(item, met)] for key, item in value.items()]}
    if kind is np.random.Generator:
        return {"generator": _pack(value.bit_generator.state, met)}
    if value.dtype.kind not in "biufSU":
        raise _NotPlain
    return {"array": value.tobytes().hex(), "dtype": value.dtype.str, "shape": list(value.shape)}


def _unpack(value: Any) -> Any:
    match value:
        case {"generator": packed}:
            state = _unpack(packed)
            bits = getattr(np.random, state["bit_generator"])()
            bits.state = state
            return np.random.Generator(bits)
        case {"array": data, "dtype": dtype, "shape": shape}:
            return np.frombuffer(bytearray.fromhex(data), dtype=dtype).reshape(shape)
        case {"scalar": data, "dtype": dtype}:
            return np.frombuffer(bytes.fromhex(data), dtype=dtype)[0]
        case {"bytes": data}:
            return bytes.fromhex(data)
        case {"tuple": items}:
            return tuple(_unpack(item) for item in items)
        case {"dict": items}:
            return {_unpack(key): _unpack(item) for key, item in items}
        case list():
            return [_unpack(item) for item in value]
        case _:
            return value
