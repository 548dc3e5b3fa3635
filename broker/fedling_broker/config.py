"""broker.toml: where the aggregator works and how (docs/configuration.md)."""

from contextlib import AbstractContextManager
from dataclasses import field, replace
from enum import StrEnum
from pathlib import Path

from fedling_protocol import settings
from fedling_protocol.classes import dataclass
from fedling_protocol.common_settings import (
    MqttSettings,
    RetrySettings,
    check_fleet,
    check_host_for_devices,
    check_root_key,
)
from fedling_protocol.disk import ownership
from fedling_protocol.disk.ownership import Unit
from fedling_protocol.settings import SettingsError, setting
from fedling_protocol.wire.limits import MAX_PACKET, MIN_PACKET
from fedling_protocol.wire.topics import Topics

FILE = "broker.toml"
SYSTEM_FILE = Path("/etc/fedling") / FILE
PLACES = (Path(FILE), SYSTEM_FILE)
MAKE = (
    "name one with --config, or make a fleet: fedling-broker up, or fedling-broker init for an MQTT"
    " broker that is there"
)
UNIT = Unit("fedling-broker", Path("/var/lib/fedling-broker"))  # fedling-broker.service
ONLINE_KEY, SECRET = "online.key", "secret"  # in the state directory
AUTHORITY = "authority"  # the authority's directory there, if no other is named
ENROLMENT_PORT = 8884
RENAMED = {
    "root_topic": "mqtt.topic_root",
    "retry.first_ms": "retry.first_s, in seconds",
    "retry.longest_ms": "retry.longest_s, in seconds",
}


class KeepUpdates(StrEnum):
    """What becomes of an update once it is in the sum."""

    FOLD = "fold"  # it is erased
    AUDIT = "audit"  # it is kept as long as its round: `round verify` adds up the sums again


@dataclass(frozen=True, slots=True)
class EnrolmentSettings:
    """[enrolment]: where devices find the MQTT broker, which may not be what this end calls it."""

    host: str = setting(
        "", help="name or address of the MQTT broker as devices see it; empty: that of mqtt.host",
        check=check_host_for_devices,
    )  # fmt: skip
    port: int = setting(
        ENROLMENT_PORT, help="TCP port of its listener for enrolment", low=1, high=65_535
    )
    mqtt_port: int | None = setting(
        None, help="TCP port of its listener for enrolled devices; by default that of mqtt.port",
        low=1, high=65_535,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class MosquittoSettings:
    """[mosquitto]: what is written for a mosquitto whose configuration is ours."""

    files: Path | None = setting(
        None,
        help="the directory where mosquitto reads passwords of tokens, its access list and whom it"
        " refuses; without it nobody writes them",
    )


@dataclass(frozen=True, slots=True)
class BrokerFile:
    """The keys of broker.toml."""

    fleet: str = setting(help="the fleet that this aggregator serves", check=check_fleet)
    root_key: str = setting(help="the public half of the fleet's root key", check=check_root_key)
    state_dir: Path = setting(help="the directory of database, models and keys")
    mqtt: MqttSettings = setting(help="where the MQTT broker is")
    keep_updates: KeepUpdates = setting(
        KeepUpdates.FOLD, help="whether an update stays on disk once it is in the sum"
    )
    keep_rounds: int = setting(
        100,
        help="at least so many rounds, and less than twice as many, can be recomputed and rolled"
        " back to; older models and sums are erased; 0: none is",
        low=0,
        high=1_000_000,
    )
    largest_packet: int = setting(
        131_072,
        help="models and updates that would make a larger MQTT packet go in chunks, in packets of"
        " this size, and after a cut those that are missing are sent; so large a packet the MQTT"
        " broker must take",
        unit="bytes",
        low=MIN_PACKET,
        high=MAX_PACKET,
    )
    authority: Path | None = setting(
        None,
        help="the directory of the fleet's authority; by default `authority` in state_dir",
    )
    enrolment: EnrolmentSettings = field(default_factory=EnrolmentSettings)
    mosquitto: MosquittoSettings = field(default_factory=MosquittoSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)  # after a full disk, too

    def __post_init__(self) -> None:
        if self.mosquitto.files is not None and self.mqtt.websocket_path:
            raise ValueError(
                "mosquitto.files is of no use with mqtt.websocket_path: a mosquitto whose"
                " configuration is ours has listeners for MQTT over TLS only"
            )
        port = self.enrolment.port
        if self.mosquitto.files is not None and port in (
            self.mqtt.tcp_port,
            self.enrolment.mqtt_port,
        ):
            raise ValueError(
                f"enrolment.port = {port}: allowed: another one than that of enrolled devices,"
                " mqtt.port: who comes with a token has no certificate to show there"
            )


@dataclass(frozen=True, slots=True)
class Config:
    """broker.toml, with what follows from it."""

    file: BrokerFile
    path: Path

    @property
    def topics(self) -> Topics:
        return Topics(self.file.mqtt.topic_root, self.file.fleet)

    @property
    def root_key(self) -> bytes:
        return bytes.fromhex(self.file.root_key)

    @property
    def state_dir(self) -> Path:
        return self.path.parent / self.file.state_dir

    @property
    def authority(self) -> Path:
        """Where the authority's keys are, if they are on this machine."""
        named = self.file.authority
        return self.state_dir / AUTHORITY if named is None else self.path.parent / named

    @property
    def files(self) -> Path | None:
        """Where mosquitto reads what is written for it, if it is ours."""
        named = self.file.mosquitto.files
        return None if named is None else self.path.parent / named

    @property
    def for_devices(self) -> tuple[str, int]:
        """Host and port of the MQTT broker, as devices that are enrolled see it."""
        enrolment, mqtt = self.file.enrolment, self.file.mqtt
        return enrolment.host or mqtt.host, enrolment.mqtt_port or mqtt.tcp_port

    def acting(self) -> AbstractContextManager[None]:
        """Be who keeps the state, for a while, if we are root. Raises NotOurs, here and inside."""
        return ownership.acting(self.state_dir, UNIT, self.path)


def find(path: Path | None) -> Path:
    """The file named, else the first that is there. Raises SettingsError."""
    if path is not None:
        return path
    for place in PLACES:
        if place.exists():
            return place
    raise SettingsError(f"there is neither {PLACES[0].absolute()} nor {PLACES[1]}; {MAKE}")


def load(path: Path) -> Config:
    """Read broker.toml. Raises SettingsError."""
    file = settings.load(path, BrokerFile, RENAMED, MAKE)
    return Config(replace(file, mqtt=file.mqtt.within(path.parent)), path)


TEMPLATE = """\
# The aggregator of one fleet. All keys: docs/configuration.md
fleet = {fleet}
root_key = "{root_key}"     # public; agent.toml of every device has the same
state_dir = {state_dir}
keep_updates = "fold"       # "audit" keeps them, so that `round verify` can add them up again

[mqtt]
host = {host}
port = {port}
{security}
topic_root = {topic_root}
{more}"""
