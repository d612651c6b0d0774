"""Imported once, by the forkserver that all workers fork from: what takes seconds to import is there when they start."""

import os
import signal
from contextlib import suppress
from importlib import import_module
from tempfile import gettempdir

from rlprune.costs import energy, provenance

# Ctrl-C reaches every process of the terminal; the one that started the workers ends them.
signal.signal(signal.SIGINT, signal.SIG_IGN)

# A library that starts threads when imported would leave its forks without them.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# torch's compiler makes a folder for its cache when it is imported; nothing here compiles
_cache = "TORCHINDUCTOR_CACHE_DIR"
_own = _cache not in os.environ
os.environ.setdefault(_cache, gettempdir())

with suppress(Exception):  # a worker meets it again, and can report it
    # torch imports its compiler when the first optimizer is made: three seconds, in every worker
    for _module in ("rlprune.bench.worker", "rlprune.bench.cell", "rlprune.training.a2c", "torch._dynamo"):
        import_module(_module)
    energy.prepare()
    provenance.versions()  # remembered, so that a commit made during a run is not taken for the one that runs

if _own:
    del os.environ[_cache]
