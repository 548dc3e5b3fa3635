"""Answers the control socket's requests out of the running service."""

from collections.abc import Callable
from functools import partial
from typing import cast

from fedling_agent.conditions import words
from fedling_agent.conditions.condition import Readings
from fedling_agent.conditions.decision import Allowance
from fedling_agent.conditions.gate import Gate
from fedling_agent.conditions.table import paused
from fedling_agent.data.recording import Changes
from fedling_agent.data.times import Interval
from fedling_agent.service import explaining, operations, report
from fedling_agent.service.books import day_of
from fedling_agent.service.control import Answer, Json, Peer, RequestFailed
from fedling_agent.service.operations import Ingest
from fedling_agent.service.predict import Predictor
from fedling_agent.service.service import Service
from fedling_agent.session import events as ev
from fedling_agent.store.inputs import Ingested
from fedling_agent.store.plans import PlanRecord
from fedling_agent.store.recordings import Labelled
from fedling_agent.store.spells import Read
from fedling_protocol.disk.errors import BadDatabase, BadInput, Busy, CannotWrite, Missing
from fedling_protocol.exits import Exit
from fedling_protocol.runtime import mishaps
from fedling_protocol.runtime.halts import Halted
from fedling_protocol.runtime.slices import Sliced
from fedling_protocol.wire.names import AGGREGATOR

ENDING_S = 10.0  # for trainings that stand on what is forgotten
ENDED_LOOK_S = 0.05
OLDEST_MS = 366 * 86_400_000  # of lines that were read and wait

EXITS = {
    BadInput: Exit.FAILED,
    Busy: Exit.TRY_LATER,
    CannotWrite: Exit.CANNOT_WRITE,
    Missing: Exit.NOT_FOUND,
    BadDatabase: Exit.TRY_LATER,  # the service begins anew
}


class Desk:
    """Answers each verb of the control socket with one method."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._predictor = Predictor(service.store)
        self._gate = Gate(service.config.policy, service.watcher, lambda: None)
        self._verbs: dict[str, Callable[[Json, Peer, Answer], None]] = {
            "status": self.status,
            "conditions": self.conditions,
            "explain": self.explain,
            "pause": self.pause,
            "resume": self.resume,
            "ingest": self.ingest,
            "recordings": self.recordings,
            "label": self.label,
            "forget": self.forget,
            "predict": self.predict,
            "windows": self.windows,
        }

    def handle(self, request: Json, peer: Peer, answer: Answer) -> None:
        """Take a request; this is the handler for control.Server."""
        verb = self._verbs.get(str(request.get("do")))
        if verb is None:
            raise RequestFailed(f"the service knows no {request.get('do')!r}", Exit.FAILED)
        try:
            verb(request, peer, answer)
        except RequestFailed:
            raise
        except Exception as error:  # noqa: BLE001 (the boundary of a request)
            self._refuse(answer, error)

    def status(self, _request: Json, _peer: Peer, answer: Answer) -> None:
        service = self._service
        service.link.take_traffic()
        facts = report.of_store(
            service.store,
            service.identity,
            day_of(service.clock.wall()),
            service.books.pending(),
            [runner.plan.spec for runner in service.runners if runner.plan is not None],
        )
        tasks = cast(dict[str, Json], facts["tasks"])
        for runner in service.runners:
            occupant = service.occupant(runner)
            stored = tasks.setdefault(runner.task, report.of_task(service.store, runner.task))
            stored.update(report.of_live(runner, occupant, service.clock.now()))
        for task, halted in service.runners.halts.halted.items():
            stopped = {"doing": _stopped(halted), "failure": halted.says}
            tasks.setdefault(task, report.of_task(service.store, task)).update(stopped)
        answer(
            facts
            | {
                "fleet": service.config.fleet,
                "enrolled": service.enrolment.enrolled,
                "was_enrolled": service.enrolment.was_enrolled,
                "revoked": service.enrolment.revoked,
                "foreign": service.inbox.foreign,
                "doing": self._doing(),
                "connection": self._connection(),
                "declined": service.runners.declined,
                "counters": service.books.counters(),
                "pause": report.of_pause(service.owner),
                "budget": report.of_used(service.config.policy, service.used),
                "disk": "ok" if service.stall is None else service.stall.reason,
                "child": service.slot.pid,
            }
        )

    def conditions(self, _request: Json, _peer: Peer, answer: Answer) -> None:
        """Decide on a reading made now; each task remembers what hysteresis needs."""

        def tell(own: Allowance, readings: Readings) -> None:
            service = self._service
            for runner in service.runners:
                runner.look()
            answer(
                {
                    "signals": report.of_readings(service.config.policy.rows, readings),
                    "took_s": readings.took_s,
                    "own": report.of_allowance(own),
                    "tasks": {
                        runner.task: report.of_allowance(runner.allowance)
                        for runner in service.runners
                        if runner.allowance is not None
                    },
                }
            )

        self._gate.refresh(tell)

    def explain(self, request: Json, _peer: Peer, answer: Answer) -> None:
        """Tell what was done about training; it is read by the disk worker."""
        service, span_s = self._service, _number(request, "span_s") or 0
        up_ms, now_s = int(service.clock.now() * 1000), service.clock.wall()

        def read() -> Read:
            return service.store.spells.within(1000 * span_s, up_ms)

        def tell(found: Read) -> None:
            spells, diary = [*found.spells, *service.diary.pending(found.lived_ms)], service.diary
            answer({"spells": explaining.explain(spells, found.lived_ms, now_s, diary.run)})

        service.writer.do(read, tell, partial(self._refuse, answer))

    def pause(self, request: Json, _peer: Peer, answer: Answer) -> None:
        """Have the device take part in nothing, for a time or until it is resumed."""
        service = self._service
        lasts_s, reason = _number(request, "lasts_s"), _text(request, "reason") or ""
        operations.check_pause(lasts_s, reason)
        service.pausing.begin(
            lasts_s,
            reason,
            lambda: answer({"pause": report.of_pause(service.owner)}),
            partial(self._refuse, answer),
        )

    def resume(self, _request: Json, _peer: Peer, answer: Answer) -> None:
        """Have the device take part again."""
        self._service.pausing.end(
            lambda was_paused: answer({"was_paused": was_paused}), partial(self._refuse, answer)
        )

    def ingest(self, request: Json, peer: Peer, answer: Answer) -> None:
        """All requests of one connection are one input. Answered when it is on disk."""
        service, ingest = self._service, peer.memory.get("ingest")
        if not isinstance(ingest, Ingest):
            ingest = peer.memory["ingest"] = Ingest.of_request(service.streams, request)
        lines, before = _texts(request, "lines"), _number(request, "before")
        if request.get("again") is True:
            self._read_again(ingest, lines, before, answer)
            return
        now_ms, up_ms = self._times_ms()
        ages_ms = _ages(request)

        def stored(done: Ingested) -> None:
            answer(operations.told(done))
            self._changed(done.changes)

        service.writer.do(
            lambda: ingest.feed(service.store, lines, now_ms, up_ms, before, ages_ms),
            stored,
            partial(self._refuse, answer),
        )

    def _read_again(
        self, ingest: Ingest, lines: list[str], before: int | None, answer: Answer
    ) -> None:
        self._service.writer.do(
            lambda: ingest.again(lines, before or 0),
            lambda _: answer({}),
            partial(self._refuse, answer),
        )

    def _changed(self, changes: Changes) -> None:
        self._predictor.changed(changes)
        self._service.runners.examples_changed(changes)

    def recordings(self, request: Json, _peer: Peer, answer: Answer) -> None:
        """Tell a page of recordings; it is read by the disk worker."""
        stream, below = _text(request, "stream"), _number(request, "below")
        store = self._service.store
        self._service.writer.do(
            lambda: operations.listing(store, stream, below), answer, partial(self._refuse, answer)
        )

    def label(self, request: Json, _peer: Peer, answer: Answer) -> None:
        """Give samples of a recording, or of a time, another label."""
        service, label = self._service, _text(request, "label") or ""
        which = _which(request)
        operations.find_stream(service.streams, which.stream)
        now_ms, up_ms = self._times_ms()

        def done(labelled: Labelled) -> None:
            answer(operations.told_of_labels(labelled))
            self._changed(labelled.changes)

        service.writer.do(
            lambda: operations.label(service.store, which, label, now_ms, up_ms),
            done,
            partial(self._refuse, answer),
        )

    def _times_ms(self) -> tuple[int, int]:
        """Tell Unix time, and the time since boot."""
        clock = self._service.clock
        return int(clock.wall() * 1000), int(clock.now() * 1000)

    def forget(self, request: Json, _peer: Peer, answer: Answer) -> None:
        """Erasing beats everything: what was trained on the recordings is given up first."""
        stream, names = _text(request, "stream") or "", request.get("recordings")
        if names is not None:
            names = _texts(request, "recordings")
        until = self._service.clock.now() + ENDING_S
        self._service.writer.do(  # there may be what could not be saved, and is not known here
            self._service.store.forget_aside,
            lambda _: self._end_rounds(stream, names, answer, until),
            partial(self._refuse, answer),
        )

    def _end_rounds(
        self, stream: str, names: list[str] | None, answer: Answer, until: float
    ) -> None:
        """Have sessions give up what stands on recordings; look again until none does."""
        service = self._service

        def found(records: list[PlanRecord]) -> None:
            if not records:
                self._forget(stream, names, answer)
            elif service.clock.now() > until:
                answer(RequestFailed("a training does not end: try it again", Exit.TRY_LATER))
            else:
                for task in {record.plan.spec.task for record in records}:
                    service.runners.give(task, ev.Erase())
                again = partial(self._end_rounds, stream, names, answer, until)
                service.clock.after(ENDED_LOOK_S, again)

        service.writer.do(
            lambda: operations.rounds_on(service.store, stream, names),
            found,
            partial(self._refuse, answer),
        )

    def _forget(self, stream: str, names: list[str] | None, answer: Answer) -> None:
        store, now_ms = self._service.store, int(self._service.clock.wall() * 1000)
        self._service.runners.erase_personal(stream)

        def done(changes: Changes) -> None:
            answer({"forgotten": len(changes.evicted)})
            self._service.runners.erase_personal(stream)  # one that has begun meanwhile
            self._changed(changes)

        self._service.writer.do(
            lambda: operations.forget(store, stream, names, now_ms),
            done,
            partial(self._refuse, answer),
        )

    def predict(self, request: Json, _peer: Peer, answer: Answer) -> None:
        service, task, form = (
            self._service,
            str(request.get("task") or ""),
            str(request.get("form")),
        )
        slices = operations.predict(
            service.store, self._predictor, service.streams, task, _texts(request, "lines"), form,
            _number(request, "before"),
        )  # fmt: skip
        Sliced(service.clock, slices, answer, partial(self._refuse, answer))

    def windows(self, request: Json, _peer: Peer, answer: Answer) -> None:
        answer(operations.windows(self._service.store, str(request.get("task") or "")))

    def _doing(self) -> str:
        """Say in one sentence what the whole device does."""
        service, now = self._service, self._service.clock.now()
        if service.enrolment.revoked:
            return report.revoked_words(service.config.fleet)
        if service.stall is not None:
            wait = report.span(service.stall.retry_at - now)
            return f"{service.stall.reason}; tries again in {wait}"
        if (why := paused(service.owner)) is not None:
            return words.sentence(why)
        said = [
            f"{runner.task}: {report.sentence(runner, service.occupant(runner), now)}"
            for runner in service.runners
        ]
        said += [f"{task}: {_stopped(halt)}" for task, halt in service.runners.halts.halted.items()]
        return "; ".join(said) or self._nothing()

    def _refuse(self, answer: Answer, error: Exception) -> None:
        """Say what went wrong; of a damaged database the service must know."""
        code = next((code for kind, code in EXITS.items() if isinstance(error, kind)), Exit.FAILED)
        answer(RequestFailed(mishaps.sentence(error), code))
        if isinstance(error, BadDatabase):
            self._service.meet(error)

    def _nothing(self) -> str:
        """Say why there is no task to work on."""
        service = self._service
        if not service.link.connected:
            return "not connected"
        fleet, since_s = service.config.fleet, service.clock.now() - service.connection.since
        if service.inbox.foreign:
            return report.foreign_words(fleet)
        if service.runners.declined:
            return "every task is declined"
        return report.no_plan_words(fleet, service.inbox.key(AGGREGATOR) is not None, since_s)

    def _connection(self) -> Json:
        service, now = self._service, self._service.clock.now()
        facts, mqtt = service.connection, service.config.mqtt
        retry_s = None if facts.retry_at is None else max(0.0, facts.retry_at - now)
        return {
            "broker": mqtt.address,
            "tls": mqtt.tls,
            "plaintext": mqtt.plaintext,
            "connected": service.link.connected,
            "since_s": now - facts.since,
            "reason": facts.reason,
            "lost": facts.lost,
            "refused": list(service.link.refused),
            "retry_s": retry_s,
        }


def _stopped(halted: Halted) -> str:
    return f"stopped: {halted.says}"


def _number(request: Json, key: str) -> int | None:
    value = request.get(key)
    if value is None or (type(value) is int and 0 <= value < 2**63):
        return value
    raise RequestFailed(f"{key}: a number is needed, 0 or more", Exit.FAILED)


def _ages(request: Json) -> operations.Ages | None:
    """How long ago the first and the last line came; who does not say it sends them at once.

    Those of a file came with it, whenever they were taken: null.
    """
    ages = request.get("ages_ms", list(operations.NOW))
    if ages is None:
        return None
    if isinstance(ages, list) and len(ages) == 2 and all(map(_is_age, ages)):
        return ages[0], ages[1]
    raise RequestFailed("ages_ms: two numbers are needed, of ms", Exit.FAILED)


def _is_age(age: object) -> bool:
    return type(age) is int and 0 <= age <= OLDEST_MS


def _which(request: Json) -> operations.Which:
    """The samples that a request means."""
    begin_ms, end_ms = _number(request, "begin_ms"), _number(request, "end_ms")
    if (begin_ms is None) is not (end_ms is None):
        raise RequestFailed("begin_ms, end_ms: both are needed, or none", Exit.FAILED)
    interval = None if begin_ms is None or end_ms is None else Interval(begin_ms, end_ms)
    stream, recording = _text(request, "stream") or "", _text(request, "recording")
    first, last = _number(request, "first"), _number(request, "last")
    return operations.Which(stream, recording, first, last, interval)


def _text(request: Json, key: str) -> str | None:
    value = request.get(key)
    if value is None or isinstance(value, str):
        return value
    raise RequestFailed(f"{key}: a text is needed", Exit.FAILED)


def _texts(request: Json, key: str) -> list[str]:
    texts = request.get(key)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RequestFailed(f"{key}: an array of texts is needed", Exit.FAILED)
    return texts
