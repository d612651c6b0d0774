"""What ``Pruning`` and ``PruneCallback`` are given beside a pruner's settings: checked, and as Python's own numbers."""

import hashlib
from typing import Any, get_args

import numpy as np

from rlprune.pruning.pruner import Scope
from rlprune.words import nearest, share_meant

SCOPES: tuple[Scope, ...] = get_args(Scope)


def share(sparsity: object) -> float:
    """Return a sparsity, in (0, 1).

    Raises:
        ValueError: it is none.
    """
    if isinstance(sparsity, float | np.floating) and 0 < sparsity < 1:
        return float(sparsity)
    raise ValueError(f"sparsity is the share of weights to remove, between 0 and 1; got {sparsity!r}{share_meant(sparsity)}")


def whole(name: str, value: object, least: int) -> int:
    """Return a count.

    Raises:
        ValueError: it is no whole number, or below ``least``.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise ValueError(f"{name} is a whole number, at least {least}; got {value!r}")


def scope_of(given: Any) -> Scope | None:
    """Return what is ranked against what, or None where that is left to others.

    Raises:
        ValueError: it is no scope.
    """
    if given is None or given in SCOPES:
        scope: Scope | None = given
        return scope
    raise ValueError(f"scope is one of {', '.join(SCOPES)}; got {given!r}{nearest(str(given), SCOPES)}")


def seed_sequence(seed: int, use: str) -> np.random.SeedSequence:
    """Return the seed of one use of randomness."""
    return np.random.SeedSequence(int.from_bytes(hashlib.sha256(f"{seed}/{use}".encode()).digest()[:16]))
