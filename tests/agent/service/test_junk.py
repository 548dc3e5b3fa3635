"""What a device pays for junk: as much for a large message as for a small one, and little."""

from functools import partial

import pytest

from fedling_protocol.wire.identity import kid
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_PLAN
from tests.support.junk import (
    LARGE,
    MOST_BYTES,
    MOST_CALLS,
    MOST_KEPT,
    SMALL,
    Hashed,
    Paid,
    junk,
    kept_of_many,
    topics,
)
from tests.support.service import DEVICE, ID, ONLINE, ROOT, TOPICS, HandService

KIDS = [kid(key.public) for key in (ROOT, ONLINE, DEVICE)] + [bytes(8)]


@pytest.mark.parametrize("kind", list(Kind))
def test_junk_costs_no_more_when_it_is_large(
    device: HandService, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    device.begin()
    hashed = Hashed(monkeypatch)
    refused = sum(device.service.books.counters().values())
    count = 0
    for topic in topics(TOPICS, kind, "watch", ID):
        for name in KIDS:
            for small, large in zip(junk(SMALL, name), junk(LARGE, name), strict=True):
                cheap, dear = (
                    Paid(partial(device.service.on_message, topic, data, False))
                    for data in (small[1], large[1])
                )
                assert dear.calls <= min(MOST_CALLS, cheap.calls + 40), small[0]
                assert dear.peak <= MOST_BYTES
                count += 4
    assert hashed.most <= MAX_PLAN
    assert sum(device.service.books.counters().values()) == refused + count


@pytest.mark.parametrize("kind", list(Kind))
def test_junk_leaves_nothing(device: HandService, kind: Kind) -> None:
    device.begin()
    device.disk.waits = True
    for topic in topics(TOPICS, kind, "watch", ID):
        for _, data in junk(SMALL, KIDS[1]):
            kept = kept_of_many(partial(device.service.on_message, topic, data, False))
            assert kept <= MOST_KEPT
    assert device.disk.waiting == 0


def test_a_flood_of_empty_messages_leaves_nothing(device: HandService) -> None:
    device.begin()
    device.disk.waits = True
    topic = TOPICS.of(Kind.PLAN, "watch", "train")
    for emptied in (False, True):
        kept = kept_of_many(partial(device.service.on_message, topic, b"", emptied))
        assert kept <= MOST_KEPT
    assert device.disk.waiting == 0
