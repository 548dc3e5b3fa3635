"""Long work in short slices, so that it never holds the loop that runs it."""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Slices = Generator[None, None, T]
"""Work that pauses (yields) every few milliseconds or more often and returns a T at its end.

The loop takes as many slices in a turn as it has time for. close() ends it at a pause: it holds
nothing but memory, so nothing is left behind.
"""


def finish(slices: Slices[T]) -> T:
    """All slices at once, where nobody waits for the loop: commands and tests."""
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            result: T = stop.value
            return result
