"""What is of a former life: the one place that tells it from what holds now.

A restored, copied or new aggregator has a higher epoch, a task that was added again a higher
generation; within these the version of the model grows. What comes earlier in this order is
replayed, or late, and changes nothing. Memory decides; the disk follows before what comes of it.
"""

from collections.abc import Callable, Iterable, Mapping

from fedling_agent.service.writer import Writer, ignore
from fedling_agent.store.store import Store
from fedling_protocol.wire.messages import Moment, OfEpoch, Plan, Rest, Tasks
from fedling_protocol.wire.refused import Reason, Refused


class History:
    """As far as this device has heard of it."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer
        self._seen: dict[str, Moment] = {}
        self._tasks: Tasks | None = None
        self._generations: Mapping[str, int] = {}  # of the tasks in force
        self._epoch = 0

    def load(self) -> None:
        """Begin with what the disk knows."""
        self._seen = self._store.lives.seen()
        self._take(self._store.lives.in_force())
        self._epoch = max([self._epoch, *(moment.epoch for moment in self._seen.values())])

    def check_epoch(self, message: OfEpoch) -> None:
        """Refuse what was said in an earlier epoch."""
        if message.epoch < self._epoch:
            raise Refused(Reason.FORMER, f"epoch {message.epoch}, after {self._epoch}")
        self._epoch = message.epoch

    def check(self, task: str, message: Plan | Rest) -> None:
        """Refuse a plan or rest that something later was heard after."""
        moment, seen = message.moment, self._seen.get(task)
        if seen is not None and moment < seen:
            raise Refused(Reason.FORMER, f"{moment}, after {seen}")
        if not self._is_in_force(task, moment):
            raise Refused(Reason.FORMER, f"generation {moment.generation} was removed")

    def is_news(self, task: str, message: Plan | Rest) -> bool:
        """Whether it is of another moment than the last that was heard of the task."""
        return self._seen.get(task) != message.moment

    def remember(self, task: str, message: Plan | Rest) -> None:
        """It holds: what comes before it does not any more."""
        if self.is_news(task, message):
            self._seen[task] = message.moment
            self._writer.do(lambda: self._store.remember(task, message), ignore)

    def take_tasks(self, message: Tasks, declined: Iterable[str]) -> list[str]:
        """Take in the list of tasks; those that are known here, or declined, and were removed."""
        last = self._tasks
        if last is not None and (message.epoch, message.number) < (last.epoch, last.number):
            raise Refused(Reason.FORMER, f"list {message.number}, after {last.number}")
        if message != last:
            self._take(message)
            self._writer.do(lambda: self._store.lives.keep_in_force(message), ignore)
        known = {*self._store.tasks(), *self._seen, *declined}
        return sorted(task for task in known if self._is_gone(task))

    def forget(self, task: str, now_ms: int, forgotten: Callable[[], None]) -> None:
        """A task was removed. forgotten: called when nothing of it is on disk."""
        self._seen.pop(task, None)
        self._writer.do(lambda: self._store.forget(task, now_ms), lambda _: forgotten())

    def _take(self, message: Tasks | None) -> None:
        if message is not None:
            self._tasks, self._epoch = message, max(self._epoch, message.epoch)
            self._generations = {task.task: task.generation for task in message.tasks}

    def _is_gone(self, task: str) -> bool:
        """Whether the list tells that a task was removed; of one without a moment, its name."""
        seen = self._seen.get(task)
        return task not in self._generations if seen is None else not self._is_in_force(task, seen)

    def _is_in_force(self, task: str, moment: Moment) -> bool:
        """Whether the list has this task, or is older than it."""
        if self._tasks is None:
            return True
        if (moment.epoch, moment.generation) > (self._tasks.epoch, self._tasks.number):
            return True
        return self._generations.get(task) == moment.generation
