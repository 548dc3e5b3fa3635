"""Messages and payloads: what fits no dataclass, what the fields must be together."""

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_native import Layer, Loss, average_pool, conv, dense, depthwise, max_pool, weights_size
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.fields import Integer, Record, Word
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import (
    MAX_COHORT,
    MAX_LABEL_BYTES,
    MAX_LABELS,
    MAX_LAYERS,
    MAX_PLAN,
    MAX_TASKS,
    MAX_TESTED,
    MAX_U32,
    MAX_WEIGHTS,
    TESTED_SIZE,
)
from fedling_protocol.wire.messages import (
    Answer,
    Certificate,
    Enrol,
    Enrolled,
    Grant,
    Hits,
    Message,
    Model,
    Moment,
    Plan,
    Receipt,
    Rest,
    Scale,
    State,
    StateCode,
    TaskInForce,
    Tasks,
    TaskSpec,
    Ticket,
    Update,
    Verdict,
)
from fedling_protocol.wire.payload import decode, encode, kind_of, without_mac
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.token import Purpose, Token
from tests.protocol.by_hand import Value, cbor
from tests.protocol.samples import MESSAGES, TOPICS, golden, message, payload, topic

STATISTICS = cast(Plan, message("plan-statistics"))
PLAN = cast(Plan, message("plan"))
LARGE = (max_pool((1, 65_535, 1), (1, 1)), dense(65_535, 2))
PADDED = (conv((1, 1, 250), 1, (1, 255), (1, 255), pad=(0, 0, 254, 254)), dense(1, 2))
HEAVY = (conv((1, 400, 100), 50, (1, 101)), average_pool((1, 300, 50)), dense(50, 2))
LONG = (depthwise((1, 1024, 1), (1, 1)), dense(1024, 2))
MODEL = cast(Model, message("model"))
TICKET = cast(Ticket, message("ticket-wait"))
RECEIPT = cast(Receipt, message("receipt"))
NAMED = cast(Certificate, message("certificate-named"))
ENROL = cast(Enrol, message("enrol"))
ENROLLED = cast(Enrolled, message("enrolled"))
GRANT = cast(Grant, ENROLLED.grant)


def reason(kind: Kind, value: Value) -> Reason:
    with pytest.raises(Refused) as caught:
        decode(kind, cbor(value))
    return caught.value.reason


def changed_spec(**fields: object) -> Plan:
    return replace(PLAN, spec=replace(PLAN.spec, **fields))  # type: ignore[arg-type]


def changed_fleet(scale: tuple[Scale, ...] | None) -> Plan:
    return changed_spec(normalise="fleet", scale=scale)


def changed_training(**fields: int) -> Plan:
    return replace(PLAN, training=replace(PLAN.training, **fields))


def changed_plan(layers: tuple[Layer, ...], batch: int) -> Plan:
    spec = replace(PLAN.spec, window=layers[0].inputs, channels=1, layers=layers)
    training = replace(PLAN.training, frozen=0, batch=batch)
    return replace(PLAN, spec=spec, training=training)


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
    values[6][8][1][1] = "secret"
    with pytest.raises(Refused, match=r"shape: key 6: key 8: not an integer in 1\.\.65535"):
        decode(Kind.PLAN, cbor(values))


def test_decode_gives_the_words_of_the_enumerations() -> None:
    assert TICKET.answer is Answer.WAIT
    assert RECEIPT.verdict is Verdict.ACCEPTED
    assert cast(Receipt, message("receipt-duplicate")).of is Verdict.ACCEPTED


BAD_TOGETHER: list[tuple[str, Message]] = [
    ("window * channels", changed_spec(window=65_535, channels=2)),
    ("first layer", changed_spec(channels=2)),
    ("chain", changed_spec(layers=(dense(12, 5, relu=True), dense(6, 2)))),
    ("labels", changed_spec(labels=("a", "b", "c"))),
    ("no labels", changed_spec(labels=())),
    ("labels twice", changed_spec(labels=("a", "a"))),
    ("a line break in a label", changed_spec(labels=("a", "b\n"))),
    ("a label that writes backwards", changed_spec(labels=("a", "\u202eb"))),
    ("ReLU at the end", changed_spec(layers=(dense(12, 5, relu=True), dense(5, 2, relu=True)))),
    ("reconstruction of another size", changed_spec(loss=Loss.RECONSTRUCTION)),
    (
        "16 MiB of weights",
        changed_spec(window=65_535, channels=1, layers=(dense(65_535, 129), dense(129, 2))),
    ),
    ("a scale of nobody", changed_spec(scale=(Scale(0, 128, 7),) * 3)),
    ("a scale too few", changed_fleet(scale=(Scale(0, 128, 7),) * 2)),
    ("a mantissa that no fit gives", changed_fleet(scale=(Scale(0, 127, 7),) * 3)),
    ("a shift without a mantissa", changed_fleet(scale=(Scale(0, 0, 7),) * 3)),
    ("training without the scale", changed_fleet(scale=None)),
    ("training that sends sums", replace(PLAN, codec=Codec.SUMS)),
    ("coded in no size", replace(PLAN, codec=Codec.CODED)),
    ("a size of what is not coded", replace(PLAN, target=300)),
    ("statistics that are coded", replace(STATISTICS, codec=Codec.CODED, target=300)),
    ("statistics of a size", replace(STATISTICS, target=300)),
    ("a vector of no bytes", replace(cast(Update, message("update")), vector=b"")),
    ("statistics that send weights", replace(STATISTICS, codec=Codec.RAW_INT16)),
    (
        "statistics of what is known",
        replace(STATISTICS, spec=replace(STATISTICS.spec, scale=(Scale(0, 128, 7),) * 3)),
    ),
    (
        "statistics that nobody wants",
        replace(STATISTICS, spec=replace(STATISTICS.spec, normalise="device")),
    ),
    ("nothing to train", changed_training(frozen=3)),
    ("a pull beyond the start", changed_training(lr_q24=2**24, proximal_q16=2**16)),
    ("a step too large for a device", changed_plan(LARGE, batch=129)),
    ("a step too large by its padding", changed_plan(PADDED, batch=132)),
    ("a batch of too much work", changed_plan(HEAVY, batch=19)),
    ("too many positions in a batch", changed_plan(LONG, batch=65)),
    ("device twice", replace(PLAN, cohort=("a" * 16, "b" * 16, "a" * 16))),
    ("exponents", replace(MODEL, exponents=(0,))),
    ("an exponent of a pool", replace(MODEL, exponents=(-5, 1, -7))),
    ("weights short", replace(MODEL, weights=MODEL.weights[:-1])),
    ("weights long", replace(MODEL, weights=MODEL.weights + b"\0")),
    ("go with a reason", replace(TICKET, answer=Answer.GO)),
    ("wait without one", replace(TICKET, reason="")),
    ("first verdict without duplicate", replace(RECEIPT, of=Verdict.LATE)),
    ("duplicate of nothing", replace(RECEIPT, verdict=Verdict.DUPLICATE)),
    ("ends before it begins", replace(NAMED, until_s=NAMED.issued_s - 1)),
    ("ends when it begins", replace(NAMED, until_s=NAMED.issued_s)),
    ("named as a device's id", replace(NAMED, name="abcdefghijklmnop")),
    ("named as the aggregator", replace(NAMED, name="aggregator")),
    ("asks to be named as the authority", replace(ENROL, name="authority")),
    ("a token without a code", replace(ENROL, mac=None)),
    ("a code without a token", replace(ENROL, token_id=None)),
    ("no point of P-256", replace(ENROL, tls_key=bytes(33))),
    ("granted with a reason", replace(ENROLLED, reason="busy")),
    ("refused without one", replace(ENROLLED, grant=None)),
    ("TLS without its authority", replace(ENROLLED, grant=replace(GRANT, tls_ca=None))),
    ("an authority of nobody", replace(ENROLLED, grant=replace(GRANT, tls_certificate=None))),
]


@pytest.mark.parametrize("bad", [bad for _, bad in BAD_TOGETHER], ids=[n for n, _ in BAD_TOGETHER])
def test_fields_that_do_not_fit(bad: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        encode(bad)
    with monkeypatch.context() as patch:  # as a sender without our checks would
        patch.setattr("fedling_protocol.wire.shapes.check", lambda _: None)
        patch.setattr("fedling_protocol.wire.fields.Label.to_wire", lambda _, value: value)
        data = encode(bad)
    with pytest.raises(Refused) as caught:
        decode(kind_of(bad), data)
    assert caught.value.reason is Reason.SHAPE


def test_word_of_a_later_version_is_no_fault_of_a_state() -> None:
    data = cbor2.dumps({0: 1, 1: "idle", 2: 40, 3: "on holiday", 4: [1]}, canonical=True)
    assert decode(Kind.STATE, data) == State(StateCode.IDLE, 40, "on holiday")
    for bad in ("", "Paused", "x" * 33, "\x1b", 1):
        with pytest.raises(Refused, match="key 3"):
            decode(Kind.STATE, cbor2.dumps({0: 1, 1: "idle", 2: 40, 3: bad}, canonical=True))


@dataclass(frozen=True, slots=True)
class EarlierState:
    """As it was before devices told why they take no part."""

    code: StateCode
    version: int


def test_reader_of_an_earlier_version_reads_a_paused_device() -> None:
    record = Record(EarlierState, {1: Word(StateCode), 2: Integer(0, 2**32 - 1)}, {0: 1})
    told = cbor2.loads(payload("state-paused"))
    assert record.from_wire(told) == EarlierState(StateCode.IDLE, 40)


@pytest.mark.parametrize("bad", ["", "Idle", 3, None, StateCode])
def test_encode_refuses_our_own_mistakes(bad: object) -> None:
    with pytest.raises(ValueError, match="State cannot be sent: key 1"):
        encode(State(cast(StateCode, bad), 1))


@pytest.mark.parametrize(
    ("layers", "batch"), [(LARGE, 128), (PADDED, 131), (HEAVY, 18), (LONG, 64)]
)
def test_a_plan_may_be_as_large_as_the_limits(layers: tuple[Layer, ...], batch: int) -> None:
    plan = changed_plan(layers, batch)
    assert decode(Kind.PLAN, encode(plan)) == plan


@pytest.mark.parametrize("labels", [(), ("normal",), ("a", "b", "c")])
def test_a_reconstruction_has_any_labels(labels: tuple[str, ...]) -> None:
    layers = (dense(12, 3, relu=True), dense(3, 12))
    plan = changed_spec(layers=layers, labels=labels, loss=Loss.RECONSTRUCTION)
    assert decode(Kind.PLAN, encode(replace(plan, training=PLAN.training))).spec == plan.spec  # type: ignore[union-attr]


SIDES = st.one_of(st.integers(1, 8), st.sampled_from([255, 256, 1024, 65_534, 65_535]))
BYTES = st.one_of(st.integers(0, 4), st.sampled_from([254, 255]))
ROWS = st.tuples(
    st.integers(0, 4), SIDES, SIDES, SIDES, SIDES, st.integers(0, 1), *[BYTES] * 8
).map(list)


@given(st.lists(ROWS, min_size=1, max_size=MAX_LAYERS), st.sampled_from([0, 3]))
def test_any_layers_are_a_small_model_or_refused(rows: list[list[int]], loss: int) -> None:
    inputs = rows[0][1] * rows[0][2] * rows[0][3]
    values = cbor2.loads(payload("rest"))
    values[6] |= {3: min(inputs, 65_535), 5: 1, 8: rows, 9: loss}
    with suppress(Refused):
        rest = cast(Rest, decode(Kind.PLAN, cbor(values)))
        assert 0 < weights_size(rest.spec.layers) <= MAX_WEIGHTS


def test_the_largest_plan_fits() -> None:
    labels = tuple(f"{n:064}" for n in range(MAX_LABELS))
    assert len(labels[0].encode()) == MAX_LABEL_BYTES
    wide = [dense(65_535, 100), *[dense(100, 100)] * (MAX_LAYERS - 2), dense(100, 256)]
    spec = TaskSpec(
        *("t" * 32, "s" * 32, 65_535, 65_535, 1, "device", labels, tuple(wide), Loss.SOFTMAX)
    )
    letters = str.maketrans("0123456789", "abcdefghij")
    cohort = tuple(f"{n:016}".translate(letters) for n in range(MAX_COHORT))
    plan = replace(PLAN, spec=spec, cohort=cohort)
    data = encode(plan)
    assert decode(Kind.PLAN, data) == plan
    assert len(data) < Kind.PLAN.largest - 200  # room for the envelope
    with pytest.raises(ValueError, match="key 11"):
        encode(replace(plan, cohort=(*cohort, "z" * 16)))


def test_a_list_of_as_many_tasks_as_a_fleet_may_have_passes() -> None:
    tasks = tuple(TaskInForce(f"{n:032d}", MAX_U32 - n) for n in range(MAX_TASKS))
    message = Tasks(MAX_U32, tasks, MAX_U32)
    assert len(encode(message)) < MAX_PLAN
    assert decode(Kind.TASKS, encode(message)) == message
    with pytest.raises(ValueError, match="a task twice"):
        encode(Tasks(1, (tasks[0], tasks[0])))


def test_moments_are_in_the_order_of_history() -> None:
    """Epoch, then generation, then version; a model is named by rest before it is trained on."""
    moments = [
        *(Moment(1, 1, 1, False), Moment(1, 1, 1, True), Moment(1, 1, 2, False)),
        *(Moment(1, 2, 1, False), Moment(2, 1, 1, False), Moment(2, 1, 1, True)),
    ]
    assert all(earlier < later for earlier, later in pairwise(moments))


UPDATE = cast(Update, message("update-tested"))


@pytest.mark.parametrize(
    "tested",
    [
        ((3, 4),),  # more right than there were
        ((0, 0), (0, 1)),
        ((0, 0), (0, 0)),  # nothing
        ((MAX_TESTED, 0), (1, 0)),  # more than a device tests
        ((MAX_TESTED + 1, 0),),
        (),
        ((1, 0),) * (MAX_LABELS + 1),
    ],
)
def test_tests_that_cannot_be_are_refused(tested: tuple[tuple[int, int], ...]) -> None:
    values = cast(dict[int, Value], cbor2.loads(payload("update-tested")))
    assert reason(Kind.UPDATE, {**values, 9: [[*one] for one in tested]}) is Reason.SHAPE


def test_statistics_test_nothing() -> None:
    values = cast(dict[int, Value], cbor2.loads(payload("update-statistics")))
    assert reason(Kind.UPDATE, {**values, 9: [[1, 1]]}) is Reason.SHAPE


def test_what_a_class_takes_is_bounded() -> None:
    most = (Hits(MAX_TESTED // MAX_LABELS, 0),) * MAX_LABELS
    size = len(encode(replace(UPDATE, tested=most))) - len(encode(replace(UPDATE, tested=None)))
    assert size <= TESTED_SIZE * MAX_LABELS + 4
    one = (Hits(MAX_TESTED, MAX_TESTED), *(Hits(0, 0),) * (MAX_LABELS - 1))
    assert decode(Kind.UPDATE, encode(replace(UPDATE, tested=one))) == replace(UPDATE, tested=one)


def test_an_update_without_a_test_is_as_before() -> None:
    assert 9 not in cast(dict[int, Value], cbor2.loads(encode(replace(UPDATE, tested=None))))


def test_what_a_code_is_over_is_the_payload_without_it() -> None:
    """The codes of the golden vectors were made without the product."""
    token = Token.parse(str(golden("token")["text"]))
    for name, purpose in (("enrol", Purpose.ASK), ("enrolled", Purpose.ANSWER)):
        found = message(name)
        assert isinstance(found, Enrol | Enrolled)
        assert found.mac == token.seal(purpose, without_mac(found))
