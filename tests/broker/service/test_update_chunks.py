"""Updates that come in chunks: what is kept of them, for whom, and how long."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_broker.store.database import FILE
from fedling_protocol.wire import envelope
from fedling_protocol.wire.chunks import Whole, bits
from fedling_protocol.wire.digest import message_hash
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import CHUNK_ROOM
from fedling_protocol.wire.messages import Answer, Chunk, Message, Plan, Update, Verdict
from tests.support.hand_aggregator import TOPICS, HandAggregator, key_of
from tests.support.old_state import rows_of

EACH = 256
WEIGHTS, BIASES = 8 * 40 + 40 * 2, 40 + 2


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = HandAggregator(tmp_path / "state", largest_packet=EACH + CHUNK_ROOM)
    aggregator.add_task(goal=2, layers="[40, 2]", more="[compression]\noff = true\n")
    aggregator.enrol(1, 2, 3)
    aggregator.connect()
    yield aggregator
    aggregator.store.close()


class Cut:
    """A device's update to a plan, in chunks."""

    def __init__(self, number: int, plan: Plan, step: int = 3, each: int = EACH) -> None:
        vector = array("h", [step] * WEIGHTS).tobytes() + array("i", [step] * BIASES).tobytes()
        update = Update(
            plan.plan_id, plan.base_version, plan.base_hash, 7, plan.codec, vector, 0, 1
        )
        self.number, self.plan = number, plan
        self.set(self.sealed(update, 0), each)

    def set(self, data: bytes, each: int = EACH) -> None:
        self.data, self.whole = data, Whole(message_hash(data), len(data), each)

    def topic(self, chunk: int) -> str:
        device = device_id(key_of(self.number).public)
        return TOPICS.of(Kind.UPDATE, "tiny", device, self.plan.plan_id, chunk)

    def sealed(self, message: Message, chunk: int) -> bytes:
        return envelope.seal(message, TOPICS.bound(self.topic(chunk)), key_of(self.number))

    def chunk(self, number: int) -> Chunk:
        return self.whole.chunk(self.data, number)

    @property
    def all(self) -> Sequence[int]:
        return range(self.whole.count)

    def say(self, aggregator: HandAggregator, chunk: Chunk, number: int) -> None:
        aggregator.service.on_message(self.topic(number), self.sealed(chunk, number), False)
        aggregator.settle()

    def arrive(self, aggregator: HandAggregator, *numbers: int) -> None:
        for number in numbers:
            self.say(aggregator, self.chunk(number), number)

    def here(self, aggregator: HandAggregator) -> bytes:
        """What a ticket says when the device asks."""
        aggregator.join(self.number, self.plan, have=self.whole.hash)
        aggregator.settle()
        ticket = aggregator.tickets[-1]
        assert ticket.answer is Answer.GO
        return ticket.here


def kept(aggregator: HandAggregator) -> int:
    """How many chunks are on disk."""
    return len(rows_of(aggregator.directory / FILE)["chunks"])


@pytest.fixture
def cut(aggregator: HandAggregator) -> Cut:
    """Of a device with a place."""
    aggregator.join(1, aggregator.plan)
    aggregator.settle()
    cut = Cut(1, aggregator.plan)
    assert len(cut.all) > 3
    return cut


def test_plan_says_how_updates_are_cut(aggregator: HandAggregator) -> None:
    chunked = aggregator.plan.chunked
    assert chunked is not None
    assert chunked.size == EACH


def test_update_in_chunks_is_the_same_update(aggregator: HandAggregator, cut: Cut) -> None:
    cut.arrive(aggregator, *reversed(cut.all))
    (receipt,) = aggregator.receipts
    assert (receipt.verdict, receipt.update_hash) == (Verdict.ACCEPTED, cut.whole.hash)
    assert kept(aggregator) == 0
    rounds = aggregator.store.rounds
    (row,) = rounds.members("tiny", cut.plan.plan_id)
    assert rounds.update(cut.plan.plan_id, row) == cut.data


def test_ticket_says_what_is_here_also_after_a_restart(
    aggregator: HandAggregator, cut: Cut
) -> None:
    assert cut.here(aggregator) == b""
    cut.arrive(aggregator, 0, 2)
    assert cut.here(aggregator) == bits([0, 2])
    aggregator.start()
    aggregator.connect()
    assert cut.here(aggregator) == bits([0, 2])
    cut.arrive(aggregator, *(n for n in cut.all if n not in (0, 2)))
    assert aggregator.receipts[-1].verdict is Verdict.ACCEPTED


def test_ticket_without_an_update_says_nothing(aggregator: HandAggregator, cut: Cut) -> None:
    cut.arrive(aggregator, 0)
    aggregator.join(1, cut.plan)
    aggregator.settle()
    assert aggregator.tickets[-1].here == b""
    aggregator.join(1, cut.plan, have=b"h" * 32)
    aggregator.settle()
    assert aggregator.tickets[-1].here == b""


def test_doubled_chunk_changes_nothing(aggregator: HandAggregator, cut: Cut) -> None:
    cut.arrive(aggregator, 1, 1, 0, 1)
    assert kept(aggregator) == 2
    cut.arrive(aggregator, *cut.all, 0)
    (receipt,) = aggregator.receipts
    assert receipt.verdict is Verdict.ACCEPTED


def test_crash_before_the_decision_needs_one_chunk_more(
    aggregator: HandAggregator, cut: Cut
) -> None:
    """As while a coded update is read."""
    for number in cut.all:
        device, chunk = device_id(key_of(1).public), cut.chunk(number)
        aggregator.store.chunks.add("tiny", cut.plan.plan_id, device, cut.whole, number, chunk.data)
    assert cut.here(aggregator) == bits(cut.all)
    cut.arrive(aggregator, cut.all[-1])
    assert aggregator.receipts[-1].verdict is Verdict.ACCEPTED


def test_device_without_a_place_keeps_nothing_here(aggregator: HandAggregator) -> None:
    cut = Cut(2, aggregator.plan)
    cut.arrive(aggregator, *cut.all)
    assert kept(aggregator) == 0
    assert aggregator.receipts == []


def test_other_update_of_a_device_takes_the_place_of_the_first(
    aggregator: HandAggregator, cut: Cut
) -> None:
    """A device has the bytes of one update here, whatever it sends."""
    cut.arrive(aggregator, 0, 1)
    for step in range(4, 9):
        Cut(1, cut.plan, step).arrive(aggregator, 0, 1, 2)
    assert kept(aggregator) == 3
    assert cut.here(aggregator) == b""


def test_what_is_not_a_chunk_of_such_an_update_is_refused(
    aggregator: HandAggregator, cut: Cut
) -> None:
    good, size = cut.chunk(1), aggregator.service.runners.find("tiny")
    assert size is not None
    wrong = [
        (replace(good, data=good.data[:-1]), 1),
        (replace(good, data=good.data + b"x"), 1),
        (good, cut.all[-1]),
        (good, len(cut.all)),
        (good, 2**32 - 1),
        (replace(good, size=size.largest_update + 1), 1),
    ]
    for chunk, number in wrong:
        cut.say(aggregator, chunk, number)
    assert kept(aggregator) == 0
    assert aggregator.service.counters.counts["refused: shape"] == len(wrong)


def test_chunks_that_make_another_message_are_forgotten(
    aggregator: HandAggregator, cut: Cut
) -> None:
    for number in cut.all:
        chunk = cut.chunk(number)
        cut.say(aggregator, replace(chunk, data=bytes(len(chunk.data))), number)
    assert kept(aggregator) == 0
    assert aggregator.receipts == []
    cut.arrive(aggregator, *cut.all)
    assert aggregator.receipts[-1].verdict is Verdict.ACCEPTED


def test_chunks_of_a_message_that_is_no_update_are_forgotten(
    aggregator: HandAggregator, cut: Cut
) -> None:
    """A chunk inside of chunks, or junk: rightly named, and of no use."""
    nested = cut.sealed(Chunk(b"h" * 32, 2000, bytes(1000)), 0)
    for data in (nested, bytes(900)):
        cut.set(data)
        cut.arrive(aggregator, *cut.all)
        assert kept(aggregator) == 0
    assert aggregator.receipts == []
    counts = aggregator.service.counters.counts
    assert (counts["refused: shape"], counts["refused: envelope"]) == (1, 1)


def test_chunks_are_erased_when_the_round_is_closed(aggregator: HandAggregator, cut: Cut) -> None:
    cut.arrive(aggregator, 0, 1)
    for number in (2, 3):
        aggregator.join(number, cut.plan)
        other = Cut(number, cut.plan)
        aggregator.settle()
        other.arrive(aggregator, *other.all)
    assert kept(aggregator) == 0
    cut.arrive(aggregator, 2)
    assert kept(aggregator) == 0


def test_chunks_of_a_removed_task_go(aggregator: HandAggregator, cut: Cut) -> None:
    cut.arrive(aggregator, 0, 1)
    aggregator.remove_task()
    assert kept(aggregator) == 0


def test_chunk_as_another_or_by_another_device_is_refused(
    aggregator: HandAggregator, cut: Cut
) -> None:
    sealed = cut.sealed(cut.chunk(0), 0)
    aggregator.service.on_message(cut.topic(1), sealed, False)
    theirs = envelope.seal(cut.chunk(0), TOPICS.bound(cut.topic(0)), key_of(2))
    aggregator.service.on_message(cut.topic(0), theirs, False)
    aggregator.settle()
    counts = aggregator.service.counters.counts
    assert (counts["refused: signature"], counts["refused: role"]) == (1, 1)
    assert kept(aggregator) == 0


def test_small_update_comes_as_one_message_beside_chunks(
    aggregator: HandAggregator, cut: Cut
) -> None:
    """A device of an older release knows no chunks."""
    cut.arrive(aggregator, 0)
    aggregator.service.on_message(cut.topic(0), cut.data, False)
    aggregator.settle()
    assert aggregator.receipts[-1].verdict is Verdict.ACCEPTED
    assert kept(aggregator) == 0
