"""A Worker in virtual time, and the moments at which its process may be killed."""

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import TypeVar

from fedling_protocol.runtime.worker import Failed
from fedling_sim.virtual.clock import Killed, NodeClock

T = TypeVar("T")

BLOCKED_S = 0.001  # a call that has to wait tries again after so long


class Moment(Enum):
    """Where a process may be killed by what it does itself."""

    BEFORE_CALL = auto()  # a worker's call is not begun
    AFTER_CALL = auto()  # it is done, and the process has not heard of it
    BEFORE_PUBLISH = auto()  # a message is not given to the link
    AFTER_PUBLISH = auto()  # it is, and its bytes have not left the board


Hook = Callable[[Moment], None]
"""Called at each such moment; may raise Killed."""


class Fuse:
    """A Hook that counts moments and kills at the k-th of them.

    blow_at: k, from 1; None: it only counts
    bury: what becomes of the process
    kinds: the moments that count
    """

    def __init__(
        self,
        blow_at: int | None,
        bury: Callable[[], None],
        kinds: frozenset[Moment] = frozenset(Moment),
    ) -> None:
        self.count = 0
        self._blow_at = blow_at
        self._bury = bury
        self._kinds = kinds

    def __call__(self, moment: Moment) -> None:
        if moment in self._kinds:
            self.count += 1
            if self.count == self._blow_at:
                raise Killed(self._bury)


class VirtualWorker:
    """Runs calls one after another; what came of each is told from the process's clock.

    latency: draws the seconds that a call takes: it has its effect after half of them. None: calls
    take no time, and are run in do().
    blocked: whether a call has to wait, as a thread waits for a lock; asked again and again
    """

    def __init__(
        self,
        clock: NodeClock,
        latency: Callable[[], float] | None = None,
        hook: Hook | None = None,
        blocked: Callable[[], bool] | None = None,
    ) -> None:
        self._clock = clock
        self._latency = latency
        self._blocked = blocked or _never
        self._hook = hook or _nothing
        self._waiting: deque[Callable[[], Callable[[], None]]] = deque()
        self._busy = False
        self._closed = False

    def do(self, call: Callable[[], T], then: Callable[[T], None], failed: Failed) -> None:
        if self._latency is None:
            self._clock.after(0, self._run(call, then, failed))
            return
        self._waiting.append(partial(self._run, call, then, failed))
        if not self._busy:
            self._begin(self._latency() / 2)

    def close(self) -> None:
        self._closed = True
        while self._waiting:
            self._waiting.popleft()()

    def _begin(self, half_s: float) -> None:
        self._busy = True
        self._clock.after(half_s, partial(self._take_effect, half_s))

    def _take_effect(self, half_s: float) -> None:
        if not self._closed and self._blocked():
            self._clock.after(BLOCKED_S, partial(self._take_effect, half_s))
        elif not self._closed:
            tell = self._waiting.popleft()()
            self._clock.after(half_s, partial(self._end, tell))

    def _end(self, tell: Callable[[], None]) -> None:
        if self._closed:
            return
        self._busy = False
        if self._waiting and self._latency is not None:
            self._begin(self._latency() / 2)
        tell()

    def _run(
        self, call: Callable[[], T], then: Callable[[T], None], failed: Failed
    ) -> Callable[[], None]:
        """How to tell what came of the call."""
        self._hook(Moment.BEFORE_CALL)
        try:
            tell = partial(then, call())
        except Exception as error:  # noqa: BLE001 (told in the loop, which raises what it does not know)
            tell = partial(failed, error)
        self._hook(Moment.AFTER_CALL)
        return tell


def _never() -> bool:
    return False


def _nothing(_moment: Moment) -> None:
    """Nobody wants to kill."""
