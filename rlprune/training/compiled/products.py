"""Which library multiplies matrices in compiled code: torch's MKL on Intel's processors, scipy's BLAS on all others.

MKL takes slower ways on other makers' processors, where OpenBLAS is twice as fast; on Intel's it is the other way round.
So the choice depends on the machine and what is installed, and on nothing that is measured: a machine always makes the same.
"""

import ctypes
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

import scipy
import torch
from numba.extending import get_cython_function_address

_TORCH = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"


@cache
def library() -> tuple[str, int]:
    """Return the name and version of the library, and where its Fortran ``sgemm`` lies in memory."""
    if _by_intel() and (found := _mkl()):
        return found
    blas = scipy.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}", get_cython_function_address("scipy.linalg.cython_blas", "sgemm")


def _by_intel() -> bool:
    with suppress(OSError):
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return "GenuineIntel" in platform.processor()


def _mkl() -> tuple[str, int] | None:
    """Return MKL as torch's wheels bring it, or None: other builds link it, or something else, from outside."""
    with suppress(OSError, AttributeError):
        address = ctypes.cast(ctypes.CDLL(str(_TORCH)).sgemm_, ctypes.c_void_p).value
        if address and torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
            return f"MKL of torch {torch.__version__}", address
    return None
