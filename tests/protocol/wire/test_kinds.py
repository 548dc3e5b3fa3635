"""The table of kinds: what a row says is so, for every row and for one more."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from fedling_protocol.wire import payload, topics
from fedling_protocol.wire.envelope import seal
from fedling_protocol.wire.fields import Record
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind, Signer
from fedling_protocol.wire.limits import MAX_SMALL
from fedling_protocol.wire.messages import Message
from fedling_protocol.wire.records import U32
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import Topics
from tests.protocol.samples import (
    DEVICE,
    MESSAGES,
    ONLINE,
    ROOT,
    THIRD,
    TOPICS,
    envelope,
    message,
    topic,
    trust,
)

SPEC = (Path(__file__).parents[3] / "protocol" / "SPEC.md").read_text(encoding="utf-8")
KEYS = {
    Signer.ROOT: ROOT,
    Signer.NEWEST: THIRD,
    Signer.AGGREGATOR: ONLINE,
    Signer.DEVICE: DEVICE,
}
ALSO = {(Kind.KEYS, Signer.NEWEST)}  # the newest root is one
IN_SPEC = {"owner": "<id>", "plan_kind": "<kind>", "plan_id": "<plan>"}  # else as the part is named


def sample(kind: Kind) -> str:
    return next(name for name in MESSAGES if TOPICS.parse(topic(name)).kind is kind)


def reason(topic: str, data: bytes) -> Reason:
    with pytest.raises(Refused) as caught:
        trust().open(topic, data)
    return caught.value.reason


@pytest.mark.parametrize("kind", Kind)
def test_largest_is_enforced(kind: Kind) -> None:
    where = topic(sample(kind))
    assert reason(where, bytes(kind.largest + 1)) is Reason.SIZE
    assert reason(where, bytes(kind.largest)) is Reason.ENVELOPE


@pytest.mark.parametrize("kind", Kind)
def test_signer_is_enforced(kind: Kind) -> None:
    name = sample(kind)
    for signer, key in KEYS.items():
        sealed = seal(message(name), TOPICS.bound(topic(name)), key)
        if signer is kind.signer or (kind, signer) in ALSO:
            assert trust().open(topic(name), sealed).message == message(name)
        else:
            assert reason(topic(name), sealed) is Reason.ROLE


@pytest.mark.parametrize("kind", Kind)
def test_records_are_this_kinds(kind: Kind) -> None:
    for other in Kind:
        carried = payload.kind_of(message(sample(other))) is kind
        assert carried == (other is kind)
    assert str(kind) == kind.word


def test_words_differ() -> None:
    assert len({kind.word for kind in Kind}) == len(Kind)


def test_specification_has_the_same_table() -> None:
    """Topic, sender and whether it is retained: section 1; the limits: section 4."""
    rows = re.findall(r"^\| `<root>/1/<fleet>/(\S+)` \| (\w+) \| (\w+).*\|", SPEC, re.M)
    said = {(where, sender, retained != "no") for where, sender, retained in rows}
    assert len(rows) == len(Kind)
    assert said == {
        (
            re.sub(r"{(\w+)}", lambda m: IN_SPEC.get(m[1], f"<{m[1]}>"), kind.topic),
            "device" if kind.from_device else "aggregator",
            kind.retained,
        )
        for kind in Kind
    }
    limits = re.findall(r"^\| ((?:\w+, )*\w+) \| ([0-9,]+|16 MiB \+ 65,536) \|", SPEC, re.M)
    bounds = {
        word: 16 * 2**20 + 65_536 if "MiB" in bound else int(bound.replace(",", ""))
        for words, bound in limits
        for word in words.split(", ")
    }
    del bounds["rest"]  # it comes as a plan does
    assert bounds == {kind.word: kind.largest for kind in Kind}


# --- one row more --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pulse:
    """A kind of message that no version has."""

    beats: int


def make_kind() -> Kind:
    """A row as the table would have it; an Enum takes no member later."""
    kind = object.__new__(Kind)
    kind._name_ = "PULSE"
    record = Record(Pulse, {1: U32}, {0: 1})
    where = "{task}/pulse/{device}/{chunk}"
    row = ("pulse", where, Signer.DEVICE, MAX_SMALL, False, True, (record,))
    kind.__init__(*row)  # type: ignore[misc]
    return kind


@pytest.fixture
def pulse(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kind]:
    kind = make_kind()
    table = [*Kind, kind]
    monkeypatch.setattr(topics, "_PATTERNS", topics._Patterns(table))
    monkeypatch.setattr(payload, "_OF_MESSAGE", payload._by_message(table))
    yield kind
    for remembered in (topics._address, topics._spelled):
        remembered.cache_clear()


def test_a_new_kind_is_one_row_and_one_dataclass(pulse: Kind) -> None:
    device = device_id(DEVICE.public)
    where = TOPICS.of(pulse, "watch", device, 3)
    assert where == f"fedling/1/demo/watch/pulse/{device}/3"
    beat = cast(Message, Pulse(72))
    received = trust().open(where, seal(beat, TOPICS.bound(where), DEVICE))
    assert received.message == beat
    assert (received.address.kind, received.address.chunk) == (pulse, 3)
    assert reason(where, seal(beat, TOPICS.bound(where), ONLINE)) is Reason.ROLE
    assert reason(where, bytes(MAX_SMALL + 1)) is Reason.SIZE
    assert "fedling/1/demo/+/pulse/+/+" in TOPICS.aggregator_subscriptions()
    assert not any("pulse" in pattern for pattern in TOPICS.device_subscriptions(device))


def test_without_its_row_a_kind_is_nowhere() -> None:
    where = f"fedling/1/demo/watch/pulse/{device_id(DEVICE.public)}/3"
    with pytest.raises(Refused, match="topic"):
        Topics("fedling", "demo").parse(where)


def test_stranger_is_told_from_role() -> None:
    stranger = SigningKey(b"s" * 32)
    for kind in Kind:
        name = sample(kind)
        sealed = seal(message(name), TOPICS.bound(topic(name)), stranger)
        assert reason(topic(name), sealed) is Reason.UNKNOWN_KEY
        assert trust().open(topic(name), envelope(name)).address.kind is kind


def test_a_kind_names_itself_to_programmers_and_by_its_word_to_others() -> None:
    assert (repr(Kind.JOIN), str(Kind.KEYS)) == ("Kind.JOIN", "certificate")
