"""Topics: one spelling each, and everything else refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import Address, Kind, Topics

TOPICS = Topics("site/fedling", "demo")
DEVICE = "abcdefghijklm234"
PLAN_ID = bytes(range(16))
SPELLED = {
    "site/fedling/1/demo/keys/aggregator": Address(Kind.KEYS, device="aggregator"),
    f"site/fedling/1/demo/keys/{DEVICE}": Address(Kind.KEYS, device=DEVICE),
    f"site/fedling/1/demo/state/{DEVICE}": Address(Kind.STATE, device=DEVICE),
    "site/fedling/1/demo/watch/plan/train": Address(Kind.PLAN, "watch"),
    "site/fedling/1/demo/watch/model/0": Address(Kind.MODEL, "watch", version=0),
    "site/fedling/1/demo/watch/model/4294967295": Address(
        Kind.MODEL, "watch", version=4_294_967_295
    ),
    f"site/fedling/1/demo/watch/join/{DEVICE}": Address(Kind.JOIN, "watch", DEVICE),
    f"site/fedling/1/demo/watch/ticket/{DEVICE}": Address(Kind.TICKET, "watch", DEVICE),
    f"site/fedling/1/demo/watch/receipt/{DEVICE}": Address(Kind.RECEIPT, "watch", DEVICE),
    f"site/fedling/1/demo/watch/up/{DEVICE}/000102030405060708090a0b0c0d0e0f/0": Address(
        Kind.UPDATE, "watch", DEVICE, PLAN_ID, chunk=0
    ),
}


def spell(address: Address) -> str:
    task, device = address.task or "", address.device or ""
    match address.kind:
        case Kind.KEYS:
            return TOPICS.keys(device)
        case Kind.STATE:
            return TOPICS.state(device)
        case Kind.PLAN:
            return TOPICS.plan(task)
        case Kind.MODEL:
            return TOPICS.model(task, address.version or 0)
        case Kind.UPDATE:
            return TOPICS.update(task, device, address.plan_id or b"", address.chunk or 0)
    return {Kind.JOIN: TOPICS.join, Kind.TICKET: TOPICS.ticket, Kind.RECEIPT: TOPICS.receipt}[
        address.kind
    ](task, device)


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
        "site/fedling/1/demo/watch/plan/test",
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


WORDS = "site fedling 1 demo watch keys state plan train up join model 0 7 aggregator + #"
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
        lambda: TOPICS.keys("nobody"),
        lambda: TOPICS.state("aggregator"),
        lambda: TOPICS.plan("keys"),
        lambda: TOPICS.plan("+"),
        lambda: TOPICS.join("watch", "#"),
        lambda: TOPICS.model("watch", -1),
        lambda: TOPICS.model("watch", 2**32),
        lambda: TOPICS.update("watch", DEVICE, b"short"),
        lambda: Topics("", "demo"),
        lambda: Topics("a/+", "demo"),
        lambda: Topics("a//b", "demo"),
        lambda: Topics("$SYS", "demo"),
        lambda: Topics("fedling", "Demo"),
    ):
        with pytest.raises(ValueError, match=r" is not | has 16 bytes"):
            wrong()


def matches(pattern: str, topic: str) -> bool:
    """MQTT 3.1.1 section 4.7, for patterns without #."""
    words, parts = pattern.split("/"), topic.split("/")
    return len(words) == len(parts) and all(
        w in ("+", p) for w, p in zip(words, parts, strict=True)
    )


def test_each_side_subscribes_to_what_the_other_says() -> None:
    mine = TOPICS.device_subscriptions(DEVICE, ("watch",))
    wild = TOPICS.device_subscriptions(DEVICE)
    theirs = TOPICS.aggregator_subscriptions()
    for topic, address in SPELLED.items():
        to_aggregator = address.kind in (Kind.JOIN, Kind.UPDATE, Kind.STATE)
        assert any(matches(pattern, topic) for pattern in theirs) == to_aggregator
        to_device = not to_aggregator and address.kind is not Kind.MODEL  # fetched when allowed
        for patterns in (mine, wild):
            assert any(matches(pattern, topic) for pattern in patterns) == to_device
    stranger = "bcdefghijklmnop2"
    for pattern in mine + wild:
        assert not matches(pattern, TOPICS.ticket("watch", stranger))
        assert not matches(pattern, TOPICS.keys(stranger))
