"""The codec of updates in C: what comes back, what is refused, and that no bytes harm it.

That its bits are those of NUMERICS section 10 is the reference's to say.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedling_native import NativeError
from fedling_native._core import ffi, lib
from fedling_native.arguments import new_arena

if TYPE_CHECKING:
    from fedling_native._core import CData

SCALAR, TRELLIS, DITHER, TRELLIS_32 = QUANTISERS = range(4)
TRELLISES = (TRELLIS, TRELLIS_32)
TABLES = 22
HEADER = 11
ONE_BIT, FOUR_BITS, EIGHT_BITS = 11, 17, 21  # tables

Values = NDArray[np.int64]


def name_of(error: int) -> str:
    return NativeError(error).name if error else "FDL_OK"


@dataclass(frozen=True)
class Code:
    """A code, and how it is called; a dither is drawn from the seed."""

    quantiser: int = SCALAR
    table: int = ONE_BIT
    kept: int = 1
    seed: tuple[int, int] = (1, 2)

    @property
    def given(self) -> CData:
        return ffi.new("fdl_code *", (self.quantiser, self.table, self.kept, self.seed))

    def dither(self, count: int) -> tuple[CData, int]:
        places = -(-self.kept // 16) * 16 if self.quantiser == DITHER else 0
        draw = np.random.default_rng(self.seed)
        noise = draw.integers(0, 65_536, places).astype(np.uint16)
        return (ffi.from_buffer("uint16_t[]", noise.tobytes()) if places else ffi.NULL), places

    def arena(self, count: int) -> tuple[CData, int]:
        size = lib.fdl_code_arena_size(self.given, count)
        return new_arena(size), size

    def try_encode(self, x: Values, room: int) -> tuple[int, bytes]:
        out, length = bytearray(room), ffi.new("size_t *")
        values = ffi.from_buffer("int32_t[]", x.astype(np.int32).tobytes())
        to = ffi.from_buffer("uint8_t[]", out)
        n = len(x)
        error = lib.fdl_encode(
            self.given, values, n, *self.dither(n), *self.arena(n), to, room, length
        )
        return error, bytes(memoryview(out)[: length[0]])

    def encode(self, x: Values) -> bytes:
        error, message = self.try_encode(x, lib.fdl_encoded_room(self.given, len(x)))
        assert name_of(error) == "FDL_OK"
        return message

    def try_decode(self, message: bytes, count: int) -> tuple[int, Values]:
        estimate = array("i", [77] * count)
        words = ffi.from_buffer("uint8_t[]", message)
        to = ffi.from_buffer("int32_t[]", estimate)
        error = lib.fdl_decode(
            self.given, words, len(message), *self.dither(count), *self.arena(count), to, count
        )
        return error, np.array(estimate, np.int64)

    def decode(self, message: bytes, count: int) -> Values:
        error, estimate = self.try_decode(message, count)
        assert name_of(error) == "FDL_OK"
        return estimate


def gaussian(count: int, spread: float = 1000, seed: int = 1) -> Values:
    return np.rint(np.random.default_rng(seed).normal(0, spread, count)).astype(np.int64)


def error_of(code: Code, x: Values) -> float:
    """The part of the energy that is lost, both ways taken."""
    y = code.decode(code.encode(x), len(x)) / 256
    return float(((x - y) ** 2).sum() / (x.astype(float) ** 2).sum())


# --- what comes back ------------------------------------------------------------------------------

ERRORS = {  # table: what a Gaussian loses, by quantiser; dither has tables from 1 bit on
    5: (7.1, 6.7, None, 6.5),
    ONE_BIT: (0.54, 0.445, 1.1, 0.405),
    13: (0.1, 0.081, 0.115, 0.0765),
    FOUR_BITS: (0.0058, 0.0046, 0.0059, 0.0044),
    EIGHT_BITS: (2.33e-5, 1.85e-5, 2.33e-5, 1.8e-5),
}


@pytest.mark.parametrize("quantiser", QUANTISERS)
@pytest.mark.parametrize("table", ERRORS)
def test_gaussian_values_lose_what_the_table_says(table: int, quantiser: int) -> None:
    most = ERRORS[table][quantiser]
    if most is None:
        return
    n = 65_536
    assert error_of(Code(quantiser, table, n), gaussian(n)) == pytest.approx(most, rel=0.12)


def lengths() -> Iterator[int]:
    """All that are short, then those beside a sum of few powers of two."""
    yield from range(1, 130)
    for high in (256, 512, 1024, 2048):
        for low in (0, 16, 32, 256, 512):
            yield from range(high + low - 2, high + low + 3)
    yield from range(130, 3001, 97)


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_values_of_every_length_come_back(quantiser: int) -> None:
    for n in lengths():
        x = gaussian(n, seed=n)
        if not x.any():
            continue
        assert error_of(Code(quantiser, EIGHT_BITS, n, (n, 5)), x) < 0.001, n


def one_hot(count: int, value: int) -> Values:
    x = np.zeros(count, np.int64)
    x[count // 3] = value
    return x


EXTREMES = {
    "lowest": np.full(3000, -(2**31)),
    "highest": np.full(1024, 2**31 - 1),
    "ones": np.full(1500, 1),
    "one hot": one_hot(5000, -(2**31)),
    "one hot, small": one_hot(5000, 1),
    "both ends": np.where(np.arange(2049) % 2, 2**31 - 1, -(2**31)),
    "one": np.array([-(2**31)]),
    "a block of spikes": np.concatenate((np.full(64, 2**30), gaussian(9000, 3))),
}


@pytest.mark.parametrize("quantiser", QUANTISERS)
@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_come_back(name: str, quantiser: int) -> None:
    """In the sense of 1/256, where an int32 has room for it."""
    x = EXTREMES[name].astype(np.int64)
    y = Code(quantiser, EIGHT_BITS, len(x)).decode(
        Code(quantiser, EIGHT_BITS, len(x)).encode(x), len(x)
    )
    fits = np.clip(x * 256, -(2**31), 2**31 - 1)
    loss = ((fits - y).astype(float) ** 2).sum() / ((x * 256).astype(float) ** 2).sum()
    assert loss < 0.01


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_zeros_are_a_message_of_no_bytes(quantiser: int) -> None:
    code = Code(quantiser, ONE_BIT, 100)
    assert code.encode(np.zeros(100, np.int64)) == b""
    assert not code.decode(b"", 100).any()


@pytest.mark.parametrize("count", [1, 16, 40, 70])
@pytest.mark.parametrize("quantiser", [SCALAR, TRELLIS, TRELLIS_32])
def test_few_values_at_the_lowest_rate_keep_their_length(quantiser: int, count: int) -> None:
    """Most have no magnitude that the steps tell from zero: such a message was empty, and what was
    read of all seeds was by a seventh too short on average."""
    x = gaussian(count)
    for seed in range(200):
        code = Code(quantiser, 0, count, (seed, 3))
        y = code.decode(code.encode(x), count) / 256
        assert y @ x / (x @ x) == pytest.approx(1, abs=2**-9)


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_values_that_are_not_kept_are_zeros_and_the_mean_is_right(quantiser: int) -> None:
    n, rounds = 200, 400
    x = gaussian(n)
    sums = np.zeros(n)
    for seed in range(rounds):
        code = Code(quantiser, FOUR_BITS, 50, (seed, 9))
        y = code.decode(code.encode(x), n)
        assert np.count_nonzero(y) <= 50
        sums += y / 256 / rounds
    off = float(((sums - x) ** 2).sum() / (x.astype(float) ** 2).sum())
    assert off == pytest.approx(3 / rounds, rel=0.5)  # each is there once in four times


@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=200),
    st.sampled_from(QUANTISERS),
    st.integers(0, TABLES - 1),
    st.integers(0, 2**32 - 1),
    st.data(),
)
def test_any_values_have_a_message_that_is_read(
    values: list[int], quantiser: int, table: int, seed: int, data: st.DataObject
) -> None:
    x = np.array(values, np.int64)
    kept = data.draw(st.integers(1, len(values)))
    code = Code(quantiser, table, kept, (seed, ~seed % 2**32))
    message = code.encode(x)
    assert message == code.encode(x)
    estimate = code.decode(message, len(values))
    assert np.count_nonzero(estimate) <= kept


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_a_message_of_about_so_many_bytes(quantiser: int) -> None:
    n = 20_000
    for size in (100, 500, 2500, 10_000, 40_000):
        given = ffi.new("fdl_code *")
        assert lib.fdl_choose_code(quantiser, n, size, given) == lib.FDL_OK
        fields = memoryview(ffi.buffer(given))
        kept = int.from_bytes(fields[4:8], "little")
        code = Code(fields[0], fields[1], kept)
        assert len(code.encode(gaussian(n))) <= size * 1.1 + 20 or quantiser in TRELLISES
        assert code.quantiser == quantiser


# --- what is refused ------------------------------------------------------------------------------

GOOD = Code(SCALAR, ONE_BIT, 100)
X = gaussian(100)
BAD_CODES = {
    "quantiser": (replace(GOOD, quantiser=4), "FDL_E_CODE"),
    "table": (replace(GOOD, table=TABLES), "FDL_E_CODE"),
    "none kept": (replace(GOOD, kept=0), "FDL_E_CODE"),
    "more kept than there are": (replace(GOOD, kept=101), "FDL_E_CODE"),
}


@pytest.mark.parametrize("case", BAD_CODES)
def test_no_such_code(case: str) -> None:
    code, name = BAD_CODES[case]
    assert lib.fdl_encoded_room(code.given, 100) == 0
    assert lib.fdl_code_arena_size(code.given, 100) == 0
    assert name_of(code.try_encode(X, 1000)[0]) == name
    error, estimate = code.try_decode(GOOD.encode(X), 100)
    assert name_of(error) == name
    assert (estimate == 77).all()


def encoded(**changed: object) -> int:
    """Call fdl_encode with all right but what is changed."""
    arena, size = GOOD.arena(100)
    call: dict[str, object] = {
        "code": GOOD.given, "values": ffi.new("int32_t[]", [5] * 100), "count": 100,
        "dither": ffi.NULL, "dither_count": 0, "arena": arena, "arena_len": size,
        "out": ffi.new("uint8_t[]", 1000), "out_room": 1000, "out_len": ffi.new("size_t *"),
    }  # fmt: skip
    function: Callable[..., int] = lib.fdl_encode
    return function(*(call | changed).values())


def decoded(**changed: object) -> int:
    """Call fdl_decode likewise."""
    arena, size = GOOD.arena(100)
    message = GOOD.encode(X)
    call: dict[str, object] = {
        "code": GOOD.given, "message": ffi.from_buffer("uint8_t[]", message),
        "message_len": len(message), "dither": ffi.NULL, "dither_count": 0, "arena": arena,
        "arena_len": size, "estimate": ffi.new("int32_t[]", 100), "count": 100,
    }  # fmt: skip
    function: Callable[..., int] = lib.fdl_decode
    return function(*(call | changed).values())


BAD_ARGUMENTS: dict[str, tuple[dict[str, object], str]] = {
    "code": ({"code": ffi.NULL}, "FDL_E_NULL"),
    "no values": ({"count": 0}, "FDL_E_LENGTH"),
    "too many": ({"count": 2**24 + 1}, "FDL_E_LENGTH"),
    "dither": ({"dither": ffi.new("uint16_t[]", 112), "dither_count": 112}, "FDL_E_LENGTH"),
    "arena": ({"arena": ffi.NULL}, "FDL_E_NULL"),
    "small arena": ({"arena_len": GOOD.arena(100)[1] - 1}, "FDL_E_ARENA"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_arguments_of_both_that_are_refused(case: str) -> None:
    changed, name = BAD_ARGUMENTS[case]
    assert (name_of(encoded()), name_of(decoded())) == ("FDL_OK", "FDL_OK")
    assert (name_of(encoded(**changed)), name_of(decoded(**changed))) == (name, name)


def test_arguments_of_one_that_are_refused() -> None:
    for argument in ("values", "out", "out_len"):
        assert name_of(encoded(**{argument: ffi.NULL})) == "FDL_E_NULL"
    for argument in ("message", "estimate"):
        assert name_of(decoded(**{argument: ffi.NULL})) == "FDL_E_NULL"
    assert decoded(message=ffi.NULL, message_len=0) == lib.FDL_OK


@pytest.mark.parametrize("count", [111, 113, 0])
def test_a_dither_of_another_length(count: int) -> None:
    code = Code(DITHER, ONE_BIT, 100)
    arena, size = code.arena(100)
    noise = ffi.new("uint16_t[]", 120)
    wrong = {"code": code.given, "arena": arena, "arena_len": size}
    good = {**wrong, "dither": noise, "dither_count": 112}
    assert encoded(**good) == lib.FDL_OK
    assert name_of(encoded(**{**good, "dither_count": count})) == "FDL_E_LENGTH"
    assert name_of(encoded(**{**good, "dither": ffi.NULL})) == "FDL_E_NULL"


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_every_room_that_is_too_small_is_refused(quantiser: int) -> None:
    code = Code(quantiser, FOUR_BITS, 100)
    whole = code.encode(X)
    for room in range(len(whole) + 3):
        error, message = code.try_encode(X, room)
        expected = ("FDL_OK", whole) if room >= len(whole) else ("FDL_E_LENGTH", b"")
        assert (name_of(error), message) == expected


def damaged(message: bytes) -> Iterator[bytes]:
    """Cut, longer, of another quantiser, with states below the least."""
    yield from (message[:size] for size in range(1, len(message)))
    yield message + b"\0"
    yield message + b"\0\0"
    yield from (bytes([q]) + message[1:] for q in range(256) if q != message[0])
    for at in (3, 7):
        for state in (0, 65_535):
            yield message[:at] + state.to_bytes(4, "little") + message[at + 4 :]


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_damaged_messages_are_refused(quantiser: int) -> None:
    code = Code(quantiser, FOUR_BITS, 100)
    message = code.encode(X)
    for wrong in damaged(message):
        assert name_of(code.try_decode(wrong, 100)[0]) == "FDL_E_MESSAGE", wrong.hex()


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_nearly_every_flipped_bit_is_seen(quantiser: int) -> None:
    """But for the scale, whose every value some encoder writes."""
    code = Code(quantiser, ONE_BIT, 100)
    message = code.encode(X)
    seen = 0
    for bit in range(8 * 3, 8 * len(message)):
        wrong = bytearray(message)
        wrong[bit // 8] ^= 1 << bit % 8
        seen += code.try_decode(bytes(wrong), 100)[0] != lib.FDL_OK
    assert seen > 0.9 * 8 * (len(message) - 3)


@given(st.sampled_from(QUANTISERS), st.integers(0, TABLES - 1), st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(quantiser: int, table: int, noise: bytes) -> None:
    states = bytes([quantiser, 0, 60]) + b"\1\2\3\4\5\6\7\x08"
    code = Code(quantiser, table, 300)
    for message in (noise, states + noise):
        error, _ = code.try_decode(message, 300)
        assert name_of(error) in ("FDL_E_MESSAGE", "FDL_OK")
