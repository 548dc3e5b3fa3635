"""Messages and payloads: what fits no dataclass, what the fields must be together."""

from dataclasses import replace
from typing import cast

import cbor2
import pytest

from fedling_native import Layer
from fedling_protocol.codec import decode, encode, kind_of
from fedling_protocol.envelope import largest
from fedling_protocol.limits import MAX_COHORT, MAX_LABEL_BYTES, MAX_LABELS
from fedling_protocol.messages import (
    Answer,
    Message,
    Model,
    Plan,
    Receipt,
    State,
    StateCode,
    TaskSpec,
    Ticket,
    Verdict,
)
from fedling_protocol.refused import Reason, Refused
from fedling_protocol.shapes import weights_size
from fedling_protocol.topics import Kind
from tests.protocol.by_hand import Value, cbor
from tests.protocol.samples import MESSAGES, TOPICS, message, payload, topic

PLAN = cast(Plan, message("plan"))
MODEL = cast(Model, message("model"))
TICKET = cast(Ticket, message("ticket-wait"))
RECEIPT = cast(Receipt, message("receipt"))


def reason(kind: Kind, value: Value) -> Reason:
    with pytest.raises(Refused) as caught:
        decode(kind, cbor(value))
    return caught.value.reason


def changed_spec(**fields: object) -> Plan:
    return replace(PLAN, spec=replace(PLAN.spec, **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MESSAGES)
def test_decode_ignores_unknown_keys(name: str) -> None:
    values = cbor2.loads(payload(name)) | {77: {0: [None, {9: b"new"}]}}
    assert decode(TOPICS.parse(topic(name)).kind, cbor(values)) == message(name)


def test_decode_ignores_unknown_keys_inside() -> None:
    values = cbor2.loads(payload("plan"))
    values[8] |= {99: "new"}
    assert decode(Kind.PLAN, cbor(values)) == PLAN


@pytest.mark.parametrize("name", MESSAGES)
def test_decode_refuses_another_version(name: str) -> None:
    kind = TOPICS.parse(topic(name)).kind
    values = cbor2.loads(payload(name))
    assert reason(kind, values | {0: 2}) is Reason.VERSION
    assert reason(kind, {0: 2}) is Reason.VERSION  # whatever else a later version may have
    assert reason(kind, values | {0: True}) is Reason.SHAPE
    assert reason(kind, {k: v for k, v in values.items() if k != 0}) is Reason.SHAPE


@pytest.mark.parametrize("value", [None, 1, "train", b"", [], [1], {}])
def test_decode_refuses_what_is_no_message(value: Value) -> None:
    assert {reason(kind, value) for kind in Kind} == {Reason.SHAPE}


def test_decode_refuses_an_unknown_kind_of_plan() -> None:
    values = cbor2.loads(payload("plan"))
    assert reason(Kind.PLAN, values | {1: "evaluate"}) is Reason.SHAPE
    assert reason(Kind.PLAN, values | {1: "rest"}) is Reason.SHAPE
    assert reason(Kind.PLAN, values | {1: [1]}) is Reason.SHAPE


def test_decode_names_the_field_but_not_its_value() -> None:
    values = cbor2.loads(payload("plan"))
    values[6][8][1][0] = "secret"
    with pytest.raises(Refused, match=r"shape: key 6: key 8: not an integer in 1\.\.65535"):
        decode(Kind.PLAN, cbor(values))


def test_decode_gives_the_words_of_the_enumerations() -> None:
    assert TICKET.answer is Answer.WAIT
    assert RECEIPT.verdict is Verdict.ACCEPTED
    assert cast(Receipt, message("receipt-duplicate")).of is Verdict.ACCEPTED


BAD_TOGETHER: list[tuple[str, Message]] = [
    ("window * channels", changed_spec(window=65_535, channels=2)),
    ("first layer", changed_spec(channels=2)),
    ("chain", changed_spec(layers=(Layer(12, 5, True), Layer(6, 2, False)))),
    ("labels", changed_spec(labels=("a", "b", "c"))),
    ("labels twice", changed_spec(labels=("a", "a"))),
    ("a line break in a label", changed_spec(labels=("a", "b\n"))),
    ("a label that writes backwards", changed_spec(labels=("a", "\u202eb"))),
    ("ReLU at the end", changed_spec(layers=(Layer(12, 5, True), Layer(5, 2, True)))),
    (
        "16 MiB of weights",
        changed_spec(
            window=65_535, channels=1, layers=(Layer(65_535, 129, True), Layer(129, 2, False))
        ),
    ),
    ("device twice", replace(PLAN, cohort=("a" * 16, "b" * 16, "a" * 16))),
    ("exponents", replace(MODEL, exponents=(0,))),
    ("weights short", replace(MODEL, weights=MODEL.weights[:-1])),
    ("weights long", replace(MODEL, weights=MODEL.weights + b"\0")),
    ("go with a reason", replace(TICKET, answer=Answer.GO)),
    ("wait without one", replace(TICKET, reason="")),
    ("first verdict without duplicate", replace(RECEIPT, of=Verdict.LATE)),
    ("duplicate of nothing", replace(RECEIPT, verdict=Verdict.DUPLICATE)),
]


@pytest.mark.parametrize("bad", [bad for _, bad in BAD_TOGETHER], ids=[n for n, _ in BAD_TOGETHER])
def test_fields_that_do_not_fit(bad: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        encode(bad)
    with monkeypatch.context() as patch:  # as a sender without our checks would
        patch.setattr("fedling_protocol.shapes.check", lambda _: None)
        patch.setattr("fedling_protocol.wire.Label.to_wire", lambda _, value: value)
        data = encode(bad)
    with pytest.raises(Refused) as caught:
        decode(kind_of(bad), data)
    assert caught.value.reason is Reason.SHAPE


@pytest.mark.parametrize("bad", ["", "Idle", 3, None, StateCode])
def test_encode_refuses_our_own_mistakes(bad: object) -> None:
    with pytest.raises(ValueError, match="State cannot be sent: key 1"):
        encode(State(cast(StateCode, bad), 1))


def test_the_largest_plan_fits() -> None:
    labels = tuple(f"{n:064}" for n in range(MAX_LABELS))
    assert len(labels[0].encode()) == MAX_LABEL_BYTES
    wide = [Layer(65_535, 100, True), *[Layer(100, 100, True)] * 6, Layer(100, 256, False)]
    spec = TaskSpec("t" * 32, "s" * 32, 65_535, 65_535, 1, "device", labels, tuple(wide))
    letters = str.maketrans("0123456789", "abcdefghij")
    cohort = tuple(f"{n:016}".translate(letters) for n in range(MAX_COHORT))
    plan = replace(PLAN, spec=spec, cohort=cohort)
    data = encode(plan)
    assert decode(Kind.PLAN, data) == plan
    assert len(data) < largest(Kind.PLAN) - 200  # room for the envelope
    with pytest.raises(ValueError, match="key 11"):
        encode(replace(plan, cohort=(*cohort, "z" * 16)))


def test_weights_size_counts_weights_and_biases() -> None:
    assert weights_size(MODEL.spec.layers) == len(MODEL.weights) == 2 * 70 + 4 * 7
