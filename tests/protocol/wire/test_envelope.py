"""Envelopes from outside: refused, never a crash."""

import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_protocol.wire.envelope import open_envelope, parse, seal
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_LARGE, MAX_SMALL
from fedling_protocol.wire.messages import Update
from fedling_protocol.wire.refused import Reason, Refused
from tests.protocol.by_hand import Signer, Value, cbor, head
from tests.protocol.samples import (
    DEVICE,
    MESSAGES,
    TOPICS,
    envelope,
    message,
    payload,
    topic,
    trust,
)

BY_HAND = Signer(bytes([3]) * 32)  # DEVICE
STATE = topic("state")
BOUND = TOPICS.bound(STATE)
PARTS: list[Value] = [b"\xa1\x01\x27", {4: DEVICE.kid}, payload("state"), bytes(64)]


def open_state(data: bytes) -> object:
    return open_envelope(data, BOUND, Kind.STATE, lambda _: DEVICE.public)


def reason(data: bytes) -> Reason:
    with pytest.raises(Refused) as caught:
        open_state(data)
    return caught.value.reason


def wrap(parts: Value, tag: int = 18) -> bytes:
    return head(6, tag) + cbor(parts)


def test_open_gives_the_message() -> None:
    assert open_state(envelope("state")) == message("state")
    assert open_state(BY_HAND.seal(payload("state"), BOUND)) == message("state")


@given(st.integers(0, len(envelope("state")) - 1), st.integers(1, 255))
def test_open_refuses_any_changed_byte(position: int, change: int) -> None:
    data = bytearray(envelope("state"))
    data[position] ^= change
    with pytest.raises(Refused):
        trust().open(STATE, bytes(data))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", Reason.SIZE),
        (bytes(MAX_SMALL + 1), Reason.SIZE),
        (b"hello", Reason.ENVELOPE),
        (wrap(PARTS, 17), Reason.ENVELOPE),
        (cbor(PARTS), Reason.ENVELOPE),
        (wrap(PARTS) + b"\0", Reason.CBOR),
        (wrap(PARTS[:3]), Reason.ENVELOPE),
        (wrap([*PARTS, None]), Reason.ENVELOPE),
        (wrap({0: PARTS}), Reason.ENVELOPE),
        (wrap(0), Reason.ENVELOPE),
        (wrap([b"", *PARTS[1:]]), Reason.ENVELOPE),
        (wrap([b"\xa1\x01\x26", *PARTS[1:]]), Reason.ENVELOPE),  # ECDSA
        (wrap(["", *PARTS[1:]]), Reason.ENVELOPE),
        (wrap([PARTS[0], {}, *PARTS[2:]]), Reason.ENVELOPE),
        (wrap([PARTS[0], {4: "x"}, *PARTS[2:]]), Reason.ENVELOPE),
        (wrap([PARTS[0], {4: bytes(7)}, *PARTS[2:]]), Reason.ENVELOPE),
        (wrap([PARTS[0], {1: -8, 4: bytes(8)}, *PARTS[2:]]), Reason.ENVELOPE),
        (wrap([PARTS[0], {5: bytes(8)}, *PARTS[2:]]), Reason.ENVELOPE),
        (wrap([PARTS[0], PARTS[1], None, PARTS[3]]), Reason.ENVELOPE),  # detached
        (wrap([*PARTS[:3], bytes(63)]), Reason.ENVELOPE),
        (wrap([*PARTS[:3], [bytes(64)]]), Reason.ENVELOPE),
        (wrap(PARTS), Reason.SIGNATURE),
        (wrap([*PARTS[:3], b"\xff" * 64]), Reason.SIGNATURE),
        (BY_HAND.seal(payload("state"), BOUND + b"x"), Reason.SIGNATURE),
        (BY_HAND.seal(payload("state"), b""), Reason.SIGNATURE),
        (BY_HAND.seal(payload("state") + b"\0", BOUND), Reason.CBOR),
        (BY_HAND.seal(b"", BOUND), Reason.CBOR),
        (BY_HAND.seal(b"\xff", BOUND), Reason.CBOR),
        (BY_HAND.seal(payload("join"), BOUND), Reason.SHAPE),
        (BY_HAND.seal(cbor({0: 2, 1: "idle", 2: 3}), BOUND), Reason.VERSION),
    ],
)
def test_open_refuses(data: bytes, expected: Reason) -> None:
    assert reason(data) is expected


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("other", MESSAGES)
def test_open_refuses_a_message_on_another_topic(name: str, other: str) -> None:
    if topic(name) != topic(other):
        with pytest.raises(Refused):
            trust().open(topic(other), envelope(name))


@given(st.sampled_from(MESSAGES), st.binary(max_size=200))
def test_only_refused_escapes_on_noise(name: str, data: bytes) -> None:
    with pytest.raises(Refused):
        trust().open(topic(name), data)


@given(st.sampled_from(MESSAGES), st.data())
@settings(max_examples=200)
def test_only_refused_escapes_on_mutants(name: str, data: st.DataObject) -> None:
    mutant = mutate(envelope(name), data)
    if mutant != envelope(name):
        with pytest.raises(Refused):
            trust().open(topic(name), mutant)


@given(st.sampled_from(["join", "update", "state"]), st.data())
@settings(max_examples=200)
def test_only_refused_escapes_on_mutants_that_a_device_signed(
    name: str, data: st.DataObject
) -> None:
    """A certified device is no friend either: behind the signature every byte is hostile again."""
    mutant = mutate(payload(data.draw(st.sampled_from(MESSAGES))), data)
    signed = BY_HAND.seal(mutant, TOPICS.bound(topic(name)))
    try:
        received = trust().open(topic(name), signed)
    except Refused:
        return
    assert seal(received.message, TOPICS.bound(topic(name)), DEVICE)  # what passed can be sent


def mutate(data: bytes, draw: st.DataObject) -> bytes:
    """Cut, overwrite, insert, remove or repeat a piece, one to three times."""
    for _ in range(draw.draw(st.integers(1, 3))):
        start = draw.draw(st.integers(0, len(data)))
        end = draw.draw(st.integers(start, min(len(data), start + 20)))
        piece = draw.draw(st.binary(max_size=12) | st.just(data[start:end] * 2))
        data = draw.draw(st.sampled_from([data[:start], data[:start] + piece + data[end:]]))
    return data


def test_a_hostile_length_allocates_nothing() -> None:
    bombs = [head(major, 2**62) for major in (2, 3, 4, 5)] + [b"\x81" * 1000, head(4, 900) * 100]
    tracemalloc.start()
    for bomb in bombs:
        for data in (b"\xd2" + bomb, BY_HAND.seal(bomb, BOUND)[:MAX_SMALL]):
            assert reason(data) in (Reason.CBOR, Reason.SIZE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000


def test_largest_message_passes() -> None:
    update = message("update")
    assert isinstance(update, Update)
    vector = bytes(16 * 2**20)
    sealed = seal(Update(update.plan_id, 1, bytes(32), 1, update.codec, vector, 0, 1), b"x", DEVICE)
    assert len(sealed) <= MAX_LARGE
    opened = open_envelope(sealed, b"x", Kind.UPDATE, lambda _: DEVICE.public)
    assert isinstance(opened, Update)
    assert opened.vector == vector


def test_seal_refuses_what_no_reader_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kind.STATE, "largest", 90)
    with pytest.raises(ValueError, match="bytes are too many"):
        seal(message("state"), BOUND, DEVICE)


def test_parse_gives_the_parts() -> None:
    parts = parse(envelope("state"), Kind.STATE)
    assert parts.kid == DEVICE.kid
    assert parts.payload == payload("state")
    assert parts.signature == envelope("state")[-64:]


@pytest.mark.parametrize("size", [0, 1, 23, 24, 255, 256, 65_535, 65_536, 100_000])
def test_seal_and_parse_payloads_of_every_length_of_length(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(size)
    monkeypatch.setattr("fedling_protocol.wire.payload.encode", lambda _: data)
    monkeypatch.setattr(Kind.STATE, "largest", MAX_LARGE)
    sealed = seal(message("state"), BOUND, DEVICE)
    assert sealed == BY_HAND.seal(data, BOUND)
    parts = parse(sealed, Kind.STATE)
    assert parts.payload == data
    parts.verify(BOUND, DEVICE.public)


def test_a_large_message_is_copied_no_more_than_thrice() -> None:
    """Beside what libsodium has of its own, once, while it signs or verifies."""
    update = message("update")
    assert isinstance(update, Update)
    size = 16 * 2**20
    update = replace(update, vector=bytes(size))
    tracemalloc.start()
    sealed = seal(update, b"x", DEVICE)
    _, peak_sealing = tracemalloc.get_traced_memory()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    opened = open_envelope(sealed, b"x", Kind.UPDATE, lambda _: DEVICE.public)
    _, peak_opening = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert opened == update
    assert peak_sealing < 3.5 * size  # beside the vector: payload, what is signed, the same signed
    assert peak_opening - before < 2.5 * size  # beside the envelope: the same signed, the same open
