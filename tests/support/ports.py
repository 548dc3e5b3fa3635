"""Ports by hand: time that a test moves, a link that a test holds, a disk that waits for it."""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from fedling_protocol.net.ports import Done, Owner, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime.loop import Timer
from fedling_protocol.runtime.worker import Failed

T = TypeVar("T")


class HandClock:
    """A Clock that stands still until it is moved."""

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._told: Callable[[Exception], None] | None = None

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return 1_790_000_000.0 + self._now

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        return self.at(self._now + seconds, call)

    def at(self, due: float, call: Callable[[], None]) -> Timer:
        timer = Timer(due, call)
        heapq.heappush(self._timers, (due, next(self._order), timer))
        return timer

    def on_error(self, told: Callable[[Exception], None]) -> None:
        self._told = told

    def _call(self, timer: Timer) -> None:
        try:
            timer.call()
        except AssertionError:
            raise  # of a test
        except Exception as error:
            if self._told is None:
                raise
            self._told(error)

    def move(self, seconds: float) -> None:
        """Let time pass; what is due is called in order."""
        self.move_to(self._now + seconds)

    def move_to(self, until: float) -> None:
        """Let time pass until then; what is due is called in order."""
        while self._timers and self._timers[0][0] <= until:
            due, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, due)
            if not timer.cancelled:
                self._call(timer)
        self._now = until

    def settle(self) -> None:
        """Everything that is due now, and what that brings about."""
        self.move(0.0)

    def stall(self, seconds: float) -> None:
        """Let time pass in which nothing is called: whoever calls this holds the loop."""
        self._now += seconds

    @property
    def next_due(self) -> float:
        """When the next timer is due."""
        return min(due for due, _, timer in self._timers if not timer.cancelled)

    @property
    def waiting(self) -> int:
        """How many timers are set."""
        return sum(not timer.cancelled for _, _, timer in self._timers)


class HandWorker:
    """A Worker whose disk waits until the test says go()."""

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock
        self._calls: deque[Callable[[], None]] = deque()
        self.waits = False  # True: calls wait for go()
        self.broken: Exception | None = None  # raised instead of each call

    def do(self, call: Callable[[], T], then: Callable[[T], None], failed: Failed) -> None:
        def run() -> None:
            try:
                if self.broken is not None:
                    raise self.broken
                result = call()
            except Exception as error:  # noqa: BLE001 (told, as a worker does)
                told = error
                self._clock.after(0, lambda: failed(told))
            else:
                self._clock.after(0, lambda: then(result))

        self._calls.append(run)
        if not self.waits:
            self.go()

    def go(self, calls: int | None = None) -> None:
        """Let so many calls happen, or all."""
        for _ in range(len(self._calls) if calls is None else calls):
            self._calls.popleft()()

    @property
    def waiting(self) -> int:
        return len(self._calls)

    def close(self) -> None:
        self.go()


@dataclass(frozen=True, slots=True)
class Published:
    """A message that was handed to the link."""

    topic: str
    payload: bytes
    retain: bool
    done: Done | None
    cut: Done | None


class HandLink:
    """A Link whose broker is the test."""

    def __init__(self, owner: Owner | None = None) -> None:
        self.owner = owner
        self.connected = False
        self.revoked = False
        self.sending = False
        self.receiving = 0
        self.refused: tuple[str, ...] = ()
        self.published: list[Published] = []
        self.subscribed: list[str] = []
        self.said: list[str] = []
        self.traffic: Traffic | None = None  # since it was last taken

    def start(self) -> None:
        self.said.append("start")

    def stop(self, last_word: Will | None, done: Done) -> None:
        if last_word is not None and self.connected:
            self.publish(last_word.topic, last_word.payload, retain=True)
        done()

    def reconnect(self, reason: str) -> None:
        self.said.append(reason)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        done: Done | None = None,
        cut: Done | None = None,
    ) -> bool:
        if self.connected:
            self.published.append(Published(topic, payload, retain, done, cut))
        return self.connected

    def subscribe(self, topics: Iterable[str]) -> None:
        if self.connected:
            self.subscribed += topics

    def unsubscribe(self, topics: Iterable[str]) -> None:
        self.subscribed = [topic for topic in self.subscribed if topic not in list(topics)]

    def take_traffic(self) -> None:
        if self.traffic is not None and self.owner is not None:
            self.owner.on_traffic(self.traffic)
        self.traffic = None
