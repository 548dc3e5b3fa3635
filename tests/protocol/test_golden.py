"""Golden messages: the same in the specification, in an encoder written by hand, in the product."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from cddl_verifier import Validator

from fedling_protocol.wire import shapes
from fedling_protocol.wire.digest import message_hash
from fedling_protocol.wire.envelope import seal
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.payload import decode, encode
from fedling_protocol.wire.refused import Refused
from tests.protocol import make_golden
from tests.protocol.by_hand import Value, cbor, diagnostic
from tests.protocol.samples import (
    MESSAGES,
    NO_MESSAGES,
    TOPICS,
    envelope,
    golden,
    message,
    payload,
    plain,
    signer,
    topic,
    trust,
)

SPEC = Path(__file__).parents[2] / "protocol" / "SPEC.md"


@pytest.fixture(scope="module")
def cddl() -> Validator:
    """The schema that stands in SPEC.md."""
    blocks = re.findall(r"^```cddl\n(.*?)^```", SPEC.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 1
    return Validator(blocks[0])


def rule(name: str) -> str:
    """The one that is called as the message: update-chunk, on an update's topic, is a chunk."""
    return type(message(name)).__name__.lower()


def test_golden_is_what_its_maker_writes() -> None:
    made = {
        name: json.loads(json.dumps(content)) for name, content in make_golden.vectors().items()
    }
    assert made == {name: golden(name) for name in [*MESSAGES, *NO_MESSAGES]}


def test_golden_has_every_kind() -> None:
    assert {TOPICS.parse(topic(name)).kind for name in MESSAGES} == set(Kind)
    assert {name.split("-")[0] for name in MESSAGES} == set(map(rule, MESSAGES))


@pytest.mark.parametrize("name", MESSAGES)
def test_cddl_accepts(cddl: Validator, name: str) -> None:
    result = cddl.validate(payload(name), root_type=rule(name))
    assert result.valid, result.diagnostics


@pytest.mark.parametrize("name", MESSAGES)
def test_decode_gives_the_fields(name: str) -> None:
    assert plain(message(name)) == golden(name)["fields"]


@pytest.mark.parametrize("name", MESSAGES)
def test_encode_gives_the_payload(name: str) -> None:
    assert encode(message(name)) == payload(name)


@pytest.mark.parametrize("name", MESSAGES)
def test_seal_gives_the_envelope(name: str) -> None:
    sealed = seal(message(name), TOPICS.bound(topic(name)), signer(name))
    assert sealed == envelope(name)
    assert message_hash(sealed).hex() == golden(name)["message_hash"]


@pytest.mark.parametrize("name", MESSAGES)
def test_trust_opens(name: str) -> None:
    received = trust().open(topic(name), envelope(name))
    assert received.message == message(name)
    assert received.hash.hex() == golden(name)["message_hash"]
    assert received.certified


# One of each message, with all that is optional, so that every field of the page is there.
COMPLETE = (
    "certificate-revoked", "certificate-named", "roots", "enrol", "enrolled",
    "plan-life", "rest-life", "model-drawn", "join-uncertified", "join-have",
    "ticket-epoch", "update-tested", "receipt-epoch", "state-paused", "tasks",
)  # fmt: skip
EDGES = (
    *(-129, -128, -25, -24, -1, 0, 1, 2, 7, 8, 64, 65, 100, 101, 127, 128, 256, 257, 900, 901),
    *(
        1000,
        1001,
        4095,
        4096,
        4097,
        65535,
        65536,
        2**20,
        2**20 + 1,
        16_842_752,
        16_842_753,
        2**28,
        2**28 + 1,
    ),
    *(2**30 - 1, 2**30, 2**32 - 1, 2**32, 2**64 - 1),
)
TEXTS = ("", "a", "device", "idle", "-a", "A b", *("x" * n for n in (32, 33, 64, 65)), "é" * 33)
BYTES = (b"", *(bytes(n) for n in (1, 7, 8, 9, 15, 16, 17, 31, 32, 33)))
SPEC_FIELDS = (9, 10)  # without a scale, with one
OTHERS: tuple[Value, ...] = (None, True, 1, "a", b"", [], {})


@pytest.mark.parametrize("name", COMPLETE)
def test_codec_and_cddl_agree(cddl: Validator, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "check", lambda _: None)  # what CDDL cannot say
    kind = TOPICS.parse(topic(name)).kind
    for changed in changes(
        cbor2.loads(payload(name)), skip_spec=name in ("plan-life", "model-drawn")
    ):
        refused = ""
        try:
            decode(kind, cbor(changed))
        except Refused as error:
            refused = str(error)
        words = {rule(name): None} | ({"plan": None, "rest": None} if kind is Kind.PLAN else {})
        accepted = any(cddl.validate(cbor(changed), root_type=word).valid for word in words)
        assert accepted == (not refused), (diagnostic(changed), refused)


def changes(value: Value, *, skip_spec: bool) -> Iterator[Value]:
    """The same with one value somewhere inside replaced, left out, or repeated."""
    yield from OTHERS
    match value:
        case dict():
            for key, item in value.items():
                yield {k: v for k, v in value.items() if k != key}
                if not (skip_spec and isinstance(item, dict) and len(item) in SPEC_FIELDS):
                    for changed in changes(item, skip_spec=skip_spec):
                        yield {**value, key: changed}
        case list():
            yield from (value[:-1], [*value, value[-1]], value * 5, value * 130)
            # Of layers, which are all of one type, the first is enough.
            for i, item in enumerate(value[:1] if isinstance(value[0], list) else value):
                for changed in changes(item, skip_spec=skip_spec):
                    yield [*value[:i], changed, *value[i + 1 :]]
        case bytes():
            yield from BYTES
        case str():
            yield from TEXTS
        case int():
            yield from EDGES
