"""How an update goes in chunks: which of them, again after what, and never other bytes."""

import pytest

from fedling_protocol.wire.chunks import Whole, bits
from fedling_protocol.wire.digest import message_hash
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Answer, Chunk, Chunked, Join, Plan, Ticket, Update
from tests.support.ports import Published
from tests.support.service import ID, TOPICS, HandService

CUT = Chunked(500)  # an update has more
COUNT = 2


def spooled(device: HandService, chunked: Chunked | None = CUT) -> Plan:
    """A plan whose update has just gone out."""
    plan = device.offer(chunked=chunked)
    device.go(plan)
    device.children[-1].finish()
    device.clock.settle()
    return plan


def ups(device: HandService, plan: Plan) -> list[Published]:
    """What was published of the update on this connection."""
    begin = TOPICS.of(Kind.UPDATE, "watch", ID, plan.plan_id, 0)[:-1]
    return [p for p in device.link.published if p.topic.startswith(begin)]


def numbers(device: HandService, plan: Plan) -> list[int]:
    return [int(p.topic.rpartition("/")[2]) for p in ups(device, plan)]


def envelope_of(device: HandService, plan: Plan) -> bytes:
    entry = device.store.spool.find(plan.plan_id)
    assert entry is not None
    return device.store.spool.envelope(entry)


def reconnect(device: HandService) -> None:
    device.link.connected = False
    device.service.on_disconnected("lost", 1.0)
    device.link.published.clear()
    device.connect()
    device.clock.move(100.0)


def answered(device: HandService, plan: Plan, here: bytes) -> None:
    join = device.sent(Join)[-1]
    assert join.have == message_hash(envelope_of(device, plan))
    ticket = Ticket(plan.plan_id, join.nonce, Answer.GO, 600, "", here=here)
    device.hear(TOPICS.of(Kind.TICKET, "watch", ID), ticket)


def test_update_that_is_larger_than_a_chunk_goes_in_chunks(device: HandService) -> None:
    plan = spooled(device)
    data = envelope_of(device, plan)
    whole = Whole(message_hash(data), len(data), CUT.size)
    assert numbers(device, plan) == list(range(whole.count)) == list(range(COUNT))
    assert device.sent(Chunk) == [whole.chunk(data, n) for n in range(COUNT)]
    assert not any(p.retain for p in ups(device, plan))


@pytest.mark.parametrize("chunked", [None, Chunked(100_000)])
def test_update_that_fits_goes_as_ever(device: HandService, chunked: Chunked | None) -> None:
    plan = spooled(device, chunked)
    (one,) = ups(device, plan)
    assert one.payload == envelope_of(device, plan)
    assert len(device.sent(Update)) == 1


def test_it_is_sent_when_the_last_puback_is_here(device: HandService) -> None:
    plan = spooled(device)
    first, second = ups(device, plan)
    assert device.phase == "Sending"
    for one, sent in ((second, False), (second, False), (first, True)):
        assert one.done is not None
        one.done()
        device.clock.settle()
        assert device.runner.session.phase.sent is sent  # type: ignore[union-attr]


def test_only_what_is_missing_goes_again_byte_for_byte(device: HandService) -> None:
    plan = spooled(device)
    before = {p.topic: p.payload for p in ups(device, plan)}
    reconnect(device)
    answered(device, plan, bits([0]))
    (one,) = ups(device, plan)
    assert numbers(device, plan) == [1]
    assert before[one.topic] == one.payload


def test_killed_device_sends_what_is_missing(device: HandService) -> None:
    plan = spooled(device)
    before = {p.topic: p.payload for p in ups(device, plan)}
    device.store.close()
    device.boot()
    device.connect()
    answered(device, plan, bits([1]))
    assert numbers(device, plan) == [0]
    (one,) = ups(device, plan)
    assert before[one.topic] == one.payload


def test_where_all_is_here_the_last_goes_again(device: HandService) -> None:
    """The aggregator crashed before it decided."""
    plan = spooled(device)
    reconnect(device)
    answered(device, plan, bits(range(COUNT)))
    assert numbers(device, plan) == [COUNT - 1]


@pytest.mark.parametrize("here", [bytes([0xFC]), bytes(137) + b"\x80", bytes([0xFF] * 138)])
def test_ticket_that_tells_of_more_chunks_than_there_are(device: HandService, here: bytes) -> None:
    plan = spooled(device)
    reconnect(device)
    answered(device, plan, here)
    assert set(numbers(device, plan)) <= set(range(COUNT))
    assert numbers(device, plan)


def test_each_chunk_is_in_the_log_of_what_was_sent(device: HandService) -> None:
    spooled(device)
    said = [sent for sent in device.store.ledger.sent() if sent.kind == "update"]
    assert [sent.meaning.rpartition(", ")[2] for sent in reversed(said)] == [
        "chunk 1 of 2",
        "chunk 2 of 2",
    ]


def test_plan_that_cuts_otherwise_now_counts(device: HandService) -> None:
    """The aggregator was begun again with another largest_packet."""
    plan = spooled(device)
    reconnect(device)
    device.offer(chunked=Chunked(100_000))
    answered(device, plan, b"")
    (one,) = ups(device, plan)
    assert one.payload == envelope_of(device, plan)
