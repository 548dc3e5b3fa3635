"""Section 6, normalisation on the device."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.native.reference.fixed import Int8, Int16, Int64, ratio, rshift, sat

NORMALISED_EXP = -5


@dataclass(frozen=True)
class Channel:
    """q = sat(rshift((count - mean) * mantissa, shift), 127), exponent NORMALISED_EXP."""

    mean: int  # counts
    mantissa: int  # 0 for a constant channel, else 128..255
    shift: int


def channel_statistics(counts: Int64) -> Channel:
    """counts [N]: every sample of one channel in the training windows, int16 values."""
    n = len(counts)
    assert 1 <= n < 2**31
    mean = (2 * int(counts.sum()) + n) // (2 * n)
    v = int(((counts - mean) ** 2).sum())
    assert v < 2**62
    sd = math.isqrt((v // n << 16) + ((v % n << 16) // n))
    if sd == 0:
        return Channel(mean, 0, 0)
    mantissa, k = ratio(2**13, sd)
    return Channel(mean, mantissa, 7 - k)


def statistics(windows: Int16) -> list[Channel]:
    """One Channel a channel of windows int16 [windows][T][C]."""
    flat = windows.reshape(-1, windows.shape[-1]).astype(np.int64)
    return [channel_statistics(flat[:, c]) for c in range(flat.shape[1])]


def normalise(windows: Int16, channels: Sequence[Channel]) -> Int8:
    """Examples int8 [windows][T * C], channels last, exponent NORMALISED_EXP."""
    out = np.empty(windows.shape, np.int8)
    for c, ch in enumerate(channels):
        scaled = (windows[..., c].astype(np.int64) - ch.mean) * ch.mantissa
        assert int(np.abs(scaled).max(initial=0)) < 2**25
        out[..., c] = sat(rshift(scaled, ch.shift), 127)
    return out.reshape(len(windows), -1)
