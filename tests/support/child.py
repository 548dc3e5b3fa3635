"""Drives a training child as the agent does: leases, pauses, kills."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fedling_agent.training.job import Job
from fedling_agent.training.process import Asked, ChildEvent, ChildProcess, Exited, Note, Step
from fedling_protocol.runtime.loop import Loop
from tests.support.waiting import PATIENCE_S

LONG_S = 3600.0
ONE_BATCH = 1e-9  # a duty: after one batch the child sleeps until it is stopped


@dataclass(slots=True)
class Child:
    """A started child and all that it has said."""

    job: Job
    duty: float = 1.0
    checkpoint_s: float = 300.0
    only_idle: bool = False  # tests have a busy machine
    lease_s: float | None = LONG_S  # from now, on every ask; None: asks are not answered
    events: list[ChildEvent] = field(default_factory=list)
    living: set[int] = field(default_factory=set)
    loop: Loop = field(default_factory=Loop)
    process: ChildProcess = field(init=False)

    def __post_init__(self) -> None:
        self.process = ChildProcess(
            self.loop,
            self.job,
            duty=self.duty,
            checkpoint_s=self.checkpoint_s,
            only_idle=self.only_idle,
            children=self.living,
        )
        self.process.start(self._on_event)

    def _on_event(self, event: ChildEvent) -> None:
        self.events.append(event)
        if isinstance(event, Asked) and self.lease_s is not None:
            self.process.grant(self.lease_s)

    def until(self, condition: Callable[[ChildEvent], bool]) -> ChildEvent:
        """Serve until it says such a thing."""
        seen, late = len(self.events), list[bool]()
        timer = self.loop.after(PATIENCE_S, lambda: late.append(True))
        while True:
            for event in self.events[seen:]:
                if condition(event):
                    timer.cancel()
                    return event
                assert not isinstance(event, Exited), self.events
            seen = len(self.events)
            assert not late, self.events
            self.loop.turn(PATIENCE_S)

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
