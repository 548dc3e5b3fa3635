"""The codec of updates: whether the mean of its estimates is what was sent.

Vectors of 4,096 values, six kinds of them, each encoded and read again under 100,000 seeds at .1,
.5, 1 and 2 bits a value. What a quantiser promises is told in NUMERICS.md section 10: the dither's
mean is right in every value; the others, whose levels are means of what they stand for, keep what
was sent to its length, and nearly to its direction.

    dither_farthest_errors   the value whose mean is farthest from it, in standard errors
    slope_errors_QUANTISER   the mean of estimates along what was sent, less 1: standard errors
    slope_off_QUANTISER      the same as a part of the length
    across_QUANTISER         what else that mean has, as a part of the length; less what chance
                             leaves of so many encodings

Each figure is of the worst row. --encodings fewer of them, --quantiser one.
"""

import argparse
import ctypes
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.report import Cell, Report
from bench.support.compiled import HERE, NATIVE, compiled, kernel_flags
from tests.native.codec_statistics import N, vectors
from tests.native.reference.codec import choose
from tests.native.reference.tables import Quantiser

Floats = NDArray[np.float64]

ENCODINGS = 100_000
RATES = (0.1, 0.5, 1, 2)
KINDS = ("gaussian", "trained", "lognormal", "constant", "one", "eight")


class CCode(ctypes.Structure):
    """fdl_code."""

    _fields_ = (
        ("quantiser", ctypes.c_uint8),
        ("table", ctypes.c_uint8),
        ("kept", ctypes.c_uint32),
        ("seed", ctypes.c_uint32 * 2),
    )


class CTotals(ctypes.Structure):
    """totals of unbiased.c."""

    _fields_ = (
        ("sums", ctypes.c_void_p),
        ("squares", ctypes.c_void_p),
        ("slopes", ctypes.c_double),
        ("slope_squares", ctypes.c_double),
    )


def codec() -> ctypes.CDLL:
    flags = [*kernel_flags(), f"-I{NATIVE / 'include'}", f"-I{NATIVE / 'src'}"]
    return compiled(flags, [HERE / "unbiased.c", *sorted((NATIVE / "src").rglob("*.c"))])


@dataclass(frozen=True, slots=True)
class Mean:
    """Of one vector's estimates; lengths are parts of the vector's."""

    slope: float  # less 1
    slope_error: float
    across: float
    chance: float  # the length of what chance leaves in the mean
    farthest: float  # of the values, in standard errors

    @property
    def slope_errors(self) -> float:
        return self.slope / self.slope_error if self.slope_error else 0.0


def mean_of(lib: ctypes.CDLL, quantiser: Quantiser, kind: str, rate: float, count: int) -> Mean:
    x = vectors()[kind].astype(np.int32)
    known = choose(quantiser, N, round(N * rate / 8))
    code = CCode(quantiser, known.table, known.kept)
    sums, squares = np.zeros(N), np.zeros(N)
    totals = CTotals(sums.ctypes.data, squares.ctypes.data, 0, 0)
    given = x.ctypes.data_as(ctypes.c_void_p)
    seed = ctypes.c_uint64((int(quantiser) * 100 + KINDS.index(kind)) * 10_000 + round(1000 * rate))
    error = lib.average(
        ctypes.byref(code), given, ctypes.c_size_t(N), ctypes.c_size_t(count), seed,
        ctypes.byref(totals),
    )  # fmt: skip
    if error:
        raise SystemExit(f"bench unbiased: the codec says {error}")
    slope = totals.slopes / count
    spread = math.sqrt(max(0.0, totals.slope_squares / count - slope**2) / (count - 1))
    return look(x.astype(np.float64), sums / 256, squares / 256**2, count, slope, spread)


def look(x: Floats, sums: Floats, squares: Floats, count: int, slope: float, spread: float) -> Mean:
    mean, energy = sums / count, float(x @ x)
    variance = np.maximum(squares / count - mean**2, 0) / (count - 1)
    bias = mean - x
    across = bias - (bias @ x) / energy * x
    chance = float(variance.sum()) / energy
    beside = math.sqrt(max(0.0, float(across @ across) / energy - chance))
    farthest = float((np.abs(bias) / np.sqrt(variance + 1e-12)).max())
    return Mean(slope - 1, spread, beside, math.sqrt(chance), farthest)


def told(report: Report, row: tuple[Quantiser, str, float], mean: Mean) -> Mean:
    """The same, after a row of the report, which takes minutes."""
    cells: dict[str, Cell] = {
        "quantiser": row[0].name.lower(), "values": row[1], "rate": row[2],
        "slope_off": mean.slope, "slope_errors": mean.slope_errors, "across": mean.across,
        "chance": mean.chance, "farthest": mean.farthest,
    }  # fmt: skip
    report.row(**cells)
    print(cells, file=sys.stderr, flush=True)
    return mean


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.unbiased")
    parser.add_argument("--encodings", type=int, default=ENCODINGS)
    parser.add_argument("--quantiser", choices=[q.name.lower() for q in Quantiser])
    asked = parser.parse_args()
    chosen = [q for q in Quantiser if asked.quantiser in (None, q.name.lower())]
    report, lib = Report("unbiased"), codec()
    rows = [(q, kind, rate) for q in chosen for kind in KINDS for rate in RATES]
    with ThreadPoolExecutor() as pool:  # the C lets go of the interpreter
        found = pool.map(lambda row: mean_of(lib, row[0], row[1], row[2], asked.encodings), rows)
        means = [told(report, row, mean) for row, mean in zip(rows, found, strict=True)]
    for quantiser in chosen:
        name = quantiser.name.lower()
        own = [mean for row, mean in zip(rows, means, strict=True) if row[0] == quantiser]
        if quantiser == Quantiser.DITHER:
            report.figure("dither_farthest_errors", round(max(m.farthest for m in own), 2))
        report.figure(f"slope_errors_{name}", round(max(abs(m.slope_errors) for m in own), 2))
        report.figure(f"slope_off_{name}", round(max(abs(m.slope) for m in own), 6))
        report.figure(f"across_{name}", round(max(m.across for m in own), 5))
    report.finish()


if __name__ == "__main__":
    main()
