"""Normalisation on the device (native/NUMERICS.md section 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedling_native._core import ffi, lib
from fedling_native.arguments import int16s, int32, length, uint32
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
    def fit(cls, windows: Callable[[], Iterable[Buffer]], channels: int) -> Normaliser:
        """Fit to windows of native int16 counts, interleaved by channel.

        windows() is called twice and must give the same windows; a sample that lies in two of
        them counts twice.
        """
        fit = NormaliserFit(channels)
        for window in windows():
            fit.add(window)
        fit.centre()
        for window in windows():
            fit.add_again(window)
        return fit.normaliser()

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


class NormaliserFit:
    """Normaliser.fit() in pieces: add() all windows, centre(), add_again() the same ones."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._fits = ffi.new("fdl_norm_fit[]", length(channels))
        check(lib.fdl_norm_start(self._fits, channels))

    def add(self, windows: Buffer) -> None:
        """Some more windows of native int16 counts, interleaved by channel."""
        samples = int16s(windows)
        check(lib.fdl_norm_sum(self._fits, self._channels, samples, len(samples)))

    def centre(self) -> None:
        """Find the means, after all windows were added once."""
        check(lib.fdl_norm_centre(self._fits, self._channels))

    def add_again(self, windows: Buffer) -> None:
        """Add the same windows again, in pieces of any size."""
        samples = int16s(windows)
        check(lib.fdl_norm_square(self._fits, self._channels, samples, len(samples)))

    def normaliser(self) -> Normaliser:
        """Make the normaliser, after all windows were added twice."""
        norms = ffi.new("fdl_norm[]", self._channels)
        check(lib.fdl_norm_finish(self._fits, norms, self._channels))
        return Normaliser(
            tuple(n.mean for n in norms),
            tuple(n.mantissa for n in norms),
            tuple(n.shift for n in norms),
        )
