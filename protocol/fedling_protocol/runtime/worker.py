"""Work beside the loop: what may block (a disk, a name server, a slow sensor) holds no callback up.

A worker runs its calls one after another. What came of each is told in the loop, in the same order.
"""

import queue
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from fedling_protocol.runtime.loop import Clock, Loop

T = TypeVar("T")

Failed = Callable[[Exception], None]


class Worker(Protocol):
    """Runs calls one after another, in the order in which they were asked for."""

    def do(self, call: Callable[[], T], then: Callable[[T], None], failed: Failed) -> None:
        """Run `call` beside the loop; the loop then calls `then` or `failed`, never this method."""

    def close(self) -> None:
        """Finish what was asked for; what comes of it is told no more."""


class ThreadWorker:
    """A Worker with one thread, which is made when it is first needed.

    patient: whether close() waits for the last call. A write must end; a look-up may be left.
    """

    def __init__(self, loop: Loop, name: str, *, patient: bool = True) -> None:
        self._loop = loop
        self._name = name
        self._patient = patient
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def do(self, call: Callable[[], T], then: Callable[[T], None], failed: Failed) -> None:
        if self._thread is None:
            # A daemon: a process that is told to end does not wait for a name server.
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._calls.put(partial(self._call, call, then, failed))

    def close(self) -> None:
        self._closed = True
        self._calls.put(None)
        if self._thread is not None and self._patient:
            self._thread.join()

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the loop's
        while (call := self._calls.get()) is not None:
            call()
            del call  # and what it holds, however long the next one takes to come

    def _call(self, call: Callable[[], T], then: Callable[[T], None], failed: Failed) -> None:
        try:
            tell = partial(then, call())
        except Exception as error:  # noqa: BLE001 (told in the loop, which raises what it does not know)
            tell = partial(failed, error)
        if not self._closed:
            self._loop.post(tell)


class InlineWorker:
    """A Worker without a thread: for a command that has no loop to hold up, and for simulations."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def do(self, call: Callable[[], T], then: Callable[[T], None], failed: Failed) -> None:
        try:
            tell = partial(then, call())
        except Exception as error:  # noqa: BLE001 (as above)
            tell = partial(failed, error)
        self._clock.after(0, tell)

    def close(self) -> None:
        pass


def raise_(error: Exception) -> None:
    """A `failed` for calls that cannot fail: it is a bug, and its traceback says where."""
    raise error
