"""One thread's event loop: file descriptors by a selector, timers by a heap, signals by a pipe.

It sleeps until the next due timer or event and never wakes without a reason: on a board every
wake-up costs energy. Callbacks run one after another, to the end. Whatever only needs time takes a
Clock, so that a simulation can give it another one.
"""

import heapq
import itertools
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from functools import partial
from types import FrameType
from typing import Protocol

from fedling_protocol.classes import dataclass

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

# epoll counts whole milliseconds in an int; a day is far beyond any timer of ours.
LONGEST_SLEEP_S = 86_400.0

Handler = Callable[[int, FrameType | None], object] | int  # as signal.signal() takes it


@dataclass(slots=True)
class Timer:
    """A call that is due at a time; cancel() takes it back."""

    due: float  # in the time of Clock.now
    call: Callable[[], None]
    cancelled: bool = field(default=False)

    def cancel(self) -> None:
        self.cancelled = True


class Clock(Protocol):
    """Time and timers, real or simulated."""

    def now(self) -> float:
        """Tell seconds since boot, time asleep included: who was suspended is late, not early."""

    def wall(self) -> float:
        """Tell Unix time, for people only: a board without a clock battery invents it."""

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call once, when so many seconds are over; not before this callback has returned."""

    def at(self, due: float, call: Callable[[], None]) -> Timer:
        """Call once, when now() has reached `due`."""

    def on_error(self, told: Callable[[Exception], None]) -> None:
        """Tell what a callback raised, and go on; until then it ends whoever runs the callbacks."""


class Loop:
    """Runs callbacks until stop() is called. A Clock in real time."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()  # timers of one instant run in the order they were made
        self._stopped = False
        self._signals: dict[int, Callable[[], None]] = {}
        self._before: dict[int, Handler] = {}  # what they did when nobody listened here
        self._posted: deque[Callable[[], None]] = deque()
        self._told: Callable[[Exception], None] | None = None  # what a callback raised
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self.watch(self._wake_read.fileno(), READ, self._on_wake)

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        return time.time()

    def watch(self, fd: int, events: int, call: Callable[[int], None]) -> None:
        """Call with the ready events whenever fd is ready for one; replaces an earlier watch."""
        try:
            self._selector.modify(fd, events, call)
        except KeyError:
            self._selector.register(fd, events, call)

    def unwatch(self, fd: int) -> None:
        """Watch fd no longer; before it is closed. It need not be watched."""
        with suppress(KeyError):
            self._selector.unregister(fd)

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        return self.at(self.now() + seconds, call)

    def at(self, due: float, call: Callable[[], None]) -> Timer:
        timer = Timer(due, call)
        heapq.heappush(self._timers, (due, next(self._order), timer))
        return timer

    def on_error(self, told: Callable[[Exception], None]) -> None:
        self._told = told

    def post(self, call: Callable[[], None]) -> None:
        """Call from the loop, soon. The only method that another thread may use."""
        self._posted.append(call)
        with suppress(BlockingIOError, OSError):  # full: it wakes anyway; closed: nobody listens
            self._wake_write.send(b"\0")

    def on_signal(self, number: signal.Signals, call: Callable[[], None]) -> None:
        """Call from the loop, not from the handler: nothing is interrupted half done."""
        self._signals[number] = call
        before = signal.signal(number, _nothing)
        self._before.setdefault(number, before or signal.SIG_DFL)
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})  # who began anew kept them waiting

    def hold_signals(self) -> None:
        """Take in those that have come; later ones wait for a loop, or for one of these two."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        self._take_signals()

    def release_signals(self) -> None:
        """Have those that wait, and later ones, act as they did before; after close()."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)

    def drop_signals(self) -> None:
        """Forget those that wait: they came for who has ended. Later ones act as before."""
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_IGN)  # whatever waits is dropped by this
            signal.signal(number, before)
        self.release_signals()

    def on_end(self, call: Callable[[], None]) -> None:
        """Call when this process is told to end.

        A terminal that is closed says so, too, unless we were started with nohup.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self.on_signal(number, call)

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        """Run callbacks until stop() is called."""
        while not self._stopped:
            self.turn()

    def turn(self, longest_s: float = LONGEST_SLEEP_S) -> None:
        """Sleep once, and do what it woke for."""
        for key, events in self._selector.select(min(self._sleep_s(), longest_s)):
            current = self._selector.get_map().get(key.fd)
            if current is not None and current.data is key.data:  # not unwatched meanwhile
                self._run(partial(key.data, events))
        self._run_due()

    def close(self) -> None:
        """Give back what the loop itself holds."""
        if self._signals:
            signal.set_wakeup_fd(-1)
        for number, before in self._before.items():
            signal.signal(number, before)
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()

    def _sleep_s(self) -> float:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        if not self._timers:
            return LONGEST_SLEEP_S
        return max(0.0, self._timers[0][0] - self.now())

    def _run_due(self) -> None:
        moment = self.now()  # once: a timer set by a callback waits for the next turn
        while self._timers and self._timers[0][0] <= moment:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled:
                self._run(timer.call)

    def _run(self, call: Callable[[], object]) -> None:
        """A callback that fails is no reason to call no other."""
        try:
            call()
        except Exception as error:
            if self._told is None:
                raise
            self._told(error)

    def _on_wake(self, _events: int) -> None:
        """A byte is the number of a signal, or 0 for what another thread has posted."""
        self._take_signals()
        for _ in range(len(self._posted)):
            self._run(self._posted.popleft())

    def _take_signals(self) -> None:
        try:
            numbers = self._wake_read.recv(4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number:
                self._run(self._signals[number])


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """A handler must exist so that the byte is written to the wake-up socket."""
