"""Answers the control socket's requests out of the running service."""

from collections.abc import Callable
from typing import cast

from fedling_agent.conditions.gate import Gate
from fedling_agent.service import operations, report
from fedling_agent.service.control import Answer, Json, Peer, RequestFailed
from fedling_agent.service.operations import Ingest
from fedling_agent.service.predict import Predictor
from fedling_agent.service.service import Service
from fedling_protocol.disk.errors import BadInput, CannotWrite, Missing
from fedling_protocol.exits import Exit
from fedling_protocol.runtime.slices import finish

EXITS = {BadInput: Exit.FAILED, CannotWrite: Exit.CANNOT_WRITE, Missing: Exit.NOT_FOUND}


class Desk:
    """One method for each verb."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._predictor = Predictor(service.store)
        self._gate = Gate(service.config.policy, service.watcher, lambda: None)
        self._verbs: dict[str, Callable[[Json, Peer], Json]] = {
            "status": self.status,
            "conditions": self.conditions,
            "ingest": self.ingest,
            "predict": self.predict,
            "windows": self.windows,
        }

    def handle(self, request: Json, peer: Peer, answer: Answer) -> None:
        """A handler for control.Server."""
        verb = self._verbs.get(str(request.get("do")))
        if verb is None:
            raise RequestFailed(f"the service knows no {request.get('do')!r}", Exit.FAILED)
        try:
            answer(verb(request, peer))
        except (BadInput, CannotWrite, Missing) as error:
            raise RequestFailed(str(error), EXITS[type(error)]) from error

    def status(self, _request: Json, _peer: Peer) -> Json:
        service = self._service
        pending = service.outbox.pending()
        answer = report.of_store(service.store, service.identity, pending)
        tasks = cast(dict[str, Json], answer["tasks"])
        for task, work in service.works.items():
            run = service.run_of(work)
            stored = tasks.setdefault(task, report.of_task(service.store, task))
            stored.update(report.of_live(work, run, service.loop.now()))
        return answer | {
            "fleet": service.config.fleet,
            "enrolled": service.enrolled,
            "doing": self._doing(),
            "connection": self._connection(),
            "declined": service.declined,
            "disk": "ok" if service.stall is None else service.stall.reason,
            "child": service.slot.pid,
        }

    def conditions(self, _request: Json, _peer: Peer) -> Json:
        """Waits for the sensors, for as long as the control socket cannot be answered later."""
        service = self._service
        service.watcher.read_now()
        for work in list(service.works.values()):
            work.look()
        return {
            "signals": report.of_readings(service.config.policy.rows, service.watcher.latest),
            "age_s": service.watcher.age_s,
            "own": report.of_allowance(self._gate.look()),
            "tasks": {
                task: report.of_allowance(work.allowance)
                for task, work in service.works.items()
                if work.allowance is not None
            },
        }

    def ingest(self, request: Json, peer: Peer) -> Json:
        """All requests of one connection are one input."""
        service, ingest = self._service, peer.memory.get("ingest")
        if not isinstance(ingest, Ingest):
            name, form = str(request.get("stream")), str(request.get("form"))
            ingest = peer.memory["ingest"] = Ingest(service.store, service.streams, name, form)
        done = ingest.feed(_lines(request))
        if done.stored:
            service.ingested(done.changes)
            self._predictor.changed(done.changes)
        return operations.told(done)

    def predict(self, request: Json, _peer: Peer) -> Json:
        service, task, form = self._service, request.get("task"), str(request.get("form"))
        answer = operations.predict(
            service.store,
            self._predictor,
            service.streams,
            str(task or ""),
            _lines(request),
            form,
        )
        return finish(answer)

    def windows(self, request: Json, _peer: Peer) -> Json:
        return operations.windows(self._service.store, str(request.get("task") or ""))

    def _doing(self) -> str:
        """One sentence for the whole device."""
        service = self._service
        if service.stall is not None:
            wait = report.span(service.stall.retry_at - service.loop.now())
            return f"{service.stall.reason}; tries again in {wait}"
        if not service.works:
            return "no plan was seen yet" if service.link.connected else "not connected"
        return "; ".join(
            f"{task}: {report.sentence(work, service.run_of(work), service.loop.now())}"
            for task, work in service.works.items()
        )

    def _connection(self) -> Json:
        facts, now = self._service.connection, self._service.loop.now()
        retry_s = None if facts.retry_at is None else max(0.0, facts.retry_at - now)
        return {
            "broker": self._service.config.mqtt.address,
            "connected": self._service.link.connected,
            "since_s": now - facts.since,
            "reason": facts.reason,
            "retry_s": retry_s,
        }


def _lines(request: Json) -> list[str]:
    lines = request.get("lines")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise RequestFailed("lines: an array of texts is needed", Exit.FAILED)
    return lines
