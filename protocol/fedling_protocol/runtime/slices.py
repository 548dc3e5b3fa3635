"""Long work in short slices, so that it never holds the loop that runs it."""

from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from fedling_protocol.runtime.loop import Clock, Timer

T = TypeVar("T")

Slices = Generator[None, None, T]
"""Work that pauses (yields) every few milliseconds or more often and returns a T at its end.

The loop takes as many slices in a turn as it has time for. close() ends it at a pause: it holds
nothing but memory, so nothing is left behind.
"""

TURN_S = 0.01  # slices of one work run for so long in a turn, then the loop serves others


def finish(slices: Slices[T]) -> T:
    """Run all slices at once, where nobody waits for the loop: commands and tests."""
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            result: T = stop.value
            return result


class Sliced(Generic[T]):
    """Runs slices in the turns of a loop, until they end or are cancelled."""

    def __init__(
        self,
        clock: Clock,
        slices: Slices[T],
        then: Callable[[T], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Begin in the next turn. failed: told what a slice raised."""
        self._clock = clock
        self._slices = slices
        self._then = then
        self._failed = failed
        self._timer: Timer | None = clock.after(0, self._run)

    def cancel(self) -> None:
        """End it: nothing more of it is run or told."""
        if self._timer is not None:
            self._timer.cancel()
        self._slices.close()

    def _run(self) -> None:
        self._timer = None  # they hold each other: what has ended would wait for the collector
        until = self._clock.now() + TURN_S
        try:
            while self._clock.now() < until:
                next(self._slices)
        except StopIteration as stop:
            self._then(stop.value)
        except Exception as error:  # noqa: BLE001 (told to who began it, who raises what is a bug)
            self._failed(error)
        else:
            self._timer = self._clock.after(0, self._run)
