"""What `fedling-broker serve` runs: holds the connection and the tasks together."""

import logging
import random
import signal
import time
from collections.abc import Callable
from functools import partial

from fedling_broker.config import Config, KeepUpdates
from fedling_broker.rounds import events as ev
from fedling_broker.service.runner import Tools, Work
from fedling_broker.store.devices import Certified, Devices
from fedling_broker.store.shelf import Damaged
from fedling_broker.store.store import Store, TaskRow
from fedling_broker.tasks import task_file
from fedling_protocol.disk.errors import Busy, CannotWrite
from fedling_protocol.net.backoff import Backoff
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Link, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime import sdnotify
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import ThreadWorker
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire import envelope
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_LARGE
from fedling_protocol.wire.messages import Join, Receipt, State, Update, Verdict
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.trust import Received, Trust

log = logging.getLogger(__name__)

CLIENT_ID = "fedling-aggregator-{fleet}"
PACKET_LIMIT = MAX_LARGE + 1024  # a message, its topic, its packet id
LOOK_S = 1.0  # the admin verbs write to the database: it is looked at so often
BOOKS_S = 60.0  # counters are written so often
LOG_AGAIN_S = 60.0  # a refusal of the same kind is logged so often


class Service:
    """Owns everything; the tasks' works and the link call it back."""

    def __init__(
        self, loop: Loop, config: Config, store: Store, key: SigningKey, secret: bytes
    ) -> None:
        self.loop = loop
        self.config = config
        self.store = store
        self.devices = Devices(store.database, config.topics)
        self.trust = Trust(config.topics, config.root_key)
        self.link = self._make_link()
        self.works: dict[str, Work] = {}
        self._tools = Tools(
            loop,
            store,
            config.topics,
            key,
            secret,
            self.link,
            config.file.keep_updates is KeepUpdates.AUDIT,
            self._guard,
        )
        self._rows: dict[str, TaskRow] = {}
        self._published: dict[str, int] = {}  # certificates on the MQTT broker: id, serial
        self._counts: dict[str, int] = {}  # not written yet
        self._logged: dict[str, float] = {}
        self._seen = -1  # data_version
        retry = config.file.retry
        self._full = Backoff(retry.first_s, retry.longest_s, random.random)
        self._mended = 0.0  # when the disk could be written again
        self._stalled = False
        self._stopping = False

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Everything begins; then the loop runs it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.on_signal(number, self.stop)
        self.store.tidy()
        self._look()
        self.link.start()
        self._keep_books()
        watchdog_s = sdnotify.watchdog_s()
        if watchdog_s is not None:
            self._feed(watchdog_s / 2)
        sdnotify.ready("running")

    def stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        sdnotify.stopping()
        for work in self.works.values():
            work.close()
        self.link.stop(None, self._end)

    def _end(self) -> None:
        self._guard(self._write_counts)
        self.loop.stop()

    def _feed(self, every_s: float) -> None:
        sdnotify.alive()
        self.loop.after(every_s, lambda: self._feed(every_s))

    def _make_link(self) -> Link:
        mqtt, retry = self.config.file.mqtt, self.config.file.retry
        return MqttLink(
            self.loop,
            ThreadWorker(self.loop, "names", patient=False),
            Broker(mqtt.host, mqtt.port, mqtt.keepalive_s),
            Backoff(retry.first_s, retry.longest_s, random.random),
            PACKET_LIMIT,
            partial(new_client, CLIENT_ID.format(fleet=self.config.file.fleet)),
            self,
        )

    # --- what the admin verbs changed ------------------------------------------------------------

    def _look(self) -> None:
        """Tasks and certificates, if another process has written."""
        if not self._stalled and not self._stopping:
            self._guard(self._look_at_database)
        self.loop.after(LOOK_S, self._look)

    def _look_at_database(self) -> None:
        version = self.store.database.data_version()
        if version == self._seen:
            return
        self._seen = version
        self._look_at_certificates()
        self._look_at_tasks({row.name: row for row in self.store.tasks()})

    def _look_at_tasks(self, rows: dict[str, TaskRow]) -> None:
        for name in [n for n, row in self._rows.items() if rows.get(n) != row]:
            work = self.works.pop(name)
            work.close()
            del self._rows[name]
            if name not in rows:
                log.info("task %s: removed", name)
                work.withdraw()
                self.store.tidy()
        for name, row in rows.items():
            if name not in self._rows:
                self._rows[name] = row
                task = task_file.parse_task(row.text, f"task {name}")
                self.works[name] = Work(task, row.paused, self._tools)
                log.info("task %s: %s", name, "paused" if row.paused else "at work")
                self.works[name].begin()

    def _look_at_certificates(self) -> None:
        """Trust what is in force; publish what is new; take back what was removed."""
        in_force = {c.id: c for c in self.devices.certified()}
        for owner in self._published.keys() - in_force.keys():
            self.trust.forget(owner)
            if self.link.publish(self.config.topics.of(Kind.KEYS, owner), b"", retain=True):
                del self._published[owner]
        for certified in in_force.values():
            topic = self.config.topics.of(Kind.KEYS, certified.id)
            self._trust_certificate(topic, certified)
            if self._published.get(certified.id) != certified.serial:
                self.link.publish(topic, certified.envelope, retain=True)
                self._published[certified.id] = certified.serial

    def _trust_certificate(self, topic: str, certified: Certified) -> None:
        """Raises SettingsError: somebody has changed broker.toml after `init`.

        All were signed before they were stored; that they still are of this fleet and root key, the
        aggregator's own shows.
        """
        if certified.id != AGGREGATOR:
            self.trust.know(certified.id, certified.key, certified.serial)
            return
        try:
            self.trust.open(topic, certified.envelope)
        except Refused as refused:
            raise SettingsError(
                f"{self.config.path}: the certificate of {certified.id} in"
                f" {self.config.state_dir} is of another fleet or root key: {refused}"
            ) from refused

    # --- a disk that cannot be written -----------------------------------------------------------

    def _guard(self, call: Callable[[], None]) -> bool:
        """False: the disk refused. Then all works are made anew later, as after a crash."""
        try:
            call()
        except (CannotWrite, Busy, Damaged) as error:
            self._stall(error)
            return False
        return True

    def _stall(self, error: Exception) -> None:
        for work in self.works.values():
            work.close()
        self.works.clear()
        self._rows.clear()
        self._seen = -1
        if self._stalled or self._stopping:
            return
        self._stalled = True
        self._full.lived(self.loop.now() - self._mended)
        delay_s = self._full.next_s()
        log.error(
            "%s; nothing is accepted, next try in %.1f s",
            error,
            delay_s,
        )
        sdnotify.status("the state directory cannot be written: nothing is accepted")
        self.loop.after(delay_s, self._try_again)

    def _try_again(self) -> None:
        self._stalled = False
        if self._guard(self._probe) and not self._stalled:
            self._mended = self.loop.now()
            log.info("the disk can be written again")
            sdnotify.status("running")

    def _probe(self) -> None:
        self.count("stalls")
        self._write_counts()
        self.store.tidy()
        self._look_at_database()

    # --- counters --------------------------------------------------------------------------------

    def count(self, name: str, more: int = 1) -> None:
        self._counts[name] = self._counts.get(name, 0) + more

    def _keep_books(self) -> None:
        if not self._stalled and not self._stopping:
            self._guard(self._write_counts)
        self.loop.after(BOOKS_S, self._keep_books)

    def _write_counts(self) -> None:
        self.link.take_traffic()
        if self._counts:
            with self.store.database.transaction("counters"):
                for name, more in self._counts.items():
                    self.store.ledger.count(name, more)
            self._counts.clear()

    def on_traffic(self, traffic: Traffic) -> None:
        self.count("bytes sent", traffic.sent)
        self.count("bytes received", traffic.received)

    # --- the link --------------------------------------------------------------------------------

    def will(self) -> Will | None:
        return None

    def on_connected(self) -> None:
        """The MQTT broker may have forgotten everything: it is told again."""
        log.info("connected to %s", self.config.file.mqtt.address)
        self.link.subscribe(self.config.topics.aggregator_subscriptions())
        for certified in self.devices.certified():
            topic = self.config.topics.of(Kind.KEYS, certified.id)
            self.link.publish(topic, certified.envelope, retain=True)
            self._published[certified.id] = certified.serial
        self._seen = -1
        for work in list(self.works.values()):
            work.give(ev.Connected())

    def on_disconnected(self, reason: str, retry_s: float) -> None:
        where = self.config.file.mqtt.address
        log.warning("no connection to %s: %s; next try in %.1f s", where, reason, retry_s)

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        """Never raises because of what came in."""
        try:
            if emptied:
                raise Refused(Reason.SIZE, "larger than any message may be")
            self._take(topic, payload)
        except Refused as refused:
            self.count(f"refused: {refused.reason}")
            if self.loop.now() - self._logged.get(refused.reason, -LOG_AGAIN_S) >= LOG_AGAIN_S:
                self._logged[refused.reason] = self.loop.now()
                log.warning("refused a message on %r: %s", topic[:200], refused)

    def _take(self, topic: str, payload: bytes) -> None:
        received = self.trust.open(topic, payload)
        address, message = received.address, received.message
        device = address.device or ""
        if isinstance(message, State):
            return  # told to whoever looks at the retained topic
        if not isinstance(message, Join | Update):
            raise Refused(Reason.TOPIC, "not for the aggregator")
        if isinstance(message, Update) and message.plan_id != address.plan_id:
            raise Refused(Reason.SHAPE, "on the topic of another plan")
        if isinstance(message, Join) and not received.certified and message.key is not None:
            self._note_stranger(device, message.key)
        work = self.works.get(address.task or "")
        if work is None:
            self._answer_without_work(received, message)
        elif isinstance(message, Join):
            work.join(device, message, received.certified)
        else:
            work.update(device, message, payload)

    def _answer_without_work(self, received: Received, message: Join | Update) -> None:
        """A task that was removed: its devices need not ask for ever."""
        if self._stalled:
            return  # the device asks again
        if not received.certified:
            raise Refused(Reason.TOPIC, "no such task")
        self.count(f"refused: {Reason.TOPIC}")
        task, device = received.address.task or "", received.address.device or ""
        have = message.have if isinstance(message, Join) else received.hash
        receipt = Receipt(message.plan_id, have, Verdict.REFUSED, "unknown plan", None)
        topic = self.config.topics.of(Kind.RECEIPT, task, device)
        sealed = envelope.seal(receipt, self.config.topics.bound(topic), self._tools.key)
        self.link.publish(topic, sealed)

    def _note_stranger(self, device: str, key: bytes) -> None:
        def note() -> None:
            if self.devices.ask(device, key, int(time.time())):
                log.warning(
                    "%s is not enrolled; to enrol it: fedling-broker device add %s %s",
                    device,
                    device,
                    key.hex(),
                )

        self._guard(note)
