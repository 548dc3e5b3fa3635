"""Values for the fields of a record, and wounds of a message that was whole."""

import re
from collections.abc import Callable
from random import Random
from typing import Any

from fedling_protocol.wire import fields as wire
from fedling_protocol.wire.fields import Record
from fedling_protocol.wire.limits import MAX_U32

Plain = Any  # what cbor2 writes: integers, bytes, texts, lists, maps with integer keys

LONGEST = 4096  # bytes of a random byte string: where a larger one is allowed, it is of that length
WORDS = ("", "a", "train", "é" * 40, "x" * 65, "\0", "\ud7ff", "go", "wait", "aggregator")
FITTING = (*WORDS, "watch", "tiny", "device", "none", "b" * 16, "a" * 32, "0", "::1")
STRANGE: tuple[Plain, ...] = (
    None, True, False, -1, 0, 1, MAX_U32, MAX_U32 + 1, 2**63, 2**64 - 1, -(2**64), b"", b"x" * 33,
    "", "x", [], [[]], {}, {0: 0}, 1.5, [0] * 300, {n: n for n in range(40)},
)  # fmt: skip


def draw(field: wire.Wire, dice: Random) -> Plain:
    """A value for a field: often right, often at a limit, now and then beyond it."""
    made = _DRAW[type(field)](field, dice)
    return dice.choice(STRANGE) if dice.random() < 0.05 else made


def _integer(field: wire.Integer, dice: Random) -> Plain:
    edges = (field.low, field.high, field.low - 1, field.high + 1, field.low + 1)
    return dice.choice((*edges, dice.randint(field.low, field.high)))


def _bytes(field: wire.Bytes, dice: Random) -> Plain:
    high = min(field.high, LONGEST)
    size = dice.choice((field.low, high, field.low - 1, high + 1, dice.randint(field.low, high)))
    return dice.randbytes(max(0, size))


def _text(field: wire.Text, dice: Random) -> Plain:
    return dice.choice(WORDS if dice.random() < 0.5 else _fitting(field.pattern))


def _fitting(pattern: re.Pattern[str]) -> list[str]:
    """Texts that the pattern takes, of many that one of them may."""
    return [text for text in FITTING if pattern.fullmatch(text)] or ["x"]


def _label(field: wire.Label, dice: Random) -> Plain:
    return dice.choice(("up", "down", "x" * field.high, "x" * (field.high + 1), "", "\n", "é"))


def _array(field: wire.Array, dice: Random) -> Plain:
    short = min(field.high, field.low + 3)
    size = dice.choice((field.low, short, max(0, field.low - 1), field.low + 1))
    if dice.random() < 0.02:
        size = dice.choice((field.high, field.high + 1))
    return [draw(field.item, dice) for _ in range(size)]


def _row(field: wire.Row, dice: Random) -> Plain:
    size = len(field.ranges) + dice.choice((0, 0, 0, 0, -1, 1))
    return [draw(field.ranges[n % len(field.ranges)], dice) for n in range(size)]


def _record(field: Record, dice: Random) -> Plain:
    return {key: draw(one, dice) for key, one in sorted(field.wires.items())}


_DRAW: dict[type, Callable[[Any, Random], Plain]] = {
    wire.Integer: _integer,
    wire.Flag: lambda _field, dice: dice.choice((True, False)),
    wire.Bytes: _bytes,
    wire.Text: _text,
    wire.Label: _label,
    wire.Word: lambda field, dice: dice.choice((*map(str, field.words), "another")),
    wire.Code: lambda field, dice: dice.choice((*map(int, field.codes), 1, 255)),
    wire.Nullable: lambda field, dice: dice.choice((None, draw(field.wire, dice))),
    wire.Optional: lambda field, dice: draw(field.wire, dice),
    wire.Array: _array,
    wire.Row: _row,
    Record: _record,
}


def wounded(record: Record, whole: dict[int, Plain], dice: Random) -> dict[int, Plain]:
    """A message with one to three of its fields changed, missing, doubled or new."""
    hurt = dict(whole)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        key = dice.choice(list(record.wires))
        field = record.wires[key]
        inner = field.wire if isinstance(field, wire.Optional) else field
        chance = dice.random()
        if isinstance(inner, Record) and isinstance(hurt.get(key), dict) and chance < 0.9:
            hurt[key] = wounded(inner, hurt[key], dice)
        elif chance < 0.75:
            hurt[key] = draw(field, dice)
        elif chance < 0.85:
            hurt.pop(key, None)
        elif chance < 0.9:
            hurt[dice.randint(0, 40)] = dice.choice(STRANGE)
        elif chance < 0.95:
            hurt[dice.choice(list(hurt) or [0])] = dice.choice(STRANGE)
        else:
            hurt[dice.choice(list(record.constants) or [0])] = dice.choice((0, 1, "rest", "train"))
    return dict(sorted(hurt.items()))
