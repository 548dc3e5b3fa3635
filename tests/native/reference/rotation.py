"""Section 10, what is done to values before they are quantised: order, blocks, gains, rotation.

Arrays have one row a message: the same values under many seeds are coded at once.
"""

import math
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from tests.native.reference.fixed import Int64, rshift

Seeds = NDArray[np.uint32]  # [messages][2]

BLOCK, LEAST_BLOCK = 1024, 16


# --- words and order ------------------------------------------------------------------------------


def mix(v: Int64) -> Int64:
    """Of uint32 values."""
    v = (v ^ v >> 16) * 0x7FEB352D & 0xFFFFFFFF
    v = (v ^ v >> 15) * 0x846CA68B & 0xFFFFFFFF
    return v ^ v >> 16


def words(seeds: Seeds, s: int, count: int) -> Int64:
    """word(s, 0), word(s, 1), ..., uint32 values [messages][count]."""
    lo, hi = (seeds[:, i, None].astype(np.int64) for i in (0, 1))
    return mix(mix(np.arange(count) ^ lo) ^ hi ^ s << 28)


def order(seeds: Seeds, n: int, m: int) -> Int64:
    """Where in x the values of each message are, int64 [messages][m]."""
    drawn = words(seeds, 2, 2) * n >> 32
    a = np.array([_coprime(1 + int(v), n) for v in drawn[:, 1]])
    found: Int64 = (a[:, None] * np.arange(m) + drawn[:, :1]) % n
    return found


def _coprime(a: int, n: int) -> int:
    while math.gcd(a, n) != 1:
        a += 1
    return a


# --- blocks and their rotation --------------------------------------------------------------------


def blocks(m: int) -> list[int]:
    """The lengths of the blocks for m values."""
    lengths = [BLOCK] * (m // BLOCK)
    rest = m % BLOCK
    while rest >= LEAST_BLOCK:
        lengths.append(1 << rest.bit_length() - 1)
        rest -= lengths[-1]
    return lengths + [LEAST_BLOCK] * (rest > 0)


def places(m: int) -> int:
    """N."""
    return sum(blocks(m))


def parts(m: int) -> list[tuple[int, int, int]]:
    """Neighbouring blocks of the same length: the first place, the number of blocks, the length."""
    found, start = [], 0
    for length, group in groupby(blocks(m)):
        count = len(list(group))
        found.append((start, count, length))
        start += count * length
    return found


def hadamard(v: Int64) -> Int64:
    """H v over the last axis."""
    length = v.shape[-1]
    h = 1
    while h < length:
        pairs = v.reshape(*v.shape[:-1], length // (2 * h), 2, h)
        low, high = pairs[..., 0, :], pairs[..., 1, :]
        v = np.stack([low + high, low - high], axis=-2).reshape(v.shape)
        h *= 2
    return v


def signs(seeds: Seeds, s: int, count: int) -> Int64:
    """-1 for the places whose bit is set, else 1; [messages][count]."""
    bits: Int64 = words(seeds, s, -(-count // 32))[:, :, None] >> np.arange(32, dtype=np.int64) & 1
    return 1 - 2 * bits.reshape(len(seeds), -1)[:, :count]


def turned(v: Int64, m: int, *, up: bool) -> Int64:
    """H of every block of v [messages][N], shifted by half the bits of its length, rounded up."""
    out = np.empty_like(v)
    for start, count, length in parts(m):
        own = slice(start, start + count * length)
        bits = length.bit_length() - 1
        h = hadamard(v[:, own].reshape(len(v), count, length))
        out[:, own] = rshift(h, bits - bits // 2 if up else bits // 2).reshape(len(v), -1)
    return out


def rotated(seeds: Seeds, y: Int64, m: int) -> Int64:
    """z of y [messages][N], before the limit."""
    first, second = (signs(seeds, s, y.shape[1]) for s in (0, 1))
    return turned(turned(y * first, m, up=False) * second, m, up=True)


def rotated_back(seeds: Seeds, w: Int64, m: int) -> Int64:
    first, second = (signs(seeds, s, w.shape[1]) for s in (0, 1))
    return turned(turned(w, m, up=True) * second, m, up=False) * first


# --- gains of blocks ------------------------------------------------------------------------------

ROOTS = [2 ** (30 + (2 * i + 1) / 8) for i in range(4)]
GAINS = np.array([round(2 ** (14 + i / 8)) for i in range(8)])  # T
SQUARES = np.array([round(2 ** (14 + i / 4)) for i in range(8)])  # W
LEAST_GAIN, MOST_GAIN = -64, 80


def rshift_each(x: Int64, s: Int64) -> Int64:
    """rshift with a shift for each value."""
    right, left = np.maximum(s, 0), np.maximum(-s, 0)
    half: Int64 = np.where(right > 0, np.left_shift(1, right), 0) >> 1
    rounded: Int64 = ((x << left) + half) >> right
    return rounded


def gains(y: Int64, m: int) -> Int64:
    """g of each block of y [messages][N], [messages][blocks]."""
    found = []
    for start, count, length in parts(m):
        own = y[:, start : start + count * length].reshape(len(y), count, length)
        found.append(_gain((own * own).sum(axis=2), length.bit_length() - 1))
    return np.concatenate(found, axis=1)


def _gain(energy: Int64, bits: int) -> Int64:
    t = np.frexp(energy.astype(np.float64))[1].astype(np.int64) - 1
    h = energy * 2.0 ** (30 - t)
    steps = 4 * (t - 20 - bits) + np.searchsorted(ROOTS, h, side="right")
    return np.where(energy == 0, LEAST_GAIN, np.maximum(LEAST_GAIN, steps))


def each_place(of_blocks: Int64, m: int) -> Int64:
    """A number of each block at all its places, [messages][N]."""
    return np.repeat(of_blocks, blocks(m), axis=1)


def weighed(g: Int64, products: Int64, m: int) -> list[int]:
    """The sum of each message's products [messages][N], each in its block's unit."""
    starts = np.cumsum([0, *blocks(m)[:-1]])
    sums = np.add.reduceat(products, starts, axis=1)
    return [int(v) for v in rshift_each(sums * SQUARES[g & 7], -2 * (g >> 3)).sum(axis=1)]
