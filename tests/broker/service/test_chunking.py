"""Models that are larger than the MQTT broker takes: how they are retained, and emptied again."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedling_broker.service.chunking import Chunking
from fedling_protocol.net.framing import publish_size
from fedling_protocol.wire.digest import message_hash
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import CHUNK_ROOM, MAX_CHUNKS, MAX_LARGE, MIN_PACKET
from fedling_protocol.wire.messages import Chunk, Model
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Trust
from tests.support.hand_aggregator import ONLINE, ROOT, TOPICS, HandAggregator

EACH = 256
Make = Callable[[int], HandAggregator]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[HandAggregator] = []

    def make(largest_packet: int) -> HandAggregator:
        made.append(HandAggregator(tmp_path / "state", largest_packet=largest_packet))
        return made[-1]

    yield make
    for aggregator in made:
        aggregator.store.close()


@pytest.fixture
def aggregator(make: Make) -> HandAggregator:
    return make(EACH + CHUNK_ROOM)


def trust() -> Trust:
    trust = Trust(TOPICS, ROOT.public)
    trust.know(AGGREGATOR, ONLINE.public, 1)
    return trust


def chunks(aggregator: HandAggregator, version: int) -> list[str]:
    """The topics of a model's chunks that hold a message now, in order."""
    prefix = f"{TOPICS.prefix}tiny/chunk/model/{version}/"
    return sorted(topic for topic in aggregator.held() if topic.startswith(prefix))


def test_model_in_chunks_is_retained_before_the_plan(aggregator: HandAggregator) -> None:
    aggregator.add_task()
    aggregator.connect()
    topics = [p.topic for p in aggregator.link.published]
    count = len(chunks(aggregator, 1))
    assert count > 1
    said = [TOPICS.of(Kind.CHUNK, "tiny", "model", 1, n) for n in range(count)]
    assert topics[-count - 1 :] == [*said, TOPICS.of(Kind.PLAN, "tiny", "train")]
    assert TOPICS.of(Kind.MODEL, "tiny", 1) not in topics
    assert all(p.retain for p in aggregator.link.published)


def test_chunks_make_the_message_that_the_plan_names(aggregator: HandAggregator) -> None:
    aggregator.add_task()
    aggregator.connect()
    whole = b"".join(chunk.data for chunk in aggregator.said(Chunk))
    cut = aggregator.plan.chunked
    assert cut is not None
    assert (cut.size, cut.model, cut.change) == (EACH, message_hash(whole), None)
    assert aggregator.plan.model_size == len(whole)
    assert {(c.whole, c.size) for c in aggregator.said(Chunk)} == {(cut.model, len(whole))}
    model = trust().open(TOPICS.of(Kind.MODEL, "tiny", 1), whole).message
    assert isinstance(model, Model)
    assert model.version == 1


def test_model_that_fits_is_said_as_ever(make: Make) -> None:
    aggregator = make(131_072)
    aggregator.add_task()
    aggregator.connect()
    assert len(aggregator.said(Model)) == 1
    assert aggregator.said(Chunk) == []
    assert aggregator.plan.chunked is None


def test_chunks_of_a_version_that_is_over_are_emptied(aggregator: HandAggregator) -> None:
    """Also when they were said by a process that is no more."""
    aggregator.add_task(goal=1)
    aggregator.enrol(1)
    aggregator.connect()
    first = chunks(aggregator, 1)
    aggregator.start()
    aggregator.connect()
    aggregator.accepted(1, aggregator.plan)
    change = [TOPICS.of(Kind.CHUNK, "tiny", "change", 1, n) for n in range(len(first))]
    assert {*first, *change} <= set(aggregator.emptied())
    assert chunks(aggregator, 1) == []
    assert len(chunks(aggregator, 2)) == len(first)
    last = [p for p in aggregator.link.published if not p.payload][-1]
    assert last.topic == TOPICS.of(Kind.MODEL, "tiny", 1)
    assert last.done is not None
    last.done()
    aggregator.settle()
    assert aggregator.store.models.retained("tiny") == [2]


def test_chunks_are_noted_before_they_are_said(aggregator: HandAggregator) -> None:
    """A crash in between leaves nothing at the MQTT broker that nobody empties."""
    aggregator.add_task()
    aggregator.connect()
    count = len(chunks(aggregator, 1))
    assert aggregator.store.models.chunks("tiny", 1) == count
    aggregator.store.models.note_chunks("tiny", 1, count - 1)
    assert aggregator.store.models.chunks("tiny", 1) == count
    aggregator.start()
    aggregator.disk.waits = True
    aggregator.connect()
    assert aggregator.said(Chunk) == []


def test_removed_task_leaves_no_chunks(aggregator: HandAggregator) -> None:
    aggregator.add_task()
    aggregator.connect()
    held = chunks(aggregator, 1)
    aggregator.remove_task()
    aggregator.clock.move(2.0)
    aggregator.settle()
    assert set(held) <= set(aggregator.emptied())
    assert chunks(aggregator, 1) == []


def test_task_of_the_same_name_knows_what_is_left_of_the_other(aggregator: HandAggregator) -> None:
    aggregator.add_task()
    aggregator.connect()
    count = len(chunks(aggregator, 1))
    aggregator.remove_task()
    aggregator.add_task()
    assert aggregator.store.models.chunks("tiny", 1) == count


def test_largest_message_has_no_more_chunks_than_a_device_takes() -> None:
    size = Chunking(TOPICS, ONLINE, MIN_PACKET).size
    assert -(-MAX_LARGE // size) <= MAX_CHUNKS


@pytest.mark.parametrize("size", [MIN_PACKET, 131_072])
def test_chunk_fits_its_packet_whatever_its_topic(size: int) -> None:
    word = "w" * 32
    topics = Topics(f"{word}/{word}/{word}/{word}", "f" * 32)
    message = bytes(3 * size)
    packets = Chunking(topics, SigningKey(b"k" * 32), size).of(
        message, Kind.CHANGE, "t" * 32, 2**32 - 1
    )
    assert packets.chunks == 4
    assert max(publish_size(topic, len(packet)) for topic, packet in packets.packets) <= size


def test_message_of_a_chunk_s_size_is_not_cut() -> None:
    chunking = Chunking(TOPICS, ONLINE, 1000)
    for size, count in ((chunking.size, 0), (chunking.size + 1, 2)):
        assert chunking.of(bytes(size), Kind.MODEL, "tiny", 1).chunks == count


def test_rest_names_the_chunks_too(aggregator: HandAggregator) -> None:
    aggregator.add_task(rounds=1, goal=1)
    aggregator.enrol(1)
    aggregator.connect()
    aggregator.accepted(1, aggregator.plan)
    (rest,) = aggregator.rests[-1:]
    assert rest.chunked is not None
    assert rest.chunked.model == aggregator.said(Chunk)[-1].whole
