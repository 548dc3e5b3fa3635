"""What `fedling-broker serve` runs: holds the connection and the tasks together.

Time, disk, radio and threads are given: the same service runs in a simulation.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial

from fedling_broker.authority.vouching import Vouching
from fedling_broker.config import Config, KeepUpdates
from fedling_broker.service import gate as gate_room
from fedling_broker.service import notices as notices_file
from fedling_broker.service.counters import Counters
from fedling_broker.service.gate import Gate, Guests
from fedling_broker.service.holding import Holding
from fedling_broker.service.inbox import Inbox
from fedling_broker.service.notices import Notice
from fedling_broker.service.publisher import Publisher
from fedling_broker.service.registrar import Books, Place, Registrar
from fedling_broker.service.roster import NOT_NOW, Roster
from fedling_broker.service.runner import OF_THE_DISK, Parts
from fedling_broker.service.runners import Runners, way_out
from fedling_broker.service.sweeper import Sweeper
from fedling_broker.service.turns import Turns
from fedling_broker.store.devices import Devices
from fedling_broker.store.rounds import PlanRow
from fedling_broker.store.store import Epoch, Store
from fedling_broker.store.tasks import TaskRow
from fedling_protocol.classes import dataclass
from fedling_protocol.net.framing import publish_size
from fedling_protocol.net.ports import Done, MakeLink, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime import mishaps
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.halts import Halts
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.recovery import Recovery
from fedling_protocol.runtime.worker import Worker
from fedling_protocol.wire import counted
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_SMALL
from fedling_protocol.wire.messages import (
    Answer,
    Chunk,
    Enrol,
    Join,
    Receipt,
    Ticket,
    Update,
    Verdict,
)
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import Address
from fedling_protocol.wire.trust import Received, Trust

log = logging.getLogger(__name__)

CLIENT_ID = "fedling-aggregator-{fleet}"
LOOK_S = 1.0  # the admin verbs write to the database: it is looked at so often
BOOKS_S = 60.0  # counters are written so often, and tokens end so late at most
WAIT_S = 60  # a device of a task that is stopped is told to wait for so long at least
MOST_WAITING = 160 << 20  # bytes of messages that wait for a slow disk; further ones are dropped


@dataclass(frozen=True, slots=True)
class Ports:
    """What the service stands on."""

    clock: Clock
    disk: Worker
    compute: Worker  # for what takes seconds of a processor
    make_link: MakeLink
    draw: Callable[[], float]  # random.random: spreads retries
    status: Callable[[str], object]  # one line for whoever watches the service
    admit: Callable[[Guests], None] | None = None  # tells the MQTT broker whom to let in; blocks
    cut: Callable[[str], None] | None = None  # puts a revoked device off


class Service:
    """An Owner of its link."""

    def __init__(
        self,
        ports: Ports,
        config: Config,
        store: Store,
        key: SigningKey,
        secret: bytes,
        vouching: Callable[[], Vouching | None] = lambda: None,
    ) -> None:
        """vouching: reads the authority's keys; None: they are on another machine"""
        self.clock = clock = ports.clock
        self.config = config
        self.store = store
        self.counters = Counters()
        self.link = ports.make_link(CLIENT_ID.format(fleet=config.file.fleet), self)
        self.turns = Turns(clock, ports.disk, store, self._look, self._refused)
        self._disk = ports.disk
        self._notices: dict[str, Mapping[str, Notice]] = {}  # by who gives them
        self._status = ports.status
        holding = Holding(clock, ports.draw, partial(self._note, "held"))
        link, count = self.link, self.counters.count
        self.publisher = Publisher(
            link, ports.compute, config.topics, key, holding, count, config.file.largest_packet
        )
        trust = Trust(config.topics, config.root_key, self._largest)
        self.inbox = Inbox(clock, trust, self.counters)
        devices = Devices(store.database, config.topics)
        self.roster = Roster(devices, trust, self.turns, self.publisher)
        self.registrar = self._make_registrar(devices, vouching)
        self.gate = self._make_gate(ports, devices)
        self.sweeper = Sweeper(store.withdrawn, self.turns, self.publisher)
        self._parts = self._make_parts(ports, secret)
        count = partial(self.counters.count, "halts")
        halts = Halts(clock, ports.draw, way_out, count, self._note_halts, self._begin_again)
        self.runners = Runners(self._parts, lambda: self.link.connected, halts)
        full = Backoff(config.file.retry.first_s, config.file.retry.longest_s, ports.draw)
        self.recovery = Recovery(
            clock, full, self._forget, self._probe, self._go_on, "nothing is accepted"
        )
        self._seen = -1  # data_version
        self._begun = False  # the epoch of this process is on disk
        self._waiting = 0  # bytes of messages that no turn has taken yet
        self._stopping = False

    def _make_registrar(
        self, devices: Devices, vouching: Callable[[], Vouching | None]
    ) -> Registrar:
        return Registrar(
            self.clock,
            Books(devices, self.store.invitations, self.store.tls_certificates),
            self.turns,
            self.publisher,
            self.roster,
            self.counters,
            Place(*self.config.for_devices, self.config.root_key),
            vouching,
        )

    def _make_gate(self, ports: Ports, devices: Devices) -> Gate | None:
        """None: the MQTT broker is not ours to tell whom to let in."""
        if ports.admit is None or ports.cut is None:
            return None
        read = partial(gate_room.read, devices, self.store, self._now_s)
        return Gate(self.clock, ports.disk, read, ports.admit, ports.cut)

    def _make_parts(self, ports: Ports, secret: bytes) -> Parts:
        file = self.config.file
        return Parts(
            clock=self.clock,
            disk=ports.disk,
            compute=ports.compute,
            store=self.store,
            turns=self.turns,
            publisher=self.publisher,
            fleet=file.fleet,
            secret=secret,
            keep_updates=file.keep_updates is KeepUpdates.AUDIT,
            keep_rounds=file.keep_rounds,
            untidy=self._untidy,
            refused=self._refused,
            halt=self._halt,
        )

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Everything begins; then the clock runs it. Raises SettingsError."""
        self.roster.load(self.config)
        self.clock.on_error(self._refused)
        self._note("held", {})
        self.link.start()
        self._look_again()
        self._keep_books()

    def stop(self, done: Done) -> None:
        """What was accepted is committed and said, then we leave."""
        if self._stopping:
            return
        self._stopping = True
        self.recovery.close()
        self.runners.close()
        self.link.take_traffic()
        self.turns.run(self._write_counts)
        self.turns.drain(lambda: self.link.stop(None, done))

    def _note(self, who: str, notices: Mapping[str, Notice]) -> None:
        """Tell commands which tasks are held back, or stopped."""
        self._notices[who] = notices
        told = {task: notice for by in self._notices.values() for task, notice in by.items()}
        write = partial(notices_file.write, self.config.state_dir, told)
        self._disk.do(write, lambda _: None, self._on_not_noted)

    def _note_halts(self) -> None:
        ahead = self.clock.wall() - self.clock.now()
        halted = self.runners.halts.halted.items()
        said = {t: Notice(f"is stopped: {halt.says}", halt.until + ahead) for t, halt in halted}
        self._note("halted", said)

    def _on_not_noted(self, error: Exception) -> None:
        """Commands know less, nothing else is wrong: a disk that is full shows elsewhere, too."""
        log.warning("which tasks are stopped cannot be told: %s", mishaps.sentence(error))

    # --- a task that something is wrong with -----------------------------------------------------

    def _halt(self, task: str, error: Exception) -> None:
        self.runners.halt(task, error)

    def _untidy(self) -> None:
        self.runners.untidy()

    def _begin_again(self, task: str) -> None:
        """Or later: it was halted while the disk was tried, which may be mended without it."""
        if self._working:
            self.turns.run(partial(self.runners.again, task))
        elif not self._stopping:
            self.clock.after(LOOK_S, partial(self._begin_again, task))

    # --- what the admin verbs changed ------------------------------------------------------------

    def _look_again(self) -> None:
        """A turn looks at the database first, whatever else it does."""
        if self._working:
            self.turns.run(_nothing)
            self.runners.tidy()
        self.clock.after(LOOK_S, self._look_again)

    def _look(self) -> None:
        """Tasks and certificates, if another process has written: before anything is decided."""
        if not self._begun:
            self._begin_epoch()
        version = self.store.database.data_version()
        if version != self._seen and not self._stopping:
            self._seen = version
            for device in self.roster.look():
                self.runners.gone(device)
            self.runners.look()
            self.sweeper.look()
            self._look_at_gate()

    def _look_at_gate(self) -> None:
        if self.gate is not None:
            self.gate.look()

    def _now_s(self) -> int:
        return int(self.clock.wall())

    def _begin_epoch(self) -> None:
        """Nothing is said before it is on disk."""

        def name(task: TaskRow, plan: PlanRow, epoch: int) -> bytes:
            return self._parts.name_plan(
                task.name, task.generation, plan.round, plan.base_hash, epoch
            )

        epoch = self.store.begin_epoch(name)
        self.publisher.epoch = epoch.number
        self.turns.then(partial(self._on_begun, epoch))

    def _on_begun(self, epoch: Epoch) -> None:
        self._begun = True
        if epoch.copied:
            self.counters.count("copies")
            log.warning(
                "%s is a copy: %d open rounds have other ids now, since devices may have done what"
                " they asked; never run two aggregators on one state",
                self.store.directory,
                epoch.reopened,
            )

    # --- a disk that cannot be written -----------------------------------------------------------

    @property
    def _working(self) -> bool:
        """Whether anything is decided: else devices ask again."""
        return self.recovery.stall is None and not self._stopping

    def _refused(self, error: Exception) -> None:
        """Hear what is wrong with the disk, or with us: begin anew from what is on it."""
        self.recovery.refused(error)
        if self.recovery.stall is not None:
            self._status(f"{self.recovery.stall.reason}: nothing is accepted")

    def _forget(self) -> None:
        self.runners.close()
        self.turns.drop()
        self._seen = -1
        self._waiting = 0

    def _probe(self, then: Done) -> None:
        def probe() -> None:
            self._write_counts()
            if self.link.connected:
                self.roster.connected()
                self.sweeper.connected()
            self.turns.then(then)

        self.counters.count("stalls")
        self.turns.run(probe)

    def _go_on(self) -> None:
        self._status("running")
        if self.link.connected and not self.roster.greeted:  # it came while the probe was written
            self.turns.run(self._connected)

    # --- counters --------------------------------------------------------------------------------

    def _keep_books(self) -> None:
        self.link.take_traffic()
        if self._working:
            self.turns.run(self._write_counts)
            self.turns.run(self._look_at_gate)
        self.clock.after(BOOKS_S, self._keep_books)

    def _write_counts(self) -> None:
        counts = self.counters.counts
        if counts:
            self.store.ledger.count(counts)
            self.turns.then(lambda: self.counters.written(counts))

    def on_traffic(self, traffic: Traffic) -> None:
        self.counters.on_traffic(traffic)

    # --- the link --------------------------------------------------------------------------------

    def will(self) -> Will | None:
        return None

    def on_connected(self) -> None:
        """The MQTT broker may have forgotten everything: it is told again."""
        log.info("connected to %s", self.config.file.mqtt.way_there)
        self.link.subscribe(self.config.topics.aggregator_subscriptions())
        self.publisher.connected()
        if self._working:
            self.turns.run(self._connected)

    def _connected(self) -> None:
        self.roster.connected()
        self.runners.connected()
        self.sweeper.connected()

    def on_disconnected(self, reason: str, retry_s: float) -> None:
        self.roster.lost()
        self.sweeper.lost()
        self.publisher.lost()
        where = self.config.file.mqtt.way_there
        log.warning("no connection to %s: %s; next try in %.1f s", where, reason, retry_s)

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        """Never raises because of what came in. Nothing is decided before the next turn."""
        if not self._working or self._waiting > MOST_WAITING:
            self.counters.count("dropped messages")  # whoever sent it asks again
            return
        try:
            received = self.inbox.open(topic, payload, emptied)
            take = TAKE.get(received.address.kind)
            if take is None:
                raise Refused(Reason.TOPIC, "nobody here wants it")
        except Refused as refused:
            self.inbox.refusals.add(topic, refused)
        except Exception as error:  # noqa: BLE001 (the boundary of a message)
            self.inbox.refusals.fault(topic, error)
        else:
            size = publish_size(topic, len(payload))
            self.counters.count(counted.received(received.address.kind), size)
            self._waiting += len(payload)
            self.turns.run(partial(self._take, take, received, payload))

    def _largest(self, address: Address) -> int:
        """Whoever may publish must not have us hash megabytes for a task of a kilobyte."""
        if address.kind is not Kind.UPDATE:
            return MAX_SMALL
        runner = self.runners.find(address.task or "")
        if runner is None:
            return MAX_SMALL
        return min(address.kind.largest, runner.largest_update)

    # --- messages, in a turn ---------------------------------------------------------------------

    def _take(self, take: "Take", received: Received, payload: bytes) -> None:
        self._waiting -= len(payload)
        device = received.address.device or ""
        if self._stopping:  # its task has no runner any more, which is not to say "unknown plan"
            self.counters.count("dropped messages")
        elif received.certified and not self.roster.knows(device):  # revoked since it was verified
            self.counters.count(f"refused: {Reason.UNKNOWN_KEY}")
        else:
            self._try(partial(take, self, device, received, payload), received.address)

    def _try(self, take: Callable[[], None], address: Address) -> None:
        """What a message brings about is undone if it fails, and its task begins anew."""
        try:
            with self.turns.part():
                take()
        except OF_THE_DISK:
            raise
        except Refused as refused:
            self.inbox.refusals.add(str(address.kind), refused)
        except Exception as error:  # noqa: BLE001 (the boundary of a message, and of a task)
            if address.task is None:
                self.inbox.refusals.fault(str(address.kind), error)
            else:
                self._halt(address.task, error)

    def _enrol(self, device: str, received: Received, _payload: bytes) -> None:
        ask = received.message
        assert isinstance(ask, Enrol)
        self.registrar.enrol(device, ask)

    def _join(self, device: str, received: Received, _payload: bytes) -> None:
        join = received.message
        assert isinstance(join, Join)
        if received.standing in NOT_NOW:
            self.roster.put_off(device, received, join)
            return
        if join.key is not None:
            self.roster.introduce(device, join.key, received.certified, self._now_s())
        task = received.address.task or ""
        runner = self.runners.find(task)
        if runner is not None:
            runner.join(device, join, received.certified)
        elif task in self.runners.halts:
            self._not_now(device, task, join)
        elif received.certified:
            self._no_task(received, join.plan_id, join.have)

    def _update(self, device: str, received: Received, payload: bytes) -> None:
        update = received.message
        if isinstance(update, Chunk):
            self._chunk(device, received, update)
            return
        assert isinstance(update, Update)
        task = received.address.task or ""
        runner = self.runners.find(task)
        if runner is not None:
            if not runner.update(device, update, payload, received.hash):
                self.counters.count("dropped messages")  # whoever sent it asks again
        elif task in self.runners.halts:
            self.counters.count("dropped messages")  # whoever sent it asks again, and is told
        else:
            self._no_task(received, update.plan_id, received.hash)

    def _chunk(self, device: str, received: Received, chunk: Chunk) -> None:
        """The last chunk makes the update; whoever sent one for nothing asks what became of it."""
        address = received.address
        runner, plan_id = self.runners.find(address.task or ""), address.plan_id or b""
        if runner is None:
            self.counters.count("dropped messages")
            return
        message = runner.chunk(device, plan_id, address.chunk or 0, chunk)
        if message is None:
            return
        topic = self.config.topics.of(Kind.UPDATE, runner.task.name, device, plan_id, 0)
        try:
            whole = self.inbox.open(topic, message, emptied=False)
            if not isinstance(whole.message, Update):
                raise Refused(Reason.SHAPE, "chunks of a chunk")
        except Refused as refused:
            self.inbox.refusals.add(topic, refused)
            self.store.chunks.forget(runner.task.name, plan_id, device)
        else:
            self._update(device, whole, message)

    def _not_now(self, device: str, task: str, join: Join) -> None:
        """Its task is stopped: a device keeps what it has, and asks again."""
        until = self.runners.halts.halted[task].until
        wait_s = max(WAIT_S, int(until - self.clock.now()))
        ticket = Ticket(join.plan_id, join.nonce, Answer.WAIT, wait_s, "the task is stopped")
        self.turns.then(partial(self.publisher.ticket, task, device, ticket))

    def _no_task(self, received: Received, plan_id: bytes, have: bytes | None) -> None:
        """A task that was removed: its devices need not ask for ever."""
        self.counters.count(f"refused: {Reason.TOPIC}")
        receipt = Receipt(plan_id, have, Verdict.REFUSED, "unknown plan", None)
        task, device = received.address.task or "", received.address.device or ""
        self.turns.then(partial(self.publisher.receipt, task, device, receipt))


Take = Callable[[Service, str, Received, bytes], None]

TAKE: dict[Kind, Take] = {
    Kind.ENROL: Service._enrol,
    Kind.JOIN: Service._join,
    Kind.UPDATE: Service._update,
}


def _nothing() -> None:
    """A turn without a call of its own."""
