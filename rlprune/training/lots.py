"""Counter-based noise: a number is a function of its key, counter and lane, not of who asked before.

An agent's episodes then depend on its own seed alone, whatever fleet it is trained in and on whatever device.
"""

import torch
from torch import Tensor

_WEYL = -0x61C8864680B583EB  # 2^64 divided by the golden ratio, as a signed integer
_FIRST, _SECOND = -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15


def uniform(keys: Tensor, counters: Tensor, lanes: int) -> Tensor:
    """Return uniform float32 noise in [0, 1), ``lanes`` numbers for every pair of key and counter.

    Args:
        keys: int64, one an agent.
        counters: int64, broadcast against ``keys``.
        lanes: how many numbers each; shape ``[..., lanes]``.

    Source: the finaliser of SplitMix64 (Steele et al., 2014), applied to key and counter and again to the lane.
    """
    lane = torch.arange(1, lanes + 1, device=keys.device) * _WEYL
    bits = _mix(_mix(keys + counters * _WEYL).unsqueeze(-1) + lane)
    return (_shifted(bits, 40)).to(torch.float32) * 2.0**-24


def _mix(bits: Tensor) -> Tensor:
    bits = (bits ^ _shifted(bits, 30)) * _FIRST
    bits = (bits ^ _shifted(bits, 27)) * _SECOND
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Shift right without the sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)
