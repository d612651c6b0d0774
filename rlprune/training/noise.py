"""Random numbers that are looked up, not drawn: the outputs of SplitMix64 at any position of a seed's stream.

A number depends on its seed and its counter alone, so what an agent meets depends neither on its place in a fleet
nor on its company, and no generator has a state to save. Words are bit-identical on every device.

Source: Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators".
"""

import torch
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64
_MANTISSA = {torch.float32: 23, torch.float64: 52}


def keys(seeds: Tensor) -> Tensor:
    """Return the start of each seed's stream; neighbouring seeds start far apart, different seeds never together."""
    return _mix(seeds + _GAMMA)


def words(keys: Tensor, counters: Tensor) -> Tensor:
    """Return 64 random bits for each key and counter (int64, broadcast): output ``counter`` of the key's SplitMix64."""
    return _mix((counters + 1) * _GAMMA + keys)


def uniform(words: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return exactly ``(k + 1/2) / 2^m`` of each word's highest m bits: never 0, never 1; m is 23, or 52 for float64."""
    bits = _MANTISSA[dtype]
    return _shift(words, 64 - bits).to(dtype).add_(0.5).mul_(2.0**-bits)


def gumbel(words: Tensor) -> Tensor:
    """Return float32 ``−log(−log u)``: added to logits, the largest is a draw from their softmax."""
    return uniform(words).log_().neg_().log_().neg_()


def _mix(z: Tensor) -> Tensor:
    z = _shift(z, 30).bitwise_xor_(z).mul_(_FIRST)
    z = _shift(z, 27).bitwise_xor_(z).mul_(_SECOND)
    return _shift(z, 31).bitwise_xor_(z)


def _shift(z: Tensor, bits: int) -> Tensor:
    """Shift right without the sign."""
    return (z >> bits).bitwise_and_((1 << (64 - bits)) - 1)
