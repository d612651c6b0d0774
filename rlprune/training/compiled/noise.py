"""The numbers of ``training/noise.py`` one by one, for compiled code."""

import math
from typing import Any

import numpy as np
from numba import njit

_GAMMA, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_exact: Any = njit(cache=True, error_model="numpy")


@_exact
def word(key, counter):
    """Return 64 random bits: output ``counter`` of the key's SplitMix64."""
    z = np.uint64(counter + 1) * _GAMMA + np.uint64(key)
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


@_exact
def uniform(word):
    """Return a float64 inside (0, 1)."""
    return (np.float64(word >> np.uint64(12)) + 0.5) * 2.0**-52


@_exact
def gumbel(word):
    """Return a float32: added to logits, the largest is a draw from their softmax."""
    u = (np.float32(word >> np.uint64(41)) + np.float32(0.5)) * np.float32(2.0**-23)
    return -np.float32(math.log(-np.float32(math.log(u))))
