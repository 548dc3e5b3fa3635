"""A stranger on the network: no key of the fleet, no certificate, time enough."""

import sqlite3
import ssl
from contextlib import suppress

import pytest

from fedling_broker.authority import x509
from fedling_broker.service.roster import Roster
from fedling_broker.store import devices
from fedling_broker.store.devices import Devices
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net import tls_files
from fedling_protocol.wire import envelope
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Join
from tests.support.attacks.cast import (
    FLEET,
    MALLORY_ID,
    TASK,
    TOPICS,
)
from tests.support.attacks.intruder import Intruder, PutOff
from tests.support.attacks.path import FalseBroker, Tee
from tests.support.attacks.stage import (
    Stage,
)
from tests.support.attacks.table import Attack, Who
from tests.support.certificates import Authority, Pair

OPEN = (
    "allow_anonymous false",
    "require_certificate",
    "use_identity_as_username",
    "use_username_as_clientid",
    "acl_file",
)
MANY = 300  # messages of a flood
PLANS = TOPICS.of(Kind.PLAN, TASK, "train")


def strangers_key(number: int) -> SigningKey:
    return SigningKey(b"S" * 28 + number.to_bytes(4, "big"))


def join_of(key: SigningKey) -> tuple[str, bytes]:
    """What a device that nobody knows says."""
    topic = TOPICS.of(Kind.JOIN, TASK, device_id(key.public))
    join = Join(b"p" * 16, b"n" * 8, None, key.public)
    return topic, envelope.seal(join, TOPICS.bound(topic), key)


def let_in(stage: Stage, pair: Pair | None = None) -> Intruder | None:
    """The connection, if there is one that the MQTT broker answers on."""
    with suppress(PutOff):
        stranger = stage.enter("stranger", pair)
        stranger.ping()
        return stranger
    return None


def connects(stage: Stage) -> bool:
    stage.begin()
    return let_in(stage) is not None


def connects_with_a_certificate_of_its_own(stage: Stage) -> bool:
    """Of an authority that has the same name."""
    stage.begin()
    other = x509.create_ca(stage.directory / "other", FLEET)
    return let_in(stage, stage.certify(MALLORY_ID, other)) is not None


def subscribes(stage: Stage) -> bool:
    """Whether it reads a model."""
    stranger = let_in(stage)
    stage.begin(rounds=1)
    stage.run(lambda: stage.settled_at(1))
    if stranger is None:
        return False
    stranger.subscribe("#")
    return any("/model/" in topic for topic, _ in stranger.ping())


def publishes(stage: Stage) -> bool:
    """Whether a plan of its own is retained."""
    stage.begin()
    stranger = let_in(stage)
    if stranger is None:
        return False
    stranger.publish(PLANS, b"nonsense", retain=True)
    stranger.subscribe(PLANS)
    return stranger.ping()[-1] == (PLANS, b"nonsense")


def floods(stage: Stage) -> bool:
    """Whether the aggregator has to look at what it says."""
    stage.begin()
    stranger = let_in(stage)
    if stranger is not None:
        for number in range(MANY):
            stranger.publish(f"{TOPICS.prefix}{TASK}/join/{'a' * 16}", number.to_bytes(2, "big"))
        stranger.ping()
    stage.settle()
    return sum(len(payload) == 2 for _, payload in stage.aggregator.heard) > 0


def pushes_others_off_the_list(stage: Stage) -> bool:
    """An honest device waits to be enrolled when more strangers ask than the list has lines."""
    tap = stage.tap()
    stage.begin()
    honest = strangers_key(0)
    for number in range(devices.MAX_PENDING + 10):
        tap.publish(*join_of(strangers_key(number)))
    tap.ping()
    stage.settle()
    with stage.books() as store:
        waiting = [pending.id for pending in Devices(store.database, TOPICS).pending()]
    return device_id(honest.public) not in waiting


def keep_the_latest(patch: pytest.MonkeyPatch) -> None:
    def note(roster: Roster, device: str, key: bytes, now_s: int) -> bool:
        return roster._devices.ask(device, key, now_s)

    def make_room(connection: sqlite3.Connection, _now_s: int) -> bool:
        connection.execute(
            "DELETE FROM pending WHERE id = (SELECT id FROM pending ORDER BY rowid LIMIT 1)"
            " AND (SELECT count(*) FROM pending) >= ?",
            (devices.MAX_PENDING,),
        )
        return True

    patch.setattr(Roster, "_note", note)
    patch.setattr(devices, "_make_room", make_room)


# --- on the path -----------------------------------------------------------------------------


def listens(stage: Stage) -> bool:
    """Whether it reads what goes between a device and its MQTT broker."""
    with Tee(stage.mosquitto.port) as tee:
        stage.reach_device_by(tee.port)
        stage.begin(rounds=1)
        stage.run(lambda: stage.settled_at(1))
        return TASK.encode() in bytes(tee.passed)


def encrypt_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stage, "encrypted", False)


def false_broker(stage: Stage, pair: Pair) -> bool:
    """Whether a device says anything to who has another certificate."""
    with FalseBroker(pair) as false:
        stage.reach_device_by(false.port)
        stage.start_device()
        stage.run(lambda: false.served)
        return bytes(false.heard) != b""


def false_broker_of_another_authority(stage: Stage) -> bool:
    return false_broker(stage, Authority(stage.directory / "other").server())


def false_broker_by_a_device(stage: Stage) -> bool:
    """A device's certificate, which the fleet's authority has signed."""
    return false_broker(stage, stage.pairs[MALLORY_ID])


def check_no_certificate(patch: pytest.MonkeyPatch) -> None:
    make = tls_files.context

    def context(mqtt: MqttSettings) -> ssl.SSLContext:
        made = make(mqtt)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made

    patch.setattr(tls_files, "context", context)


GUARDED = (
    ("stranger-connects", connects),
    ("stranger-with-its-own-authority", connects_with_a_certificate_of_its_own),
    ("stranger-subscribes", subscribes),
    ("stranger-publishes", publishes),
    ("stranger-floods", floods),
)

ATTACKS = (
    *(Attack(name, Who.STRANGER, play, left_out=OPEN, guarded=True) for name, play in GUARDED),
    Attack("flood-of-joins", Who.STRANGER, pushes_others_off_the_list, keep_the_latest),
    Attack("stranger-listens", Who.STRANGER, listens, encrypt_nothing, guarded=True),
    Attack(
        "false-mqtt-broker",
        Who.STRANGER,
        false_broker_of_another_authority,
        check_no_certificate,
        guarded=True,
    ),
    Attack(
        "device-as-mqtt-broker",
        Who.DEVICE,
        false_broker_by_a_device,
        check_no_certificate,
        guarded=True,
    ),
)
