"""A runner for each task: made when its row is new or was changed, ended when it is gone."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from fedling_broker.service.runner import OF_THE_DISK, Parts, RoundsRunner
from fedling_broker.store.shelf import Damaged
from fedling_broker.store.tasks import TaskRow
from fedling_broker.tasks import task_file
from fedling_protocol.disk.errors import BadDatabase, Busy, CannotWrite
from fedling_protocol.runtime import mishaps
from fedling_protocol.runtime.halts import Halts
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.messages import TaskInForce, Tasks

log = logging.getLogger(__name__)


class Runners:
    """The admin verbs write rows; what they say is so from the next turn on."""

    def __init__(self, parts: Parts, connected: Callable[[], bool], halts: Halts) -> None:
        """connected: whether the MQTT broker listens."""
        self._parts = parts
        self._connected = connected
        self.halts = halts
        self._runners: dict[str, RoundsRunner] = {}
        self._rows: dict[str, TaskRow] = {}  # as the runners were made of them
        self._untidy = True  # files may lie around that no row speaks of

    def __iter__(self) -> Iterator[RoundsRunner]:
        return iter(self._runners.values())

    def find(self, task: str) -> RoundsRunner | None:
        return self._runners.get(task)

    def look(self) -> None:
        """Have the runners of the rows as they are now. In a turn."""
        rows = {row.name: row for row in self._parts.store.tasks.rows()}
        if self._connected() and lives(rows.values()) != lives(self._rows.values()):
            self._tell(rows.values())
        for name, old in list(self._rows.items()):
            new = rows.get(name)
            if new != old:
                self.halts.forget(name)
                self._end(name, removed=new is None or new.generation != old.generation)
        for name, row in rows.items():
            if name not in self._rows:
                self._begin(row)

    def connected(self) -> None:
        """The MQTT broker may have forgotten everything. In a turn."""
        self._tell(self._parts.store.tasks.rows())  # runners may be closed: tasks are not
        for runner in list(self):
            runner.connected()

    def gone(self, device: str) -> None:
        """A device was revoked. In a turn."""
        for runner in list(self):
            runner.gone(device)

    def halt(self, name: str, error: Exception) -> None:
        """End the runner of a task that something is wrong with; it is begun again later."""
        runner = self._runners.pop(name, None)
        if runner is not None:
            runner.close()
        self.halts.add(name, error)

    def again(self, name: str) -> None:
        """Begin a task that was halted. In a turn."""
        row = self._parts.store.tasks.find(name)
        if row is not None and name not in self._runners and name in self._rows:
            self._begin(row)

    def close(self) -> None:
        """End all; what is on disk stays, and files may lie there that no row speaks of."""
        self.halts.close()
        for runner in self._runners.values():
            runner.close()
        self._runners.clear()
        self._rows.clear()
        self._untidy = True

    def untidy(self) -> None:
        """Files lie around that no row speaks of any more."""
        self._untidy = True

    def tidy(self) -> None:
        """Beside the loop, and not while a fold makes files: its rows come last."""
        if self._untidy and not any(runner.folding for runner in self._runners.values()):
            self._untidy = False
            self._parts.compute.do(self._parts.store.tidy, _ignore, self._on_untidy)

    def _tell(self, rows: Iterable[TaskRow]) -> None:
        """Devices forget tasks that are not in the list."""
        number = self._parts.store.ledger.meta("generation")
        say = self._parts.publisher.tasks
        self._parts.turns.then(partial(say, Tasks(number, lives(rows))))

    def _begin(self, row: TaskRow) -> None:
        self._rows[row.name] = row
        try:
            task = task_file.parse_task(row.text, f"task {row.name}")
            runner = RoundsRunner(task, row, self._parts)
        except OF_THE_DISK:
            raise
        except Exception as error:  # noqa: BLE001 (the boundary of a task)
            self._parts.halt(row.name, error)
            return
        self._runners[row.name] = runner
        self.halts.begun(row.name)
        log.info("task %s: %s", row.name, "paused" if row.paused else "at work")
        runner.look()
        if self._connected():
            runner.connected()

    def _end(self, name: str, *, removed: bool) -> None:
        runner = self._runners.pop(name, None)
        if runner is not None:
            runner.close()
        del self._rows[name]
        if removed:
            log.info("task %s: removed", name)
            self._parts.publisher.forget_task(name)
        self._untidy = True

    def _on_untidy(self, error: Exception) -> None:
        """Files that stay are no reason to stop; they are looked for again when a task ends."""
        self._untidy = isinstance(error, Busy)
        if isinstance(error, CannotWrite | BadDatabase):
            self._parts.refused(error)
        elif not isinstance(error, Busy):
            log.error("files that no task needs stay: %s", mishaps.sentence(error))


def lives(rows: Iterable[TaskRow]) -> tuple[TaskInForce, ...]:
    """What devices hear of tasks."""
    return tuple(TaskInForce(row.name, row.generation) for row in rows)


def way_out(task: str, error: Exception) -> str:
    """Say what a person can do about a task that is stopped."""
    if isinstance(error, Damaged):
        return (
            "put the file back from a backup, or go back to a model that is whole: "
            f"fedling-broker model rollback {task} VERSION; or begin it anew: task remove, task add"
        )
    if isinstance(error, SettingsError):
        return f"mend it: fedling-broker task update {task} FILE, or task remove {task}"
    return f"if it stays so, this is a fault of fedling: report it, or task remove {task}"


def _ignore(_result: object) -> None:
    """What comes of it is not wanted."""
