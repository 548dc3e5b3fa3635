"""Bytes at the socket, by round: two tasks do not mix, and nothing is lost on a full disk."""

from pathlib import Path

import pytest

from fedling_agent.conditions.used import HOURS, Hour, Used
from fedling_agent.service.books import KEPT_BYTES, KEPT_WORK_MS, Books, day_of
from fedling_agent.service.writer import Writer
from fedling_agent.store.ledger import KEPT_DAYS
from fedling_agent.store.ledger import Traffic as Row
from fedling_agent.store.store import Store
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.net.framing import publish_size
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.wire import counted
from fedling_protocol.wire.kinds import Kind
from tests.support.ports import HandClock, HandWorker

ONE, TWO = b"1" * 16, b"2" * 16


class Bench:
    def __init__(self, directory: Path) -> None:
        self.store = Store(directory)
        self.clock = HandClock()
        self.disk = HandWorker(self.clock)
        self.refused: list[Exception] = []
        self.used = Used()
        writer = Writer(self.disk, self.refused.append)
        self.books = Books(self.clock, self.store.ledger, writer, self.used)

    def close(self) -> None:
        self.books.close()
        self.clock.settle()

    @property
    def rows(self) -> dict[bytes | None, tuple[int, int]]:
        return {row.plan_id: (row.sent, row.received) for row in self.store.ledger.traffic()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_messages_of_two_tasks_are_booked_on_their_own_rounds(bench: Bench) -> None:
    """They were booked on the plan spoken of last."""
    bench.books.on_sent(Kind.UPDATE, ONE, "t", 100)
    bench.books.on_sent(Kind.UPDATE, TWO, "t", 200)
    bench.books.on_received(Kind.MODEL, ONE, "t", 50)
    bench.books.on_socket(Traffic(400, 90))
    bench.close()
    packet = 2 + 2 + 1 + 2  # header, length of the topic, topic, packet id; one more from 128 bytes
    assert bench.rows == {
        ONE: (100 + packet, 50 + packet),
        TWO: (200 + packet + 1, 0),
        None: (400 - 300 - 2 * packet - 1, 90 - 50 - packet),
    }
    counters = bench.store.ledger.counters()
    assert counters["bytes sent: update"] == 300 + 2 * packet + 1
    assert counters["bytes received: model"] == 50 + packet


def test_sum_of_all_rows_is_what_the_socket_has_counted(bench: Bench) -> None:
    """Also when a message was booked that has not left yet."""
    bench.books.on_sent(Kind.UPDATE, ONE, "topic", 70_000)
    bench.close()
    bench.books.on_socket(Traffic(70_500, 0))
    bench.close()
    assert sum(sent for sent, _ in bench.rows.values()) == 70_500


def test_full_disk_loses_no_count(bench: Bench) -> None:
    bench.disk.broken = OSError(28, "No space left on device")
    bench.disk.broken = CannotWrite("byte counts", "the disk is full")
    bench.books.count("refused: size", 2)
    bench.books.on_socket(Traffic(10, 20))
    bench.close()
    assert len(bench.refused) == 1
    bench.disk.broken = None
    bench.books.count("refused: size")
    bench.books.on_socket(Traffic(1, 2))
    bench.close()
    assert bench.store.ledger.counters() == {"refused: size": 3}
    assert bench.rows == {None: (11, 22)}


def test_counts_while_the_disk_writes_are_not_lost(bench: Bench) -> None:
    bench.disk.waits = True
    bench.books.count("a")
    bench.books.close()
    bench.books.count("a")
    assert bench.books.pending() == []
    bench.disk.go()
    bench.close()
    bench.disk.go()
    bench.clock.settle()
    assert bench.store.ledger.counters() == {"a": 2}


def test_pending_is_what_is_not_written(bench: Bench) -> None:
    bench.books.on_socket(Traffic(5, 6))
    (row,) = bench.books.pending()
    assert row == Row(row.day, None, 5, 6)
    bench.close()
    assert bench.books.pending() == []


def test_what_the_day_has_cost_is_written_with_them_and_read_again(bench: Bench) -> None:
    bench.books.on_socket(Traffic(70, 30))
    bench.used.work(1.5)
    bench.close()
    assert bench.store.ledger.used() == [Hour(0, 1500, 100)]
    for _ in range(HOURS):
        bench.used.next_hour()
        bench.books.on_socket(Traffic(1, 0))
        bench.close()
    kept = Used()
    kept.load(bench.store.ledger.used())
    assert [hour.number for hour in kept.hours] == list(range(1, HOURS + 1))
    assert (kept.work_ms, kept.bytes) == (0, HOURS)


def test_nothing_new_is_not_written_again(bench: Bench) -> None:
    bench.books.on_socket(Traffic(70, 30))
    bench.close()
    bench.disk.broken = CannotWrite("anything", "it is not asked to")
    bench.close()
    assert bench.refused == []


def test_counters_are_those_on_disk_and_those_that_wait_in_the_order_of_their_names(
    bench: Bench,
) -> None:
    bench.books.on_sent(Kind.JOIN, None, "topic", 10)
    bench.books.count("stalls")
    bench.close()
    bench.books.on_received(Kind.PLAN, None, "topic", 20)
    bench.books.count("stalls", 2)
    sent, received = publish_size("topic", 10), publish_size("topic", 20)
    assert list(bench.books.counters().items()) == sorted(
        {counted.sent(Kind.JOIN): sent, counted.received(Kind.PLAN): received, "stalls": 3}.items()
    )
    assert bench.store.ledger.counters()["stalls"] == 1
    assert bench.books.pending() == []  # of no round is what the socket tells


def test_what_is_booked_on_a_round_is_taken_from_what_is_of_none(bench: Bench) -> None:
    bench.books.on_sent(Kind.UPDATE, ONE, "topic", 100)
    bench.books.on_received(Kind.RECEIPT, ONE, "topic", 30)
    sent, received = publish_size("topic", 100), publish_size("topic", 30)
    today = day_of(bench.clock.wall())
    assert bench.books.pending() == [
        Row(today, ONE, sent, received),
        Row(today, None, -sent, -received),
    ]
    bench.clock.move(86_400)
    bench.books.on_socket(Traffic(1, 2))
    tomorrow = day_of(bench.clock.wall())
    assert tomorrow > today
    assert bench.books.pending()[2:] == [Row(tomorrow, None, 1, 2)]


def test_what_a_kill_would_give_back_of_a_day_is_bounded(bench: Bench) -> None:
    """Bytes and work each by themselves; after each write they count anew."""
    for _ in range(2):
        written = bench.store.ledger.used()
        bench.books.on_socket(Traffic(KEPT_BYTES - 2, 1))
        bench.clock.settle()
        assert bench.store.ledger.used() == written
        bench.books.on_socket(Traffic(0, 1))
        bench.clock.settle()
        assert bench.store.ledger.used() == bench.used.hours
    for _ in range(2):
        written = bench.store.ledger.used()
        bench.books.on_work(KEPT_WORK_MS / 1000 - 0.001)
        bench.clock.settle()
        assert bench.store.ledger.used() == written
        bench.books.on_work(0.001)
        bench.clock.settle()
        assert bench.store.ledger.used() == bench.used.hours


def test_after_a_start_a_kill_gives_back_no_more_than_before(bench: Bench) -> None:
    bench.books.on_socket(Traffic(KEPT_BYTES - 1, 0))
    bench.close()
    bench.used = Used()
    writer = Writer(bench.disk, bench.refused.append)
    bench.books = Books(bench.clock, bench.store.ledger, writer, bench.used)
    bench.books.load()
    bench.disk.broken = CannotWrite("anything", "it is not asked to")
    bench.close()  # nothing is new
    assert bench.refused == []
    bench.disk.broken = None
    bench.books.on_socket(Traffic(1, 0))
    assert bench.store.ledger.used() == [Hour(0, 0, KEPT_BYTES - 1)]
    bench.books.on_socket(Traffic(KEPT_BYTES - 1, 0))
    assert bench.store.ledger.used() == [Hour(0, 0, 2 * KEPT_BYTES - 1)]


def test_use_of_a_day_that_the_disk_refused_is_written_though_nothing_else_is_new(
    bench: Bench,
) -> None:
    bench.used.work(2.0)
    bench.disk.broken = CannotWrite("byte counts", "the disk is full")
    bench.close()
    bench.disk.broken = None
    bench.close()
    assert bench.store.ledger.used() == [Hour(0, 2000, 0)]


def test_memory_holds_the_rounds_of_some_days(bench: Bench) -> None:
    """However many there are between two writes."""
    most = 0
    for number in range(3 * KEPT_DAYS):
        bench.books.on_sent(Kind.JOIN, number.to_bytes(16, "big"), "topic", 10)
        most = max(most, len(bench.books.pending()))
    assert most == KEPT_DAYS + 1  # they are not written one by one
