"""The aggregator's real service on ports that a test holds: nothing happens unless it says so."""

from array import array
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from fedling_broker import agreement
from fedling_broker.authority import directory, vouching
from fedling_broker.config import BrokerFile, Config, KeepUpdates
from fedling_broker.service.service import Ports, Service
from fedling_broker.store.devices import Devices
from fedling_broker.store.invitations import Invitation
from fedling_broker.store.store import Store
from fedling_broker.tasks.task_file import parse_task
from fedling_native import Sums
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net import tls_key
from fedling_protocol.net.ports import Owner
from fedling_protocol.wire import coding, digest, enrolment, envelope
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import (
    Enrol,
    Hits,
    Join,
    Message,
    Plan,
    Receipt,
    Rest,
    Ticket,
    Update,
)
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.sums import pack
from fedling_protocol.wire.token import Token
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Trust
from tests.support.ports import HandClock, HandLink, HandWorker

M = TypeVar("M", bound=Message)

ROOT, ONLINE = SigningKey(b"R" * 32), SigningKey(b"O" * 32)
TOPICS = Topics("fedling", "test")
TEXT = """
[task]
name = "{name}"
stream = "wrist"
window = 4
stride = 4
channels = 2
labels = ["up", "down"]
normalise = "{normalise}"
rounds = {rounds}
[model]
layers = [5, 2]
[training]
epochs = 1
batch = 4
learning_rate = 0.1
[server]
clip = {clip}
momentum = 0.5
[cohort]
goal = {goal}
"""
WEIGHTS, BIASES = 8 * 5 + 5 * 2, 5 + 2


def task_text(
    name: str = "tiny",
    *,
    rounds: int = 2,
    goal: int = 2,
    clip: float = 1,
    normalise: str = "device",
) -> str:
    """Write a task file; its last table is [cohort]."""
    return TEXT.format(name=name, rounds=rounds, goal=goal, clip=clip, normalise=normalise)


def key_of(number: int) -> SigningKey:
    """A device's."""
    return SigningKey(number.to_bytes(32, "big"))


@cache
def tls_key_of(number: int, which: int = 0) -> bytes:
    """The public half of a device's key for TLS; it may make another one."""
    private = 1 + number * 1000 + which
    return tls_key.public(ec.derive_private_key(private, ec.SECP256R1()))


class HandAggregator:
    """A state directory, and a service that can be started on it again and again."""

    make_clock: type[HandClock] = HandClock

    def __init__(
        self,
        directory: Path,
        *,
        keep_updates: KeepUpdates = KeepUpdates.FOLD,
        keep_rounds: int = 100,
        largest_packet: int = 131_072,
    ) -> None:
        self.directory = directory
        self.starts = 0
        Store.create(directory)
        self.store = self.another_store()
        self.devices = Devices(self.store.database, TOPICS)
        self.devices.certify(AGGREGATOR, ONLINE.public, ROOT)
        file = BrokerFile(
            fleet="test",
            root_key=ROOT.public.hex(),
            state_dir=directory,
            mqtt=MqttSettings(host="localhost"),
            keep_updates=keep_updates,
            keep_rounds=keep_rounds,
            largest_packet=largest_packet,
        )
        self.config = Config(file, directory / "broker.toml")
        self.statuses: list[str] = []
        self.start()

    def another_store(self) -> Store:
        """As a verb opens it, in a process of its own; the date is that of the service."""
        now = 1_800_000_000.0 + 60 * self.starts  # between two starts passes a minute
        return Store(self.directory, wall=lambda: now)

    def start(self) -> None:
        """A new process on the same disk; whatever was in memory is gone."""
        self.store.close()
        self.starts += 1
        self.store = self.another_store()
        self.devices = Devices(self.store.database, TOPICS)
        self.clock = self.make_clock()
        self.disk, self.compute = HandWorker(self.clock), HandWorker(self.clock)
        self.link = HandLink()
        self.service = Service(
            Ports(
                self.clock,
                self.disk,
                self.compute,
                self._make_link,
                lambda: 0.5,
                self.statuses.append,
            ),
            self.config,
            self.store,
            ONLINE,
            b"s" * 32,
            lambda: vouching.load(self.config.authority),
        )
        self.service.start()

    def _make_link(self, _client_id: str, owner: Owner) -> HandLink:
        self.link.owner = owner
        return self.link

    def add_task(
        self,
        name: str = "tiny",
        *,
        rounds: int = 2,
        goal: int = 2,
        clip: float = 1,
        normalise: str = "device",
        holdout: float = 0.0,
        target: int | None = None,
        layers: str = "[5, 2]",
        more: str = "",
    ) -> None:
        """As the verb does: in a process of its own. All begin with the same model."""
        text = task_text(name, rounds=rounds, goal=goal, clip=clip, normalise=normalise)
        text = text.replace("layers = [5, 2]", f"layers = {layers}") + more
        if holdout:
            text = text.replace("[training]", f"[training]\nholdout = {holdout}")
        if target is not None:
            text += f"[compression]\ntarget_bytes = {target}\n"
        other = self.another_store()
        other.add_task(parse_task(text, f"{name}.toml"), text, b"s" * 32)
        other.close()

    def remove_task(self, name: str = "tiny") -> None:
        """As the verb does: in a process of its own."""
        other = self.another_store()
        assert other.tasks.remove(name)
        other.close()

    def enrol(self, *numbers: int) -> None:
        """As the verb does: in a process of its own."""
        other = self.another_store()
        for number in numbers:
            public = key_of(number).public
            Devices(other.database, TOPICS).certify(device_id(public), public, ROOT)
        other.close()

    # --- the authority ---------------------------------------------------------------------------

    def found_authority(self) -> None:
        """As `init` does: the root certifies an authority and the aggregator."""
        made = directory.create(self.config.authority, "test", ROOT, self.now_s)
        made.office(AGGREGATOR, ONLINE.public, ROOT, self.now_s)
        self.agree()

    def agree(self) -> None:
        """As each command does: in a process of its own."""
        other = self.another_store()
        agreement.agree(self.config, other)
        other.close()
        self.clock.move(2.0)

    @property
    def now_s(self) -> int:
        return int(self.clock.wall())

    def invite(self, *, uses: int = 1, name: str = "", seconds: int = 3600) -> Token:
        """As the verb does: in a process of its own."""
        token = Token.generate(ROOT.public, TOPICS, "broker.example", 8884)
        other = self.another_store()
        until_s = self.now_s + seconds
        other.invitations.add(Invitation(token, name, uses, self.now_s, until_s))
        other.close()
        return token

    def ask(
        self, number: int, token: Token | None, *, name: str = "", tls: int = 0, nonce: int = 0
    ) -> Enrol:
        """A device asks for certificates; nothing is executed yet. tls: which key of its"""
        signer = key_of(number)
        ask = Enrol(signer.public, nonce.to_bytes(16, "big"), tls_key_of(number, tls), name)
        if token is not None:
            ask = enrolment.prove(token, replace(ask, token_id=token.id))
        self.arrive_enrol(number, ask)
        return ask

    def arrive_enrol(self, number: int, ask: Enrol) -> None:
        """A device's question arrives as it is; nothing is executed yet."""
        signer = key_of(number)
        topic = TOPICS.of(Kind.ENROL, device_id(signer.public))
        self.service.on_message(topic, envelope.seal(ask, TOPICS.bound(topic), signer), False)

    def connect(self) -> None:
        """The MQTT broker is there, again; everything that follows from that happens."""
        if self.link.connected:
            self.link.connected = False
            self.service.on_disconnected("lost", 1.0)
        self.link.connected = True
        self.service.on_connected()
        self.settle()

    def settle(self) -> None:
        self.clock.settle()

    # --- devices ---------------------------------------------------------------------------------

    def join(
        self, number: int, plan: Plan, *, have: bytes | None = None, key: bool = False
    ) -> None:
        """A device's join arrives; nothing is executed yet."""
        signer = key_of(number)
        join = Join(plan.plan_id, b"n" * 8, have, signer.public if key else None)
        self.arrive(number, Kind.JOIN, plan.spec.task, join)

    def update(
        self,
        number: int,
        plan: Plan,
        step: int = 3,
        weight: int = 7,
        tested: tuple[Hits, ...] | None = None,
        vector: bytes | None = None,
    ) -> bytes:
        """A device's update arrives; its message hash. vector: as it is sent"""
        if vector is None:
            vector = self.coded(number, plan, step)
        update = Update(
            plan.plan_id, plan.base_version, plan.base_hash, weight, plan.codec, vector, 0, 1,
            tested,
        )  # fmt: skip
        return self.arrive(number, Kind.UPDATE, plan.spec.task, update, plan.plan_id, 0)

    def coded(self, number: int, plan: Plan, step: int = 3) -> bytes:
        """What a device says of a vector that has this value everywhere."""
        vector = array("h", [step] * WEIGHTS).tobytes() + array("i", [step] * BIASES).tobytes()
        row = self.store.models.find(plan.spec.task, plan.base_version)
        exponents = (0,) * len(plan.spec.layers) if row is None else row.exponents
        return coding.encode(plan, device_id(key_of(number).public), exponents, vector)

    def counted(self, number: int, plan: Plan, vector: bytes, weight: int = 7) -> bytes:
        """A device's update to a plan of statistics arrives; its message hash."""
        update = Update(
            plan.plan_id, plan.base_version, plan.base_hash, weight, plan.codec, vector, 0, 1
        )
        return self.arrive(number, Kind.UPDATE, plan.spec.task, update, plan.plan_id, 0)

    def measured(self, number: int, plan: Plan, sums: Sums) -> None:
        """A device takes part in a round of statistics."""
        self.join(number, plan)
        self.counted(number, plan, pack(sums))
        self.settle()

    def arrive(
        self, number: int, kind: Kind, task: str, message: Message, *more: bytes | int
    ) -> bytes:
        """Signed and handed to the service; its message hash."""
        signer = key_of(number)
        topic = TOPICS.of(kind, task, device_id(signer.public), *more)
        sealed = envelope.seal(message, TOPICS.bound(topic), signer)
        self.service.on_message(topic, sealed, False)
        return digest.message_hash(sealed)

    def accepted(self, number: int, plan: Plan, step: int = 3, weight: int = 7) -> None:
        """A device takes part."""
        self.join(number, plan)
        self.update(number, plan, step, weight)
        self.settle()

    # --- what was said ---------------------------------------------------------------------------

    def said(self, kind: type[M]) -> list[M]:
        """All messages of a sort, verified, oldest first."""
        trust = Trust(TOPICS, ROOT.public)
        trust.know(AGGREGATOR, ONLINE.public, 1)
        found = [trust.open(p.topic, p.payload).message for p in self.link.published if p.payload]
        return [message for message in found if isinstance(message, kind)]

    @property
    def plan(self) -> Plan:
        """The last one."""
        return self.said(Plan)[-1]

    def plan_of(self, task: str) -> Plan:
        """The last one of a task."""
        return [plan for plan in self.said(Plan) if plan.spec.task == task][-1]

    def held(self) -> set[str]:
        """Topics on which the MQTT broker holds a message."""
        last = {p.topic: p.payload for p in self.link.published if p.retain}
        return {topic for topic, payload in last.items() if payload}

    @property
    def tickets(self) -> list[Ticket]:
        return self.said(Ticket)

    @property
    def receipts(self) -> list[Receipt]:
        return self.said(Receipt)

    @property
    def rests(self) -> list[Rest]:
        return self.said(Rest)

    def emptied(self) -> list[str]:
        """Topics whose retained message was taken back."""
        return [p.topic for p in self.link.published if not p.payload]
