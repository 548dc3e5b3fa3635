"""What went through the socket, by day and round, and what was counted; written now and then.

The socket knows how many bytes, the messages know of which round they are. So a message's packet
is booked on its round and taken from what is of no round: rows may be below zero for a moment
(booked, not sent yet), their sum is what the socket has counted.
"""

from collections import Counter
from functools import lru_cache

from fedling_agent.conditions.used import Hour, Used
from fedling_agent.service.writer import Writer, ignore
from fedling_agent.store.ledger import KEPT_DAYS, Ledger
from fedling_agent.store.ledger import Traffic as Row
from fedling_protocol.moments import day
from fedling_protocol.net.framing import publish_size
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.wire import counted
from fedling_protocol.wire.kinds import Kind

KEPT_WORK_MS, KEPT_BYTES = 600_000, 50_000_000  # of a day's use, that a kill may give back

Key = tuple[str, bytes | None]  # of a day, of a plan


def day_of(wall_s: float) -> str:
    """Of a Unix time, where this device is: 2026-03-01."""
    return _day_of_minute(int(wall_s // 60))  # no day begins within a minute


@lru_cache(maxsize=16)
def _day_of_minute(minutes: int) -> str:
    return day(60 * minutes)


class Books:
    """Keeps counts in memory until close(): telemetry must not wear out an SD card."""

    def __init__(self, clock: Clock, ledger: Ledger, writer: Writer, used: Used) -> None:
        """used: what the day has cost: bytes are added to it, and it is written as well"""
        self._clock = clock
        self._ledger = ledger
        self._writer = writer
        self._used = used
        self._traffic: dict[Key, list[int]] = {}  # bytes sent and received
        self._counts: Counter[str] = Counter()
        self._kept: list[Hour] = []  # as they are on disk
        self._much = self._limits()

    def load(self) -> None:
        """Go on with what the day had cost before. Raises BadDatabase."""
        self._used.load(self._ledger.used())
        self._kept, self._much = list(self._used.hours), self._limits()

    def count(self, name: str, n: int = 1) -> None:
        """Add to a counter."""
        self._counts[name] += n

    def on_socket(self, traffic: Traffic) -> None:
        """Bytes that went through the socket."""
        self._used.move(traffic.sent + traffic.received)
        self._keep_if_much()
        self._add((day_of(self._clock.wall()), None), traffic.sent, traffic.received)

    def on_work(self, seconds: float) -> None:
        """Hear what a training child took of a processor."""
        self._used.work(seconds)
        self._keep_if_much()

    def on_sent(self, kind: Kind, plan_id: bytes | None, topic: str, size: int) -> None:
        """A message of so many bytes was handed to the link."""
        packet = publish_size(topic, size)
        self.count(counted.sent(kind), packet)
        self._book(plan_id, packet, 0)

    def on_received(self, kind: Kind, plan_id: bytes | None, topic: str, size: int) -> None:
        """A message of so many bytes has come."""
        packet = publish_size(topic, size)
        self.count(counted.received(kind), packet)
        self._book(plan_id, 0, packet)

    def pending(self) -> list[Row]:
        """What close() would write now."""
        return [Row(*key, *moved) for key, moved in self._traffic.items()]

    def counters(self) -> dict[str, int]:
        """All counters, with what is not written yet."""
        totals = Counter(self._ledger.counters()) + self._counts
        return dict(sorted(totals.items()))

    def close(self) -> None:
        """Have all of it written; what the disk refuses is kept for the next time."""
        rows, counts, hours = self.pending(), dict(self._counts), list(self._used.hours)
        if not rows and not counts and hours == self._kept:
            return
        self._kept, self._much = hours, self._limits()
        self._traffic.clear()
        self._counts.clear()

        def give_back(_error: Exception) -> None:
            for row in rows:
                self._add((row.day, row.plan_id), row.sent, row.received)
            self._counts.update(counts)
            self._kept = []

        self._writer.do(lambda: self._ledger.add(rows, counts, hours), ignore, give_back)

    def _limits(self) -> tuple[int, int]:
        return self._used.work_ms + KEPT_WORK_MS, self._used.bytes + KEPT_BYTES

    def _keep_if_much(self) -> None:
        """Whoever kills the service again and again gives little of a day back."""
        work_ms, moved = self._much
        if self._used.work_ms >= work_ms or self._used.bytes >= moved:
            self.close()

    def _book(self, plan_id: bytes | None, sent: int, received: int) -> None:
        if len(self._traffic) > KEPT_DAYS:
            self.close()
        if plan_id is not None:
            today = day_of(self._clock.wall())
            self._add((today, plan_id), sent, received)
            self._add((today, None), -sent, -received)

    def _add(self, key: Key, sent: int, received: int) -> None:
        moved = self._traffic.get(key)
        if moved is None:
            self._traffic[key] = [sent, received]
        else:
            moved[0] += sent
            moved[1] += received
