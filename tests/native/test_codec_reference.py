"""The codec of updates: C gives the reference's bits; estimates are right on average, and as near
as the tables say."""

from dataclasses import dataclass
from math import log2, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_native import NativeError
from tests.native import codec_statistics as statistics
from tests.native import coding
from tests.native import reference as ref
from tests.native.random_nets import SEEDS
from tests.native.reference import codec, rans
from tests.native.reference.codec import NO_DITHER, Code
from tests.native.reference.quantisers import FAR, STEEP
from tests.native.reference.rotation import blocks, places
from tests.native.reference.tables import STATES, TOTAL, Quantiser, tables

LENGTHS = st.one_of(*(st.integers(1, most) for most in (70, 1100, 5000, 20_000)))
ENOUGH = 512  # bytes, from which a trellis has paths enough to be right on average


# --- C and the reference --------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """How many values, of what nature, and what is done to them; small enough to shrink."""

    seed: int
    quantiser: Quantiser
    table: int
    n: int
    kept: int
    spread: str

    def code(self) -> Code:
        return Code(self.quantiser, self.table, self.kept, (self.seed, ~self.seed & 0xFFFFFFFF))

    def values(self) -> ref.Int64:
        draw = np.random.default_rng(self.seed)
        whole = draw.integers(-(2**31), 2**31, self.n)
        values: ref.Int64 = SPREADS[self.spread](draw, whole)
        return values

    def dither(self) -> ref.Int64:
        draw = np.random.default_rng(~self.seed & 0xFFFFFFFF)
        dithered = self.quantiser == Quantiser.DITHER
        return draw.integers(0, 2**16, places(self.kept)) if dithered else NO_DITHER


SPREADS = {
    "any": lambda draw, x: x,
    "gaussian": lambda draw, x: np.rint(draw.standard_normal(len(x)) * 3000).astype(np.int64),
    "heavy": lambda draw, x: x >> draw.integers(0, 32, len(x)),
    "small": lambda draw, x: x >> 30,
    "sparse": lambda draw, x: x * (draw.random(len(x)) < 2 / len(x)),
    "corners": lambda draw, x: draw.choice(np.array([-(2**31), 2**31 - 1, 0, 1]), len(x)),
    "two ranges": lambda draw, x: np.where(np.arange(len(x)) < len(x) // 2, x, x >> 24),
}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n = draw(LENGTHS)
    return Case(
        draw(SEEDS),
        draw(st.sampled_from(Quantiser)),
        draw(st.integers(0, len(tables(Quantiser.SCALAR)) - 1)),
        n,
        draw(st.one_of(st.just(n), st.integers(1, n))),
        draw(st.sampled_from(sorted(SPREADS))),
    )


def same_bits(case: Case) -> None:
    code, x, dither = case.code(), case.values(), case.dither()
    message = codec.encode(code, x, dither)
    assert coding.encode(code, x, dither) == message
    estimate = codec.decode(code, message, len(x), dither)
    assert coding.decode(code, message, len(x), dither) == estimate.tobytes()
    found = codec.coded(code, np.array([code.seed], np.uint32), x, dither.reshape(1, -1))
    seeds = np.array([code.seed], np.uint32)
    assert (codec.estimates(code, seeds, found, len(x))[0] == estimate).all()


@given(cases())
@settings(max_examples=40)
def test_c_gives_the_bits_of_the_reference(case: Case) -> None:
    same_bits(case)


@pytest.mark.long
@given(cases())
@settings(max_examples=2000)
def test_c_gives_the_bits_of_the_reference_in_many_cases(case: Case) -> None:
    same_bits(case)


@given(cases(), st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 7)), max_size=4))
@settings(max_examples=40)
def test_c_refuses_what_the_reference_refuses(case: Case, flips: list[tuple[int, int]]) -> None:
    code, dither = case.code(), case.dither()
    message = bytearray(codec.encode(code, case.values(), dither))
    for place, bit in flips:
        if message:
            message[place % len(message)] ^= 1 << bit
    assert read_by_c(code, bytes(message), case.n, dither) == read_by_reference(
        code, bytes(message), case.n, dither
    )


def read_by_c(code: Code, message: bytes, n: int, dither: ref.Int64) -> bytes | str:
    try:
        return coding.decode(code, message, n, dither)
    except NativeError as refusal:
        return refusal.name


def read_by_reference(code: Code, message: bytes, n: int, dither: ref.Int64) -> bytes | str:
    try:
        return codec.decode(code, message, n, dither).tobytes()
    except rans.Unreadable:
        return "FDL_E_MESSAGE"


# --- how near estimates are -----------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.25, 0.5, 1, 2, 4, 6])
@pytest.mark.parametrize("quantiser", Quantiser, ids=lambda q: q.name.lower())
def test_error_and_bytes_are_those_of_the_table(quantiser: Quantiser, rate: float) -> None:
    """Of Gaussian values. A gain costs about a bit; few symbols that are not 0 vary in number."""
    n, draw = 159_010, np.random.default_rng(int(rate * 100))
    x = np.rint(draw.standard_normal(n) * 30_000).astype(np.int64)
    code = codec.choose(quantiser, n, int(rate * n / 8), (1, 2))
    dithered = quantiser == Quantiser.DITHER
    dither = draw.integers(0, 2**16, places(code.kept)) if dithered else NO_DITHER
    message = coding.encode(code, x, dither)
    read = np.frombuffer(coding.decode(code, message, n, dither), np.int32) / 256
    table = code.known
    promised = (1 + table.error / 65536) * n / code.kept - 1
    assert float(((read - x) ** 2).sum()) / float(x @ x) < 1.07 * promised
    expected = (table.rate * places(code.kept) / 4096 + len(blocks(code.kept))) / 8
    assert abs(len(message) - 11 - expected) < 0.01 * expected + 4 * sqrt(expected)


def test_sums_of_costs_of_32_states_fit_in_16_bits() -> None:
    """FDL_MOST_COST_32: with a table beyond it each place is coded alone, slowly."""
    for table in tables(Quantiser.TRELLIS_32):
        for q, subset in enumerate(table.subsets):
            k = np.arange(subset.most + 2)
            known = np.minimum(k, subset.most)
            stands = (16 * subset.level[known] + table.step // 2) // table.step
            h = np.minimum(FAR, 64 + np.abs(stands - 64 * known + 32 * q))
            assert int(((h * np.minimum(h, STEEP) >> 2) + subset.cost).max()) <= 7281


@pytest.mark.parametrize("table", [0, 4, 9, 13, 17])
@pytest.mark.parametrize("quantiser", Quantiser, ids=lambda q: q.name.lower())
def test_a_message_is_as_short_as_its_symbols_allow(quantiser: Quantiser, table: int) -> None:
    case = Case(9, quantiser, table, 12_000, 12_000, "heavy")
    code, x, dither = case.code(), case.values(), case.dither()
    found = codec.coded(code, np.array([code.seed], np.uint32), x, dither.reshape(1, -1))
    said = [symbol for _, symbol in codec.symbols(code, found)]
    bits = sum(log2(TOTAL / s.frequency) + rans.RAW_BITS * (s.raw >= 0) for s in said)
    assert len(coding.encode(code, x, dither)) < 1.001 * bits / 8 + 12


# --- what estimates are on average ----------------------------------------------------------------


def right_on_average(quantiser: Quantiser, name: str, size: int, count: int) -> None:
    """Some rows differ in the same way under every seed, and may, by little: values that are all
    the same are rounded alike, and levels lose bits as they are read."""
    found = statistics.look(quantiser, statistics.vectors()[name], size, count, 7)
    assert abs(found.slope - 1) < 5 * found.slope_error + 2**-10
    allowed = 0.02**2 + 5 * found.chance * sqrt(2 / statistics.N)
    assert found.across < allowed
    if quantiser == Quantiser.DITHER:  # P(any of 4,096 is farther by chance) = 2e-4
        assert found.farthest < 5.5


ROWS = [
    (quantiser, name, size)
    for quantiser in Quantiser
    for size in (51, 256, 512, 1024)
    for name in statistics.NAMES
    if quantiser not in STATES or size >= ENOUGH
    if name != "one in noise" or size >= 256
    if name != "one" or quantiser != Quantiser.DITHER or size >= 1024  # else mostly not kept
]


@pytest.mark.parametrize("name", statistics.NAMES)
@pytest.mark.parametrize("quantiser", Quantiser, ids=lambda q: q.name.lower())
def test_estimates_are_right_on_average(quantiser: Quantiser, name: str) -> None:
    """At 2 bits a value."""
    right_on_average(quantiser, name, 1024, 400)


@pytest.mark.long
@pytest.mark.parametrize(("quantiser", "name", "size"), ROWS)
def test_estimates_are_right_on_average_at_every_rate(
    quantiser: Quantiser, name: str, size: int
) -> None:
    """From .1 bit a value on."""
    right_on_average(quantiser, name, size, 4000)


@pytest.mark.parametrize("name", ["lognormal", "one in noise"])
def test_blocks_of_unlike_energy_come_out_alike(name: str) -> None:
    """At half a bit: with one scale for all blocks .03 and .19 of the length went astray."""
    found = statistics.look(Quantiser.SCALAR, statistics.vectors()[name], 256, 3000, 8)
    assert found.across < 0.02**2
