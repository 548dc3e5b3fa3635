"""What `fedling-agent run` runs: holds the connection, the tasks, the training slot together.

Time, dice, radio, disk, sensors and children are given: the same service runs in a simulation.
"""

import logging
from collections.abc import Callable
from functools import partial

from fedling_agent.conditions import words
from fedling_agent.conditions.table import TRAFFIC, paused
from fedling_agent.conditions.watcher import Watcher
from fedling_agent.config import AgentConfig
from fedling_agent.data.streams import Stream
from fedling_agent.service.books import Books
from fedling_agent.service.calendar import Calendar
from fedling_agent.service.diary import Diary, Now, course_of
from fedling_agent.service.enrolment import Enrolment
from fedling_agent.service.floor import Floor
from fedling_agent.service.history import History
from fedling_agent.service.inbox import Inbox
from fedling_agent.service.membership import Membership
from fedling_agent.service.outbox import Outbox
from fedling_agent.service.parts import Parts
from fedling_agent.service.pausing import Pausing
from fedling_agent.service.renewal import Hands, Renewal
from fedling_agent.service.runner import SessionRunner
from fedling_agent.service.runners import Runners
from fedling_agent.service.teller import Current, Teller
from fedling_agent.service.vouching import Vouching
from fedling_agent.service.writer import Writer, ignore
from fedling_agent.session import events as ev
from fedling_agent.session import state
from fedling_agent.session.state import Timing
from fedling_agent.store.files import PAIR_FILE
from fedling_agent.store.identity import Identity
from fedling_agent.store.store import Store
from fedling_agent.training.freeze import Freezer
from fedling_agent.training.personal_job import Maker
from fedling_agent.training.process import MakeProcess
from fedling_agent.training.slot import Occupant, Slot
from fedling_agent.training.speed import Speed
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadDatabase, Busy, CannotWrite
from fedling_protocol.net.ports import Done, MakeLink, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.halts import Halts
from fedling_protocol.runtime.loop import Clock, Timer
from fedling_protocol.runtime.recovery import Recovery, Stall
from fedling_protocol.runtime.worker import Worker
from fedling_protocol.wire.enrolment import take_renewal
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import (
    Certificate,
    Change,
    Chunk,
    Enrolled,
    Model,
    OfEpoch,
    Plan,
    Receipt,
    Rest,
    Roots,
    StateCode,
    StateReason,
    Tasks,
    Ticket,
)
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import Address
from fedling_protocol.wire.trust import Received

log = logging.getLogger(__name__)

BOOKS_S = 3600.0  # an hour of Used; counters are written so often, and when a connection ends
LOOK_S = 86_400.0  # what is retained is asked for so often, and at each connect
AGAIN_S = 5.0  # and once more so soon after that
FULL_BASE_S, FULL_LONGEST_S = 10.0, 60.0  # a full disk is tried again
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
    begin_anew: Callable[[BadDatabase], None]  # ends this service: another one has a new database


@dataclass(frozen=True, slots=True)
class Connection:
    """What is known of the connection, for status."""

    since: float
    reason: str = "connecting"  # why there is none
    retry_at: float | None = None
    lost: str = ""  # why the last one ended; two boards with one identity lose it again and again


class Service:
    """The running agent: it owns the link, the runners and the training slot."""

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
        self.connection = Connection(clock.now())
        self.enrolment = Enrolment(identity)
        self.calendar = Calendar(clock)
        full = Backoff(FULL_BASE_S, FULL_LONGEST_S, ports.draw)
        self.recovery = Recovery(
            clock, full, self._forget, self._probe, self._go_on, "nothing is trained or sent"
        )
        self.writer = Writer(ports.disk, self.meet)
        self.used, self.owner = ports.watcher.used, ports.watcher.owner
        self.books = Books(clock, store.ledger, self.writer, self.used)
        self.history = History(store, self.writer)
        self.link = link = ports.make_link(identity.device, self)
        topics, device = config.topics, identity.device
        self.vouching = Vouching(store.vouched, self.writer, self.calendar.signed)
        self.inbox = Inbox(
            clock, topics, config.root_public, device, store.vouched, self.books, self._asked,
            lambda: self.calendar.clock_s,
        )  # fmt: skip
        self.outbox = Outbox(
            clock, link, store.ledger, store.spool, self.writer, self.books, topics, identity,
            config.tasks,
        )  # fmt: skip
        self.slot = Slot(clock, ports.make_process, Speed(config.training.duty), self.books.on_work)
        self.teller = Teller(clock, link, self.outbox, self.enrolment, self._current)
        self.diary = Diary(clock, store.spells, self.writer, self._course)
        self.pausing = Pausing(clock, store.pauses, self.writer, self.owner, self._on_pause)
        count = partial(self.books.count, "halts")
        halts = Halts(clock, ports.draw, way_out, count, self._changed, self._begin_again)
        self.runners = Runners(self._make_parts(ports), streams, halts)
        self.renewal = Renewal(self._make_hands(ports))
        self.membership = Membership(
            config.fleet, identity, self.enrolment, self.inbox, self.vouching, self.outbox,
            self.renewal, self.runners, self.slot, self.teller,
        )  # fmt: skip
        self._begin_anew = ports.begin_anew
        self._look: Timer | None = None
        self._stopping = False
        self._ruined = False  # the database: nothing of it is believed

    def _make_parts(self, ports: Ports) -> Parts:
        config, retry = self.config, self.config.retry
        traffic_mb = int(config.policy.own(TRAFFIC).value)
        floor = Floor(config.tasks, config.floor.labels, config.floor.min_examples, traffic_mb)
        return Parts(
            clock=self.clock,
            link=self.link,
            outbox=self.outbox,
            books=self.books,
            enrolment=self.enrolment,
            history=self.history,
            writer=self.writer,
            store=self.store,
            floor=floor,
            freezer=Freezer(
                self.store,
                config.fleet,
                self.identity.secret,
                floor.min_examples,
                tests=config.floor.tests,
                device=self.identity.device,
            ),
            maker=self._make_maker(),
            take_whole=self._take_whole,
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
            failed=self._on_task_failed,
            changed=self._changed,
        )

    def _make_maker(self) -> Maker | None:
        config = self.config
        if not config.training.personal:
            return None
        return Maker(self.store, config.fleet, self.identity.secret, config.floor.tests)

    def _make_hands(self, ports: Ports) -> Hands:
        """What a renewal works with."""
        trust, directory = self.inbox.trust, self.store.directory
        return Hands(
            clock=self.clock,
            calendar=self.calendar,
            link=self.link,
            outbox=self.outbox,
            writer=self.writer,
            identity=self.identity,
            directory=directory,
            pair=self.config.mqtt.key_file == directory / PAIR_FILE,
            dice=ports.dice,
            draw=ports.draw,
            check=partial(take_renewal, trust),
        )

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Everything begins; then the clock runs it. Raises BadDatabase."""
        self.clock.on_error(self.meet)
        self.books.load()
        self.vouching.load(self.identity.device)
        own = self.inbox.load()
        self.history.load()
        self.pausing.load()
        if own is not None and self.store.vouched.certificate(own.id) is not None:
            self.membership.own(own)
        if not self.config.training.personal and self.store.personal.any():  # it was wanted once
            self.writer.do(self.store.personal.erase_all, ignore)
        self._restore()
        self.diary.load()
        self.link.start()
        self.clock.after(BOOKS_S, self._keep_books)

    def stop(self, done: Done) -> None:
        """End the child first (it finishes its batch), then say the last word, then write."""
        if self._stopping:
            return
        self._stopping = True
        self.recovery.close()
        self.diary.close()
        self.pausing.close()
        self.runners.close()
        self.watcher.close()
        self.teller.close()
        self.renewal.close()
        self.slot.close(lambda: self._leave(done))

    def _leave(self, done: Done) -> None:
        self.outbox.leave(self.will(), lambda: self._end(done))

    def _end(self, done: Done) -> None:
        self._close_books()
        self.writer.do(lambda: None, lambda _: done())

    def _keep_books(self) -> None:
        self._close_books()
        self.used.next_hour()
        self.clock.after(BOOKS_S, self._keep_books)

    def _look_again(self) -> None:
        """A plan or certificate that was lost on its way is not sent again while we are connected,
        unless we ask: by subscribing again.

        Soon, too: an MQTT broker that keeps what is retained beside its subscriptions (NATS) may
        answer with what it has, and forward only what comes when it has answered; what was
        published between the two is lost.
        """
        self.outbox.subscribe_all()
        self._set_look(LOOK_S)

    def _set_look(self, seconds: float) -> None:
        if self._look is not None:
            self._look.cancel()
        self._look = self.clock.after(seconds, self._look_again)

    def _close_books(self) -> None:
        self.link.take_traffic()
        self.books.close()

    def occupant(self, runner: SessionRunner) -> Occupant | None:
        """Find the training of a task: under way, waiting for the slot, or paused."""
        plan = runner.session.begun
        return None if plan is None else self.slot.progress(plan.plan_id)

    # --- what goes wrong: with a task, the database, the disk, with us ---------------------------

    def _on_task_failed(self, task: str, error: Exception) -> None:
        if isinstance(error, BadDatabase | Busy | CannotWrite):  # everybody's
            self.meet(error)
        else:
            self.runners.halt(task, error)

    def _begin_again(self, task: str) -> None:
        self.runners.again(task)

    def meet(self, error: Exception) -> None:
        """Take in what went wrong outside of any task: begin anew from what is on disk.

        Where the database is damaged that is another one, which another service will have.
        """
        if not isinstance(error, BadDatabase):
            self.recovery.refused(error)
        elif not self._ruined:
            self._ruined = self._stopping = True
            self.recovery.close()
            self._forget()
            self.teller.close()
            self._begin_anew(error)

    @property
    def stall(self) -> Stall | None:
        """Why nothing is trained or sent."""
        return self.recovery.stall

    def _restore(self) -> None:
        """Make the runners of what is on disk; a device that was revoked has none."""
        if not self.enrolment.revoked:
            self.runners.restore()

    def _forget(self) -> None:
        self.runners.close()
        self.slot.clear()

    def _probe(self, then: Done) -> None:
        self.writer.do(self.store.ledger.probe, lambda _: then())

    def _go_on(self) -> None:
        self._close_books()
        self.history.load()  # what was heard meanwhile is not on disk
        self._restore()
        self.outbox.subscribe_all()
        self.teller.again()

    # --- the link --------------------------------------------------------------------------------

    def will(self) -> Will:
        return self.outbox.will(StateCode.OFFLINE, self.runners.version)

    def on_connected(self) -> None:
        log.info("connected to %s", self.config.mqtt.way_there)
        self.connection = Connection(self.clock.now(), reason="", lost=self.connection.lost)
        self.membership.connected()
        self.outbox.record_will(self.will())
        self.outbox.subscribe_all()
        self._set_look(AGAIN_S)
        self.runners.give_all(ev.Connected())
        self.teller.again()
        self.diary.changed()

    def on_disconnected(self, reason: str, retry_s: float) -> None:
        where = self.config.mqtt.way_there
        log.warning("no connection to %s: %s; next try in %.1f s", where, reason, retry_s)
        now = self.clock.now()
        since = self.connection.since if self.connection.reason else now
        self.connection = Connection(since, reason, now + retry_s, lost=reason)
        self.runners.give_all(ev.Disconnected())
        if self.link.revoked:
            self.membership.revoked()
        self.diary.changed()
        self._close_books()
        if self._look is not None:
            self._look.cancel()

    def on_traffic(self, traffic: Traffic) -> None:
        self.books.on_socket(traffic)

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        """Never raises because of what came in."""
        if self._ruined:
            return
        try:
            if not payload and not emptied:
                self._on_cleared(topic)
                return
            received = self.inbox.open(topic, payload, emptied)
            plan_id = self._plan_of(received)  # after a receipt nobody knows of it
            self._take(received, payload)
            self.diary.changed()
            kind, plan_id = received.address.kind, plan_id or self._plan_of(received)
            self.books.on_received(kind, plan_id, topic, len(payload))
        except Refused as refused:
            self.inbox.refusals.add(topic, refused)
        except BadDatabase as error:
            self.meet(error)
        except Exception as error:  # noqa: BLE001 (the boundary of a message)
            self.inbox.refusals.fault(topic, error)

    def _asked(self, address: Address) -> int:
        """Tell how large a message there is that was asked for, as a plan or rest has told."""
        runner = self.runners.find(address.task or "")
        return 0 if runner is None else runner.asked(address.kind)

    def _take_whole(self, topic: str, data: bytes) -> bool:
        """Take in a message that came in chunks. False: it was refused, and counted."""
        try:
            self._take(self.inbox.open(topic, data, emptied=False), data)
        except Refused as refused:
            self.inbox.refusals.add(topic, refused)
            return False
        return True

    # --- messages --------------------------------------------------------------------------------

    def _plan_of(self, received: Received) -> bytes | None:
        """Find the round that a message is about; None: none, or none that is known here.

        A model is for the round to come.
        """
        message, runner = received.message, self.runners.find(received.address.task or "")
        if runner is None:
            return None
        if isinstance(message, Plan | Ticket | Receipt):
            return message.plan_id if runner.knows(message.plan_id) else None
        if not isinstance(message, Model | Change | Chunk):
            return None
        plan = runner.session.begun or runner.session.offer
        return None if plan is None else plan.plan_id

    def _take(self, received: Received, payload: bytes) -> None:
        task, message = received.address.task or "", received.message
        if isinstance(message, OfEpoch):
            self.history.check_epoch(message)
        match message:
            case Certificate():
                self.membership.certificate(message, payload)
            case Roots():
                self.membership.roots(message, payload)
            case Enrolled():
                self.membership.answer(received)
            case Tasks():
                for removed in self.history.take_tasks(message, self.runners.declined):
                    log.info("%s: the task was removed", removed)
                    self.runners.forget(removed)
            case Plan() | Rest():
                if not self.runners.see(task, message):
                    self.books.count("declined plans")
            case Model() | Change():
                if not self.runners.model(task, message, received.address.version or 0):
                    raise Refused(Reason.SHAPE, "not the model that was asked for")
            case Chunk():
                if not self.runners.chunk(task, message, received.address):
                    raise Refused(Reason.SHAPE, "not a chunk that was asked for")
            case Ticket():
                self.membership.ticket(message)
                self.runners.give(task, ev.TicketSeen(message))
            case Receipt():
                self.runners.give(task, ev.ReceiptSeen(message))
            case _:
                raise Refused(Reason.TOPIC, "not for devices")

    def _on_cleared(self, topic: str) -> None:
        """What was retained there is taken back, by whomever: it is signed by nobody.

        An own certificate that is gone makes us ask with our key: the answer is signed.
        """
        address = self.config.topics.parse(topic)
        self.books.count("cleared topics")
        if address.kind is Kind.KEYS and address.owner == self.identity.device:
            self.membership.cleared()

    # --- what the fleet hears --------------------------------------------------------------------

    def _current(self) -> Current:
        codes = {state.code(runner.session) for runner in self.runners}
        code = next((code for code in BUSY if code in codes), StateCode.IDLE)
        why_not = "" if self.owner.pause is None else StateReason.PAUSED.value
        return code, self.runners.version, why_not

    # --- what its owner hears --------------------------------------------------------------------

    def _changed(self) -> None:
        """Something may be otherwise now."""
        self.teller.changed()
        self.diary.changed()

    def _course(self) -> Now:
        hindrance = ""
        if self.enrolment.revoked or not self.enrolment.enrolled:
            hindrance = "not-a-member"
        elif not self.link.connected:
            hindrance = "not-connected"
        return course_of(self.runners, paused(self.owner), hindrance)

    def _on_pause(self) -> None:
        """It was paused, or goes on: a training ends with its batch, as by any condition."""
        why = paused(self.owner)
        log.info("%s", words.sentence(why) if why else "its owner lets it take part")
        self.watcher.doubt()
        for runner in self.runners:
            runner.look()
        self._changed()


def way_out(_task: str, _error: Exception) -> str:
    """Say what a person can do about a task that is stopped."""
    return "if it stays so, this is a fault of fedling: report it"
