"""Drives a training child as the agent does: leases, pauses, kills."""

import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fedling_agent.training.job import Job
from fedling_agent.training.process import Asked, ChildEvent, Exited, Note, Step, TrainingProcess

PATIENCE_S = 60.0
LONG_NS = 3600 * 10**9
ONE_BATCH = 1e-9  # a duty: after one batch the child sleeps until it is stopped


@dataclass(slots=True)
class Child:
    """A started child and all that it has said."""

    job: Job
    duty: float = 1.0
    checkpoint_s: float = 300.0
    lease_ns: int | None = LONG_NS  # from now, on every ask; None: asks are not answered
    events: list[ChildEvent] = field(default_factory=list)
    process: TrainingProcess = field(init=False)

    def __post_init__(self) -> None:
        self.process = TrainingProcess(self.job, duty=self.duty, checkpoint_s=self.checkpoint_s)
        self.process.start()

    def until(self, condition: Callable[[ChildEvent], bool]) -> ChildEvent:
        """Serve until it says such a thing."""
        end = time.monotonic() + PATIENCE_S
        while True:
            ready, _, _ = select.select([self.process.fileno()], [], [], PATIENCE_S)
            assert ready, self.events
            assert time.monotonic() < end, self.events
            news = self.process.on_readable()
            self.events += news
            for event in news:
                if isinstance(event, Asked) and self.lease_ns is not None:
                    self.process.grant(self.lease_ns / 1e9)
            for event in news:
                if condition(event):
                    return event
                assert not isinstance(event, Exited), self.events

    def exit_code(self) -> int:
        """Serve until it is gone."""
        if self.events and isinstance(self.events[-1], Exited):
            return self.events[-1].code
        event = self.until(lambda event: isinstance(event, Exited))
        assert isinstance(event, Exited)
        return event.code

    def until_step(self, number: int) -> None:
        self.until(lambda event: isinstance(event, Step) and event.done >= number)

    @property
    def steps(self) -> list[int]:
        return [event.done for event in self.events if isinstance(event, Step)]

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Note)]
