"""ring.json: updates of which only a sum is read."""

from zlib import crc32

from tests.native import generated
from tests.native.make_golden.common import Json, Rng
from tests.native.reference import ring as by
from tests.native.reference.ring import Ring

LENGTHS = (1, 15, 16, 17, 31, 100, 1023, 1024, 1025, 1040, 2100)
USUAL = 49 * 1024 + 300  # a step, near what updates of a net need


def case(ring: Ring, rule: str, seed: int, n: int, share: int, weight: int) -> Json:
    x, count = generated.update(rule, seed, n), len(ring.where(n))
    elements = by.encode(ring, x, share, generated.ring_dither(seed, count))
    totals = generated.update(rule, seed + 1, count)
    return {
        "bits": ring.bits,
        "step": ring.step,
        "kept": ring.kept,
        "seed": list(ring.seed),
        "share": share,
        "values": [rule, seed, n],
        "elements": crc32(elements.astype("<u2").tobytes()),
        "message": crc32(by.pack(ring, elements)),
        "weight": weight,
        "mean": crc32(by.decode(ring, totals, weight, n).astype("<i4").tobytes()),
    }


def all_ring() -> list[Json]:
    """Every kind of block at the end, every number of bits, steps and shares at their ends."""
    rng, cases = Rng(14), list[Json]()

    def add(rule: str, n: int, bits: int = 5, step: int = USUAL, kept: int = 51) -> None:
        ring = Ring(bits, step, kept, (rng.next(), rng.next()))
        share, weight = rng.next() % 32_769, 1 + rng.next() % (2**32 - 1)
        cases.append(case(ring, rule, rng.next(), n, share, weight))

    for length in LENGTHS:
        add("small", length)
        add("heavy", length, kept=1024)
    for bits in range(4, 13):
        add("small", 700, bits)
    for rule in ("small", "heavy", "uniform", "least", "most"):
        for step in (8192, 8193, 30_000, 40_959, 52_000, 65_535):
            add(rule, 1500, 12, step, 300)
    for kept in (1, 2, 511, 1023):
        add("heavy", 1500, 5, USUAL, kept)
    return cases
