"""Coded updates are read one at a time, of each device one, and no more than there is room for."""

import pytest

from fedling_broker.aggregation.reading import Base
from fedling_broker.rounds.events import UpdateSeen
from fedling_broker.service import reader
from fedling_broker.service.reader import Reader
from fedling_native import coded, dense, weights_size
from fedling_protocol.runtime.worker import raise_
from fedling_protocol.wire import digest
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.messages import Update
from tests.support.ports import HandClock, HandWorker

LAYERS = (dense(3, 4, relu=True), dense(4, 2))
BASE = Base(LAYERS, (-7, -7), target=30)
CHANGE = bytes(range(weights_size(LAYERS)))


class Bench:
    """A reader, whose updates are taken when the test says so."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.worker = HandWorker(self.clock)
        self.taken: list[UpdateSeen] = []
        self.reader = Reader(self.worker, self.taken.append, raise_)

    def add(self, device: str, vector: bytes | None = None) -> bool:
        return self.reader.add(BASE, update(device, vector))


def update(device: str, vector: bytes | None = None) -> UpdateSeen:
    """Of this device; by default a vector that it encoded."""
    seed = digest.codec_seed(b"plan", device)
    said = coded.encode(LAYERS, (-7, -7), CHANGE, 30, seed) if vector is None else vector
    return UpdateSeen(
        device, Update(b"plan", 7, b"model", 9, Codec.CODED, said, 0, 1), said, device.encode()
    )


def test_one_is_read_at_a_time_in_the_order_in_which_they_came() -> None:
    bench = Bench()
    assert all(bench.add(device) for device in "abc")
    for count in (1, 2, 3):
        bench.clock.settle()
        assert [event.device for event in bench.taken] == list("abc")[:count]
        bench.reader.next()
    assert all(event.read is not None and not event.unreadable for event in bench.taken)
    assert bench.add("a")
    bench.clock.settle()
    assert len(bench.taken) == 4


def test_who_comes_while_one_is_read_waits_and_none_is_read_twice() -> None:
    bench = Bench()
    bench.worker.waits = True
    for device in "ab":
        assert bench.add(device)
        assert bench.worker.waiting == 1
    bench.worker.go()
    bench.clock.settle()
    assert bench.add("c")
    assert bench.worker.waiting == 0  # until what was read is taken
    for count in (1, 1, 0):
        bench.reader.next()
        assert bench.worker.waiting == count
        bench.worker.go()
        bench.clock.settle()
    assert [event.device for event in bench.taken] == list("abc")
    assert bench.add("a")  # it begins by itself again
    assert bench.worker.waiting == 1


def test_room_is_as_large_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    size = len(update("a", bytes(40)).message)
    monkeypatch.setattr(reader, "MOST_UNREAD", 2 * size)
    assert [bench.add(device, bytes(40)) for device in "abc"] == [True, True, False]
    bench.clock.settle()
    assert [bench.add(device, bytes(40)) for device in "cd"] == [True, False]


def test_what_is_read_is_what_the_device_encoded() -> None:
    bench = Bench()
    bench.add("a")
    bench.clock.settle()
    (event,) = bench.taken
    assert event.read is not None
    assert event.read.sizes == BASE.read("a", event.update).sizes
    assert event.read.sizes.examples == 9


@pytest.mark.parametrize("vector", [b"\1", b"\2" * 20, b"\0" * 40])
def test_what_no_encoder_wrote_is_told_unreadable(vector: bytes) -> None:
    bench = Bench()
    bench.add("a", vector)
    bench.add("b")
    bench.clock.settle()
    bench.reader.next()
    bench.clock.settle()
    assert [(e.unreadable, e.read is None) for e in bench.taken] == [(True, True), (False, False)]


def test_a_device_has_one_here(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    assert bench.add("a")
    assert not bench.add("a")
    monkeypatch.setattr(reader, "MOST_UNREAD", 3 * len(update("a").message))
    assert [bench.add(device) for device in "bcdef"].count(True) <= 2
    bench.clock.settle()
    assert bench.add("a")


def test_after_close_nothing_is_taken() -> None:
    bench = Bench()
    bench.add("a")
    bench.add("b")
    bench.reader.close()
    bench.clock.settle()
    assert bench.taken == []
    bench.reader.next()
    assert bench.worker.waiting == 0
