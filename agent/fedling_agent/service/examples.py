"""Are there enough examples for the last plan: counted beside everything else, as they come."""

from collections.abc import Callable
from dataclasses import replace

from fedling_agent.data.counting import Counter, Found
from fedling_agent.data.recording import Changes, Known, Source
from fedling_agent.service.floor import Floor
from fedling_agent.training.freeze import wants_new
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.slices import Sliced
from fedling_protocol.wire.messages import Plan


class Examples:
    """Counts for one plan at a time."""

    def __init__(
        self,
        clock: Clock,
        source: Source,
        floor: Floor,
        counted: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """counted: called when the answer may be new.

        failed: told what nobody expected
        """
        self._clock = clock
        self._source = source
        self._floor = floor
        self._counted = counted
        self._failed = failed
        self._counter: Counter | None = None
        self._new: Counter | None = None  # of new ones, if the plan wants any
        self._counting: Sliced[bool] | None = None
        self.failure = ""  # why there is nothing to count
        self.wanted = 0  # for the last plan
        self.wanted_new = 0

    @property
    def enough(self) -> bool:
        """Whether there are enough, as far as it is counted."""
        counters = self._counters
        return bool(counters) and all(counter.enough is True for counter in counters)

    @property
    def found_new(self) -> int | None:
        """How many new ones there are, if these are too few and there are enough in all."""
        counter, new = self._counter, self._new
        if counter is None or new is None or not counter.enough or new.enough:
            return None
        return new.windows

    @property
    def found(self) -> Found:
        """What there is for the last plan, as far as it is counted."""
        return Found() if self._counter is None else self._counter.found

    def count_for(self, plan: Plan, known: Callable[[int], Known | None]) -> None:
        """Count for another plan: it may want other windows, or more.

        known: how much of a recording the last update that was accepted has known
        """
        self.close()
        self.failure = ""
        self.wanted = self._floor.examples(plan.training)
        training = replace(plan.training, min_examples=self.wanted)
        self._counter = Counter(self._source, plan.spec, training)
        self.wanted_new = plan.training.new_examples if wants_new(plan) else 0
        if self.wanted_new:
            training = replace(plan.training, min_examples=self.wanted_new)
            self._new = Counter(self._source, plan.spec, training, known)
        self._go_on()

    def changed(self, changes: Changes) -> None:
        """Count again what was ingested, relabelled or evicted."""
        for counter in self._counters:
            counter.changed(changes)
        self._go_on()

    def close(self) -> None:
        """Count no more."""
        if self._counting is not None:
            self._counting.cancel()
        self._counter = self._new = self._counting = None

    @property
    def _counters(self) -> list[Counter]:
        return [counter for counter in (self._counter, self._new) if counter is not None]

    def _go_on(self) -> None:
        open_ = [counter for counter in self._counters if counter.enough is None]
        if open_ and self._counting is None:
            self._counting = Sliced(
                self._clock, open_[0].count(), self._on_counted, self._on_failed
            )

    def _on_counted(self, _enough: bool) -> None:
        """What changed since the last slice may ask for more."""
        self._counting = None
        self._counted()
        self._go_on()

    def _on_failed(self, error: Exception) -> None:
        """The stream does not fit the task: there is nothing to count."""
        self._counting = None
        if isinstance(error, BadInput):
            self.failure = str(error)
        else:
            self._failed(error)
