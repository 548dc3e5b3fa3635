"""The inner loops alone: the fused update of one example is the batch update with n = 1."""

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.native import driver
from tests.native import reference as ref

INT8 = st.integers(-127, 127)
SHIFTS = st.integers(-40, 60)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The kernel with its internal functions in reach."""
    path = tmp_path_factory.mktemp("library") / "library.so"
    driver.compile_sources(["-O3", "-shared", "-fPIC"], path)
    return ctypes.CDLL(str(path))


def pointer(values: NDArray[np.signedinteger], offset: int = 0) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.ctypes.data + offset * values.itemsize)


def update_row(
    library: ctypes.CDLL, row: ref.Int16, x: ref.Int8, d: ref.Int8, column: int, shift: int
) -> ref.Int16:
    """fdl_update_row on x [n][in] and one column of d [n][out]."""
    new = row.copy()
    n, inputs = x.shape
    size = ctypes.c_size_t
    library.fdl_update_row(
        pointer(new), pointer(x), size(inputs), pointer(d, column), size(d.shape[1]), size(n),
        ctypes.c_int32(shift),
    )  # fmt: skip
    return new


def expected(row: ref.Int16, g: ref.Int64, shift: int) -> ref.Int16:
    return ref.sat16(row - ref.sat16(ref.rshift(g, shift))).astype(np.int16)


@settings(max_examples=300)
@given(st.data(), st.sampled_from([1, 2, 7, 16, 127, 128, 129, 300]), INT8, SHIFTS)
def test_update_row_one_equals_update_row(
    library: ctypes.CDLL, data: st.DataObject, inputs: int, d: int, shift: int
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    row = rng.integers(-(2**15), 2**15, inputs).astype(np.int16)
    row[rng.random(inputs) < 0.3] = data.draw(st.sampled_from([-32768, 32767, 0]))
    x = rng.integers(-127, 128, (1, inputs)).astype(np.int8)
    fused = row.copy()
    library.fdl_update_row_one(
        pointer(fused), pointer(x), ctypes.c_size_t(inputs), ctypes.c_int8(d), ctypes.c_int32(shift)
    )
    batch = update_row(library, row, x, np.array([[d]], np.int8), 0, shift)
    assert np.array_equal(fused, batch)
    assert np.array_equal(batch, expected(row, d * x[0].astype(np.int64), shift))


@pytest.mark.parametrize("d", [-127, 127])
@pytest.mark.parametrize("x", [-127, 127])
@pytest.mark.parametrize("shift", [-9, 0, 1, 8, 9, 22, 23, 40])
def test_update_row_of_the_largest_gradient(
    library: ctypes.CDLL, d: int, x: int, shift: int
) -> None:
    """256 examples that all agree, from every corner of a weight."""
    row = np.array([-32768, -32767, -1, 0, 1, 32766, 32767], np.int16)
    inputs = np.full((256, len(row)), x, np.int8)
    errors = np.zeros((256, 3), np.int8)
    errors[:, 1] = d
    g = np.full(len(row), 256 * d * x, np.int64)
    new = update_row(library, row, inputs, errors, 1, shift)
    assert np.array_equal(new, expected(row, g, shift))
    assert np.array_equal(update_row(library, row, inputs, errors, 2, shift), row)


def test_update_row_one_of_every_product(library: ctypes.CDLL) -> None:
    """Every error, input and shift that reaches the loop of 16 bits."""
    x = np.arange(-127, 128, dtype=np.int8)[None, :]
    row = np.zeros(255, np.int16)
    for d in range(-127, 128):
        for shift in range(17):
            new = row.copy()
            library.fdl_update_row_one(
                pointer(new), pointer(x), ctypes.c_size_t(255), ctypes.c_int8(d),
                ctypes.c_int32(shift),
            )  # fmt: skip
            assert np.array_equal(new, expected(row, d * x[0].astype(np.int64), shift)), (d, shift)
