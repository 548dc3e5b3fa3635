"""Design the tables of the codec (NUMERICS.md section 10) and write native/src/codec/tables.c.

    python native/design_codec.py           writes it anew: minutes; needs numpy
    python native/design_codec.py --check   tells whether it is what this makes

Values are Gaussian, in units of 1/1,024 of their spread. For each rate the step is found at which
symbols cost as many bits as asked for, with the least error of an estimate without bias:
D / (1 - D), D the mean squared error of the conditional means. Scalar and dithered quantisers are
integrated; trellises are run on blocks of noise, with the costs that their own frequencies give,
until both agree (Chou, Lookabaugh, Gray, "Entropy-constrained vector quantization", 1989).
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

TABLES_C = Path(__file__).parent / "src/codec/tables.c"
SPREAD, TOTAL, BLOCK = 1024, 16_384, 1024
LEVEL_STEPS = 4  # of a level, in one of the values' units
RAW_BITS = 15  # behind an escape
LEAST_STEP = 16
MOST_LEVELS = 600
RATES = (
    *(0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.18, 0.25, 0.35, 0.5, 0.7),
    *(1.0, 1.4, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0),
)
SEED, BLOCKS, RUNS = 7, 256, 8
DEAD_PARTS = [part / 100 for part in range(10, 64, 2)]  # offset / step
MOST_COST, FAR, SLOPE = 6000, 350, 187
TRELLISES = (1, 3)  # among quantisers


@dataclass(frozen=True, slots=True)
class Table:
    """As in tables.h."""

    step: int
    offset: int
    rate: float  # bits a place
    error: float  # of the energy
    frequency: list[list[int]]
    level: list[list[int]]
    cost: list[list[int]] = field(default_factory=list)
    mask: int = 0  # of a trellis
    is_borrowed: bool = False  # frequencies, levels and costs are those of the trellis of eight


# --- frequencies of symbols ----------------------------------------------------------------------


def frequencies(chance: Floats) -> tuple[list[int], float]:
    """How often of 16,384 each magnitude, the escape last, and the bits a symbol then costs.

    chance: of |k| = 0, 1, ...; as many have a symbol of their own as cost least
    """
    best: tuple[list[int], float] = ([], math.inf)
    for levels in range(1, min(len(chance), MOST_LEVELS) - 1):
        counts = _shared(chance, levels)
        bits = _bits(chance, counts)
        if bits < best[1]:
            best = counts, bits
        elif levels > 3 and chance[levels:].sum() < 1e-7:
            break
    return best


def _shared(chance: Floats, levels: int) -> list[int]:
    """Frequencies of 0, of each of both signs of 1..levels, of the escape; none is 0."""
    sides = [max(1, round(TOTAL * p / 2)) for p in chance[1 : levels + 1]]
    escape = max(1, round(TOTAL * float(chance[levels + 1 :].sum())))
    rest = TOTAL - 2 * sum(sides) - escape
    if rest < 1:  # many levels: the most frequent pay
        sides[0] -= (2 - rest) // 2
        rest = TOTAL - 2 * sum(sides) - escape
    return [rest, *sides, escape]


def _bits(chance: Floats, counts: Sequence[int]) -> float:
    levels = len(counts) - 2
    if min(counts) < 1:
        return math.inf
    cost = -np.log2(np.array(counts) / TOTAL)
    beyond = float(chance[levels + 1 :].sum())
    return float(chance[: levels + 1] @ cost[: levels + 1] + beyond * (cost[-1] + RAW_BITS))


# --- the scalar quantiser ------------------------------------------------------------------------


def _below(x: Floats) -> Floats:
    """The Gaussian's distribution function."""
    return np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x])


def _density(x: Floats) -> Floats:
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def scalar(step: int, offset: int) -> Table:
    count = min(MOST_LEVELS, 2 + (9 * SPREAD + offset) // step)
    edges = (np.arange(1, count + 1) * step - offset) / SPREAD
    low, high = edges[:-1], edges[1:]
    inside = _below(-low) - _below(-high)
    chance = np.concatenate(([1 - 2 * _below(-edges[:1])[0]], 2 * inside))
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(inside > 1e-30, (_density(low) - _density(high)) / inside, low)
    counts, bits = frequencies(chance)
    levels = [0, *(round(LEVEL_STEPS * SPREAD * m) for m in means[: len(counts) - 2])]
    kept = float(chance[1:] @ means**2)
    return Table(step, offset, bits, 1 / kept - 1, [counts], [levels])


def _with_part(part: float, step: int) -> Table:
    return scalar(step, round(step * part))


def best_scalar(rate: float) -> Table:
    """The dead zone and the step of least error at a rate."""
    found = [_at_rate(rate, partial(_with_part, part)) for part in DEAD_PARTS]
    return min((table for table in found if table.rate <= rate), key=_figure)


def _figure(table: Table) -> float:
    """The error if the last bits were bought at the price of the limit: 6.02 dB a bit."""
    return math.log(1 + table.error) + 2 * math.log(2) * table.rate


def _at_rate(rate: float, make: Callable[[int], Table]) -> Table:
    """The smallest step that costs no more than the rate; the rate falls as the step grows."""
    low, high = LEAST_STEP, 8 * SPREAD
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if make(middle).rate <= rate else (middle + 1, high)
    return make(low)


# --- the dithered quantiser ----------------------------------------------------------------------


def dithered(step: int) -> Table:
    """k is the nearest multiple of z + u, u uniform within a step: a trapezoid of the Gaussian."""
    width = step / SPREAD
    edge = (np.arange(min(MOST_LEVELS, 3 + 9 * SPREAD // step) + 1) - 1) * width
    integral = edge * _below(edge) + _density(edge)  # of the distribution function
    one = (integral[2:] - 2 * integral[1:-1] + integral[:-2]) / width
    chance = np.concatenate((one[:1], 2 * one[1:]))
    chance = np.maximum(chance, 0) / np.maximum(chance, 0).sum()
    counts, bits = frequencies(chance)
    return Table(step, 0, bits, width * width / 12, [counts], [])


# --- trellises -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Register:
    """A shift register with feedback (Ungerboeck, "Channel coding with multilevel/phase signals",
    1982, for one dimension)."""

    states: int
    feedback: int
    input: int

    def after(self, state: int, odd: int) -> int:
        return state >> 1 ^ self.feedback * (state & 1) ^ self.input * odd

    @property
    def before(self) -> Ints:
        """[states][2][state, parity]: what leads to each."""
        steps = [(b, e) for b in range(self.states) for e in (0, 1)]
        return np.array([[s for s in steps if self.after(*s) == to] for to in range(self.states)])


EIGHT, THIRTY_TWO = Register(8, 5, 2), Register(32, 18, 4)


@dataclass(slots=True)
class Trellis:
    """Blocks of noise and the tables that follow from how they are coded."""

    step: int
    price: float  # of a bit, in squares of half a step
    noise: Ints  # [BLOCK][BLOCKS], magnitudes
    rare: bool  # begin with zeros alone in the second subset, which is best where all are rare
    register: Register = EIGHT
    mask: int = 1  # states that have any of these bits have the second subset
    most_cost: int = MOST_COST
    levels: list[Floats] = field(default_factory=list)  # of each subset, in values' units
    bits: list[Floats] = field(default_factory=list)

    def __post_init__(self) -> None:
        k = np.arange(MOST_LEVELS)
        self.levels = [k * float(self.step), np.maximum(0, k - 0.5) * self.step]
        size = self.levels[0] / SPREAD
        guess = math.log2(math.sqrt(2 * math.pi) * SPREAD / self.step) + size**2 / math.log(4)
        self.bits = [np.maximum(0.3, guess) + self.rare * q * 30 * (k > 0) for q in (0, 1)]

    def run(self) -> float:
        """Code the noise; levels and costs become those that it shows. Returns bits a place."""
        k, subset = self._code()
        rate = 0.0
        for q in (0, 1):
            seen, sums = self._seen(k[subset == q], self.noise[subset == q])
            nominal = np.arange(MOST_LEVELS) * float(self.step) - q * self.step / 2
            self.levels[q] = np.where(seen > 60, sums / np.maximum(seen, 1), nominal)
            self.levels[q][0] = 0
            counts, bits = frequencies(_chance(seen))
            rate += bits * seen.sum() / k.size
            cost = -np.log2(np.array(counts) / TOTAL)
            self.bits[q] = np.full(MOST_LEVELS, cost[-1] + RAW_BITS)
            self.bits[q][: len(cost) - 1] = cost[:-1]
        return rate

    def measured(self) -> Table:
        """Code the noise once more, with levels and costs as they are."""
        k, subset = self._code()
        counts = [
            frequencies(_chance(self._seen(k[subset == q], self.noise[subset == q])[0]))[0]
            for q in (0, 1)
        ]
        return self._table(k, subset, counts)

    def measured_with(self, table: Table) -> Table:
        """Code the noise with what a table has."""
        for q in (0, 1):
            known = len(table.level[q])
            self.levels[q][:known] = np.array(table.level[q]) / LEVEL_STEPS
            self.levels[q][known:] = self.levels[q][known - 1] + self.step * np.arange(
                1, MOST_LEVELS - known + 1
            )
            self.bits[q][: known + 1] = np.array(table.cost[q]) / (256 * self.price)
            self.bits[q][known + 1 :] = self.bits[q][known]
        return self._table(*self._code(), table.frequency)

    def ones(self) -> tuple[float, float, float]:
        """Code the noise: which part has the first subset, which of that is one, its mean."""
        k, subset = self._code()
        size, is_one = self.noise[subset == 0], k[subset == 0] == 1
        return size.size / k.size, float(is_one.mean()), float(size[is_one].mean())

    def table_of(self, counts: list[list[int]]) -> Table:
        """With levels and costs as they are, before it is measured."""
        levels, costs = self._rounded(counts), self._costs(counts)
        return Table(self.step, 0, 0, 0, counts, levels, costs, self.mask)

    def _table(self, k: Ints, subset: Ints, counts: Sequence[list[int]]) -> Table:
        rate, met, sent = 0.0, 0.0, 0.0
        for q in (0, 1):
            seen, sums = self._seen(k[subset == q], self.noise[subset == q])
            rate += _bits(_chance(seen), counts[q]) * seen.sum() / k.size
            met += float(sums @ self.levels[q])
            sent += float(seen @ self.levels[q] ** 2)
        energy = float((self.noise.astype(np.float64) ** 2).sum())
        error = energy * sent / met**2 - 1 if met else math.inf
        levels, costs = self._rounded(counts), self._costs(counts)
        return Table(self.step, 0, rate, error, list(counts), levels, costs, self.mask)

    def _seen(self, k: Ints, size: Ints) -> tuple[Ints, Floats]:
        """How often each magnitude was sent, and the sum of what it stood for."""
        sums: Floats = np.bincount(k, size.astype(np.float64), minlength=MOST_LEVELS) * 1.0
        return np.bincount(k, minlength=MOST_LEVELS).astype(np.int64), sums

    def _rounded(self, counts: Sequence[Sequence[int]]) -> list[list[int]]:
        return [
            [round(LEVEL_STEPS * v) for v in self.levels[q][: len(counts[q]) - 1]] for q in (0, 1)
        ]

    def _costs(self, counts: Sequence[Sequence[int]]) -> list[list[int]]:
        return [[self._cost(b) for b in self.bits[q][: len(counts[q])]] for q in (0, 1)]

    def _cost(self, bits: float) -> int:
        return min(self.most_cost, round(256 * self.price * bits))

    def _candidates(self) -> tuple[Ints, Ints]:
        """For subset and parity, [4][BLOCK][BLOCKS]: the better k and its cost."""
        a = np.minimum(32_767, (self.noise * (2**22 // self.step) + 2**15) >> 16)
        ks, costs = [], []
        for q in (0, 1):
            places = np.round(LEVEL_STEPS * self.levels[q]).astype(np.int64)
            places = (16 * places + self.step // 2) // self.step
            price = np.array([self._cost(b) for b in self.bits[q]])
            for e in (0, 1):
                f = (a + 32 * q) >> 6
                one = f | 1 if e else (f + 1) & ~1
                one = np.minimum(one, MOST_LEVELS - 2 + e)
                two = np.maximum(one - 2, e)
                c1, c2 = (_squares(np.abs(a - places[k])) + price[k] for k in (one, two))
                ks.append(np.where(c2 < c1, two, one))
                costs.append(np.minimum(c1, c2))
        return np.array(ks), np.array(costs, np.int32)

    def _code(self) -> tuple[Ints, Ints]:
        """k and subset of each value, along the path of least cost of each block."""
        ks, costs = self._candidates()
        pairs = self.register.before
        before = pairs[:, :, 0]
        option = 2 * ((before & self.mask) != 0) + pairs[:, :, 1]
        lanes = self.noise.shape[1]
        total = np.full((len(pairs), lanes), 1 << 20, np.int32)
        total[0] = 0
        chosen = np.empty((len(self.noise), *total.shape), np.bool_)
        for i in range(len(self.noise)):
            first = total[before[:, 0]] + costs[option[:, 0], i]
            second = total[before[:, 1]] + costs[option[:, 1], i]
            np.less(second, first, out=chosen[i])
            total = np.minimum(first, second)
            total -= total.min(axis=0)
        state, lane = total.argmin(axis=0), np.arange(lanes)
        k, subset = np.empty_like(self.noise), np.empty_like(self.noise)
        for i in reversed(range(len(self.noise))):
            taken = chosen[i, state, lane].astype(np.int64)
            k[i] = ks[option[state, taken], i, lane]
            state = before[state, taken]
            subset[i] = (state & self.mask) != 0
        return k, subset


def _chance(seen: Ints) -> Floats:
    total = seen.sum()
    chance: Floats = seen / total if total else np.eye(1, MOST_LEVELS)[0]
    return chance


def _squares(h: Ints) -> Ints:
    h = np.minimum(FAR, h)
    return h * np.minimum(h, SLOPE) >> 2


RARE = 0.3  # bits: below it zeros are so many that a step has a rate only by its price
RARE_STEP, RARE_PRICES, HALVINGS = 1600, (0.8, 6.0), 9  # steps near it are as good
FEW = 1.0  # bits
FEW_PRICE, MANY_PRICE = 0.85, 0.29  # of a bit, below it and from it on


@cache
def best_trellis(rate: float) -> Table:
    draw = np.random.default_rng(SEED)
    noise = np.abs(np.rint(draw.standard_normal((BLOCK, BLOCKS)) * SPREAD)).astype(np.int64)
    if rate < RARE:
        return _priced(rate, RARE_STEP, noise)
    price = FEW_PRICE if rate < FEW else MANY_PRICE
    rough = _stepped(rate, price, noise[:, : BLOCKS // 4])
    return _stepped(rate, price, noise, rough.step)


def _stepped(rate: float, price: float, noise: Ints, near: int = 0) -> Table:
    """At a price the step that gives the rate; near: where to look."""
    low, high = (near * 15 // 16, near * 17 // 16) if near else (LEAST_STEP, 6 * SPREAD)
    while high - low > max(1, low // 256):
        middle = round(math.sqrt(low * high))
        low, high = (low, middle) if _settled(middle, price, noise).rate <= rate else (middle, high)
    return _settled(high, price, noise)


def _priced(rate: float, step: int, noise: Ints) -> Table:
    """Of a step the lowest price that was found to give no more than the rate."""
    low, high = RARE_PRICES
    best = _settled(step, high, noise, rare=True)
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        table = _settled(step, middle, noise, rare=True)
        low, high = (low, middle) if table.rate <= rate else (middle, high)
        best = table if best.rate < table.rate <= rate else best
    return best


def _settled(step: int, price: float, noise: Ints, *, rare: bool = False) -> Table:
    return _settle(Trellis(step, price, noise, rare))


def _settle(trellis: Trellis, runs: int = RUNS) -> Table:
    for _ in range(runs):
        trellis.run()
    return trellis.measured()


# --- the trellis of 32 states --------------------------------------------------------------------

CHAIN, CHAINS = 8 * BLOCK, 64
DRAWS = 4  # of the same noise in other orders, which a table has not seen: what it costs
GAIN_BITS = 0.63  # of a block of Gaussian values, beside its places: a rate has them
BORROWED = 2.0  # bits: from it on what the trellis of eight has is as good
NEVER = 30.0  # bits
SETTLING = 32  # runs
MOST_STEERED_COST = 3400  # as all of 32 states, with the most that a distance costs, below 7,281
# Of states with the second subset, which have little but zeros: seven of eight, below MANY_ONES;
# three of four.
FEW_MASK, MANY_MASK = 7, 3


@cache
def _even_noise(draw: int) -> Ints:
    """Every quantile once, in a random order: few values that are far out decide a low rate."""
    size, normal = CHAIN * CHAINS, NormalDist()
    values = [normal.inv_cdf((1 + (i + 0.5) / size) / 2) for i in range(size)]
    even = np.rint(np.array(values) * SPREAD).astype(np.int64)
    return np.random.default_rng(SEED + draw).permutation(even).reshape(CHAIN, CHAINS)


def best_trellis_32(rate: float) -> Table:
    target = rate - GAIN_BITS / BLOCK
    if rate >= BORROWED:
        known = best_trellis(rate)
        trellis = Trellis(known.step, MANY_PRICE, _even_noise(0), False, THIRTY_TWO)
        table = replace(_weighed(trellis, known), is_borrowed=True)
    elif rate in BEGINNINGS:
        table = _steered(target, BEGINNINGS[rate])
    else:
        table = _of_ones(target, FEW_MASK if rate < MANY_ONES else MANY_MASK)
    return replace(table, rate=table.rate + GAIN_BITS / BLOCK)


def _weighed(trellis: Trellis, table: Table) -> Table:
    """The table with the rate and the error that it has on average."""
    others = [replace(trellis, noise=_even_noise(1 + draw)) for draw in range(DRAWS)]
    seen = [other.measured_with(table) for other in others]
    rate, error = (
        sum(found) / DRAWS for found in zip(*((t.rate, t.error) for t in seen), strict=True)
    )
    return replace(table, rate=rate, error=error)


# Below them all that is not zero is one, in the first subset, which few states have: tables that
# follow what they show do not settle, since what is rare costs more and becomes rarer. How often a
# magnitude is one follows from the rate, and the price is what makes it so.
MANY_ONES = 0.18  # bits
ONES_STEP, ONES_PRICE, ONES_LEVEL, MOST_ONES_COST = 2000, 1.0, 2500, 4800
ONES_RUNS, STEER_PRICE = 10, 0.3  # the exponent: a price that is too low is raised by so much


def _of_ones(rate: float, mask: int) -> Table:
    trellis = Trellis(ONES_STEP, ONES_PRICE, _even_noise(0), True, THIRTY_TWO, mask, MOST_ONES_COST)
    trellis.levels[0][1] = ONES_LEVEL
    few = 1 / (1 + mask)
    for _ in range(ONES_RUNS):
        asked = _ones_for(rate / few)
        counts = [_shared(np.array([1 - asked, asked, 0]), 1), [TOTAL - 1, 1]]
        for bits, row in zip(trellis.bits, counts, strict=True):
            bits[:] = NEVER
            bits[: len(row) - 1] = -np.log2(np.array(row[:-1]) / TOTAL)
        few, share, trellis.levels[0][1] = trellis.ones()
        trellis.price *= (share / asked) ** STEER_PRICE
    return _weighed(trellis, trellis.table_of(counts))


def _ones_for(rate: float) -> float:
    """Which part of magnitudes is one where all cost so many bits, half of them negative."""
    low, high = 0.0, 2 / 3
    while high - low > 1e-9:
        p = (low + high) / 2
        bits = -p * math.log2(p / 2) - (1 - p) * math.log2(1 - p)
        low, high = (p, high) if bits < rate else (low, p)
    return low


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a search begins: a step, a price, and bits of the magnitudes of both subsets."""

    step: int
    price: float
    bits: tuple[tuple[float, ...], tuple[float, ...]]


BEGINNINGS = {
    0.35: Beginning(1800, 0.9, ((1.0, 1.8, 9.0), (0.03, 8.5, 12.0))),
    0.5: Beginning(1700, 1.0, ((1.7, 1.55, 9.0), (0.1, 6.5, 12.0))),
    0.7: Beginning(1700, 0.75, ((2.0, 1.4, 6.0, 9.0), (0.25, 4.0, 12.0))),
    1.0: Beginning(1700, 0.55, ((6.0, 1.05, 9.0), (0.35, 3.3, 10.0))),
    1.4: Beginning(1500, 0.42, ((9.0, 1.05, 5.0, 9.0), (1.3, 1.9, 6.0, 12.0))),
}


def _steered(rate: float, begin: Beginning) -> Table:
    """Tables that follow what they show, at a price that follows the rate."""
    noise, step, price = _even_noise(0), begin.step, begin.price
    trellis = Trellis(step, price, noise, True, THIRTY_TWO, MANY_MASK, MOST_STEERED_COST)
    for bits, beginning in zip(trellis.bits, begin.bits, strict=True):
        bits[:] = NEVER
        bits[: len(beginning)] = beginning
    for _ in range(SETTLING):
        trellis.price *= math.sqrt(trellis.run() / rate)
    return _weighed(trellis, trellis.measured())


# --- as C ----------------------------------------------------------------------------------------

SIDES = "ab"  # of subsets: so a row of the table of tables fits in a line


def text(quantisers: Sequence[Sequence[Table]]) -> Iterator[str]:
    """A file: arrays f, c, b of quantiser, table and subset, then the rows that name them."""
    yield "/* Made by native/design_codec.py, which says how. */"
    yield '#include "../without.h"'
    yield '#include "tables.h"'
    yield "#if !FDL_WITHOUT_CODEC"
    for q, tables in enumerate(quantisers):
        yield from _guarded(
            q, (line for t, table in enumerate(tables) for line in _arrays(q, t, table))
        )
    yield "const fdl_code_table fdl_code_tables[FDL_QUANTISERS][FDL_CODE_TABLES] = {"
    for q, tables in enumerate(quantisers):
        rows = [f"{_row(q, t, table)}," for t, table in enumerate(tables)]
        yield from _guarded(q, ["{", *rows, "},"], "{{0}},")
    yield "};"
    yield "#endif"


def _guarded(q: int, lines: Iterable[str], instead: str = "") -> Iterator[str]:
    """What small builds leave out."""
    if q not in TRELLISES:
        yield from lines
        return
    yield "#if !FDL_WITHOUT_TRELLIS"
    yield from lines
    if instead:
        yield from ("#else", instead)
    yield "#endif"


def _arrays(q: int, t: int, table: Table) -> Iterator[str]:
    if table.is_borrowed:
        return
    for name, rows in (("f", table.frequency), ("c", table.level), ("b", table.cost)):
        for side, row in enumerate(rows):
            words = ", ".join(map(str, row))
            yield f"static const uint16_t {name}{q}_{t}{SIDES[side]}[] = {{{words}}};"


def _row(q: int, t: int, table: Table) -> str:
    """One line of the table of tables; of quantisers with one subset, it stands for both."""
    last, owner = len(table.frequency) - 1, TRELLISES[0] if table.is_borrowed else q
    levels = ", ".join(str(len(table.frequency[side]) - 2) for side in (0, last))
    rate, error = round(4096 * table.rate), max(1, round(65_536 * table.error))
    arrays = ", ".join(
        f"{{{name}{owner}_{t}{SIDES[0]}, {name}{owner}_{t}{SIDES[last]}}}"
        if rows
        else "{NULL, NULL}"
        for name, rows in (("f", table.frequency), ("c", table.level), ("b", table.cost))
    )
    numbers = f"{table.step}, {table.offset}, {{{levels}}}, {table.mask}, {rate}, {error}"
    return f"{{{numbers}, {arrays}}}"


def best_dithered(rate: float) -> Table:
    return _at_rate(rate, dithered)


DESIGNS: dict[str, Callable[[float], Table]] = {
    "scalar": best_scalar,
    "trellis": best_trellis,
    "dither": best_dithered,
    "trellis_32": best_trellis_32,
}


def designed() -> str:
    quantisers = []
    for name, design in DESIGNS.items():
        tables = []
        for rate in RATES:
            tables.append(design(rate))
            print(f"{name} {rate}: {tables[-1]}", file=sys.stderr, flush=True)
        quantisers.append(tables)
    return "\n".join(text(quantisers)) + "\n"


def _unspaced(text: str) -> str:
    return "".join(text.split())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="only tell whether it is as it was")
    is_check = parser.parse_args().check
    made = designed()
    if not is_check:
        TABLES_C.write_text(made)
        return 0
    is_same = _unspaced(made) == _unspaced(TABLES_C.read_text())  # which is formatted
    print("tables of the codec:", "up to date" if is_same else "others than this makes")
    return 0 if is_same else 1


if __name__ == "__main__":
    raise SystemExit(main())
