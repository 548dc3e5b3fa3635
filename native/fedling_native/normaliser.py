"""Normalisation of samples (native/NUMERICS.md section 6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedling_native._core import ffi, lib
from fedling_native.arguments import int16s, int32, int64, length, uint32, uint64
from fedling_native.errors import check

if TYPE_CHECKING:
    from typing_extensions import Buffer


@dataclass(frozen=True, slots=True)
class Normaliser:
    """What each channel does to its counts: sat((count - mean) * mantissa >> shift)."""

    means: tuple[int, ...]
    mantissas: tuple[int, ...]
    shifts: tuple[int, ...]

    @classmethod
    def fit(cls, windows: Iterable[Buffer], channels: int) -> Normaliser:
        """Fit to windows of native int16 counts, interleaved by channel.

        A sample that lies in two windows counts twice.
        """
        return cls.of(Sums.over(windows, channels))

    @classmethod
    def of(cls, sums: Sums) -> Normaliser:
        """Make the normaliser that samples with these sums have. Refuses sums that none have."""
        rows = zip(sums.sums, sums.squares, strict=True)
        count = uint32(sums.count)
        fits = ffi.new("fdl_norm_fit[]", [(int64(s), uint64(q), count) for s, q in rows])
        norms = ffi.new("fdl_norm[]", len(fits))
        check(lib.fdl_norm_finish(fits, norms, len(fits)))
        return cls(
            tuple(n.mean for n in norms),
            tuple(n.mantissa for n in norms),
            tuple(n.shift for n in norms),
        )

    def apply(self, samples: Buffer) -> bytes:
        """Native int16 counts, interleaved by channel, to int8 inputs of exponent INPUT_EXP."""
        columns = zip(self.means, self.mantissas, self.shifts, strict=True)
        norms = ffi.new("fdl_norm[]", [(int32(m), uint32(f), int32(s)) for m, f, s in columns])
        counts = int16s(samples)
        x = bytearray(len(counts))
        target = ffi.from_buffer("int8_t[]", x)
        check(lib.fdl_norm_apply(norms, len(norms), counts, len(counts), target, len(target)))
        return bytes(x)

    def to_tuples(self) -> tuple[tuple[int, int, int], ...]:
        """(mean, mantissa, shift) of each channel, to be stored."""
        return tuple(zip(self.means, self.mantissas, self.shifts, strict=True))

    @classmethod
    def from_tuples(cls, channels: Iterable[Sequence[int]]) -> Normaliser:
        """The inverse of to_tuples; what no fit gives is refused when it is applied."""
        rows = [(mean, mantissa, shift) for mean, mantissa, shift in channels]
        return cls(tuple(r[0] for r in rows), tuple(r[1] for r in rows), tuple(r[2] for r in rows))


@dataclass(frozen=True, slots=True)
class Sums:
    """What a normaliser is made of: it adds up over windows, recordings and devices."""

    count: int  # samples, of every channel as many
    sums: tuple[int, ...]  # of each channel's counts
    squares: tuple[int, ...]

    @classmethod
    def over(cls, windows: Iterable[Buffer], channels: int) -> Sums:
        """Add up windows of native int16 counts, interleaved by channel."""
        summing = Summing(channels)
        for window in windows:
            summing.add(window)
        return summing.sums()


class Summing:
    """Sums over windows that come one after another."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._fits = ffi.new("fdl_norm_fit[]", length(channels))
        check(lib.fdl_norm_start(self._fits, channels))

    def add(self, windows: Buffer) -> None:
        """Add some more windows of native int16 counts, interleaved by channel."""
        samples = int16s(windows)
        check(lib.fdl_norm_sum(self._fits, self._channels, samples, len(samples)))

    def sums(self) -> Sums:
        """Tell what was added."""
        fits = self._fits
        return Sums(fits[0].count, tuple(f.sum for f in fits), tuple(f.squares for f in fits))
