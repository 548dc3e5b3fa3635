"""codec.json: updates as bytes, estimates, codes, refusals, values in one unit."""

import base64
import struct
import zlib

from tests.native import generated
from tests.native import reference as ref
from tests.native.make_golden.common import Json, Rng, b64, dense_shapes, describe, make_model
from tests.native.make_golden.layer_steps import MIXED, exponents
from tests.native.reference import codec, rans
from tests.native.reference.rotation import blocks, places
from tests.native.reference.tables import Quantiser, tables

SHOWN = 48  # bytes: of a longer message the checksum must do
LENGTHS = (1, 2, 15, 16, 17, 31, 33, 47, 100, 255, 1023, 1024, 1025, 1040, 2100)
MIDDLE = 11  # a table of 1 bit


def message_case(code: codec.Code, rule: str, seed: int, n: int) -> Json:
    x = generated.update(rule, seed, n)
    dither = given_dither(code, seed)
    message = codec.encode(code, x, dither)
    estimate = codec.decode(code, message, n, dither)
    case: Json = {
        "quantiser": int(code.quantiser),
        "table": code.table,
        "kept": code.kept,
        "seed": list(code.seed),
        "values": [rule, seed, n],
        "size": len(message),
        "crc": zlib.crc32(message),
        "estimate": zlib.crc32(estimate.astype("<i4").tobytes()),
    }
    return case | ({"message": base64.b64encode(message).decode()} if len(message) < SHOWN else {})


def given_dither(code: codec.Code, seed: int) -> ref.Int64:
    if code.quantiser != Quantiser.DITHER:
        return codec.NO_DITHER
    return generated.dither(seed, places(code.kept))


def all_messages() -> list[Json]:
    """Every table; every kind of block at the end; parts of many values; extremes."""
    rng = Rng(11)
    cases = []

    def add(quantiser: Quantiser, table: int, rule: str, n: int, kept: int = 0) -> None:
        code = codec.Code(quantiser, table, kept or n, (rng.next(), rng.next()))
        cases.append(message_case(code, rule, rng.next(), n))

    for quantiser in Quantiser:
        for table in range(len(tables(quantiser))):
            add(quantiser, table, "small" if table % 2 else "heavy", 400, 330)
        for length in LENGTHS:
            add(quantiser, MIDDLE, "small", length)
        for rule in ("small", "heavy", "uniform", "least", "most", "few"):
            add(quantiser, MIDDLE, rule, 1500)
            add(quantiser, 15, rule, 1500, 70)
        add(quantiser, MIDDLE, "uniform", 100_000, 20)  # estimates beyond int32
        for length in (1, 16, 70):  # mostly without a magnitude that is not 0
            add(quantiser, 0, "small", length)
        add(quantiser, 4, "few", 40_000, 100)  # nothing is kept: no message
    add(Quantiser.TRELLIS_32, MIDDLE, "heavy", 8300)  # two chains
    return cases


# --- messages that no encoder wrote ---------------------------------------------------------------


def all_refused() -> list[Json]:
    rng = Rng(12)
    code = codec.Code(Quantiser.SCALAR, MIDDLE, 100, (rng.next(), rng.next()))
    good = codec.encode(code, generated.update("small", rng.next(), 100))
    wrong = {
        "another quantiser": b"\1" + good[1:],
        "a quantiser that is none": b"\4" + good[1:],
        "one byte": good[:1],
        "no words, one byte short": good[:10],
        "half a word short": good[:-1],
        "a word short": good[:-2],
        "half a word too many": good + b"\0",
        "a word too many": good + b"\0\0",
        "a state changed": good[:3] + bytes([good[3] ^ 1]) + good[4:],
        "a word changed": good[:-1] + bytes([good[-1] ^ 128]),
        "states of zero": good[:3] + bytes(8) + good[11:],
        "a gain of -65": with_gain(code, -65),
        "a gain of 81": with_gain(code, 81),
        "a gain beyond all": with_gain(code, 16399),
    }
    fields = {"table": code.table, "kept": code.kept, "seed": list(code.seed), "n": 100}
    head: Json = {"quantiser": int(code.quantiser), **fields}
    cases = []
    for name, message in wrong.items():
        assert unreadable(code, message), name
        text = base64.b64encode(message).decode()
        cases.append({"name": name, **head, "message": text})
    return cases


def unreadable(code: codec.Code, message: bytes) -> bool:
    try:
        codec.decode(code, message, 100)
    except rans.Unreadable:
        return True
    return False


def with_gain(code: codec.Code, gain: int) -> bytes:
    """A message of zeros, right but for the gain of its first block."""
    symbols, place = [], 0
    for block, length in enumerate(blocks(code.kept)):
        symbols.append((0, rans.symbol(codec.GAIN, gain if block == 0 else 0)))
        zero = rans.symbol(code.known.subsets[0], 0)
        symbols += [(g & 1, zero) for g in range(place, place + length)]
        place += length
    states, words = rans.write(symbols)
    body = struct.pack(f"<{len(words)}H", *words)
    return codec.HEADER.pack(code.quantiser, 0, *states) + body


# --- codes, and values in one unit ----------------------------------------------------------------


def all_codes() -> list[list[int]]:
    """[quantiser, n, bytes, table, kept]."""
    sizes = (0, 11, 12, 13, 40, 100, 511, 1000, 4096, 20_000, 200_000, 2**24)
    rows = []
    for quantiser in Quantiser:
        for n in (1, 2, 16, 700, 3703, 38_919, 159_010, 2**24):
            for size in sizes:
                code = codec.choose(quantiser, n, size)
                rows.append([int(quantiser), n, size, code.table, code.kept])
    return rows


def units_case(rng: Rng, shapes: list[ref.Shape], exps: list[int]) -> Json:
    before, after = (
        make_model(shapes, exps, rng.int16, lambda: rng.next() - 2**31) for _ in range(2)
    )
    change = ref.delta(before, after)
    values = ref.delta_values(before, change)
    estimate = rng.array(lambda: rng.next() - 2**31, len(values))
    return {
        **describe(before),
        "stored": b64(change.stored, "<i2"),
        "bias": b64(change.bias, "<i4"),
        "values": b64(values, "<i4"),
        "estimate": b64(estimate, "<i4"),
        "own": b64(ref.own_units(before, estimate), "<i4"),
    }


def all_units() -> list[Json]:
    rng = Rng(13)
    two = dense_shapes([3, 4, 2])
    ranges = ([-8, -8], [-9, -6], [-24, -20], [7, 7], [7, -24], [-24, 7], [-10, 0])
    return [units_case(rng, two, exps) for exps in ranges] + [
        units_case(rng, MIXED, exponents(MIXED, -5))
    ]


def all_codec() -> Json:
    return {
        "messages": all_messages(),
        "refused": all_refused(),
        "codes": all_codes(),
        "units": all_units(),
    }
