"""Cuts recordings into windows, and parts them into training and hold-out by blocks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fedling_agent.recordings import Recording, Recordings, Span
from fedling_protocol.messages import TaskSpec, Training


@dataclass(frozen=True, slots=True)
class Example:
    """One window: (recording id, first sample) is its id."""

    recording: str
    first: int
    revision: int  # of the span that labels all of it
    label: int  # class
