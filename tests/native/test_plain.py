"""The inner loops in plain C, which all others are compared with: sums, rounding, limits."""

import ctypes
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.native import compiler
from tests.native import reference as ref

INT8 = st.integers(-127, 127)
INT32 = st.one_of(st.integers(-(2**31), 2**31 - 1), st.sampled_from([-(2**31), 2**31 - 1]))
LENGTHS = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 16, 63, 64, 65, 129, 300])
CORNERS = np.array([-32768, -32767, -1, 0, 1, 32766, 32767], np.int16)

Array = NDArray[np.signedinteger | np.unsignedinteger]
SOURCES = ["loops/plain.c", "loops/code_plain.c", "numbers/numbers.c", "numbers/softmax.c"]
TABLE = (compiler.ROOT / "native/src/loops/kernels.h").read_text()
LOOPS = re.findall(r"^ +\w+ \(\*(\w+)\)\(", TABLE, re.MULTILINE)


class Kernels(ctypes.Structure):
    """fdl_kernels."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("tall and columns", ctypes.c_uint16 * 2),
        *[(loop, ctypes.c_void_p) for loop in LOOPS],
    ]


class Block(ctypes.Structure):
    """fdl_block."""

    _fields_ = [
        ("at", ctypes.c_void_p),
        ("rows", ctypes.c_size_t),
        ("step", ctypes.c_size_t),
        ("len", ctypes.c_size_t),
    ]


class Windows(ctypes.Structure):
    """fdl_windows."""

    _fields_ = [("x", ctypes.c_void_p), ("at", ctypes.c_void_p), ("n", ctypes.c_size_t)]


class Plain:
    """The table, called with numpy arrays; what a loop changes is a copy that it gives back."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.table = Kernels.in_dll(library, "fdl_plain")

    def call(self, loop: str, *arguments: object) -> int:
        function = ctypes.CFUNCTYPE(ctypes.c_uint32)(getattr(self.table, loop))
        return int(function(*arguments))

    def descend(self, stored: ref.Int16, x: ref.Int8, d: ref.Int8, shift: int) -> ref.Int16:
        """stored [rows][len], windows x [n][len], errors d [n][rows]."""
        new, at = stored.copy(), offsets(x)
        self.call("descend", block(new), windows(x, at), pointer(d), ctypes.c_int32(shift))
        return new

    def descend_one(self, stored: ref.Int16, x: ref.Int8, d: ref.Int8, shift: int) -> ref.Int16:
        """stored [rows][len], one window x [len], its errors d [rows]."""
        new = stored.copy()
        self.call("descend_one", block(new), pointer(x), pointer(d), ctypes.c_int32(shift))
        return new

    def apply(self, stored: ref.Int16, g: ref.Int32, shift: int) -> ref.Int16:
        new, length = stored.copy(), ctypes.c_size_t(len(stored))
        self.call("apply", pointer(new), pointer(g), length, ctypes.c_int32(shift))
        return new

    def dot(self, acc: ref.Int32, x: ref.Int8, stored: ref.Int16) -> ref.Int32:
        """acc [n][rows]."""
        new, at = acc.copy(), offsets(x)
        self.call("dot", pointer(new), windows(x, at), block(stored))
        return new

    def spread(self, acc: ref.Int32, d: ref.Int8, stored: ref.Int16) -> ref.Int32:
        """acc [len], d [rows]."""
        new = acc.copy()
        at = np.zeros(1, np.uint32)
        self.call(
            "spread", pointer(new), pointer(at), ctypes.c_size_t(1), pointer(d), block(stored)
        )
        return new

    def magnitude(self, acc: ref.Int32, relu: bool) -> int:
        count = ctypes.c_size_t(len(acc))
        return self.call("magnitude", pointer(acc), count, ctypes.c_uint32(relu))

    def narrow(self, acc: ref.Int32, shift: int, low: int) -> ref.Int8:
        q = np.zeros(len(acc), np.int8)
        numbers = ctypes.c_size_t(len(acc)), ctypes.c_int32(shift), ctypes.c_int32(low)
        self.call("narrow", pointer(acc), *numbers, pointer(q))
        return q

    def subtract(self, biases: ref.Int32, sums: ref.Int32, shift: int) -> ref.Int32:
        new = biases.copy()
        count = ctypes.c_size_t(len(new))
        self.call("subtract", pointer(new), pointer(sums.copy()), count, ctypes.c_int32(shift))
        return new


def pointer(values: Array) -> ctypes.c_void_p:
    assert values.flags.c_contiguous
    return ctypes.c_void_p(values.ctypes.data)


def block(stored: ref.Int16) -> object:
    rows, length = stored.shape
    return ctypes.byref(Block(stored.ctypes.data, rows, length, length))


def offsets(x: ref.Int8) -> NDArray[np.uint32]:
    return np.arange(len(x), dtype=np.uint32) * np.uint32(x.shape[1])


def windows(x: ref.Int8, at: NDArray[np.uint32]) -> object:
    return ctypes.byref(Windows(x.ctypes.data, at.ctypes.data, len(x)))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    folder = tmp_path_factory.mktemp("plain")
    sources = [compiler.ROOT / "native/src" / name for name in SOURCES]
    compiler.run_compiler("gcc", ["-O3", "-shared", "-fPIC", *sources, "-o", "plain.so"], folder)
    return Plain(ctypes.CDLL(str(folder / "plain.so")))


def updated(stored: ref.Int16, g: ref.Int64, shift: int) -> ref.Int16:
    """Section 5.4 of native/NUMERICS.md."""
    return ref.sat16(stored - ref.sat16(ref.rshift(g, shift))).astype(np.int16)


def random_values(
    data: st.DataObject, rows: int, length: int, n: int
) -> tuple[ref.Int16, ref.Int8, ref.Int8]:
    """Weights often at a limit, windows, errors, many of them 0."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    stored = rng.integers(-(2**15), 2**15, (rows, length)).astype(np.int16)
    stored[rng.random(stored.shape) < 0.3] = data.draw(st.sampled_from([-32768, 32767, 0]))
    x, d = (rng.integers(-127, 128, (n, size)).astype(np.int8) for size in (length, rows))
    d[rng.random(d.shape) < 0.5] = data.draw(INT8)
    return stored, x, d


@settings(max_examples=200)
@given(st.data(), st.integers(0, 9), LENGTHS, st.integers(1, 32), st.integers(1, 30))
def test_descend_is_the_update_by_the_gradient(
    plain: Plain, data: st.DataObject, rows: int, length: int, n: int, shift: int
) -> None:
    stored, x, d = random_values(data, rows, length, n)
    g = d.astype(np.int64).T @ x.astype(np.int64)
    assert np.array_equal(plain.descend(stored, x, d, shift), updated(stored, g, shift))


@settings(max_examples=200)
@given(st.data(), st.integers(0, 9), LENGTHS, st.integers(1, 14))
def test_descend_one_is_descend_of_one_window(
    plain: Plain, data: st.DataObject, rows: int, length: int, shift: int
) -> None:
    stored, x, d = random_values(data, rows, length, 1)
    fused = plain.descend_one(stored, x[0], d[0], shift)
    assert np.array_equal(fused, plain.descend(stored, x, d, shift))


def test_descend_one_of_every_product(plain: Plain) -> None:
    """Every error, input and shift."""
    x = np.arange(-127, 128, dtype=np.int8)
    d = np.arange(-127, 128, dtype=np.int8)
    products = d.astype(np.int64)[:, None] * x
    for corner in CORNERS:
        stored = np.full((255, 255), corner)
        for shift in range(1, 15):
            new = plain.descend_one(stored, x, d, shift)
            assert np.array_equal(new, updated(stored, products, shift)), (corner, shift)


@pytest.mark.parametrize("shift", [1, 8, 9, 16, 22, 30])
@pytest.mark.parametrize("g", [-(2**30) + 1, -(2**24), -255, 0, 255, 2**24, 2**30 - 1])
def test_apply_from_every_corner(plain: Plain, g: int, shift: int) -> None:
    gradient = np.full(len(CORNERS), g, np.int32)
    expected = updated(CORNERS, gradient.astype(np.int64), shift)
    assert np.array_equal(plain.apply(CORNERS, gradient, shift), expected)


@settings(max_examples=200)
@given(st.data(), st.integers(0, 9), LENGTHS, st.integers(1, 32))
def test_dot_is_the_high_byte_times_the_window(
    plain: Plain, data: st.DataObject, rows: int, length: int, n: int
) -> None:
    stored, x, d = random_values(data, rows, length, n)
    acc = d.astype(np.int32) * 2**20
    expected = acc + x.astype(np.int64) @ (stored >> 8).astype(np.int64).T
    assert np.array_equal(plain.dot(acc, x, stored), expected)


@settings(max_examples=200)
@given(st.data(), st.integers(0, 9), LENGTHS)
def test_spread_is_the_error_times_the_high_byte(
    plain: Plain, data: st.DataObject, rows: int, length: int
) -> None:
    stored, x, d = random_values(data, rows, length, 1)
    acc = x[0].astype(np.int32) * 2**20
    expected = acc + d[0].astype(np.int64) @ (stored >> 8).astype(np.int64)
    assert np.array_equal(plain.spread(acc, d[0], stored), expected)


@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=20), st.booleans())
def test_magnitude_has_the_bits_of_the_largest(plain: Plain, acc: list[int], relu: bool) -> None:
    values = [max(v, 0) for v in acc] if relu else [abs(v) for v in acc]
    found = plain.magnitude(np.array(acc, np.int32), relu)
    assert found.bit_length() == max(values, default=0).bit_length()


# The largest accumulator: 65535 products of 127 * 128, and a bias at its limit.
MOST = 65535 * 127 * 128 + 2**30 - 1


@given(
    st.lists(st.one_of(st.integers(-MOST, MOST), st.sampled_from([MOST, -MOST])), max_size=20),
    st.sampled_from([-127, 0]),
    st.integers(0, 3),
)
def test_narrow_rounds_to_nearest_and_saturates(
    plain: Plain, acc: list[int], low: int, more: int
) -> None:
    """By the shift that the largest asks for, or further for an error of less magnitude."""
    needed = max(0, max((abs(v) for v in acc), default=0).bit_length() - 7)
    shift = min(24, needed + more)
    expected = np.clip(ref.rshift(np.array(acc, np.int64), shift), low, 127)
    assert np.array_equal(plain.narrow(np.array(acc, np.int32), shift, low), expected)


@given(
    st.lists(st.tuples(INT32, INT32), max_size=20),
    st.integers(-40, 40),
)
def test_subtract_saturates_what_is_shifted_and_what_is_left(
    plain: Plain, pairs: list[tuple[int, int]], shift: int
) -> None:
    """Section 5.4 of native/NUMERICS.md, in numbers without end."""
    expected = [sat32(bias - sat32(rshift(total, shift))) for bias, total in pairs]
    biases, sums = (np.array([pair[i] for pair in pairs], np.int32) for i in range(2))
    assert plain.subtract(biases, sums, shift).tolist() == expected


def sat32(value: int) -> int:
    return max(-(2**31), min(value, 2**31 - 1))


def rshift(value: int, shift: int) -> int:
    return (value + (1 << shift >> 1)) >> shift if shift >= 0 else value << -shift
