"""A C header tried: compiled where there is a compiler, and played."""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np

from rlprune.export.c99 import Header

Array: TypeAlias = np.ndarray[Any, Any]

STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
_TURNS = 20  # of a decision, between two looks at the clock
_MAIN = """#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>
#include "policy.h"
int main(void) {{
    volatile float nothing = 0.0f;
    float seen[{observation}], told[{output} + {action} + 1];
    {kind} action[{action}];
    struct timespec from, to;
    while (fread(seen, sizeof seen, 1, stdin) == 1) {{
        clock_gettime(CLOCK_MONOTONIC, &from);
        for (int turn = 0; turn < {turns}; turn++) {{
            seen[0] += nothing;
            {act};
        }}
        clock_gettime(CLOCK_MONOTONIC, &to);
        {name}_forward(seen, told);
        for (int i = 0; i < {action}; i++) told[{output} + i] = (float)action[i];
        told[{output} + {action}] = ((float)(to.tv_sec - from.tv_sec) * 1e9f + (float)(to.tv_nsec - from.tv_nsec)) / {turns}.0f;
        if (fwrite(told, sizeof told, 1, stdout) != 1) return 1;
    }}
    return 0;
}}
"""


def compiler() -> str | None:
    """Return a C compiler of this machine, or None."""
    return shutil.which("gcc") or shutil.which("cc")


def tried(header: Header, observations: Array) -> tuple[Array, Array, float] | None:
    """Return a header's outputs, its actions and the median seconds of a decision; None without a compiler.

    Raises:
        RuntimeError: it does not compile, or its program fails.
    """
    found = compiler()
    if found is None:
        return None
    act = f"action[0] = {header.name}_act(seen)" if header.returns else f"{header.name}_act(seen, action)"
    sizes = {name: getattr(header, name) for name in ("name", "observation", "output", "action", "kind")}
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "policy.h").write_text(header.text)
        (place / "main.c").write_text(_MAIN.format(act=act, turns=_TURNS, **sizes))
        built = subprocess.run([found, *STRICT, "main.c", "-o", "main", "-lm"], cwd=place, capture_output=True, text=True)
        if built.returncode:
            raise RuntimeError(f"{found} refuses the header: {built.stderr[:1000]}")
        shown = np.ascontiguousarray(observations.reshape(len(observations), -1), np.float32).tobytes()
        played = subprocess.run([place / "main"], input=shown, capture_output=True)
    rows = np.frombuffer(played.stdout, np.float32).reshape(-1, header.output + header.action + 1)
    if played.returncode or len(rows) != len(observations):
        raise RuntimeError(f"the program made of the header ended with {played.returncode}")
    outputs, actions, took = np.split(rows, [header.output, header.output + header.action], axis=1)
    return outputs, actions, float(np.median(took)) * 1e-9
