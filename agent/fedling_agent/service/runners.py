"""A runner for each task that this device can take part in: made when its plan is first seen."""

from collections.abc import Callable, Iterator
from functools import partial

from fedling_agent.data.recording import Changes
from fedling_agent.data.streams import Stream
from fedling_agent.service.parts import Parts
from fedling_agent.service.runner import SessionRunner
from fedling_agent.session import events as ev
from fedling_protocol.disk.errors import BadDatabase
from fedling_protocol.runtime.halts import Halts
from fedling_protocol.runtime.loop import Timer
from fedling_protocol.runtime.throttle import Throttle
from fedling_protocol.wire.messages import Change, Chunk, Model, Plan, Rest, TaskSpec
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import Address

MOST_TASKS = 16
MOST_CHANGES, CHANGE_S = 200, 30.0  # plans and rests of a task at once; then one in so long


class Runners:
    """The tasks at work here, and why others are not. Nothing is begun before `restore`."""

    def __init__(self, parts: Parts, streams: dict[str, Stream], halts: Halts) -> None:
        self.halts = halts
        self.declined: dict[str, str] = {}  # task: why not
        self.version = 0  # of the newest model here
        self._parts = parts
        self._streams = streams
        self._runners: dict[str, SessionRunner] = {}
        self._forgetting: dict[str, bool] = {}  # on its way to the disk; whether it came again
        self._changes: dict[str, Throttle] = {}  # of tasks that are not declined
        self._asking: Timer | None = None  # plans came too fast
        self._closed = True

    def __iter__(self) -> Iterator[SessionRunner]:
        return iter(list(self._runners.values()))

    def __len__(self) -> int:
        return len(self._runners)

    def find(self, task: str) -> SessionRunner | None:
        return self._runners.get(task)

    def restore(self) -> None:
        """Make the runners of what is on disk; further ones are made when their plans are seen."""
        self._closed = False
        store = self._parts.store
        for task in store.plans.unfinished_tasks():
            self._begin(task)
        self._count_version()

    def close(self) -> None:
        """End all, and begin none: what is on disk stays."""
        self._closed = True
        self.halts.close()
        for runner in self:
            runner.close()
        self._runners.clear()
        self._forgetting.clear()
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def see(self, task: str, message: Plan | Rest) -> bool:
        """Take in what is retained of a task's plans. False: this device cannot take part in it.

        Raises Refused: it is of a former life, or has the id of another task's plan.
        """
        history = self._parts.history
        history.check(task, message)
        self._check_id(task, message)
        if task in self._forgetting:  # what is on disk of it is of another task
            self._forgetting[task] = True
            return True
        runner = self.find(task)
        spec = message.spec
        reason = self._parts.floor.forbids(spec) or why_not(spec, self._streams)
        if not reason and runner is None and len(self) >= MOST_TASKS:
            reason = f"this device works on {MOST_TASKS} tasks already"
        if reason:
            if len(self.declined) < MOST_TASKS or task in self.declined:
                self.declined[task] = reason
            return False
        self.declined.pop(task, None)
        if history.is_news(task, message) and not self._may_change(task):
            return True
        history.remember(task, message)
        if not self._closed and task not in self.halts:
            runner = runner or self._begin(task)
            if runner is not None:
                self._bounded(task, lambda: runner.see(message))
        return True

    def forget(self, task: str) -> None:
        """End a task that was removed: nothing of it stays, here or on disk."""
        self.declined.pop(task, None)
        self.halts.forget(task)
        if len(self._changes) > 2 * MOST_TASKS:  # a name that comes again soon is not forgotten
            self._changes.clear()
        runner = self._runners.pop(task, None)
        if runner is not None:
            runner.leave()
        self._forgetting.setdefault(task, False)
        now_ms = int(self._parts.clock.wall() * 1000)
        self._parts.history.forget(task, now_ms, lambda: self._on_forgotten(task))

    def model(self, task: str, message: Model | Change, version: int) -> bool:
        """Take in a verified message on model/<version>. False: not the one that was asked for."""
        if self._closed:
            return True
        runner = self.find(task)
        return runner is not None and runner.model(message, version)

    def chunk(self, task: str, chunk: Chunk, address: Address) -> bool:
        """Take in a verified chunk of a model or change. False: not one that was asked for."""
        runner = self.find(task)
        return self._closed or (runner is not None and runner.chunk(chunk, address))

    def give(self, task: str, event: ev.Event) -> None:
        """Tell the runner of a task, if there is one."""
        runner = self.find(task)
        if runner is not None:
            self._bounded(task, lambda: runner.give(event))

    def give_all(self, event: ev.Event) -> None:
        for runner in self:
            self.give(runner.task, event)

    def examples_changed(self, changes: Changes) -> None:
        """Tell all that the store has other examples than before."""
        for runner in self:
            self._bounded(runner.task, partial(runner.examples_changed, changes))

    def erase_personal(self, stream: str) -> None:
        """Give up what is learned from a stream for this device alone."""
        for runner in self:
            self._bounded(runner.task, partial(runner.personal.erase, stream))

    def _check_id(self, task: str, message: Plan | Rest) -> None:
        """All that is stored of a plan goes by its id: two tasks would end each other's."""
        if isinstance(message, Plan) and self._is_of_another(task, message.plan_id):
            raise Refused(Reason.SHAPE, "its id is that of another task's plan")

    # --- a task that something is wrong with -----------------------------------------------------

    def halt(self, task: str, error: Exception) -> None:
        """End a task's runner and its training; it begins anew, from the disk, a while later."""
        runner = self._runners.pop(task, None)
        if runner is not None:
            self.halts.add(task, error)
            runner.leave()
            self._parts.changed()

    def again(self, task: str) -> None:
        """Begin a task that was halted, and have its plan sent again."""
        if not self._closed and self.find(task) is None:
            self._begin(task)
            self._parts.outbox.ask_plans()

    def _bounded(self, task: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 (the boundary of a task)
            self._parts.failed(task, error)

    def _may_change(self, task: str) -> bool:
        """Each later plan costs a write and a count of examples: they come no faster than so.

        What is passed over is retained: it is asked for again.
        """
        throttle = self._changes.setdefault(task, Throttle(MOST_CHANGES, CHANGE_S))
        wait_s = throttle.take(self._parts.clock.now())
        if wait_s > 0 and self._asking is None:
            self._asking = self._parts.clock.after(wait_s, self._ask_again)
        return wait_s == 0

    def _ask_again(self) -> None:
        self._asking = None
        self._parts.outbox.ask_plans()

    def _is_of_another(self, task: str, plan_id: bytes) -> bool:
        """Whether a plan of another task has this id: files and rows are named by it alone."""
        stored = self._parts.store.plans.task_of(plan_id)
        if stored is not None:
            return stored != task
        return any(runner.task != task and runner.knows(plan_id) for runner in self)

    def _on_forgotten(self, task: str) -> None:
        self._count_version()
        self._parts.changed()
        if self._forgetting.pop(task, False):
            self._parts.outbox.ask_plans()

    def _count_version(self) -> None:
        models = self._parts.store.models
        newest = [models.newest(task) for task in models.tasks()]
        self.version = max((model.version for model in newest if model), default=0)

    def _begin(self, task: str) -> SessionRunner | None:
        """Make a runner; None: it is halted, or the database is damaged."""
        try:
            runner = self._runners[task] = SessionRunner(task, self._parts, self._count_version)
        except BadDatabase:
            raise
        except Exception as error:  # noqa: BLE001 (the boundary of a task)
            self.halts.add(task, error)
            return None
        self.halts.begun(task)
        connected = self._parts.link.connected
        self._bounded(task, partial(runner.give, ev.Connected()) if connected else runner.look)
        return self.find(task)


def why_not(spec: TaskSpec, streams: dict[str, Stream]) -> str:
    """Why this device cannot take part in a task; empty if it can."""
    stream = streams.get(spec.stream)
    if stream is None:
        return (
            f'agent.toml names no stream "{spec.stream}", of {spec.channels} channels:'
            f" fedling-agent stream add FILE.csv --name {spec.stream}"
        )
    if len(stream.channels) != spec.channels:
        return f"its stream has {len(stream.channels)} channels, the task wants {spec.channels}"
    return ""
