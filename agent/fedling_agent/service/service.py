"""What `fedling-agent run` runs: holds the connection, the tasks, the training slot together."""

import logging
import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fedling_agent.conditions.watcher import Watcher
from fedling_agent.config import AgentConfig
from fedling_agent.data.recording import Changes
from fedling_agent.data.streams import Stream
from fedling_agent.service.inbox import Inbox
from fedling_agent.service.outbox import Outbox
from fedling_agent.service.runner import Tools, Work, why_not
from fedling_agent.session import events as ev
from fedling_agent.session import state
from fedling_agent.session.state import Timing
from fedling_agent.store.identity import Identity
from fedling_agent.store.store import Store
from fedling_agent.training.freeze import Freezer
from fedling_agent.training.slot import Occupant, Slot
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.net.backoff import Backoff
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Link, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime import sdnotify
from fedling_protocol.runtime.loop import Loop, Timer
from fedling_protocol.runtime.worker import ThreadWorker
from fedling_protocol.wire.limits import MAX_LARGE
from fedling_protocol.wire.messages import (
    Certificate,
    Model,
    Plan,
    Receipt,
    Rest,
    StateCode,
    Ticket,
    WaitReason,
)
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.trust import Received

log = logging.getLogger(__name__)

MOST_TASKS = 16
PACKET_LIMIT = MAX_LARGE + 1024  # a message, its topic, its packet id
BOOKS_S = 3600.0  # counters are written so often, and whenever a round ends
TELL_S = 5.0  # the fleet hears of a change of state after this, and not more often
SETTLE_S = 1.0  # from the last row ingested to the count of examples
FULL_BASE_S, FULL_LONGEST_S = 10.0, 300.0  # a full disk is tried again
BUSY = (StateCode.SENDING, StateCode.TRAINING, StateCode.WAITING)  # the first that holds is told


@dataclass(slots=True)
class Connection:
    """What is known of the connection, for status."""

    since: float
    reason: str = "connecting"  # why there is none
    retry_at: float | None = None


@dataclass(slots=True)
class Stall:
    """The disk refuses to be written."""

    reason: str
    retry_at: float


class Service:
    """Owns everything; the tasks' works, the link and the slot call it back."""

    def __init__(
        self,
        loop: Loop,
        config: AgentConfig,
        streams: dict[str, Stream],
        identity: Identity,
        store: Store,
    ) -> None:
        self.loop = loop
        self.config = config
        self.streams = streams
        self.identity = identity
        self.store = store
        self.names = ThreadWorker(loop, "names", patient=False)
        self.inbox = Inbox(loop, config, store.ledger, identity.device, self._on_received)
        self.outbox = Outbox(store.ledger, config.topics, identity, config.tasks)
        self.link = self.outbox.link = self._make_link()
        self.slot = Slot(loop, duty=config.training.duty, checkpoint_s=config.training.checkpoint_s)
        self.works: dict[str, Work] = {}
        self.declined: dict[str, str] = {}  # task: why not
        self.connection = Connection(loop.now())
        self.stall: Stall | None = None
        self._full = Backoff(FULL_BASE_S, FULL_LONGEST_S, random.random)
        self.watcher = Watcher(
            config.policy.rows,
            config.roots,
            loop,
            ThreadWorker(loop, "sensors", patient=False),
        )
        self._tools = self._make_tools()
        self._told: tuple[StateCode, int] | None = None
        self._tell: Timer | None = None
        self._settle: Timer | None = None
        self._version = 0
        self._stopping = False

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Everything begins; then the loop runs it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.on_signal(number, self.stop)
        self.inbox.load()
        self.outbox.with_key = self.inbox.key(self.identity.device) is None
        self._restore()
        self.link.start()
        self._keep_books()
        watchdog_s = sdnotify.watchdog_s()
        if watchdog_s is not None:
            self._feed(watchdog_s / 2)
        sdnotify.ready("running")

    def stop(self) -> None:
        """Child first (it finishes its batch), then the last word, then the end of the loop."""
        if self._stopping:
            return
        self._stopping = True
        sdnotify.stopping()
        for work in self.works.values():
            work.close()
        self.slot.close(self._leave)

    def _leave(self) -> None:
        self.link.stop(self.outbox.will(StateCode.OFFLINE, self._version), self._end)

    def _end(self) -> None:
        try:
            self.outbox.close_books()
        except CannotWrite as error:
            log.error("%s", error)
        self.loop.stop()

    def _feed(self, every_s: float) -> None:
        sdnotify.alive()
        self.loop.after(every_s, lambda: self._feed(every_s))

    def _keep_books(self) -> None:
        self._writing(self.outbox.close_books)
        self.loop.after(BOOKS_S, self._keep_books)

    def _make_link(self) -> Link:
        mqtt, retry = self.config.mqtt, self.config.retry
        return MqttLink(
            self.loop,
            self.names,
            Broker(mqtt.host, mqtt.port, mqtt.keepalive_s),
            Backoff(retry.first_s, retry.longest_s, random.random),
            PACKET_LIMIT,
            partial(new_client, self.identity.device),
            self,
        )

    def _make_tools(self) -> Tools:
        config, retry = self.config, self.config.retry
        return Tools(
            loop=self.loop,
            store=self.store,
            freezer=Freezer(self.store, config.fleet, self.identity.secret),
            topics=config.topics,
            identity=self.identity,
            link=self.link,
            outbox=self.outbox,
            slot=self.slot,
            watcher=self.watcher,
            policy=config.policy,
            timing=Timing(
                int(retry.answer_first_s * 1000),
                int(retry.answer_longest_s * 1000),
                int(retry.transfer_s * 1000),
            ),
            dice=os.urandom,
            cannot_write=self.cannot_write,
            restart=self._restart,
            changed=self.changed,
        )

    # --- tasks -----------------------------------------------------------------------------------

    def _restore(self) -> None:
        """The works of what is on disk; further ones are made when their plans are seen."""
        plans = [record.plan.spec.task for record in self.store.plans.in_work()]
        for task in dict.fromkeys(plans + [entry.task for entry in self.store.spool.entries()]):
            self._add(task)
        self._look_at_models()

    def _add(self, task: str) -> Work:
        work = self.works[task] = Work(task, self._tools)
        if self.link.connected:
            work.give(ev.Connected())
        else:
            work.look()
        return work

    def _restart(self, work: Work) -> None:
        """From what is on disk."""
        work.close()

        def again() -> None:
            self._add(work.task)
            self.outbox.ask_plans()

        self.loop.after(0, again)

    def _look_at_models(self) -> None:
        newest = [self.store.models.newest(task) for task in self.store.models.tasks()]
        self._version = max((model.version for model in newest if model), default=0)

    def run_of(self, work: Work) -> Occupant | None:
        """The training of a task: under way, waiting for the slot, or paused."""
        plan = work.session.begun
        return None if plan is None else self.slot.progress(plan.plan_id)

    def ingested(self, changes: Changes) -> None:
        """The store has new examples: count them when the flood is over."""
        for work in self.works.values():
            work.examples_changed(changes)
        if self._settle is None:
            self._settle = self.loop.after(SETTLE_S, self._settled)

    def _settled(self) -> None:
        self._settle = None
        for work in list(self.works.values()):
            work.look()

    # --- a disk that cannot be written -----------------------------------------------------------

    def cannot_write(self, error: CannotWrite) -> None:
        """As after a crash: forget what is in memory, go on later from what is on disk."""
        for work in self.works.values():
            work.close()
        self.works.clear()
        self.slot.clear()
        if self.stall is not None:
            return
        delay_s = self._full.next_s()
        self.stall = Stall(str(error), self.loop.now() + delay_s)
        log.error("%s; nothing is trained or sent, next try in %.0f s", error, delay_s)
        self.loop.after(delay_s, self._try_to_write)

    def _try_to_write(self) -> None:
        self.stall = None
        if self._stopping or not self._writing(self._probe):
            return
        log.info("the disk can be written again")
        self._full.lived(FULL_LONGEST_S)
        self._restore()
        if self.link.connected:
            self.outbox.subscribe_all()

    def _probe(self) -> None:
        self.store.ledger.mark("probe")
        self.store.ledger.unmark("probe")
        self.outbox.close_books()

    def _writing(self, call: Callable[[], object]) -> bool:
        """False: the disk refused, and it was said."""
        try:
            call()
        except CannotWrite as error:
            self.cannot_write(error)
            return False
        return True

    # --- the link --------------------------------------------------------------------------------

    def will(self) -> Will:
        return self.outbox.will(StateCode.OFFLINE, self._version)

    def on_connected(self) -> None:
        log.info("connected to %s", self.config.mqtt.address)
        self.connection = Connection(self.loop.now(), reason="")
        self._told = None
        self.outbox.subscribe_all()
        for work in list(self.works.values()):
            work.give(ev.Connected())
        self.changed()

    def on_disconnected(self, reason: str, retry_s: float) -> None:
        where = self.config.mqtt.address
        log.warning("no connection to %s: %s; next try in %.1f s", where, reason, retry_s)
        since = self.connection.since if self.connection.reason else self.loop.now()
        self.connection = Connection(since, reason, self.loop.now() + retry_s)
        for work in list(self.works.values()):
            work.give(ev.Disconnected())
        self._writing(self.outbox.close_books)
        self.changed()

    def on_traffic(self, traffic: Traffic) -> None:
        self.outbox.count(traffic)

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        aggregator = self.inbox.key(AGGREGATOR)
        self.inbox.on_message(topic, payload, emptied)
        if self.inbox.key(AGGREGATOR) != aggregator:
            # What is retained came before we could verify it.
            self.outbox.ask_plans()

    # --- messages --------------------------------------------------------------------------------

    def _on_received(self, received: Received, payload: bytes) -> None:
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
                self._on_receipt(task, message)
            case _:
                raise Refused(Reason.TOPIC, "not for devices")

    def _on_certificate(self, certificate: Certificate, payload: bytes) -> None:
        keep = self.store.ledger.keep_certificate
        self._writing(lambda: keep(certificate.id, certificate.serial, payload))
        if certificate.id == self.identity.device and self.outbox.with_key:
            log.info("this device is enrolled")
            self.outbox.with_key = False
            for work in list(self.works.values()):
                work.give(ev.Enrolled())
            self.changed()

    def _on_plan(self, task: str, message: Plan | Rest) -> None:
        if message.spec.task != task:
            raise Refused(Reason.SHAPE, "of another task")
        work = self.works.get(task)
        reason = why_not(message.spec, self.streams)
        if not reason and work is None and len(self.works) >= MOST_TASKS:
            reason = f"this device works on {MOST_TASKS} tasks already"
        if reason:
            if len(self.declined) < MOST_TASKS or task in self.declined:
                self.declined[task] = reason
            self.store.ledger.count("declined plans")
            return
        self.declined.pop(task, None)
        if self.stall is not None:
            return
        if isinstance(message, Plan):
            self.outbox.about(message.plan_id)
        if work is None:
            work = self._add(task)
        work.see(message)

    def _on_model(self, task: str, message: Model, version: int) -> None:
        if self.stall is not None:
            return
        work = self.works.get(task)
        if work is None or not work.model(message, version):
            raise Refused(Reason.SHAPE, "not the model that was asked for")
        self._look_at_models()
        self.changed()

    def _on_ticket(self, task: str, ticket: Ticket) -> None:
        if ticket.reason == WaitReason.NOT_ENROLLED:
            self.outbox.with_key = True
            if self.inbox.may_log(WaitReason.NOT_ENROLLED):
                log.warning("not enrolled; the operator runs: %s", self.identity.add_command)
        work = self.works.get(task)
        if work is not None:
            work.give(ev.TicketSeen(ticket))

    def _on_receipt(self, task: str, receipt: Receipt) -> None:
        work = self.works.get(task)
        if work is not None:
            work.give(ev.ReceiptSeen(receipt))

    # --- what the fleet hears --------------------------------------------------------------------

    @property
    def enrolled(self) -> bool:
        """Whether we hold a certificate and nobody has told otherwise."""
        return not self.outbox.with_key

    def changed(self) -> None:
        """Tell it soon, if it is new and we stay in it."""
        if self.enrolled and self._tell is None and self._state() != self._told:
            delay_s = 0.0 if self._told is None else TELL_S
            self._tell = self.loop.after(delay_s, self._tell_state)

    def _tell_state(self) -> None:
        self._tell = None
        current = self._state()
        if current == self._told or not self.link.connected or self._stopping:
            return
        self._told = current
        self._writing(lambda: self.outbox.state(*current))

    def _state(self) -> tuple[StateCode, int]:
        codes = {state.code(work.session) for work in self.works.values()}
        code = next((code for code in BUSY if code in codes), StateCode.IDLE)
        return code, self._version
