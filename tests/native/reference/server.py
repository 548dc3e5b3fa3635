"""Sections 8 and 9: averages on the server, exponents that move between rounds, the first model."""

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from tests.native.reference.fixed import (
    MAX_EXP,
    MIN_EXP,
    Int16,
    Int32,
    Int64,
    largest,
    rshift,
    sat,
    sat32,
)
from tests.native.reference.model import Loss, Shape

SERVER_LIMIT = 2**47
NEAR_ZERO = 3  # so much less is the exponent of a first model's last layer, if it gives values

# --- 8 Averages on the server ---------------------------------------------------------------------


def mean_change(total: Int64, weight: int) -> Int64:
    """total / weight with 16 fractional bits, to nearest, halves up; total = sum weight * delta."""
    whole, rest = total // weight, total % weight
    return (whole << 16) + ((rest << 17) + weight) // (2 * weight)


def accelerate(velocity: Int64, mean: Int64, m: int) -> Int64:
    """The velocity after a round of mean change `mean`, at momentum m / 256."""
    assert 0 <= m <= 255
    return sat(rshift(velocity * m, 8) + mean, SERVER_LIMIT)


def exponent_move(server: Int64, w_exp: int) -> int:
    """By how much the exponent of a layer grows, from its server masters (16 fractional bits)."""
    n = largest(rshift(server, 16)).bit_length()
    if n > 14:
        return min(n - 14, MAX_EXP - w_exp)
    if 0 < n < 13:
        return -min(13 - n, w_exp - MIN_EXP)
    return 0


def moved(values: Int64, s: int) -> Int64:
    """Server masters or velocities after their exponent grew by s (fell, if s < 0)."""
    return sat(rshift(values, s) if s > 0 else values << -s, SERVER_LIMIT)


def stored_view(server: Int64) -> Int16:
    """What devices get of server masters, of any shape."""
    return (sat(rshift(server, 16), 2**14 - 1) + 128).astype(np.int16)


def bias_view(server: Int64) -> Int32:
    return sat32(rshift(server, 16)).astype(np.int32)


# --- 9 The first model ----------------------------------------------------------------------------


def first_words(seed: bytes, n: int) -> Int64:
    """The first n words of a seed, uint32 values."""
    blocks = [hashlib.sha256(seed + i.to_bytes(4, "big")).digest() for i in range(-(-n // 8))]
    return np.frombuffer(b"".join(blocks), ">u4")[:n].astype(np.int64)


def first_range(span: int) -> tuple[int, int]:
    """(w_exp, M) of a layer: masters are uniform in -M..M, worth up to sqrt(6 / span)."""
    k = next(k for k in range(32, -1, -1) if math.isqrt((6 << 2 * k) // span) <= 2**14 - 1)
    return 8 - k, math.isqrt((6 << 2 * k) // span)


def first_masters(
    seed: bytes, shapes: Sequence[Shape], loss: Loss = Loss.SOFTMAX
) -> tuple[list[Int64], list[int]]:
    """Server masters of every layer before exponents move, and their w_exp; 0 for pools."""
    words = first_words(seed, sum(int(np.prod(s.weights_shape)) for s in shapes))
    masters, exps = [], []
    for shape in shapes:
        w_exp, limit = (0, 0) if shape.pools else first_range(shape.span)
        own, words = np.split(words, [int(np.prod(shape.weights_shape))])
        drawn = own * (2 * limit + 1) >> 32
        masters.append((drawn - limit << 16).reshape(shape.weights_shape))
        exps.append(w_exp)
    if loss in (Loss.SQUARED, Loss.RECONSTRUCTION) and not shapes[-1].pools:
        exps[-1] -= NEAR_ZERO
    return masters, exps
