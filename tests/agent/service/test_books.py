"""Bytes at the socket, by round: two tasks do not mix, and nothing is lost on a full disk."""

from pathlib import Path

import pytest

from fedling_agent.conditions.used import HOURS, Hour, Used
from fedling_agent.service.books import Books
from fedling_agent.service.writer import Writer
from fedling_agent.store.ledger import Traffic as Row
from fedling_agent.store.store import Store
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.net.tcpinfo import Traffic
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
