"""Many certified devices as a load generator plays them: one joins, trains nothing, sends, is told.

Everything that a device would sign is signed before the clock starts. Every packet is byte for byte
what a device would send; only the connection that it comes over is shared, which the aggregator
cannot see.
"""

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bench.support.generator import Generator, Late
from bench.support.mqtt_packets import Publish, publish
from fedling_broker import config
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_native import weights_size
from fedling_protocol.wire import envelope
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Join, Message, Plan, PlanKind, Rest, Update
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Trust
from tests.support.fleet import ROOT, Aggregator

ANYONE = "a" * 16  # stands for a device in a topic until + does
FIRST_UPDATE_ID = 30_000  # packet ids: joins from 1, updates from here, so none is taken twice
PATIENCE_S = 600.0
ASK_AGAIN_S = 60.0  # a device whose word was lost asks again, as real ones do


@dataclass(frozen=True, slots=True)
class Packets:
    """What one device sends in one round."""

    device: str
    join: bytes
    update: bytes


def keys(count: int) -> list[SigningKey]:
    """The same devices in every run."""
    return [SigningKey(number.to_bytes(32, "big")) for number in range(1, count + 1)]


def certify(aggregator: Aggregator, devices: Sequence[SigningKey]) -> None:
    """Enrol all in one transaction: by the command line each would take a second."""
    found = config.load(aggregator.directory / config.FILE)
    store = Store(found.state_dir)
    try:
        registry = Devices(store.database, found.topics)
        with store.database.transaction("certificates"):
            for key in devices:
                registry.certify(device_id(key.public), key.public, ROOT)
    finally:
        store.close()


def sign_round(plan: Plan, topics: Topics, devices: Sequence[SigningKey]) -> list[Packets]:
    """Joins and updates of all devices for this plan; the vectors differ from device to device."""
    assert plan.codec is Codec.RAW_INT16, "a vector that no encoder wrote is refused"
    empty = Update(plan.plan_id, plan.base_version, plan.base_hash, 7, plan.codec, b"", 0, 1)
    size, task = weights_size(plan.spec.layers), plan.spec.task
    signed = []
    for number, key in enumerate(devices):
        device = device_id(key.public)
        # A bias is 4 bytes: two equal halves of 1 to 97 are a small number of either width.
        vector = array("h", [number % 97 + 1]).tobytes() * (size // 2)
        signed.append(
            Packets(
                device,
                join_packet(plan.plan_id, topics, task, key, number),
                _packet(
                    replace(empty, vector=vector),
                    topics.of(Kind.UPDATE, task, device, plan.plan_id, 0),
                    topics,
                    key,
                    FIRST_UPDATE_ID + number,
                ),
            )
        )
    return signed


def join_packet(
    plan_id: bytes, topics: Topics, task: str, key: SigningKey, number: int = 0
) -> bytes:
    """A join of a certified device, ready for the wire."""
    device = device_id(key.public)
    join = Join(plan_id, number.to_bytes(8, "big"), None, None)
    return _packet(join, topics.of(Kind.JOIN, task, device), topics, key, 1 + number)


def _packet(message: Message, topic: str, topics: Topics, key: SigningKey, number: int) -> bytes:
    return publish(topic, envelope.seal(message, topics.bound(topic), key), number)


class Ears:
    """What the aggregator has said, as all devices of one task together hear it."""

    def __init__(self, topics: Topics, task: str) -> None:
        self.subscriptions = [
            topics.of(Kind.KEYS, AGGREGATOR),
            topics.of(Kind.PLAN, task, PlanKind.TRAIN),
            topics.of(Kind.TICKET, task, ANYONE).replace(ANYONE, "+"),
            topics.of(Kind.RECEIPT, task, ANYONE).replace(ANYONE, "+"),
        ]
        self.ticketed: set[str] = set()  # devices
        self.accepted: set[str] = set()
        self.refused: list[str] = []
        self._trust = Trust(topics, ROOT.public)
        self._ticket = self.subscriptions[2][:-1]
        self._receipt = self.subscriptions[3][:-1]
        self._keys, self._plan = self.subscriptions[:2]
        self._retained: dict[str, bytes] = {}
        self._opened: tuple[bytes, Plan | Rest] | None = None

    def hear(self, message: Publish) -> None:
        """Tickets and receipts are not verified: the generator is to be light."""
        topic = message.topic
        if topic.startswith(self._ticket):
            self.ticketed.add(topic[len(self._ticket) :])
        elif topic.startswith(self._receipt):
            device = topic[len(self._receipt) :]
            if b"haccepted" in message.payload:  # CBOR: a text of 8 bytes
                self.accepted.add(device)
            else:
                self.refused.append(device)
        else:
            self._retained[topic] = message.payload

    def open_plan(self) -> Plan | Rest | None:
        """The newest, verified."""
        certificate, sealed = self._retained.get(self._keys), self._retained.get(self._plan)
        if not certificate or not sealed:
            return None
        if self._opened is None or self._opened[0] != sealed:
            self._trust.open(self._keys, certificate)
            message = self._trust.open(self._plan, sealed).message
            assert isinstance(message, Plan | Rest)
            self._opened = sealed, message
        return self._opened[1]

    def is_open(self, number: int) -> bool:
        """Whether this round's plan is out."""
        plan = self.open_plan()
        return isinstance(plan, Plan) and plan.round == number

    def has_model(self, version: int) -> bool:
        """Whether plan or rest speaks of this version."""
        plan = self.open_plan()
        found = plan.base_version if isinstance(plan, Plan) else plan.version if plan else 0
        return found >= version


def ask_all(
    generator: Generator,
    packets: Sequence[tuple[str, bytes]],
    answered: set[str],
    what: str,
    window: int,
) -> int:
    """Send a packet of each device, at most `window` without an answer; how often one asked again.

    packets: device and packet. Returns when all are answered. Raises Late.
    """
    again, sent, progress, last = 0, 0, len(answered), time.monotonic()
    start, end = len(answered), time.monotonic() + PATIENCE_S
    while len(answered) - start < len(packets):
        while sent < len(packets) and sent - (len(answered) - start) < window:
            generator.send(sent, packets[sent][1])
            sent += 1
        generator.turn(0.05)
        moment = time.monotonic()
        if len(answered) != progress:
            progress, last = len(answered), moment
        elif moment > end:
            raise Late(f"{len(answered) - start} of {len(packets)} {what} after {PATIENCE_S:.0f} s")
        elif moment - last > ASK_AGAIN_S:
            last = moment
            for number, (device, packet) in enumerate(packets[:sent]):
                if device not in answered:
                    generator.send(number, packet)
                    again += 1
    return again


def wait_quiet(generator: Generator, quiet: Callable[[Callable[[float], None]], bool]) -> None:
    """Until a process has nothing left to do; the sockets are served meanwhile. Raises Late."""
    end = time.monotonic() + PATIENCE_S
    while not quiet(partial(serve_for, generator)):
        if time.monotonic() > end:
            raise Late("the aggregator does not come to rest")


def serve_for(generator: Generator, seconds: float) -> None:
    """Pass the time with the sockets."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        generator.turn(left)
