"""Imported first by the process that local workers fork from: it imports for all of them what takes seconds."""

import os
import signal
from tempfile import gettempdir

from rlprune.executors import preloaded
from rlprune.executors.local import PRELOAD

# Ctrl-C reaches every process of the terminal; the one that started the workers ends them.
signal.signal(signal.SIGINT, signal.SIG_IGN)

# A library that starts threads when imported would leave its forks without them.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# torch's compiler makes a folder for its cache when it is imported; nothing here compiles
_cache = "TORCHINDUCTOR_CACHE_DIR"
_own = _cache not in os.environ
os.environ.setdefault(_cache, gettempdir())

preloaded(filter(None, os.environ.pop(PRELOAD, "").split(",")))

if _own:
    del os.environ[_cache]
