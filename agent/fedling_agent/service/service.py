"""What `fedling-agent run` runs: holds the connection, the tasks, the training slot together.

Time, dice, radio, disk, sensors and children are given: the same service runs in a simulation.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from fedling_agent.conditions.watcher import Watcher
from fedling_agent.config import AgentConfig
from fedling_agent.data.recording import Changes
from fedling_agent.data.streams import Stream
from fedling_agent.service.books import Books
from fedling_agent.service.enrolment import Enrolment
from fedling_agent.service.inbox import Inbox
from fedling_agent.service.outbox import Outbox
from fedling_agent.service.runner import Parts, SessionRunner
from fedling_agent.service.teller import Teller
from fedling_agent.service.writer import Writer, ignore
from fedling_agent.session import events as ev
from fedling_agent.session import state
from fedling_agent.session.state import Timing
from fedling_agent.store.identity import Identity
from fedling_agent.store.store import Store
from fedling_agent.training.freeze import Freezer
from fedling_agent.training.process import MakeProcess
from fedling_agent.training.slot import Occupant, Slot
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.net.backoff import Backoff
from fedling_protocol.net.ports import Done, MakeLink, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime.loop import Clock, Timer
from fedling_protocol.runtime.worker import Worker
from fedling_protocol.wire.messages import (
    Certificate,
    Model,
    Plan,
    Receipt,
    Rest,
    StateCode,
    TaskSpec,
    Ticket,
    WaitReason,
)
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.trust import Received

log = logging.getLogger(__name__)

MOST_TASKS = 16
BOOKS_S = 3600.0  # counters are written so often, and whenever a connection ends
FULL_BASE_S, FULL_LONGEST_S = 10.0, 300.0  # a full disk is tried again
BUSY = (StateCode.SENDING, StateCode.TRAINING, StateCode.WAITING)  # the first that holds is told


@dataclass(frozen=True, slots=True)
class Ports:
    """What the service stands on."""

    clock: Clock
    disk: Worker
    watcher: Watcher
    make_link: MakeLink
    make_process: MakeProcess
    dice: Callable[[int], bytes]  # os.urandom
    draw: Callable[[], float]  # random.random: spreads what many devices would do at once


@dataclass(frozen=True, slots=True)
class Connection:
    """What is known of the connection, for status."""

    since: float
    reason: str = "connecting"  # why there is none
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Stall:
    """The disk refuses to be written."""

    reason: str
    retry_at: float


class Service:
    """An Owner of its link."""

    def __init__(
        self,
        ports: Ports,
        config: AgentConfig,
        streams: dict[str, Stream],
        identity: Identity,
        store: Store,
    ) -> None:
        self.clock = clock = ports.clock
        self.config = config
        self.streams = streams
        self.identity = identity
        self.store = store
        self.watcher = ports.watcher
        self.runners: dict[str, SessionRunner] = {}
        self.declined: dict[str, str] = {}  # task: why not
        self.connection = Connection(clock.now())
        self.stall: Stall | None = None
        self.enrolment = Enrolment(identity)
        self.writer = Writer(ports.disk, self._on_refused)
        self.books = Books(clock, store.ledger, self.writer)
        self.link = link = ports.make_link(identity.device, self)
        topics, device = config.topics, identity.device
        self.inbox = Inbox(clock, topics, config.root_public, device, store.ledger, self.books)
        self.outbox = Outbox(
            clock, link, store.ledger, store.spool, self.writer, self.books, topics, identity,
            config.tasks,
        )  # fmt: skip
        self.slot = Slot(clock, ports.make_process)
        self.teller = Teller(clock, link, self.outbox, self.enrolment, self._current)
        self._parts = self._make_parts(ports)
        self._full = Backoff(FULL_BASE_S, FULL_LONGEST_S, ports.draw)
        self._retry: Timer | None = None  # of a disk that refuses; None: it is tried now
        self._version = 0  # of the newest model here
        self._stopping = False

    def _make_parts(self, ports: Ports) -> Parts:
        config, retry = self.config, self.config.retry
        return Parts(
            clock=self.clock,
            link=self.link,
            outbox=self.outbox,
            enrolment=self.enrolment,
            writer=self.writer,
            store=self.store,
            freezer=Freezer(self.store, config.fleet, self.identity.secret),
            topics=config.topics,
            identity=self.identity,
            slot=self.slot,
            watcher=self.watcher,
            policy=config.policy,
            timing=Timing(
                int(retry.answer_first_s * 1000),
                int(retry.answer_longest_s * 1000),
                int(retry.transfer_s * 1000),
            ),
            dice=ports.dice,
            changed=self.teller.changed,
        )

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Everything begins; then the clock runs it."""
        self.inbox.load()
        if self.inbox.key(self.identity.device) is not None:
            self.enrolment.certified()
        self._restore()
        self.link.start()
        self.clock.after(BOOKS_S, self._keep_books)

    def stop(self, done: Done) -> None:
        """The child first (it finishes its batch), then the last word, then the disk."""
        if self._stopping:
            return
        self._stopping = True
        self._close_runners()
        self.teller.close()
        self.slot.close(lambda: self._leave(done))

    def _leave(self, done: Done) -> None:
        self.link.stop(self.outbox.will(StateCode.OFFLINE, self._version), lambda: self._end(done))

    def _end(self, done: Done) -> None:
        self._close_books()
        self.writer.do(lambda: None, lambda _: done())

    def _keep_books(self) -> None:
        self._close_books()
        self.clock.after(BOOKS_S, self._keep_books)

    def _close_books(self) -> None:
        self.link.take_traffic()
        self.books.close()

    @property
    def _works(self) -> bool:
        return self.stall is None and not self._stopping

    # --- tasks -----------------------------------------------------------------------------------

    def _restore(self) -> None:
        """The runners of what is on disk; further ones are made when their plans are seen."""
        for task in self.store.plans.unfinished_tasks():
            self._add(task)
        self._look_at_models()

    def _add(self, task: str) -> SessionRunner:
        runner = self.runners[task] = SessionRunner(task, self._parts)
        if self.link.connected:
            runner.give(ev.Connected())
        else:
            runner.look()
        return runner

    def _close_runners(self) -> None:
        for runner in self.runners.values():
            runner.close()
        self.runners.clear()

    def _look_at_models(self) -> None:
        newest = [self.store.models.newest(task) for task in self.store.models.tasks()]
        self._version = max((model.version for model in newest if model), default=0)

    def occupant(self, runner: SessionRunner) -> Occupant | None:
        """The training of a task: under way, waiting for the slot, or paused."""
        plan = runner.session.begun
        return None if plan is None else self.slot.progress(plan.plan_id)

    def examples_changed(self, changes: Changes) -> None:
        """The store has other examples than before."""
        for runner in list(self.runners.values()):
            runner.examples_changed(changes)

    # --- a disk that cannot be written -----------------------------------------------------------

    def _on_refused(self, error: CannotWrite) -> None:
        """As after a crash: forget what is in memory, go on later from what is on disk."""
        self._close_runners()
        self.slot.clear()
        if self._retry is not None or self._stopping:
            return
        delay_s = self._full.next_s()
        self.stall = Stall(str(error), self.clock.now() + delay_s)
        log.error("%s; nothing is trained or sent, next try in %.0f s", error, delay_s)
        self._retry = self.clock.after(delay_s, self._try_to_write)

    def _try_to_write(self) -> None:
        """After all that is in the disk's queue, which may still change what is there."""
        self._retry = None  # a refusal from now on is a new one
        if not self._stopping:
            self.writer.do(self.store.ledger.probe, lambda _: self._on_written())

    def _on_written(self) -> None:
        if self._retry is not None or self._stopping:
            return
        log.info("the disk can be written again")
        self.stall = None
        self._full.lived(FULL_LONGEST_S)
        self._close_books()
        self._restore()
        self.outbox.subscribe_all()
        self.teller.again()

    # --- the link --------------------------------------------------------------------------------

    def will(self) -> Will:
        return self.outbox.will(StateCode.OFFLINE, self._version)

    def on_connected(self) -> None:
        log.info("connected to %s", self.config.mqtt.address)
        self.connection = Connection(self.clock.now(), reason="")
        self.outbox.subscribe_all()
        for runner in list(self.runners.values()):
            runner.give(ev.Connected())
        self.teller.again()

    def on_disconnected(self, reason: str, retry_s: float) -> None:
        where = self.config.mqtt.address
        log.warning("no connection to %s: %s; next try in %.1f s", where, reason, retry_s)
        now = self.clock.now()
        since = self.connection.since if self.connection.reason else now
        self.connection = Connection(since, reason, now + retry_s)
        for runner in list(self.runners.values()):
            runner.give(ev.Disconnected())
        self._close_books()

    def on_traffic(self, traffic: Traffic) -> None:
        self.books.on_socket(traffic)

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        """Never raises because of what came in."""
        try:
            received = self.inbox.open(topic, payload, emptied)
            self.books.on_received(self._plan_of(received), topic, len(payload))
            self._take(received, payload)
        except Refused as refused:
            self.inbox.refuse(topic, refused)

    # --- messages --------------------------------------------------------------------------------

    def _plan_of(self, received: Received) -> bytes | None:
        """The round that a message is about; None: of none. A model is for the round to come."""
        message, runner = received.message, self.runners.get(received.address.task or "")
        if isinstance(message, Plan | Ticket | Receipt):
            return message.plan_id
        if not isinstance(message, Model) or runner is None:
            return None
        plan = runner.session.begun or runner.session.offer
        return None if plan is None else plan.plan_id

    def _take(self, received: Received, payload: bytes) -> None:
        task, message = received.address.task or "", received.message
        match message:
            case Certificate():
                self._on_certificate(message, payload)
            case Plan() | Rest():
                self._on_plan(task, message)
            case Model():
                self._on_model(task, message, received.address.version or 0)
            case Ticket():
                self._on_ticket(task, message)
            case Receipt():
                self._give(task, ev.ReceiptSeen(message))
            case _:
                raise Refused(Reason.TOPIC, "not for devices")

    def _give(self, task: str, event: ev.Event) -> None:
        runner = self.runners.get(task)
        if runner is not None:
            runner.give(event)

    def _on_certificate(self, certificate: Certificate, payload: bytes) -> None:
        ledger = self.store.ledger
        keep = ledger.keep_certificate
        if ledger.certificate(certificate.id) != payload:
            self.writer.do(lambda: keep(certificate.id, certificate.serial, payload), ignore)
            if certificate.id == AGGREGATOR:  # what is retained came before we could verify it
                self.outbox.ask_plans()
        if certificate.id == self.identity.device and self.enrolment.certified():
            log.info("this device is enrolled")
            for runner in list(self.runners.values()):
                runner.give(ev.Enrolled())
            self.teller.changed()

    def _on_plan(self, task: str, message: Plan | Rest) -> None:
        runner = self.runners.get(task)
        reason = why_not(message.spec, self.streams)
        if not reason and runner is None and len(self.runners) >= MOST_TASKS:
            reason = f"this device works on {MOST_TASKS} tasks already"
        if reason:
            self._decline(task, reason)
            return
        self.declined.pop(task, None)
        if self._works:
            (runner or self._add(task)).see(message)

    def _decline(self, task: str, reason: str) -> None:
        if len(self.declined) < MOST_TASKS or task in self.declined:
            self.declined[task] = reason
        self.books.count("declined plans")

    def _on_model(self, task: str, message: Model, version: int) -> None:
        runner = self.runners.get(task)
        if not self._works:
            return
        if runner is None or not runner.model(message, version):
            raise Refused(Reason.SHAPE, "not the model that was asked for")
        self._version = max(self._version, version)

    def _on_ticket(self, task: str, ticket: Ticket) -> None:
        if ticket.reason == WaitReason.NOT_ENROLLED:
            self.enrolment.denied()
            if self.inbox.may_log(WaitReason.NOT_ENROLLED):
                log.warning("not enrolled; the operator runs: %s", self.identity.add_command)
        self._give(task, ev.TicketSeen(ticket))

    # --- what the fleet hears --------------------------------------------------------------------

    def _current(self) -> tuple[StateCode, int]:
        codes = {state.code(runner.session) for runner in self.runners.values()}
        code = next((code for code in BUSY if code in codes), StateCode.IDLE)
        return code, self._version


def why_not(spec: TaskSpec, streams: dict[str, Stream]) -> str:
    """Why this device cannot take part in a task; empty if it can."""
    stream = streams.get(spec.stream)
    if stream is None:
        return f'agent.toml names no stream "{spec.stream}"'
    if len(stream.channels) != spec.channels:
        return f"its stream has {len(stream.channels)} channels, the task wants {spec.channels}"
    return ""
