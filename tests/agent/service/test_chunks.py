"""How a model comes in chunks: across reconnects and restarts, and whatever else is sent there."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from fedling_agent.service.fetching import WINDOW
from fedling_native import dense
from fedling_protocol.wire import envelope
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Chunk, Chunked, Model, Rest, Tasks
from tests.agent.service.test_fetching import change_to, holds, on_grid, with_first
from tests.support.chunks import EACH
from tests.support.chunks import Cut as Sealed
from tests.support.device import SPEC as SMALLER
from tests.support.device import hash_of, make_model
from tests.support.service import ONLINE, TOPICS, HandService

SPEC = replace(SMALLER, layers=(dense(20, 16, relu=True), dense(16, 2)))
MODEL = make_model(7, spec=SPEC)
WARN = "refused: shape"


class Cut(Sealed):
    """Given to a device that the test holds."""

    def asked(self, device: HandService) -> list[int]:
        """The chunks that are subscribed to."""
        return [n for n in range(self.count) if self.topic(n) in device.link.subscribed]

    def hear(self, device: HandService, *numbers: int) -> None:
        for number in numbers:
            device.hear(self.topic(number), self.chunk(number))


def rest(cut: Cut, model: Model = MODEL, change: Cut | None = None) -> Rest:
    hashes = (cut.hash, None if change is None else change.hash)
    size = None if change is None else len(change.data)
    return Rest(
        model.version, hash_of(model), model.spec, len(cut.data), 600, change_size=size,
        chunked=Chunked(cut.each, *hashes),
    )  # fmt: skip


def named(device: HandService, message: Rest) -> None:
    device.hear(TOPICS.of(Kind.PLAN, "watch", "train"), message)


@pytest.fixture
def cut() -> Cut:
    cut = Cut(MODEL)
    assert cut.count == 4 == WINDOW
    return cut


def count(device: HandService, name: str) -> int:
    return device.service.books.counters().get(name, 0)


def test_model_in_chunks_is_the_same_model(device: HandService, cut: Cut) -> None:
    named(device, rest(cut))
    assert TOPICS.of(Kind.MODEL, "watch", 7) not in device.link.subscribed
    assert cut.asked(device) == [0, 1, 2, 3]
    cut.hear(device, 3, 0, 2)
    assert cut.asked(device) == [1]
    assert not holds(device, MODEL)
    cut.hear(device, 1)
    assert holds(device, MODEL)
    assert device.runner.session.fetch is None
    assert device.service.runners.version == 7
    assert list(device.store.files.chunks.iterdir()) == []


def test_few_chunks_are_asked_for_at_once(device: HandService) -> None:
    """More would come even when conditions do not allow it any more."""
    model = make_model(7, spec=replace(SPEC, layers=(dense(20, 24, relu=True), dense(24, 2))))
    cut = Cut(model)
    assert cut.count > WINDOW
    named(device, rest(cut, model))
    assert cut.asked(device) == list(range(WINDOW))
    cut.hear(device, WINDOW)
    assert count(device, WARN) == 1
    device.disk.waits = True
    cut.hear(device, 1)
    assert cut.asked(device) == [0, 2, 3]  # the next when it is on disk
    device.disk.waits = False
    device.disk.go()
    device.clock.settle()
    assert cut.asked(device) == [0, 2, 3, 4]


@pytest.mark.parametrize("restart", [False, True], ids=["reconnect", "restart"])
def test_only_what_is_missing_is_asked_for_again(
    device: HandService, cut: Cut, restart: bool
) -> None:
    named(device, rest(cut))
    cut.hear(device, 0, 2)
    if restart:
        device.store.close()
        device.boot()
    else:
        device.link.connected = False
        device.service.on_disconnected("lost", 1.0)
        device.link.subscribed.clear()
    device.connect()
    named(device, rest(cut))
    assert cut.asked(device) == [1, 3]
    cut.hear(device, 1, 3)
    assert holds(device, MODEL)


def test_kill_between_the_last_chunk_and_the_model(device: HandService, cut: Cut) -> None:
    named(device, rest(cut))
    cut.hear(device, 0, 1, 2)
    device.disk.waits = True
    cut.hear(device, 3)
    device.disk.go(1)  # it is on disk, and nothing more happens
    device.store.close()
    device.boot()
    device.connect()
    named(device, rest(cut))
    assert cut.asked(device) == []
    assert holds(device, MODEL)


def test_chunks_keep_a_fetch_alive(device: HandService, cut: Cut) -> None:
    named(device, rest(cut))
    for number in range(3):
        device.clock.move(800.0)
        cut.hear(device, number)
    assert cut.asked(device) == [3]
    device.clock.move(901.0)
    assert cut.asked(device) == []
    named(device, rest(cut))
    assert cut.asked(device) == [3]


def test_doubled_chunk_changes_nothing(device: HandService, cut: Cut) -> None:
    named(device, rest(cut))
    cut.hear(device, 0, 0, 1, 1, 0, 2, 3)
    assert holds(device, MODEL)
    assert count(device, WARN) == 0


def test_chunk_that_comes_again_is_written_once(device: HandService, cut: Cut) -> None:
    named(device, rest(cut))
    device.disk.waits = True
    cut.hear(device, 0)
    waiting = device.disk.waiting
    cut.hear(device, 0)
    assert device.disk.waiting == waiting
    device.disk.go()
    device.clock.settle()
    cut.hear(device, 0)
    assert device.disk.waiting == 0
    device.disk.waits = False
    cut.hear(device, 1, 2, 3)
    assert device.service.stall is None
    assert holds(device, MODEL)


def hostile(cut: Cut) -> Iterable[tuple[str, str, Chunk]]:
    """What is wrong, where it is said, what is said: rightly signed, all of it."""
    good = cut.chunk(1)
    other = Cut(make_model(7, seed=3, spec=SPEC))
    yield "of another message", cut.topic(1), other.chunk(1)
    yield "of another size in all", cut.topic(1), replace(good, size=good.size + 1)
    yield "too short", cut.topic(1), replace(good, data=good.data[:-1])
    yield "too long", cut.topic(1), replace(good, data=good.data + b"x")
    yield "the last is as long as the others", cut.topic(3), replace(good, data=good.data)
    yield "beyond the last", cut.topic(4), cut.chunk(0)
    yield "far beyond", TOPICS.of(Kind.CHUNK, "watch", "model", 7, 2**32 - 1), cut.chunk(0)
    yield "of another version", TOPICS.of(Kind.CHUNK, "watch", "model", 8, 1), good
    yield "of a change", TOPICS.of(Kind.CHUNK, "watch", "change", 7, 1), good
    yield "of another task", TOPICS.of(Kind.CHUNK, "other", "model", 7, 1), good


@pytest.mark.parametrize("which", range(10), ids=[what for what, _, _ in hostile(Cut(MODEL))])
def test_chunk_that_was_not_asked_for_is_refused(device: HandService, cut: Cut, which: int) -> None:
    _, topic, chunk = list(hostile(cut))[which]
    named(device, rest(cut))
    device.hear(topic, chunk)
    assert sum(n for name, n in device.service.books.counters().items() if "refused" in name) == 1
    assert cut.asked(device) == [0, 1, 2, 3]
    cut.hear(device, 0, 1, 2, 3)
    assert holds(device, MODEL)


def test_chunk_on_the_topic_of_another_is_refused(device: HandService, cut: Cut) -> None:
    """By whoever runs the MQTT broker: a signature covers the topic."""
    named(device, rest(cut))
    sealed = envelope.seal(cut.chunk(0), TOPICS.bound(cut.topic(0)), ONLINE)
    device.service.on_message(cut.topic(1), sealed, False)
    assert count(device, "refused: signature") == 1


def test_chunk_by_nobody_is_refused(device: HandService, cut: Cut) -> None:
    named(device, rest(cut))
    device.hear(cut.topic(0), cut.chunk(0), SigningKey(b"T" * 32))
    assert count(device, "refused: unknown key") == 1
    assert cut.asked(device) == [0, 1, 2, 3]


def test_large_chunk_that_nobody_asked_for_is_not_hashed(device: HandService) -> None:
    named(device, Rest(7, hash_of(MODEL), SPEC, 1000, 600))
    topic = TOPICS.of(Kind.CHUNK, "watch", "model", 7, 0)
    device.hear(topic, Chunk(b"h" * 32, 100_000, bytes(50_000)))
    assert count(device, "refused: size") == 1


def test_nothing_is_on_disk_of_chunks_beyond_what_was_named(device: HandService, cut: Cut) -> None:
    named(device, rest(cut))
    other = Cut(make_model(8, seed=3, spec=SPEC))
    cut.hear(device, 0, 1)
    named(device, rest(other, make_model(8, seed=3, spec=SPEC)))
    cut.hear(device, 2)
    other.hear(device, 0)
    (task,) = device.store.files.chunks.iterdir()
    (folder,) = task.iterdir()
    assert [path.name for path in folder.iterdir()] == ["0"]
    assert folder.name.startswith(other.hash.hex())
    assert count(device, WARN) == 1


def test_chunks_that_are_damaged_on_disk_are_asked_for_again(
    device: HandService, cut: Cut, caplog: pytest.LogCaptureFixture
) -> None:
    named(device, rest(cut))
    cut.hear(device, 0, 1, 2)
    path = next(device.store.files.chunks.glob("*/*/1"))
    path.write_bytes(bytes(EACH))
    cut.hear(device, 3)
    assert not holds(device, MODEL)
    assert caplog.messages[-2:] == [
        "the chunks for watch are not those of the message that was named",
        "watch: model 7 gives another model",
    ]
    assert count(device, "models of no use") == 1
    device.clock.move(901.0)
    named(device, rest(cut))
    assert cut.asked(device) == [0, 1, 2, 3]
    cut.hear(device, 0, 1, 2, 3)
    assert holds(device, MODEL)


def test_whole_that_is_another_model_is_refused(device: HandService) -> None:
    """By an aggregator that contradicts itself."""
    other = Cut(make_model(7, seed=9, spec=SPEC))
    named(device, rest(other))
    other.hear(device, 0, 1, 2, 3)
    assert count(device, WARN) == 1
    assert count(device, "models of no use") == 1
    assert not holds(device, MODEL)


def test_change_in_chunks_and_after_it_the_model(device: HandService) -> None:
    with_first(device)
    second = on_grid(2, 5)
    change = Cut(replace(change_to(second, 2), steps=bytes(700)))
    whole = Cut(second)
    named(device, rest(whole, second, change))
    assert whole.asked(device) == []
    assert change.asked(device) == list(range(change.count))
    change.hear(device, *range(change.count))
    assert count(device, "models of no use") == 1
    assert whole.asked(device) == list(range(whole.count))
    whole.hear(device, *range(whole.count))
    assert holds(device, second)


def test_aggregator_that_cuts_otherwise_now(device: HandService, cut: Cut) -> None:
    """It was begun again with another largest_packet."""
    named(device, rest(cut))
    cut.hear(device, 0)
    other = Cut(MODEL, each=300)
    assert cut.asked(device) == [1, 2, 3]
    named(device, rest(other))
    assert other.asked(device) == [0, 1, 2, 3]
    cut.hear(device, 1)
    assert count(device, WARN) == 1
    named(device, replace(rest(other), chunked=None))
    assert other.asked(device) == []
    assert TOPICS.of(Kind.MODEL, "watch", 7) in device.link.subscribed
    device.hear(TOPICS.of(Kind.MODEL, "watch", 7), MODEL)
    assert holds(device, MODEL)


@pytest.mark.parametrize("version", [0, 7])
def test_model_that_is_here_is_asked_for_by_nobody_who_cuts_otherwise(
    device: HandService, version: int
) -> None:
    model = make_model(version, spec=SPEC)
    cut, larger = Cut(model), Cut(model, each=2 * EACH)
    named(device, rest(cut, model))
    cut.hear(device, *range(cut.count))
    device.crash()
    device.connect()
    named(device, rest(cut, model))
    named(device, rest(larger, model))
    assert holds(device, model)
    assert larger.asked(device) == []


def test_chunks_of_a_removed_task_go(device: HandService, cut: Cut) -> None:
    device.hear(TOPICS.of(Kind.TASKS), Tasks(3, ()))
    named(device, replace(rest(cut), generation=4))
    cut.hear(device, 0)
    assert list(device.store.files.chunks.iterdir()) != []
    device.hear(TOPICS.of(Kind.TASKS), Tasks(5, ()))
    assert list(device.store.files.chunks.iterdir()) == []
    assert cut.asked(device) == []
