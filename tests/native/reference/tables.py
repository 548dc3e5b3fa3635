"""Section 10, the tables of the codec: what native/src/codec/tables.c says, read as text."""

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path

import numpy as np

from tests.native.reference.fixed import Int64

TABLES = Path(__file__).parents[3] / "native/src/codec/tables.c"
TOTAL = 2**14  # of the frequencies of a subset

ARRAY = re.compile(r"uint16_t (\w+)\[\] = \{([^}]*)\};")
ROW = re.compile(
    r"\{(\d+), (\d+), \{(\d+), (\d+)\}, (\d+), (\d+), (\d+), \{(\w+), (\w+)\}, \{(\w+), (\w+)\}, "
    r"\{(\w+), (\w+)\}\}"
)


class Quantiser(IntEnum):
    SCALAR = 0
    TRELLIS = 1
    DITHER = 2
    TRELLIS_32 = 3


STATES = {Quantiser.TRELLIS: 8, Quantiser.TRELLIS_32: 32}  # of those that have any


@dataclass(frozen=True)
class Subset:
    """frequency F[0..K+1]; level c[0..K], zeros of dither; cost B[0..K+1], or zeros."""

    frequency: Int64
    level: Int64
    cost: Int64

    def __post_init__(self) -> None:
        f, k = self.frequency, self.most
        assert len(f) == len(self.cost) == k + 2
        assert int(f.min()) >= 1
        assert int(f[0] + 2 * f[1 : k + 1].sum() + f[k + 1]) == TOTAL
        assert self.level[0] == 0
        assert (np.diff(self.level) >= 0).all()

    @property
    def most(self) -> int:
        """K, the largest magnitude with a symbol of its own."""
        return len(self.level) - 1


@dataclass(frozen=True)
class Table:
    step: int
    offset: int
    mask: int  # of states with the second subset
    rate: int  # in 1/4,096 bit a place
    error: int  # in 1/65,536 of the energy
    subsets: tuple[Subset, Subset]  # q = 0 and 1; the same where there is no 1

    def __post_init__(self) -> None:
        assert self.step >= 16
        assert self.rate >= 1


@cache
def tables(quantiser: Quantiser) -> list[Table]:
    """Of the lowest rate first."""
    text = re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", TABLES.read_text(), flags=re.DOTALL))
    arrays = {name: np.array([int(v) for v in row.split(",")]) for name, row in ARRAY.findall(text)}
    rows = ROW.findall(text)
    assert len(rows) % len(Quantiser) == 0
    size = len(rows) // len(Quantiser)
    return [_table(row, arrays) for row in rows[quantiser * size : (quantiser + 1) * size]]


def _table(row: tuple[str, ...], arrays: dict[str, Int64]) -> Table:
    step, offset, k0, k1, mask, rate, error = map(int, row[:7])
    f, c, b = row[7:9], row[9:11], row[11:13]
    pair = [_subset(arrays, f[q], c[q], b[q]) for q in (0, 1)]
    assert [subset.most for subset in pair] == [k0, k1]
    return Table(step, offset, mask, rate, error, (pair[0], pair[1]))


def _subset(arrays: dict[str, Int64], f: str, c: str, b: str) -> Subset:
    none = np.zeros_like(arrays[f])
    return Subset(arrays[f], arrays.get(c, none[1:]), arrays.get(b, none))
