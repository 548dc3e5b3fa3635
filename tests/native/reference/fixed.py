"""Section 1, notation: rounding, saturation, ratios; int64 arrays inside, exact products."""

import numpy as np
from numpy.typing import NDArray

Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

MIN_EXP, MAX_EXP = -24, 7


def rshift(x: Int64, s: int) -> Int64:
    """x * 2^-s, to nearest, halves up; int64 of any shape, |x| < 2^61 (|x| <= 2^31 for s < 0).

    A left shift stops at 31 bits: from there on every result of the page is saturated.
    """
    if s <= 0:
        assert largest(x) <= 2**31
        return x << min(-s, 31)
    s = min(s, 62)
    return (x + (1 << (s - 1))) >> s


def rshift_wide(x: int, s: int) -> int:
    """rshift of one value of up to 62 bits, without a limit on the left shift."""
    return (x + (1 << (s - 1))) >> s if s > 0 else x << -s


def sat(x: Int64, limit: int) -> Int64:
    """x limited to [-limit, limit]."""
    return np.clip(x, -limit, limit)


def sat16(x: Int64) -> Int64:
    return np.clip(x, -(2**15), 2**15 - 1)


def sat32(x: Int64) -> Int64:
    return np.clip(x, -(2**31), 2**31 - 1)


def ratio(a: int, b: int) -> tuple[int, int]:
    """(m, k), m in 128..255, a/b ~ m * 2^-7 * 2^k; m to nearest, halves up, exactly."""
    assert a > 0
    assert b > 0
    k = a.bit_length() - b.bit_length()
    if a << max(0, -k) < b << max(0, k):
        k -= 1
    num, den = a << max(0, -k), b << max(0, k)
    m = (256 * num + den) // (2 * den)
    return (128, k + 1) if m == 256 else (m, k)


def largest(x: Int64) -> int:
    """The largest magnitude."""
    return int(np.abs(x).max(initial=0))


def dot(a: NDArray[np.signedinteger], b: NDArray[np.signedinteger]) -> Int64:
    """a @ b, exact: float64 holds every integer below 2^53, and numpy has no fast integer one."""
    out = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
    assert largest(out) < 2**30
    return out
