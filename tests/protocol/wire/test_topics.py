"""Topics: one spelling each, and everything else refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.wire import names, topics
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import Address, Topics, Value, is_task

TOPICS = Topics("site/fedling", "demo")
DEVICE = "abcdefghijklm234"
STRANGER = "bcdefghijklmnop2"
PLAN_ID = bytes(range(16))
SPELLED = {
    "site/fedling/1/demo/keys/aggregator": Address(Kind.KEYS, owner="aggregator"),
    f"site/fedling/1/demo/keys/{DEVICE}": Address(Kind.KEYS, owner=DEVICE),
    "site/fedling/1/demo/keys/authority": Address(Kind.KEYS, owner="authority"),
    "site/fedling/1/demo/roots/list": Address(Kind.ROOTS),
    f"site/fedling/1/demo/enrol/{DEVICE}": Address(Kind.ENROL, device=DEVICE),
    f"site/fedling/1/demo/enrolled/{DEVICE}": Address(Kind.ENROLLED, device=DEVICE),
    f"site/fedling/1/demo/state/{DEVICE}": Address(Kind.STATE, device=DEVICE),
    "site/fedling/1/demo/watch/plan/train": Address(Kind.PLAN, "watch", plan_kind="train"),
    "site/fedling/1/demo/plan/plan/plan": Address(Kind.PLAN, "plan", plan_kind="plan"),
    "site/fedling/1/demo/watch/model/0": Address(Kind.MODEL, "watch", version=0),
    "site/fedling/1/demo/watch/model/4294967295": Address(
        Kind.MODEL, "watch", version=4_294_967_295
    ),
    "site/fedling/1/demo/watch/chunk/model/7/3": Address(
        Kind.CHUNK, "watch", version=7, chunk=3, whole="model"
    ),
    "site/fedling/1/demo/watch/chunk/change/7/0": Address(
        Kind.CHUNK, "watch", version=7, chunk=0, whole="change"
    ),
    f"site/fedling/1/demo/watch/join/{DEVICE}": Address(Kind.JOIN, "watch", DEVICE),
    f"site/fedling/1/demo/watch/ticket/{DEVICE}": Address(Kind.TICKET, "watch", DEVICE),
    f"site/fedling/1/demo/watch/receipt/{DEVICE}": Address(Kind.RECEIPT, "watch", DEVICE),
    f"site/fedling/1/demo/watch/up/{DEVICE}/000102030405060708090a0b0c0d0e0f/0": Address(
        Kind.UPDATE, "watch", DEVICE, plan_id=PLAN_ID, chunk=0
    ),
}


def spell(address: Address) -> str:
    """What was parsed, built again from its parts in the order of the table's pattern."""
    return TOPICS.of(address.kind, *(getattr(address, name) for name in parts(address.kind)))


def parts(kind: Kind) -> list[str]:
    return [part[1:-1] for part in kind.topic.split("/") if part[0] == "{"]


@pytest.mark.parametrize(("topic", "address"), SPELLED.items())
def test_parse_and_spell(topic: str, address: Address) -> None:
    assert TOPICS.parse(topic) == address
    assert spell(address) == topic


@pytest.mark.parametrize("topic", SPELLED)
def test_bound_is_the_topic_without_its_root(topic: str) -> None:
    assert b"site/fedling/" + TOPICS.bound(topic) == topic.encode()


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "site/fedling",
        "site/fedling/1",
        "site/fedling/1/demo",
        "site/fedling/1/demo/watch",
        "fedling/1/demo/watch/plan/train",
        "site/fedling/1/other/watch/plan/train",
        "/site/fedling/1/demo/watch/plan/train",
        "site/fedling/1/demo/watch/plan/train/",
        "site/fedling/1/demo/watch/plan/Train",
        "site/fedling/1/demo/watch/plan/train/now",
        "site/fedling/1/demo/join/plan",
        "site/fedling/1/demo/watch/plan",
        "site/fedling/1/demo//plan/train",
        "site/fedling/1/demo/Watch/plan/train",
        "site/fedling/1/demo/-watch/plan/train",
        "site/fedling/1/demo/" + "w" * 33 + "/plan/train",
        "site/fedling/1/demo/state/plan/train",
        "site/fedling/1/demo/keys/plan/train",
        "site/fedling/1/demo/state/aggregator",
        "site/fedling/1/demo/state/abcdefghijklm23",
        "site/fedling/1/demo/state/abcdefghijklm23A",
        "site/fedling/1/demo/state/abcdefghijklm231",
        "site/fedling/1/demo/state/abcdefghijklm234\n",
        "site/fedling/1/demo/watch/model/01",
        "site/fedling/1/demo/watch/model/-1",
        "site/fedling/1/demo/watch/model/+1",
        "site/fedling/1/demo/watch/model/٣",
        "site/fedling/1/demo/watch/model/4294967296",
        "site/fedling/1/demo/watch/model/" + "9" * 5000,
        f"site/fedling/1/demo/watch/up/{DEVICE}/000102030405060708090A0B0C0D0E0F/0",
        f"site/fedling/1/demo/watch/up/{DEVICE}/00/0",
        f"site/fedling/1/demo/watch/up/{DEVICE}/000102030405060708090a0b0c0d0e0f",
        f"site/fedling/1/demo/watch/up/{DEVICE}/000102030405060708090a0b0c0d0e0f/00",
        f"site/fedling/1/demo/watch/joins/{DEVICE}",
    ],
)
def test_parse_refuses(topic: str) -> None:
    with pytest.raises(Refused) as caught:
        TOPICS.parse(topic)
    assert caught.value.reason is Reason.TOPIC


@pytest.mark.parametrize("version", ["2", "0", "01", "", "one"])
def test_parse_refuses_another_version(version: str) -> None:
    with pytest.raises(Refused) as caught:
        TOPICS.parse(f"site/fedling/{version}/demo/watch/plan/train")
    assert caught.value.reason is Reason.VERSION


WORDS = (
    "site fedling 1 demo watch keys state plan train up join model roots list enrol enrolled 0 7"
    " aggregator authority + #"
)
PIECES = st.sampled_from([*WORDS.split(" "), DEVICE, PLAN_ID.hex(), ""])


@given(st.lists(PIECES, max_size=10).map("/".join) | st.text())
def test_what_is_parsed_has_one_spelling(topic: str) -> None:
    try:
        address = TOPICS.parse(f"site/fedling/1/demo/{topic}")
    except Refused:
        return
    assert spell(address) == f"site/fedling/1/demo/{topic}"


def test_a_wrong_name_is_our_own_mistake() -> None:
    for wrong in (
        lambda: TOPICS.of(Kind.KEYS, "nobody"),
        lambda: TOPICS.of(Kind.STATE, "aggregator"),
        lambda: TOPICS.of(Kind.PLAN, "keys", "train"),
        lambda: TOPICS.of(Kind.PLAN, "+", "train"),
        lambda: TOPICS.of(Kind.PLAN, "watch"),
        lambda: TOPICS.of(Kind.PLAN, "watch", "train", "now"),
        lambda: TOPICS.of(Kind.PLAN, "watch", "+"),
        lambda: TOPICS.of(Kind.JOIN, "watch", "#"),
        lambda: TOPICS.of(Kind.JOIN, DEVICE, "watch"),
        lambda: TOPICS.of(Kind.MODEL, "watch", -1),
        lambda: TOPICS.of(Kind.MODEL, "watch", "1"),
        lambda: TOPICS.of(Kind.MODEL, "watch", 2**32),
        lambda: TOPICS.of(Kind.UPDATE, "watch", DEVICE, b"short", 0),
        lambda: TOPICS.device_subscriptions("#"),
        lambda: TOPICS.device_subscriptions(DEVICE, ["keys"]),
        lambda: Topics("", "demo"),
        lambda: Topics("a/+", "demo"),
        lambda: Topics("a//b", "demo"),
        lambda: Topics("$SYS", "demo"),
        lambda: Topics("fedling", "Demo"),
    ):
        with pytest.raises(ValueError, match=" is not "):
            wrong()


def matches(pattern: str, topic: str) -> bool:
    """MQTT 3.1.1 section 4.7, for patterns without #."""
    words, parts = pattern.split("/"), topic.split("/")
    return len(words) == len(parts) and all(
        w in ("+", p) for w, p in zip(words, parts, strict=True)
    )


def test_each_side_subscribes_to_what_the_other_says() -> None:
    mine = TOPICS.device_subscriptions(DEVICE, ("watch", "plan"))
    wild = TOPICS.device_subscriptions(DEVICE)
    theirs = TOPICS.aggregator_subscriptions()
    for topic, address in SPELLED.items():
        standing = address.kind.standing
        to_aggregator = standing and address.kind.from_device
        assert any(matches(pattern, topic) for pattern in theirs) == to_aggregator
        for patterns in (mine, wild):
            to_device = standing and not address.kind.from_device
            assert any(matches(pattern, topic) for pattern in patterns) == to_device
    for pattern in mine + wild:
        assert not matches(pattern, TOPICS.of(Kind.TICKET, "watch", STRANGER))
        assert not matches(pattern, TOPICS.of(Kind.KEYS, STRANGER))
    assert not any(matches(pattern, "site/fedling/1/demo/other/plan/train") for pattern in mine)


def test_a_device_subscribes_to_plans_of_every_kind() -> None:
    later = TOPICS.of(Kind.PLAN, "watch", "evaluate")
    for patterns in (
        TOPICS.device_subscriptions(DEVICE),
        TOPICS.device_subscriptions(DEVICE, ["watch"]),
        TOPICS.subscriptions(Kind.PLAN, tasks=["watch"]),
    ):
        assert any(matches(pattern, later) for pattern in patterns)


def test_what_each_end_keeps_subscribed() -> None:
    """Of every kind but states, which nobody reads yet, and models, which are asked for."""
    prefix = "site/fedling/1/demo/"
    theirs = {f"{prefix}{topic}" for topic in ("+/join/+", "+/up/+/+/+", "enrol/+")}
    assert set(TOPICS.aggregator_subscriptions()) == theirs
    mine = {f"keys/{DEVICE}", "keys/aggregator", "keys/authority", "roots/list", "tasks/list"}
    mine |= {"+/plan/+", f"+/ticket/{DEVICE}", f"+/receipt/{DEVICE}", f"enrolled/{DEVICE}"}
    assert set(TOPICS.device_subscriptions(DEVICE)) == {prefix + topic for topic in mine}


# --- every row of the table ----------------------------------------------------------------------

NAMES = st.from_regex(names.NAME, fullmatch=True)
DEVICES = st.from_regex(names.DEVICE, fullmatch=True)
NUMBERS = st.integers(0, 2**32 - 1) | st.sampled_from([0, 9, 10, 2**32 - 1])
VALUES: dict[str, st.SearchStrategy[Value]] = {
    "task": NAMES.filter(is_task),
    "device": DEVICES,
    "owner": DEVICES | st.sampled_from(["aggregator", "authority"]),
    "plan_kind": NAMES,
    "plan_id": st.binary(min_size=16, max_size=16),
    "version": NUMBERS,
    "chunk": NUMBERS,
    "whole": st.sampled_from(["model", "change"]),
}


@pytest.mark.parametrize("kind", Kind)
@given(st.data())
def test_what_is_built_parses_as_its_own_kind_only(kind: Kind, data: st.DataObject) -> None:
    values = [data.draw(VALUES[name]) for name in parts(kind)]
    topic = TOPICS.of(kind, *values)
    assert TOPICS.parse(topic) == Address(kind, **dict(zip(parts(kind), values, strict=True)))  # type: ignore[arg-type]
    text = topic.removeprefix("site/fedling/1/demo/")
    found = [other for other in Kind if topics._Pattern.of(other).parse(text)]
    assert found == [kind]


def test_every_kind_is_told_by_one_literal_word() -> None:
    """Behind a task, or where a task stands and then no task has it for a name."""
    first = [kind.topic.split("/")[0] for kind in Kind]
    second = [kind.topic.split("/")[1] for kind in Kind if kind.topic.startswith("{task}/")]
    alone = [word for word in first if word != "{task}"]
    assert len(set(alone)) == len(alone)
    assert len(set(second)) == len(second)
    assert not any("{" in word for word in alone + second)
    assert not any(is_task(word) for word in alone)


@pytest.mark.parametrize(("topic", "address"), SPELLED.items())
def test_a_topic_carries_what_its_kind_may_have(topic: str, address: Address) -> None:
    assert TOPICS.largest(topic) == address.kind.largest
    assert TOPICS.largest("another/" + topic) == 0


def test_parse_remembers_no_topic_that_it_refuses() -> None:
    """Anybody may send them, as long and as many as the MQTT broker allows."""
    before = topics._address.cache_info().currsize
    for number in range(5):
        with pytest.raises(Refused):
            TOPICS.parse(f"{TOPICS.prefix}watch/nothing/{number}")
    assert topics._address.cache_info().currsize == before


def test_of_takes_no_number_for_another_because_it_is_as_large() -> None:
    assert TOPICS.of(Kind.MODEL, "watch", 1).endswith("/model/1")
    with pytest.raises(ValueError, match="True"):
        TOPICS.of(Kind.MODEL, "watch", True)
