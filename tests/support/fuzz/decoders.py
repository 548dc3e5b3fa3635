"""Every decoder of bytes from outside, alone: hostile cases by the hundred thousand.

Cases begin with golden messages and are changed field by field, or byte by byte; what carries a
signature or a code is rightly signed, so that what lies behind it is reached. A decoder may refuse
in its own words and do nothing else. One case in MEASURED is also asked what memory it took.
"""

import base64
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

import cbor2

from fedling_agent.data.streams import Row, RowError
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.net.framing import Framing, FramingError
from fedling_protocol.wire import envelope, payload, token
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_PLAN
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.token import Token, TokenError
from tests.protocol import samples
from tests.support.device import csv_lines, parse
from tests.support.fuzz.run import Fault
from tests.support.fuzz.seal import plain, seal
from tests.support.fuzz.values import Plain, wounded

MEASURED = 997  # one case in so many
MOST_BYTES = 65_536  # of memory, beyond so many times the case
MOST_TIMES = 32

Run = Callable[[Any], bool]
"""Decode a case; whether it was past what is refused at first sight. Raises what is a fault."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """One door.

    share: of a thousand executions
    begin: a decoder that knows nothing of the cases before
    """

    name: str
    share: int
    make: Callable[[Random], Any]
    begin: Callable[[], Run]


@dataclass(slots=True)
class Tally:
    """What was done."""

    executions: int = 0
    past: int = 0


def fuzz(decoder: Decoder, seed: int, executions: int) -> Tally:
    """Try so many cases. Raises Fault, which names seed and number of the case."""
    dice, tally, run = Random(f"{decoder.name} {seed}"), Tally(), decoder.begin()
    for number in range(executions):
        case = decoder.make(dice)
        try:
            past = _measured(run, case) if number % MEASURED == 0 else run(case)
        except Exception as error:
            raise Fault(f"{decoder.name}: seed {seed}, case {number}: {case!r}") from error
        tally.executions += 1
        tally.past += past
    return tally


def _measured(run: Run, case: Any) -> bool:
    run(case)  # what is kept for ever is made
    tracemalloc.start()
    try:
        past = run(case)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if peak > MOST_BYTES + MOST_TIMES * _size(case):
        raise MemoryError(f"{peak} bytes for a case of {_size(case)}")
    return past


def _size(case: Any) -> int:
    parts = case if isinstance(case, tuple) else (case,)
    return sum(len(part) for part in parts if isinstance(part, bytes | str))


def changed(data: bytes, dice: Random) -> bytes:
    """Bytes with one to three of them changed, cut, doubled, new."""
    hurt = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 3))):
        at = dice.randrange(len(hurt) + 1)
        match dice.randrange(6):
            case 0:
                del hurt[at:]
            case 1:
                hurt[at:at] = hurt[at : at + dice.randrange(9)]
            case 2:
                hurt[at:at] = dice.randbytes(dice.randrange(5))
            case 3:
                del hurt[at : at + dice.randrange(1, 4)]
            case _:
                hurt[at : at + 1] = dice.choice((b"\x00", b"\xff", b"\x7f", dice.randbytes(1)))
    return bytes(hurt)


# --- messages --------------------------------------------------------------------------------


@cache
def _whole() -> list[tuple[Kind, str, dict[int, Plain], bytes]]:
    """Golden messages: kind, topic, values, payload."""
    found = []
    for name in samples.MESSAGES:
        topic = samples.topic(name)
        kind, message = samples.TOPICS.parse(topic).kind, samples.message(name)
        found.append((kind, topic, plain(message), samples.payload(name)))
    return found


def _hurt(kind: Kind, values: dict[int, Plain], data: bytes, dice: Random) -> bytes:
    if dice.random() < 0.3:
        return changed(data, dice)
    return cbor2.dumps(wounded(dice.choice(kind.records), values, dice))


def _make_payload(dice: Random) -> tuple[Kind, bytes]:
    kind, _, values, data = dice.choice(_whole())
    return kind, _hurt(kind, values, data, dice)


def _run_payload(case: tuple[Kind, bytes]) -> bool:
    try:
        message = payload.decode(*case)
    except Refused as refused:
        return refused.reason is not Reason.CBOR
    payload.encode(message)  # what is taken in can be said again
    return True


def _make_signed(dice: Random) -> tuple[str, bytes]:
    kind, topic, values, data = dice.choice(_whole())
    key = dice.choice((samples.ROOT, samples.ONLINE, samples.DEVICE, samples.AUTHORITY))
    return topic, seal(_hurt(kind, values, data, dice), samples.TOPICS.bound(topic), key)


def _begin_signed() -> Run:
    """One trust hears them all: certificates, tombstones and roots come and go."""
    trust = samples.trust()

    def run(case: tuple[str, bytes]) -> bool:
        try:
            trust.open(*case)
        except Refused as refused:
            return refused.reason not in (Reason.ENVELOPE, Reason.UNKNOWN_KEY, Reason.ROLE)
        return True

    return run


@cache
def _envelopes() -> list[tuple[Kind, bytes]]:
    return [
        (samples.TOPICS.parse(samples.topic(name)).kind, samples.envelope(name))
        for name in samples.MESSAGES
    ]


def _make_envelope(dice: Random) -> tuple[Kind, bytes]:
    """A length that does not fit any more ends most cases at once: one in three keeps them."""
    kind, data = dice.choice(_envelopes())
    if dice.random() < 0.33:
        at = dice.randrange(len(data))
        return kind, data[:at] + dice.randbytes(1) + data[at + 1 :]
    return kind, changed(data, dice)


def _run_envelope(case: tuple[Kind, bytes]) -> bool:
    kind, data = case
    try:
        envelope.parse(data, kind)
    except Refused:
        return False
    return True


def _make_topic(dice: Random) -> str:
    topic = samples.topic(dice.choice(samples.MESSAGES))
    return changed(topic.encode(), dice).decode("utf-8", "replace")


def _run_topic(case: str) -> bool:
    samples.TOPICS.largest(case)
    try:
        samples.TOPICS.parse(case)
    except Refused:
        return case.startswith(samples.TOPICS.prefix)
    return True


# --- tokens ----------------------------------------------------------------------------------


@cache
def _token() -> str:
    return str(samples.golden("token")["text"])


def _make_token(dice: Random) -> str:
    """Mostly with the check that fits what was changed."""
    text = _token()
    if dice.random() < 0.3:
        return changed(text.encode(), dice).decode("ascii", "replace")
    letters = text.replace("-", "")
    data = base64.b32decode(letters + "=" * (-len(letters) % 8))[: -token._CHECK_BYTES]
    hurt = changed(data, dice)
    return base64.b32encode(hurt + token._check(hurt)).decode().rstrip("=")


def _run_token(case: str) -> bool:
    try:
        read = Token.parse(case)
    except TokenError as error:
        return not str(error).startswith(("the token was mistyped", "the token is missing"))
    assert Token.parse(read.text()) == read
    return True


# --- what is no message ----------------------------------------------------------------------


def _largest(topic: str) -> int:
    return MAX_PLAN if topic.startswith("fedling") else 0


@cache
def _packets() -> bytes:
    """CONNACK, SUBACK, a small and a large PUBLISH, PUBACK, PINGRESP."""
    large = b"\x00\x09fedling/x\x00\x01" + bytes(9000)
    return (
        b"\x20\x02\x00\x00\x90\x03\x00\x01\x01"
        b"\x32\x0f\x00\x09fedling/x\x00\x01\xd2\x84"
        + b"\x32\xb5\x46" + large
        + b"\x40\x02\x00\x01\xd0\x00"
    )  # fmt: skip


def _make_stream(dice: Random) -> tuple[bytes, int]:
    data = _packets()
    begin = dice.choice((0, 4, 9, 26))
    return changed(data[begin : begin + dice.choice((9, 40, len(data)))], dice), dice.randrange(
        1, 99
    )


def _run_stream(case: tuple[bytes, int]) -> bool:
    data, step = case
    framing, out = Framing(_largest), 0
    try:
        for at in range(0, len(data), max(step, len(data) // 8)):
            out += len(framing.feed(data[at : at + max(step, len(data) // 8)]))
    except FramingError:
        return out > 0
    return out > 0


@cache
def _rows() -> bytes:
    return "".join(csv_lines(1, 6)).encode()


def _make_rows(dice: Random) -> str:
    return changed(_rows(), dice).decode("utf-8", "replace")


def _run_rows(case: str) -> bool:
    try:
        found = parse(case.splitlines(keepends=True))
    except BadInput:
        return False
    assert all(isinstance(row, Row | RowError) for row in found)
    return bool(found)


DECODERS = (
    Decoder("payload", 250, _make_payload, lambda: _run_payload),
    Decoder("envelope", 250, _make_envelope, lambda: _run_envelope),
    Decoder("topic", 240, _make_topic, lambda: _run_topic),
    Decoder("token", 110, _make_token, lambda: _run_token),
    Decoder("framing", 110, _make_stream, lambda: _run_stream),
    Decoder("rows", 20, _make_rows, lambda: _run_rows),
    Decoder("signed", 20, _make_signed, _begin_signed),
)
