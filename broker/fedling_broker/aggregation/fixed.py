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


def view_of_masters(masters: Int64) -> bytes:
    """Round weights to what devices hold: int16, little-endian (NUMERICS.md section 2)."""
    view = np.clip(rshift(masters, FRACTION), -MASTER_LIMIT, MASTER_LIMIT) + STORED_OFFSET
    return view.astype("<i2").tobytes()


def view_of_biases(biases: Int64) -> bytes:
    """Round biases to what devices hold: int32, little-endian."""
    return np.clip(rshift(biases, FRACTION), -(1 << 31), (1 << 31) - 1).astype("<i4").tobytes()
