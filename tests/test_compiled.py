"""What compiled code of a fleet computes, against NumPy and the tensors that a GPU computes with."""

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numba import njit

from rlprune.training import noise
from rlprune.training.compiled import kernels, products


@njit
def each(function, values, out):
    for number in range(len(values)):
        out[number] = function(values[number])


@njit
def words(keys, counters, out):
    for number in range(len(keys)):
        out[number] = kernels.word(keys[number], counters[number])


def test_tanh_is_tanh_to_float32_and_keeps_what_is_no_number():
    values = np.concatenate([np.linspace(-12, 12, 200_001), [0, -0.0, 1e-30, np.inf, -np.inf, np.nan]]).astype(np.float32)
    found = np.empty_like(values)
    each(kernels.tanh, values, found)
    expected = np.tanh(values.astype(np.float64))
    assert np.abs(found - expected)[:-1].max() <= 4e-7
    assert np.abs(found)[:-1].max() <= 1
    saturated = np.abs(values) > 9.02  # where float32's own is ±1: a slope that is not 0 there overflows once weights are huge
    assert np.array_equal(found[saturated], np.sign(values[saturated]))
    assert np.isnan(found[-1])


@pytest.mark.parametrize("saturating", [True, False])
def test_an_activation_keeps_what_is_no_number(saturating):
    values = np.full((2, 32), np.nan, dtype=np.float32)
    kernels._activate(values, np.zeros(32, dtype=np.float32), saturating)
    assert np.isnan(values).all()


def test_noise_is_that_of_tensors():
    generator = np.random.default_rng(0)
    keys, counters = (generator.integers(-(2**63), 2**63 - 1, 1000) for _ in range(2))
    counters[:10] = range(10)
    found = np.empty(1000, dtype=np.uint64)
    words(keys, counters, found)
    expected = noise.words(torch.from_numpy(keys), torch.from_numpy(counters))
    assert np.array_equal(found.view(np.int64), expected.numpy())
    numbers, gumbels = np.empty(1000), np.empty(1000, dtype=np.float32)
    each(kernels.uniform, found, numbers)
    assert np.array_equal(numbers, noise.uniform(expected, torch.float64).numpy())
    each(kernels.gumbel, found, gumbels)
    assert gumbels == pytest.approx(noise.gumbel(expected).numpy(), abs=2e-6)


@pytest.mark.parametrize("a_transposed", [False, True])
@pytest.mark.parametrize("b_transposed", [False, True])
def test_products_are_numpys(a_transposed, b_transposed):
    generator = np.random.default_rng(0)
    for rows, inner, columns in ((16, 4, 128), (80, 128, 128), (7, 1, 16), (3, 5, 1)):
        a, b = (generator.standard_normal(shape).astype(np.float32) for shape in ((rows, inner), (inner, columns)))
        out = np.empty((rows, columns), dtype=np.float32)
        laid = [np.ascontiguousarray(m.T if turned else m) for m, turned in ((a, a_transposed), (b, b_transposed))]
        kernels.product(laid[0], a_transposed, laid[1], b_transposed, out, inner)
        assert out == pytest.approx(a.astype(np.float64) @ b, abs=1e-4)


def test_physics_are_rounded_operation_by_operation_whoever_calls_them():
    """Numba lets what is called inherit a licence to fuse operations from what calls it, unless it is told otherwise."""
    generator = np.random.default_rng(0)
    slopes = kernels._acrobot_slope
    for values in generator.uniform(-3, 3, (500, 5)):
        assert slopes(*values) == slopes.py_func(*values)
    functions = [value for value in vars(kernels).values() if hasattr(value, "targetoptions")]
    assert len(functions) > 15
    assert all("fastmath" in function.targetoptions for function in functions)


def test_code_is_compiled_where_it_cannot_be_kept(tmp_path):
    """A folder that is neither writable nor has a home: Numba itself refuses to compile what it is asked to keep."""
    copied = tmp_path / "kernels.py"
    copied.write_text(Path(kernels.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    program = (
        "import runpy, numpy as np, numba.core.caching as caching; caching.CacheImpl._locator_classes = [];"
        f"print(runpy.run_path({str(copied)!r})['tanh'](np.float32(0)))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.stdout.strip(), ended.returncode) == ("0.0", 0), ended.stderr


def test_a_machine_always_multiplies_with_the_same_library(monkeypatch):
    found = products.library.__wrapped__()
    assert found == products.library()
    monkeypatch.setattr(products, "_by_intel", lambda: False)
    name, address = products.library.__wrapped__()
    assert name.split()[0] in {"scipy-openblas", "openblas", "accelerate", "mkl"}
    ints = [ctypes.byref(ctypes.c_int(number)) for number in (1, 1, 2, 1, 2, 1)]
    one, zero = (ctypes.byref(ctypes.c_float(number)) for number in (1, 0))
    a, b, out = (ctypes.c_float * 2)(2, 3), (ctypes.c_float * 2)(5, 7), ctypes.c_float()
    letter = ctypes.c_char_p(b"N")
    columns, rows, inner, first, second, third = ints
    sgemm = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(address)
    sgemm(letter, letter, columns, rows, inner, one, a, first, b, second, zero, ctypes.byref(out), third)
    assert out.value == 31
