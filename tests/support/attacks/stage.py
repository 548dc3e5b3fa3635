"""A small fleet to be attacked: real services, a real mosquitto, all in the test's own thread.

Two devices are certified. One has its real service; of the other, `MALLORY`, the attacker has all
keys. Nothing waits for a time: what was sent is done when settle() returns.
"""

import itertools
import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificate

from fedling_agent.conditions.policy import Policy
from fedling_agent.config import AgentConfig, AgentRetrySettings, PathSettings
from fedling_agent.store.store import Store as DeviceStore
from fedling_broker.authority import directory as authority
from fedling_broker.authority import roles, x509
from fedling_broker.config import BrokerFile, Config
from fedling_broker.mosquitto import access
from fedling_broker.mosquitto.configuration import Tls
from fedling_broker.mosquitto.files import Files
from fedling_broker.mosquitto.passwords import Login
from fedling_broker.mosquitto.process import Mosquitto, PortTaken, free_port
from fedling_broker.store.devices import Devices
from fedling_broker.store.invitations import Invitation
from fedling_broker.store.store import Store
from fedling_broker.tasks.task_file import parse_task
from fedling_broker.verify import verify
from fedling_protocol.common_settings import MqttSettings, RetrySettings
from fedling_protocol.net import tls_key
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Plan, Role, Verdict
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.token import Token
from fedling_sim.world import FakeDevice, Weather
from tests.support.attacks.cast import (
    FLEET,
    MALLORY,
    MALLORY_ID,
    ONLINE,
    ROOT,
    TASK,
    TOPICS,
    VICTIM,
    VICTIM_ID,
    now_s,
)
from tests.support.attacks.ends import AggregatorEnd, DeviceEnd, End
from tests.support.attacks.intruder import Intruder
from tests.support.certificates import Pair
from tests.support.device import STREAM, csv_lines, parse
from tests.support.hand_aggregator import task_text
from tests.support.reading import read_again
from tests.support.waiting import until

HOSTS = (x509.server_name(FLEET), "localhost", "127.0.0.1")
SAY_AGAIN = 100  # looks
STEPS = 5  # a plan, its model, a join, its answer, what comes of it
AGGREGATOR_NAME = access.aggregator(FLEET)  # at the MQTT broker
INSTEAD = {  # of a line that is left out, where nothing would be as safe
    "allow_anonymous false": "allow_anonymous true",
    "max_packet_size": "max_packet_size 268435455",
}
LIMITS = ("max_packet_size",)
GOOD = Weather(mains=True, battery=90, temperature=40, network=True)
STATE = "broker-state"
HOUR = timedelta(hours=1)


class Weakened(Mosquitto):
    """The fleet's mosquitto, as the product configures it, without some lines of that."""

    def __init__(self, directory: Path, tls: Tls | None, left_out: tuple[str, ...]) -> None:
        super().__init__(directory, tls=tls)
        self._left_out = left_out

    def configuration(self) -> str:
        lines = super().configuration().splitlines()
        return "".join(f"{kept}\n" for line in lines for kept in self._kept(line))

    def _kept(self, line: str) -> list[str]:
        for words in self._left_out:
            if words in line and not line.startswith("#"):
                return [INSTEAD[words]] if words in INSTEAD else []
        return [line]


class Stage:
    """One fleet. begin() makes it live; all of it is below a directory."""

    encrypted = True  # where it is guarded

    def __init__(
        self, directory: Path, *, guarded: bool = False, left_out: tuple[str, ...] = ()
    ) -> None:
        """left_out: as Attack has it"""
        self.directory = directory
        self.guarded = guarded and self.encrypted
        self._make_authority()
        self.files = Files(directory / "guarded")
        self.files.prepare(self.authority, TOPICS, HOSTS)
        names = (AGGREGATOR_NAME, VICTIM_ID, MALLORY_ID)
        self.pairs = {name: self.certify(name) for name in names}
        without = left_out if self.guarded else LIMITS  # who runs it has none
        self.enrolment, self.mosquitto = self._start_mosquitto(without)
        self.aggregator: AggregatorEnd
        self.device: DeviceEnd
        self._open: list[Intruder] = []
        self._ends: list[End] = []
        self._make_aggregator()
        self._make_device()

    # --- made on disk ----------------------------------------------------------------------------

    def certify(self, name: str, authority: x509.TlsAuthority | None = None) -> Pair:
        """Make a certificate for a name at the MQTT broker. authority: another one than ours"""
        signer = authority or self.authority
        stem = f"{signer.directory.name}-{name}"
        pair = Pair(self.directory / f"{stem}.crt", self.directory / f"{stem}.key")
        key, now = tls_key.ensure(pair.key), datetime.now(UTC)
        made = signer.client(name, tls_key.public(key), now - HOUR, now + HOUR)
        pair.certificate.write_bytes(x509.pem(made))
        return pair

    @property
    def ca(self) -> Path:
        """The certificate of the fleet's authority."""
        return self.authority.directory / x509.CERTIFICATE

    def mqtt(self, name: str) -> MqttSettings:
        """[mqtt] of an end."""
        if not self.guarded:
            return MqttSettings("127.0.0.1", self.mosquitto.port, tls=False)
        pair = self.pairs[name]
        return MqttSettings(
            "localhost",
            self.mosquitto.port,
            tls=True,
            ca_file=self.ca,
            certificate_file=pair.certificate,
            key_file=pair.key,
        )

    def _start_mosquitto(self, left_out: tuple[str, ...]) -> tuple[int, Mosquitto]:
        """On ports that nobody took meanwhile: so many fleets are begun here that some are."""
        for _ in range(5):
            port = free_port()
            listeners = Tls(str(self.files.directory), port) if self.guarded else None
            mosquitto = Weakened(self.directory / "mosquitto", listeners, left_out)
            try:
                mosquitto.start()
            except PortTaken:
                mosquitto.log.unlink()
            else:
                return port, mosquitto
        raise AssertionError("no port stays free")

    def _make_authority(self) -> None:
        """Where the aggregator finds it, root key apart."""
        state = self.directory / STATE
        Store.create(state)
        made = authority.create(state / "authority", FLEET, ROOT, now_s())
        self.offices = made.office(AGGREGATOR, ONLINE.public, ROOT, now_s())
        self.office = made.authority_key()
        self.authority = made.tls()

    def _make_aggregator(self) -> None:
        file = BrokerFile(
            FLEET,
            ROOT.public.hex(),
            Path(STATE),
            self.mqtt(AGGREGATOR_NAME),
            retry=RetrySettings(0.02, 0.1),
        )
        self.config = Config(file, self.directory / "broker.toml")
        with self.books() as store:
            devices = Devices(store.database, TOPICS)
            devices.take_in(self.offices.bundle)
            for key in (VICTIM, MALLORY):
                self.admit(devices, key)

    def admit(self, devices: Devices, key: SigningKey, until_s: int = 0) -> None:
        """Certify a device. until_s: 0: for as long as devices are"""
        term = roles.term(Role.DEVICE, now_s())
        if until_s:
            term = replace(term, issued_s=until_s - 1, until_s=until_s)
        devices.certify(device_id(key.public), key.public, self.office, term)

    def _make_device(self) -> None:
        world = FakeDevice(self.directory / "world")
        world.show(GOOD)
        self.device_config = AgentConfig(
            FLEET,
            ROOT.public.hex(),
            self.mqtt(VICTIM_ID),
            state_dir=self.directory / "device",
            policy=Policy(dwell_s=0, check_s=0.1),
            retry=AgentRetrySettings(0.02, 0.1, answer_first_s=0.5, answer_longest_s=1.0),
            paths=PathSettings(world.sysfs),
        )
        store = DeviceStore(self.directory / "device")
        store.recordings.ingest(STREAM, parse(csv_lines()), 0)
        store.close()

    # --- life ------------------------------------------------------------------------------------

    def begin(self, *, rounds: int = 3, goal: int = 1) -> None:
        """Add the task, and let both services live."""
        self.add_task(rounds=rounds, goal=goal)
        self.start_aggregator()
        self.start_device()
        self.settle()

    def add_task(self, name: str = TASK, *, rounds: int = 3, goal: int = 1) -> None:
        text = task_of(name, rounds, goal)
        with self.books() as store:
            store.add_task(parse_task(text, "a task"), text, bytes(32))

    def change_task(self, *, rounds: int) -> None:
        """As `task update` does, while the aggregator runs."""
        with self.books() as store:
            store.tasks.change(TASK, task_of(TASK, rounds, 1), None)

    def reach_device_by(self, port: int) -> None:
        """Have the device connect to another port, where somebody listens."""
        mqtt = replace(self.device_config.mqtt, port=port)
        self.device_config = replace(self.device_config, mqtt=mqtt)

    def start_aggregator(self) -> None:
        self.aggregator = AggregatorEnd(self.config)
        self._ends.append(self.aggregator)

    def start_device(self) -> None:
        self.device = DeviceEnd(self.device_config, VICTIM)
        self._ends.append(self.device)

    def stop(self, end: End) -> None:
        """As SIGTERM would."""
        over: list[bool] = []
        end.service.stop(lambda: over.append(True))
        self.run(lambda: over)
        self._ends.remove(end)
        end.held.close()

    def run(self, condition: Callable[[], object]) -> None:
        """Let both live until a condition holds."""
        until(condition, self._turn, says=self._why)

    def _why(self) -> str:
        """What came of a wait in vain: who is connected, and what the aggregator has counted."""
        ends = [f"{type(end).__name__} is connected: {end.connected}" for end in self._ends]
        counted = [e.service.counters.counts for e in self._ends if isinstance(e, AggregatorEnd)]
        return f"{ends}; {counted}; {self.mosquitto.log_tail()}"

    def _turn(self, seconds: float) -> None:
        for end in self._ends:
            end.loop.turn(seconds / 2)

    def settle(self) -> None:
        """Whatever was at the MQTT broker is heard, done and answered at both ends."""
        for _ in range(STEPS):
            self._step(b"settle " + os.urandom(8))

    def _step(self, word: bytes) -> None:
        """Said now and then: who has just connected may not be subscribed yet."""
        self.run(lambda: all(end.connected for end in self._ends))
        looks = itertools.count()

        def heard() -> bool:
            if next(looks) % SAY_AGAIN == 0:
                for end, topic in self._own_topics():
                    end.service.link.publish(topic, word)
            return self._have_heard(word)

        self.run(heard)
        done = [end.go_round() for end in self._ends]
        self.run(lambda: all(done) and not any(end.busy for end in self._ends))

    def _own_topics(self) -> list[tuple[End, str]]:
        """What each end may write, and the other one reads."""
        pairs: list[tuple[End, str]] = []
        for end in self._ends:
            kind = Kind.TICKET if isinstance(end, AggregatorEnd) else Kind.JOIN
            pairs.append((end, TOPICS.of(kind, TASK, VICTIM_ID)))
        return pairs

    def _have_heard(self, word: bytes) -> bool:
        said = [any(payload == word for _, payload in end.heard[-50:]) for end in self._ends]
        return len(said) == 1 or all(said)

    def revoke(self, name: str) -> None:
        """Put a device on both lists of the MQTT broker, and have it read them again."""
        certificate = self.pairs[name].certificate.read_bytes()
        serial = load_pem_x509_certificate(certificate).serial_number
        self.authority.revoke(serial)
        self.tell([name])

    def invite(self, *, uses: int = 1, ends_s: int = 3600) -> Token:
        """A token that was handed out, with which the listener for enrolment lets in."""
        token = Token.generate(ROOT.public, TOPICS, "localhost", self.enrolment)
        with self.books() as store:
            now = now_s()
            store.invitations.add(Invitation(token, "", uses, now - 7200, now + ends_s))
        self.tell([], [login_of(token)])
        return token

    def tell(self, revoked: Sequence[str], logins: Sequence[Login] = ()) -> None:
        """Change what the MQTT broker reads, and wait until it has read it."""
        self.files.tell(TOPICS, revoked, self.authority.list(), logins)
        read_again(self.mosquitto, self._turn)

    # --- the attacker ----------------------------------------------------------------------------

    def enter(self, client_id: str, pair: Pair | None = None) -> Intruder:
        """Connect, with a certificate if one is given. Raises PutOff."""
        tls = None
        if self.guarded:
            tls = ssl.create_default_context(cafile=str(self.ca))
            if pair is not None:
                tls.load_cert_chain(pair.certificate, pair.key)
        intruder = Intruder(self.mosquitto.port, client_id, tls=tls)
        self._open.append(intruder)
        return intruder

    def knock(self, client_id: str, token: Token | None = None) -> Intruder:
        """Connect at the listener for enrolment. Raises PutOff."""
        tls = ssl.create_default_context(cafile=str(self.ca))
        login = Login("", "") if token is None else login_of(token)
        guest = Intruder(
            self.enrolment, client_id, tls=tls, user=login.user, password=login.password
        )
        self._open.append(guest)
        return guest

    def tap(self) -> Intruder:
        """Who runs the MQTT broker: hears all, may say all."""
        assert not self.guarded
        tap = self.enter("tap")
        tap.subscribe("#")
        return tap

    # --- what is true afterwards -----------------------------------------------------------------

    def books(self) -> "Books":
        """The aggregator's store, for a look or for what a command does."""
        return Books(self.config.state_dir)

    @property
    def folded(self) -> int:
        """Rounds that are in a model."""
        with self.books() as store:
            return store.models.folded(TASK)

    @property
    def version(self) -> int:
        """Of the model that the device answers with; 0: none."""
        model = self.device.store.models.newest(TASK)
        return 0 if model is None else model.version

    def settled_at(self, rounds: int) -> bool:
        """Whether so many rounds are over, and the device has what came of them."""
        return self.folded == rounds and self.version == rounds + 1

    def accepted(self) -> list[tuple[int, str]]:
        """Round and device of each update that counts."""
        found = []
        with self.books() as store:
            for plan in store.rounds.plans(TASK):
                rows = store.rounds.decisions(TASK, plan.plan_id)
                found += [(plan.round, r.device) for r in rows if r.verdict == Verdict.ACCEPTED]
        return found

    def faults(self) -> list[str]:
        """What `round verify` says."""
        with self.books() as store:
            row = store.tasks.find(TASK)
            assert row is not None
            checks = verify(store, parse_task(row.text, TASK), bytes(32))
            return [check.fault for check in checks if check.fault]

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        for intruder in self._open:
            intruder.close()
        for end in list(self._ends):
            self.stop(end)
        self.mosquitto.stop()
        print(self.mosquitto.log_tail(30))


class Books:
    """The aggregator's store, opened as a command does while it may run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> Store:
        self._store = Store(self._directory)
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


def login_of(token: Token) -> Login:
    """Who a token's bearer is at the MQTT broker."""
    return Login(token.user(0), token.password)


def task_of(name: str, rounds: int, goal: int) -> str:
    """A task file that has devices come back at once."""
    return task_text(name, rounds=rounds, goal=goal, clip=0) + "wait_s = 1\n"


def plan_of(stage: Stage) -> Plan:
    """The plan that the device has seen last."""
    runner = stage.device.service.runners.find(TASK)
    assert runner is not None
    assert runner.plan is not None
    return runner.plan
