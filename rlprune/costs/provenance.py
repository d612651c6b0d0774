"""What a result came from: versions of the software and the machine it ran on."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rlprune import __version__

_LIBRARIES = ("torch", "torchvision", "numpy", "numba", "gymnasium", "stable-baselines3", "codecarbon")


@cache
def versions() -> dict[str, str]:
    """Return versions of rlprune, Python and the libraries that numbers depend on, and the ``commit`` of a checkout."""
    found = {"rlprune": __version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    commit = _commit(Path(__file__).parents[2])
    return found | ({"commit": commit} if commit else {})


@cache
def machine() -> dict[str, str]:
    """Return the processor's name and how many cores this process may use."""
    return {
        "cpu": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
    }


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _commit(root: Path) -> str | None:
    """Return the commit of a checkout, with ``-dirty`` after it if files were changed; None elsewhere."""
    if not (root / ".git").exists():  # an installed copy may lie inside somebody else's checkout
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
