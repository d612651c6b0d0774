"""Which library multiplies matrices in compiled code: torch's MKL on Intel's processors, scipy's BLAS on all others.

MKL takes slower ways on other makers' processors, where OpenBLAS is twice as fast; on Intel's it is the other way round.
So the choice depends on the machine and what is installed, and on nothing that is measured: a machine always makes the same.
"""

import ctypes
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
import scipy
import torch
from numba import njit, types
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
        if torch.backends.mkl.is_available() and address:
            return f"MKL of torch {torch.__version__}", address
    return None


llvmlite.binding.add_symbol("rlprune_sgemm", library()[1])  # by name, as what is compiled outlives the address
_sgemm: Any = types.ExternalFunction("rlprune_sgemm", types.void(*[types.intp] * 13))


_plain: Any = njit(cache=True, error_model="numpy")


@_plain
def product(a, a_transposed, b, b_transposed, out, inner):
    """Write ``out [M, N] = a b`` of row-major matrices; ``a`` [M, K] and ``b`` [K, N] may lie transposed."""
    letters = 84 if b_transposed else 78, 84 if a_transposed else 78  # T, N
    one = 0x3F800000  # as a float32's bits
    call = np.array([letters[0], letters[1], out.shape[1], len(out), inner, b.shape[1], a.shape[1], one, 0], dtype=np.int32)
    at = call.ctypes.data
    # Fortran reads all matrices transposed
    _sgemm(
        at, at + 4, at + 8, at + 12, at + 16, at + 28,
        b.ctypes.data, at + 20, a.ctypes.data, at + 24, at + 32, out.ctypes.data, at + 8,
    )  # fmt: skip
    return call[0]  # so that it lives until here
