"""Answers the control socket's requests out of the running service."""

from collections.abc import Callable
from functools import partial
from typing import cast

from fedling_agent.conditions.condition import Readings
from fedling_agent.conditions.decision import Allowance
from fedling_agent.conditions.gate import Gate
from fedling_agent.service import operations, report
from fedling_agent.service.books import day_of
from fedling_agent.service.control import Answer, Json, Peer, RequestFailed
from fedling_agent.service.operations import Ingest
from fedling_agent.service.predict import Predictor
from fedling_agent.service.service import Service
from fedling_agent.store.recordings import Ingested
from fedling_protocol.disk.errors import BadInput, CannotWrite, Missing
from fedling_protocol.exits import Exit
from fedling_protocol.runtime.slices import Sliced

EXITS = {BadInput: Exit.FAILED, CannotWrite: Exit.CANNOT_WRITE, Missing: Exit.NOT_FOUND}


class Desk:
    """Answers each verb of the control socket with one method."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._predictor = Predictor(service.store)
        self._gate = Gate(service.config.policy, service.watcher, lambda: None)
        self._verbs: dict[str, Callable[[Json, Peer, Answer], None]] = {
            "status": self.status,
            "conditions": self.conditions,
            "ingest": self.ingest,
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
        except (BadInput, CannotWrite, Missing) as error:
            _refuse(answer, error)

    def status(self, _request: Json, _peer: Peer, answer: Answer) -> None:
        service = self._service
        service.link.take_traffic()
        facts = report.of_store(
            service.store,
            service.identity,
            day_of(service.clock.wall()),
            service.books.pending(),
        )
        tasks = cast(dict[str, Json], facts["tasks"])
        for runner in service.runners:
            occupant = service.occupant(runner)
            stored = tasks.setdefault(runner.task, report.of_task(service.store, runner.task))
            stored.update(report.of_live(runner, occupant, service.clock.now()))
        answer(
            facts
            | {
                "fleet": service.config.fleet,
                "enrolled": service.enrolment.enrolled,
                "doing": self._doing(),
                "connection": self._connection(),
                "declined": service.runners.declined,
                "counters": service.books.counters(),
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

    def ingest(self, request: Json, peer: Peer, answer: Answer) -> None:
        """All requests of one connection are one input. Answered when it is on disk."""
        service, ingest = self._service, peer.memory.get("ingest")
        if not isinstance(ingest, Ingest):
            name, form = str(request.get("stream")), str(request.get("form"))
            ingest = peer.memory["ingest"] = Ingest(service.store, service.streams, name, form)
        lines, now_ms = _lines(request), int(service.clock.wall() * 1000)

        def stored(done: Ingested) -> None:
            answer(operations.told(done))
            self._predictor.changed(done.changes)
            service.runners.examples_changed(done.changes)

        service.writer.do(lambda: ingest.feed(lines, now_ms), stored, partial(_refuse, answer))

    def predict(self, request: Json, _peer: Peer, answer: Answer) -> None:
        service, task, form = (
            self._service,
            str(request.get("task") or ""),
            str(request.get("form")),
        )
        slices = operations.predict(
            service.store, self._predictor, service.streams, task, _lines(request), form
        )
        Sliced(service.clock, slices, answer, partial(_refuse, answer))

    def windows(self, request: Json, _peer: Peer, answer: Answer) -> None:
        answer(operations.windows(self._service.store, str(request.get("task") or "")))

    def _doing(self) -> str:
        """Say in one sentence what the whole device does."""
        service, now = self._service, self._service.clock.now()
        if service.stall is not None:
            wait = report.span(service.stall.retry_at - now)
            return f"{service.stall.reason}; tries again in {wait}"
        if not service.runners:
            return "no plan was seen yet" if service.link.connected else "not connected"
        return "; ".join(
            f"{runner.task}: {report.sentence(runner, service.occupant(runner), now)}"
            for runner in service.runners
        )

    def _connection(self) -> Json:
        service, now = self._service, self._service.clock.now()
        facts, mqtt = service.connection, service.config.mqtt
        retry_s = None if facts.retry_at is None else max(0.0, facts.retry_at - now)
        return {
            "broker": mqtt.address,
            "connected": service.link.connected,
            "since_s": now - facts.since,
            "reason": facts.reason,
            "lost": facts.lost,
            "refused": list(service.link.refused),
            "retry_s": retry_s,
        }


def _refuse(answer: Answer, error: Exception) -> None:
    """Say what went wrong, if it is what may."""
    for kind, code in EXITS.items():
        if isinstance(error, kind):
            answer(RequestFailed(str(error), code))
            return
    raise error


def _lines(request: Json) -> list[str]:
    lines = request.get("lines")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise RequestFailed("lines: an array of texts is needed", Exit.FAILED)
    return lines
