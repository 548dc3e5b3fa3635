"""Section 10, the codec of updates; the end of section 7, values in one unit.

Arrays have one row a message: the same values under many seeds are coded at once.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np

from tests.native.reference import quantisers as by
from tests.native.reference.fixed import Int32, Int64, rshift, sat, sat32
from tests.native.reference.rans import Reader, Symbol, Unreadable, symbol, write
from tests.native.reference.rotation import (
    GAINS,
    LEAST_GAIN,
    MOST_GAIN,
    Seeds,
    blocks,
    each_place,
    gains,
    order,
    parts,
    places,
    rotated,
    rotated_back,
    rshift_each,
    weighed,
    words,
)
from tests.native.reference.tables import STATES, Quantiser, Subset, Table, tables

LIMIT = 2**18  # of z
CHAIN = 8192  # places, of 32 states
GAIN_FREQUENCY = [12000, 900, 400, 250, 150, 100, 80, 60, 50, 40, 32, 26, 20, 16, 12, 10, 92]
GAIN = Subset(np.array(GAIN_FREQUENCY), np.arange(16), np.zeros(17, np.int64))
HEADER = struct.Struct("<BHII")
NO_DITHER: Int64 = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Code:
    quantiser: Quantiser
    table: int
    kept: int
    seed: tuple[int, int]

    @property
    def known(self) -> Table:
        return tables(self.quantiser)[self.table]


# --- units and scales -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Spread:
    """y = rshift(rshift(x, p) * mantissa, s / 2 - 10)."""

    p: int
    mantissa: int  # M
    s: int


def spread(x: Int64, count: int) -> Spread | None:
    """Of the kept values x of one message with so many places; none if all are zero."""
    p = max(0, int(np.abs(x).max()).bit_length() - 19)
    small = rshift(x, p)
    energy = int((small * small).sum())
    assert 0 <= energy < 2**63
    if energy == 0:
        return None
    s = next(s for s in range(0, 100, 2) if (count << s) // energy >= 2**28)
    mantissa = math.isqrt((count << s) // energy)
    assert 2**14 <= mantissa < 2**15
    return Spread(p, mantissa, s)


def in_spreads(x: Int64, unit: Spread) -> Int64:
    """y of x."""
    scaled, shift = rshift(x, unit.p) * unit.mantissa, unit.s // 2 - 10
    return rshift(scaled, shift) if shift > 0 else scaled << -shift


def quotient(a: int, b: int) -> tuple[int, int]:
    """(h, e), h = floor(a * 2^e / b), 2^30 <= h < 2^31."""
    e = 31 - a.bit_length() + b.bit_length()
    h = (a << max(0, e)) // (b << max(0, -e))
    if h >= 2**31:
        e -= 1
        h = (a << max(0, e)) // (b << max(0, -e))
    assert 2**30 <= h < 2**31
    return h, e


@dataclass(frozen=True)
class Scale:
    """u * 2^(v - 40)."""

    u: int
    v: int


def scale(a: int, c: int, n: int, m: int, unit: Spread, fraction: int) -> Scale | None:
    """What turns levels into x's unit; none if it is too small or c is not above zero.

    fraction: uint32, by chance, so that the mean over seeds is exact
    """
    if c <= 0:
        return None
    (h1, e1), (h2, e2) = quotient(a, c), quotient(n, m * unit.mantissa)
    product = h1 * h2
    drop = product.bit_length() - 11
    u = (product + (fraction << drop - 32)) >> drop
    v = drop + unit.s // 2 - 10 + unit.p - e1 - e2 + 40
    if u == 2048:
        u, v = 1024, v + 1
    if v < 0:
        return None
    return Scale(2047, 63) if v > 63 else Scale(u, v)


# --- many messages --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Coded:
    """What becomes of the same values under many seeds, before symbols are made of it.

    g: [messages][blocks]; k, subset, w: [messages][N]; scales: none for an empty message
    """

    g: Int64
    k: Int64
    subset: Int64  # q
    w: Int64
    scales: list[Scale | None]


def coded(code: Code, seeds: Seeds, x: Int64, dither: Int64 = NO_DITHER) -> Coded:
    """dither: [messages][N], uint16; the seed of the code counts for nothing."""
    m, count = code.kept, places(code.kept)
    kept = x[order(seeds, len(x), m)]
    units = [spread(row, count) for row in kept]
    y = np.zeros((len(seeds), count), np.int64)
    for row, unit in enumerate(units):
        if unit:
            y[row, :m] = in_spreads(kept[row], unit)
    g = gains(y, m)
    back = -each_place(g, m)
    z = sat(rotated(seeds, rshift_each(y * GAINS[back & 7], 14 - (back >> 3)), m), LIMIT)
    k, subset = quantised(code, z, dither)
    w = levels(code, k, subset, dither)
    sums = [(1, 4)] * len(z)
    if code.quantiser != Quantiser.DITHER:
        for row in np.flatnonzero((z * w).sum(axis=1) <= 0).tolist():
            k[row], subset[row] = alone(code, z[row])
        w = levels(code, k, subset, dither)
        sums = list(zip(weighed(g, z * z, m), weighed(g, z * w, m), strict=True))
    fractions = words(seeds, 2, 3)[:, 2].tolist()
    scales = [
        scale(a, c, len(x), m, unit, fraction) if unit else None
        for (a, c), unit, fraction in zip(sums, units, fractions, strict=True)
    ]
    return Coded(g, k, subset, w, scales)


def quantised(code: Code, z: Int64, dither: Int64) -> tuple[Int64, Int64]:
    """k and q of z [messages][N]."""
    table, subset = code.known, np.zeros_like(z)
    if code.quantiser == Quantiser.SCALAR:
        return by.scalar(table, z), subset
    if code.quantiser == Quantiser.DITHER:
        return by.dither(table, z, dither), subset
    k = np.empty_like(z)
    for start, count, length in chains(code):
        own = slice(start, start + count * length)
        found = by.trellis(STATES[code.quantiser], table, z[:, own].reshape(len(z), count, length))
        k[:, own], subset[:, own] = (part.reshape(len(z), -1) for part in found)
    return k, subset


def alone(code: Code, z: Int64) -> tuple[Int64, Int64]:
    """k and q of one message [N] in which only the place farthest from zero is not 0."""
    k, subset = np.zeros_like(z), np.zeros_like(z)
    place = int(np.abs(z).argmax())
    k[place] = np.sign(z[place])
    if code.quantiser in STATES:
        starts = {start + i * length for start, count, length in chains(code) for i in range(count)}
        state = 0
        for at in range(len(z)):
            state = 0 if at in starts else state
            subset[at] = int((state & code.known.mask) != 0)
            state = by.next_state(STATES[code.quantiser], state, int(k[at]))
    return k, subset


def chains(code: Code) -> list[tuple[int, int, int]]:
    """Places that are quantised together, of neighbours of the same length: the first, how many
    they are, their length."""
    if code.quantiser != Quantiser.TRELLIS_32:
        return parts(code.kept)
    count = places(code.kept)
    return [(start, 1, min(CHAIN, count - start)) for start in range(0, count, CHAIN)]


def levels(code: Code, k: Int64, subset: Int64, dither: Int64) -> Int64:
    if code.quantiser == Quantiser.DITHER:
        return by.dither_level(code.known, k, dither)
    return by.level(code.known, k, subset)


def estimates(code: Code, seeds: Seeds, found: Coded, n: int) -> Int64:
    """What is read of n values, in 1/256 of their unit, [messages][n]."""
    m = code.kept
    values = rotated_back(seeds, found.w, m)[:, :m]
    g = each_place(found.g, m)[:, :m]
    out = np.zeros((len(values), n), np.int64)
    where = order(seeds, n, m)
    for row, one in enumerate(found.scales):
        if one:
            product = values[row] * one.u * GAINS[g[row] & 7]
            shift = 40 - one.v - 8 + 14 - (g[row] >> 3)
            product = np.where(shift > 0, product, sat(product, 2**31))
            out[row, where[row]] = sat32(rshift_each(product, np.maximum(shift, -31)))
    return out


# --- one message ----------------------------------------------------------------------------------


def encode(code: Code, x: Int64, dither: Int64 = NO_DITHER) -> bytes:
    """x: n values within int32; dither: a uint16 for each place."""
    found = coded(code, np.array([code.seed], np.uint32), x, dither.reshape(1, -1))
    (ratio,) = found.scales
    if ratio is None:
        return b""
    states, out = write(symbols(code, found))
    head = HEADER.pack(code.quantiser, ratio.v << 10 | ratio.u - 1024, *states)
    return head + np.array(out, "<u2").tobytes()


def symbols(code: Code, found: Coded) -> list[tuple[int, Symbol]]:
    """What the one message of `found` says, each with the state that says it."""
    out, g = list[tuple[int, Symbol]](), 0
    for gain, length in zip(found.g[0].tolist(), blocks(code.kept), strict=True):
        out.append((0, symbol(GAIN, gain)))
        own = slice(g, g + length)
        for q, k in zip(found.subset[0, own].tolist(), found.k[0, own].tolist(), strict=True):
            out.append((g & 1, symbol(code.known.subsets[q], k)))
            g += 1
    return out


def decode(code: Code, message: bytes, n: int, dither: Int64 = NO_DITHER) -> Int32:
    """The estimate of n values, in 1/256 of their unit. Raises Unreadable."""
    if not message:
        return np.zeros(n, np.int32)
    if len(message) < HEADER.size or (len(message) - HEADER.size) % 2:
        raise Unreadable
    quantiser, wire, *states = HEADER.unpack_from(message)
    if quantiser != code.quantiser:
        raise Unreadable
    body = np.frombuffer(message, "<u2", offset=HEADER.size).tolist()
    g, k, subset = _read(code, Reader((states[0], states[1]), body))
    w = levels(code, k, subset, dither.reshape(1, -1))
    found = Coded(g, k, subset, w, [Scale((wire & 1023) + 1024, wire >> 10)])
    read = estimates(code, np.array([code.seed], np.uint32), found, n)
    return np.asarray(read[0], np.int32)


def _read(code: Code, reader: Reader) -> tuple[Int64, Int64, Int64]:
    """g [1][blocks], k and q [1][N]."""
    gain, k, subset = list[int](), list[int](), list[int]()
    states, state = STATES.get(code.quantiser), 0
    for length in blocks(code.kept):
        gain.append(reader.read(0, GAIN))
        if not LEAST_GAIN <= gain[-1] <= MOST_GAIN:
            raise Unreadable
        if code.quantiser != Quantiser.TRELLIS_32 or len(k) % CHAIN == 0:
            state = 0
        for _ in range(length):
            q = int(state & code.known.mask != 0)
            k.append(reader.read(len(k) & 1, code.known.subsets[q]))
            subset.append(q)
            state = by.next_state(states, state, k[-1]) if states else 0
    reader.end()
    return np.array([gain]), np.array([k]), np.array([subset])


# --- a code for a number of bytes -----------------------------------------------------------------


def choose(quantiser: Quantiser, n: int, size: int, seed: tuple[int, int] = (0, 0)) -> Code:
    """The code with the least error for n values in about so many bytes."""
    found = []
    for t, table in enumerate(tables(quantiser)):
        m = max(1, min(n, 32768 * max(size - 11, 1) // table.rate))
        found.append(((65536 + table.error), m, t))
    best = found[0]
    for one in found[1:]:
        if one[0] * best[1] < best[0] * one[1]:
            best = one
    return Code(quantiser, best[2], best[1], seed)
