"""Section 10, quantisers: numbers z in 1/1,024 of the spread to integers k, k to levels w."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tests.native.reference.fixed import Int64, rshift, sat
from tests.native.reference.tables import Subset, Table

MOST_LEVEL = 2**20
FAR, STEEP = 350, 187
UNREACHED = 2**40  # more than any path costs


def level(table: Table, k: Int64, subset: Int64) -> Int64:
    """w of scalar and trellises, in 1/4,096 of the spread; subset: q, of the shape of k."""
    size = np.abs(k)
    w = np.where(subset == 1, *(_size(table, table.subsets[q], size) for q in (1, 0)))
    return sat(np.sign(k) * w, MOST_LEVEL)


def _size(table: Table, subset: Subset, size: Int64) -> Int64:
    beyond = subset.level[-1] + 4 * table.step * (size - subset.most)
    return np.where(size > subset.most, beyond, subset.level[np.minimum(size, subset.most)])


# --- scalar ---------------------------------------------------------------------------------------


def scalar(table: Table, z: Int64) -> Int64:
    """k of any number of values."""
    k: Int64 = np.sign(z) * ((np.abs(z) + table.offset) // table.step)
    return k


# --- dither ---------------------------------------------------------------------------------------


def dither(table: Table, z: Int64, r: Int64) -> Int64:
    """k; r: a uint16 for each place."""
    return (z + _shift(table, r) + table.step // 2) // table.step


def dither_level(table: Table, k: Int64, r: Int64) -> Int64:
    return sat(4 * (k * table.step - _shift(table, r)), MOST_LEVEL)


def _shift(table: Table, r: Int64) -> Int64:
    return (r * table.step >> 16) - table.step // 2


# --- trellis --------------------------------------------------------------------------------------


def next_state(states: int, b: int, k: int) -> int:
    e = k & 1
    if states == 8:
        b2, b1, b0 = b >> 2, b >> 1 & 1, b & 1
        return (b1 ^ b0) | (b2 ^ e) << 1 | b0 << 2
    b4, b3, b2, b1, b0 = (b >> i & 1 for i in (4, 3, 2, 1, 0))
    return b1 | (b2 ^ b0) << 1 | (b3 ^ e) << 2 | b4 << 3 | b0 << 4


def subset_of(table: Table, states: Int64) -> Int64:
    q: Int64 = ((states & table.mask) != 0).astype(np.int64)
    return q


@cache
def before(states: int) -> list[list[tuple[int, int]]]:
    """Of each state the two (state, parity) that lead to it, the lower state first."""
    steps = [(b, e) for b in range(states) for e in (0, 1)]
    return [[step for step in steps if next_state(states, *step) == to] for to in range(states)]


def trellis(states: int, table: Table, z: Int64) -> tuple[Int64, Int64]:
    """k and q of blocks z [...][length], by the path of least cost of each block."""
    options = {(q, e): _best(table, q, e, z) for q in (0, 1) for e in (0, 1)}
    ways = before(states)
    came, state = _paths(table, ways, {way: cost for way, (_, cost) in options.items()}, z.shape)
    k, subset = np.zeros_like(z), np.zeros_like(z)
    lower = np.array([[b for b, _ in pair] for pair in ways])
    parity = np.array([[e for _, e in pair] for pair in ways])
    for i in range(z.shape[-1] - 1, -1, -1):
        second = np.take_along_axis(came[i], state[..., None], axis=-1)[..., 0].astype(np.int64)
        e, state = parity[state, second], lower[state, second]
        subset[..., i] = subset_of(table, state)
        for (q, p), (size, _) in options.items():
            mine = (subset[..., i] == q) & (e == p)
            k[..., i][mine] = size[..., i][mine]
    return np.where(z < 0, -k, k), subset


def _best(table: Table, q: int, e: int, z: Int64) -> tuple[Int64, Int64]:
    """The better of the two |k| of parity e near each value, and what it costs."""
    a = np.minimum(32767, rshift(np.abs(z) * (2**22 // table.step), 16))
    f = (a + 32 * q) >> 6
    k1 = f | 1 if e else (f + 1) & ~1
    k2 = np.maximum(k1 - 2, e)
    cost1, cost2 = (_cost(table, table.subsets[q], a, k) for k in (k1, k2))
    return np.where(cost2 < cost1, k2, k1), np.minimum(cost1, cost2)


def _cost(table: Table, subset: Subset, a: Int64, k: Int64) -> Int64:
    most = subset.most
    places = (16 * subset.level + table.step // 2) // table.step  # R, in 1/64 of a step
    place = np.where(k > most, places[-1] + 64 * (k - most), places[np.minimum(k, most)])
    h = np.minimum(FAR, np.abs(a - place))
    cost: Int64 = (h * np.minimum(h, STEEP) >> 2) + subset.cost[np.minimum(k, most + 1)]
    return cost


def _paths(
    table: Table,
    before: list[list[tuple[int, int]]],
    costs: dict[tuple[int, int], Int64],
    shape: tuple[int, ...],
) -> tuple[list[NDArray[np.bool_]], Int64]:
    """For each place and state whether the second before it was better; the last states."""
    pairs = np.array(before)  # [to][which][state, parity]
    states, option = pairs[..., 0], 2 * subset_of(table, pairs[..., 0]) + pairs[..., 1]
    all_costs = np.stack([costs[q, e] for q in (0, 1) for e in (0, 1)], axis=-1)
    total = np.full((*shape[:-1], len(before)), UNREACHED)
    total[..., 0] = 0
    came = []
    for i in range(shape[-1]):
        both = total[..., states] + all_costs[..., i, :][..., option]  # [...][to][which]
        came.append(both[..., 1] < both[..., 0])
        total = both.min(axis=-1)
    return came, total.argmin(axis=-1)
