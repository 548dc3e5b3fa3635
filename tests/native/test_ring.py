"""Updates of which only a sum is read: C gives the reference's bits, sums are right on average."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedling_native import NativeError, dense, parameter_counts
from fedling_native._core import ffi, lib
from fedling_native.arguments import new_arena
from fedling_native.errors import check
from fedling_native.ring import WHOLE_SHARE, Ring
from fedling_protocol.wire.dither import dither
from tests.native import reference as ref
from tests.native.golden_vectors import Ringed, ringed
from tests.native.random_nets import SEEDS
from tests.native.reference import ring as by_reference

LENGTHS = st.one_of(st.integers(1, 70), st.integers(1, 1100), st.integers(1, 5000))
LAYERS = (dense(30, 40, relu=True), dense(40, 3))
EXPONENTS = [-3, -3]


def c_ring(ring: by_reference.Ring) -> Ring:
    return Ring(ring.bits, ring.step, ring.kept, ring.seed)


def encode(ring: by_reference.Ring, x: ref.Int64, share: int, r: ref.Int64) -> bytes:
    """Elements by C, uint16."""
    out, arena = bytearray(2 * len(r)), new_arena(lib.FDL_RING_ARENA)
    values = ffi.from_buffer("int32_t[]", x.astype(np.int32).tobytes())
    noise, to = ffi.from_buffer("uint8_t[]", r.astype(np.uint8).tobytes()), ffi.from_buffer(out)
    elements = ffi.cast("uint16_t *", to)
    given_ring, size = c_ring(ring)._given(), ffi.sizeof(arena)
    check(
        lib.fdl_ring_encode(given_ring, values, len(x), share, noise, arena, size, elements, len(r))
    )
    return bytes(out)


def decode(ring: by_reference.Ring, totals: ref.Int64, weight: int, n: int) -> bytes:
    """The mean by C, int32."""
    estimate, arena = array("i", bytes(4 * n)), new_arena(lib.FDL_RING_ARENA)
    values = ffi.from_buffer("int32_t[]", totals.astype(np.int32).tobytes())
    out, size = ffi.from_buffer("int32_t[]", estimate), ffi.sizeof(arena)
    given_ring = c_ring(ring)._given()
    check(lib.fdl_ring_decode(given_ring, values, len(totals), weight, arena, size, out, n))
    return estimate.tobytes()


# --- C and the reference --------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A ring, and values of any size."""

    seed: int
    ring: by_reference.Ring
    n: int
    share: int
    fewer: int

    def values(self) -> ref.Int64:
        draw = np.random.default_rng(self.seed)
        return draw.integers(-(2**31), 2**31, self.n) >> self.fewer

    def dither(self) -> ref.Int64:
        draw = np.random.default_rng(~self.seed & 0xFFFFFFFF)
        return draw.integers(0, 256, len(self.ring.where(self.n)))

    def totals(self) -> ref.Int64:
        draw = np.random.default_rng(self.seed + 1)
        return draw.integers(-(2**31), 2**31, len(self.ring.where(self.n))) >> self.fewer


@st.composite
def cases(draw: st.DrawFn) -> Case:
    seed = draw(SEEDS)
    ring = by_reference.Ring(
        draw(st.integers(4, 12)),
        draw(st.one_of(st.integers(40 * 1024, 50 * 1024), st.integers(8192, 65535))),
        draw(st.one_of(st.integers(1, 1024), st.just(1024))),
        (seed, ~seed & 0xFFFFFFFF),
    )
    return Case(seed, ring, draw(LENGTHS), draw(st.integers(0, 32768)), draw(st.integers(0, 31)))


def same_bits(case: Case) -> None:
    x, r, t = case.values(), case.dither(), case.totals()
    elements = by_reference.encode(case.ring, x, case.share, r)
    assert encode(case.ring, x, case.share, r) == elements.astype(np.uint16).tobytes()
    message = c_ring(case.ring).pack(elements.astype(np.uint16).tobytes())
    assert message == by_reference.pack(case.ring, elements)
    weight = 1 + case.seed % (2**32 - 1)
    mean = by_reference.decode(case.ring, t, weight, case.n)
    assert decode(case.ring, t, weight, case.n) == mean.tobytes()


@given(cases())
@settings(max_examples=60)
def test_c_gives_the_bits_of_the_reference(case: Case) -> None:
    same_bits(case)


@pytest.mark.long
@given(cases())
@settings(max_examples=2000)
def test_c_gives_the_bits_of_the_reference_in_many_cases(case: Case) -> None:
    same_bits(case)


@pytest.mark.parametrize("case", ringed(), ids=lambda case: str(case.ring))
def test_golden(case: Ringed) -> None:
    elements = encode(case.ring, case.values, case.share, case.dither)
    assert crc32(elements) == case.elements
    assert crc32(c_ring(case.ring).pack(elements)) == case.message
    assert crc32(decode(case.ring, case.totals, case.weight, len(case.values))) == case.mean


def test_dither_is_that_of_the_reference() -> None:
    for count in (0, 1, 63, 64, 65, 1000):
        assert dither(b"plan", "device", count) == by_reference.dither(b"plan", "device", count)
    assert dither(b"plan", "device", 64) != dither(b"pland", "evice", 64)


# --- messages and sums ----------------------------------------------------------------------------


@given(cases(), st.integers(1, 5))
@settings(max_examples=30)
def test_messages_add_up_modulo_the_ring(case: Case, count: int) -> None:
    ring, draw = c_ring(case.ring), np.random.default_rng(case.seed)
    elements = draw.integers(0, 2**ring.bits, (count, len(case.dither())))
    total = np.zeros(elements.shape[1], np.uint16)
    for row in elements:
        ring.add(ring.pack(row.astype(np.uint16).tobytes()), total.data)
    assert (total == elements.sum(axis=0) % 2**ring.bits).all()


def test_a_message_with_bits_of_no_element_is_refused_and_adds_nothing() -> None:
    ring = Ring(5, 40 * 1024, 1024, (1, 2))
    total = np.ones(17, np.uint16)  # 85 bits: the last byte has three too many
    good = bytearray(ring.pack(np.full(17, 31, np.uint16).tobytes()))
    for bad in (good[:-1], good + b"\0", good[:-1] + bytes([good[-1] | 0x20])):
        with pytest.raises(NativeError):
            ring.add(bytes(bad), total.data)
        assert (total == 1).all()
    ring.add(bytes(good), total.data)
    assert (total == 0).all()


@pytest.mark.parametrize(
    "ring",
    [
        Ring(3, 40 * 1024, 51, (1, 2)),
        Ring(13, 40 * 1024, 51, (1, 2)),
        Ring(5, 8191, 51, (1, 2)),
        Ring(5, 65536, 51, (1, 2)),
        Ring(5, 40 * 1024, 0, (1, 2)),
        Ring(5, 40 * 1024, 1025, (1, 2)),
    ],
    ids=str,
)
def test_a_ring_that_is_none_is_refused(ring: Ring) -> None:
    with pytest.raises(NativeError):
        ring.elements(LAYERS)
    with pytest.raises(NativeError):
        ring.decode(LAYERS, EXPONENTS, bytes(4), 1)


def test_other_lengths_shares_and_weights_are_refused() -> None:
    ring = Ring(5, 40 * 1024, 51, (1, 2))
    weights, biases = parameter_counts(LAYERS)
    change, noise = bytes(2 * weights + 4 * biases), bytes(ring.elements(LAYERS))
    totals = bytes(4 * len(noise))
    ring.encode(LAYERS, EXPONENTS, change, WHOLE_SHARE, noise)
    ring.decode(LAYERS, EXPONENTS, totals, 1)
    for refused in (
        lambda: ring.encode(LAYERS, EXPONENTS, change, WHOLE_SHARE + 1, noise),
        lambda: ring.encode(LAYERS, EXPONENTS, change[:-1], WHOLE_SHARE, noise),
        lambda: ring.encode(LAYERS, EXPONENTS, change, WHOLE_SHARE, noise[:-1]),
        lambda: ring.encode(LAYERS, EXPONENTS, change, -1, noise),
        lambda: ring.decode(LAYERS, EXPONENTS, totals, 0),
        lambda: ring.decode(LAYERS, EXPONENTS, totals[:-4], 1),
    ):
        with pytest.raises(NativeError):
            refused()


# --- what is read ---------------------------------------------------------------------------------

VALUES: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "gaussian": lambda draw, n: draw.normal(0, 300, n),
    "lognormal": lambda draw, n: 100 * draw.lognormal(0, 1.5, n),
    "constant": lambda draw, n: np.full(n, 300.0),
    "one-hot": lambda draw, n: 10_000.0 * (np.arange(n) == 77),
    "8 spikes": lambda draw, n: 5000.0 * (np.arange(n) % (n // 8) == 3),
}
DEVICES, ENCODINGS, COUNT = 3, 400, 2048


@pytest.mark.parametrize("nature", VALUES)
@pytest.mark.parametrize("kept", [64, 512, 1024])
def test_the_mean_is_right_on_average_in_every_coordinate(nature: str, kept: int) -> None:
    draw = np.random.default_rng(5)
    sent = [np.rint(VALUES[nature](draw, COUNT)).astype(np.int64) for _ in range(DEVICES)]
    wanted, found = sum(sent) / DEVICES, np.zeros((ENCODINGS, COUNT))
    for number in range(ENCODINGS):
        ring = by_reference.Ring(12, 49 * 1024 + 500, kept, (number, 9))
        noise = draw.integers(0, 256, (DEVICES, len(ring.where(COUNT))))
        elements = [
            np.frombuffer(encode(ring, x, WHOLE_SHARE, r), np.uint16).astype(np.int64)
            for x, r in zip(sent, noise, strict=True)
        ]
        totals = by_reference.total(ring, elements, list(noise))
        mean = decode(ring, totals, DEVICES * WHOLE_SHARE, COUNT)
        found[number] = np.frombuffer(mean, np.int32) / 256
    errors = found.std(axis=0, ddof=1) / sqrt(ENCODINGS)
    assert np.abs(found.mean(axis=0) - wanted).max() < (5.5 * errors + 0.01).max()
    assert (np.abs(found.mean(axis=0) - wanted) < 5.5 * errors + 0.01).mean() > 0.999


def test_shares_weigh_the_mean() -> None:
    weights, biases = parameter_counts(LAYERS)
    ring, draw = Ring(12, 37 * 1024, 1024, (3, 4)), np.random.default_rng(1)
    changes = [draw.integers(-900, 900, weights).astype("<i2").tobytes() for _ in range(2)]
    total, noise = np.zeros(ring.elements(LAYERS), np.uint16), bytes(ring.elements(LAYERS))
    for change, share in zip(changes, (WHOLE_SHARE, WHOLE_SHARE // 4), strict=True):
        elements = ring.encode(LAYERS, EXPONENTS, change + bytes(4 * biases), share, noise)
        ring.add(ring.pack(elements), total.data)
    totals = 512 * ((total.astype(np.int32) + 2048) % 4096 - 2048) + 2 * 255
    mean = ring.decode(LAYERS, EXPONENTS, totals.data, WHOLE_SHARE * 5 // 4)
    first, second = (np.frombuffer(change, "<i2").astype(float) for change in changes)
    found = np.frombuffer(mean, np.int32)[:weights] / 256
    assert np.abs(found - (0.8 * first + 0.2 * second)).max() < 20
