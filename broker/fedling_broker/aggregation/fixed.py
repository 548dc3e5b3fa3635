"""The server's integers, element by element (NUMERICS.md section 8)."""

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

FRACTION = 16  # fractional bits of the server's masters and biases
MIN_EXPONENT, MAX_EXPONENT = -24, 7
MASTER_BITS = 14  # a view's largest |master| has 13 or 14 bits
MASTER_LIMIT = (1 << MASTER_BITS) - 1
STORED_OFFSET = 128  # stored = master + 128
MAX_TOTAL_WEIGHT = 1 << 30  # of a round: |sum| of int32 x weight is 2^61 at most
VALUE_LIMIT = 1 << 47  # of values and velocities: no sum of theirs can overflow
WEIGHT_GRID, BIAS_GRID = (
    8,
    6,
)  # bits below the steps of what devices hold, when models go as changes
WEIGHT_STEPS = 63  # the largest |weight| on that grid
FIRST_BITS = 3  # a first model lies on every eighth step
INT32 = (1 << 31) - 1


def rshift(values: Int64, shift: int) -> Int64:
    """values / 2^shift to nearest, halves up; shift >= 0."""
    return values if shift == 0 else (values + (1 << (shift - 1))) >> shift


def scaled(values: Int64, shift: int) -> Int64:
    """values / 2^shift, to nearest, held within +-2^47; exact if shift < 0."""
    if shift >= 0:
        return limited(rshift(values, shift))
    bound = VALUE_LIMIT >> -shift
    return np.clip(values, -bound, bound) << -shift


def limited(values: Int64) -> Int64:
    """Hold values within +-2^47."""
    return np.clip(values, -VALUE_LIMIT, VALUE_LIMIT)


def mean(total: Int64, weight: int, fraction: int = 0) -> Int64:
    """total / weight with 16 fractional bits, to nearest, halves up.

    fraction: how many of them the total has already
    """
    whole, rest = np.divmod(total, weight)
    missing = FRACTION - fraction
    return (whole << missing) + ((rest << (missing + 1)) + weight) // (2 * weight)


def largest_view(masters: Int64) -> int:
    """Find the largest |master| as devices would get it; 0 of none. Rounding keeps the order."""
    if not len(masters):
        return 0
    ends = rshift(np.array([masters.min(), masters.max()]), FRACTION)
    return int(np.abs(ends).max())


def sum_of_sizes(masters: Int64) -> int:
    """Add up the |masters| of a span, each without its fraction."""
    return int(np.abs(rshift(masters, FRACTION)).sum())


def exponent_shift(largest: int, exponent: int) -> int:
    """Tell by how much a layer's exponent grows; its masters shrink by as much.

    largest: the layer's `largest_view`. Then it has 13 or 14 bits, if the exponents' range allows.
    """
    bits = largest.bit_length()
    if bits > MASTER_BITS:
        return min(bits - MASTER_BITS, MAX_EXPONENT - exponent)
    if 0 < bits < MASTER_BITS - 1:
        return -min(MASTER_BITS - 1 - bits, exponent - MIN_EXPONENT)
    return 0


def exact_masters(masters: Int64) -> Int64:
    """Round weights to masters without a fraction."""
    return np.clip(rshift(masters, FRACTION), -MASTER_LIMIT, MASTER_LIMIT)


def exact_biases(biases: Int64) -> Int64:
    """Round biases to whole ones."""
    return np.clip(rshift(biases, FRACTION), -INT32 - 1, INT32)


def on_weight_grid(masters: Int64) -> Int64:
    """The nearest masters that devices may hold, of masters without a fraction."""
    return _on_grid(masters, WEIGHT_GRID, WEIGHT_STEPS)


def on_first_grid(masters: Int64) -> Int64:
    """The nearest masters that a first model may have, of masters without a fraction."""
    return _on_grid(masters, WEIGHT_GRID + FIRST_BITS, WEIGHT_STEPS >> FIRST_BITS)


def on_bias_grid(biases: Int64) -> Int64:
    """The nearest biases that devices may hold, of whole biases."""
    return _on_grid(biases, BIAS_GRID, INT32 >> BIAS_GRID)


def held_masters(masters: Int64, held: Int64, leap: int, *, nearest: bool) -> Int64:
    """Follow the server's masters on the grid, in leaps of so many steps.

    held: what devices hold, at the exponent that the masters have now
    nearest: a value moves once more than half a leap is missing; else 9/8 must be, and it never
        goes beyond: who has gone a leap does not come back for a little noise
    """
    kept, most = on_weight_grid(held), WEIGHT_STEPS << WEIGHT_GRID
    return _followed(exact_masters(masters), kept, leap << WEIGHT_GRID, most, nearest=nearest)


def held_biases(biases: Int64, held: Int64, leap: int, *, nearest: bool) -> Int64:
    """Follow the server's biases on the grid, as held_masters()."""
    kept, most = on_bias_grid(held), INT32 >> BIAS_GRID << BIAS_GRID
    return _followed(exact_biases(biases), kept, leap << BIAS_GRID, most, nearest=nearest)


def _followed(exact: Int64, kept: Int64, leap: int, most: int, *, nearest: bool) -> Int64:
    """Go towards exact values in whole leaps, as far as the grid goes."""
    way = exact - kept
    sign, least = np.sign(way), leap // 2 + 1 if nearest else leap + leap // 8
    leaps = np.maximum(np.abs(way) + leap - least, 0) // leap
    held: Int64 = kept + sign * leap * np.minimum(leaps, (most - sign * kept) // leap)
    return held


def _on_grid(values: Int64, grid: int, most: int) -> Int64:
    return np.clip(rshift(values, grid), -most, most) << grid


def view_of_masters(masters: Int64) -> bytes:
    """Write weights without a fraction as devices hold them: int16 (NUMERICS.md section 2)."""
    return (masters + STORED_OFFSET).astype("<i2").tobytes()


def view_of_biases(biases: Int64) -> bytes:
    """Write biases without a fraction as devices hold them: int32, little-endian."""
    return biases.astype("<i4").tobytes()
