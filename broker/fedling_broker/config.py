"""broker.toml: where the aggregator works and how (docs/configuration.md)."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fedling_protocol import settings
from fedling_protocol.settings import SettingsError, setting
from fedling_protocol.wire.names import is_name
from fedling_protocol.wire.topics import Topics

FILE = "broker.toml"
PLACES = (Path(FILE), Path("/etc/fedling") / FILE)
ONLINE_KEY, SECRET = "online.key", "secret"  # in the state directory


class KeepUpdates(StrEnum):
    """What becomes of an update once it is in the sum."""

    FOLD = "fold"  # it is erased
    AUDIT = "audit"  # it is kept: `round verify` adds up the sums again


def check_fleet(value: str) -> str | None:
    return None if is_name(value) else "a name: a-z, 0-9 and -, at most 32 characters, no - first"


def check_root_topic(value: str) -> str | None:
    try:
        Topics(value, "x")
    except ValueError:
        return "1 to 4 words of A-Z, a-z, 0-9, _ . - with / between"
    return None


def check_key(value: str) -> str | None:
    try:
        key = bytes.fromhex(value)
    except ValueError:
        key = b""
    return None if len(key) == 32 and len(value) == 64 else "a public key: 64 hexadecimal digits"


@dataclass(frozen=True, slots=True)
class MqttTable:
    """[mqtt]"""

    host: str = setting("127.0.0.1", help="the MQTT broker", low=1)
    port: int = setting(1883, help="its TCP port", low=1, high=65_535)
    keepalive_s: int = setting(300, help="of an idle connection", unit="s", low=5, high=65_535)


@dataclass(frozen=True, slots=True)
class RetryTable:
    """[retry]: full jitter: a delay is drawn from 0 up to a ceiling that doubles"""

    first_ms: int = setting(1000, help="first ceiling", unit="ms", low=1, high=3_600_000)
    longest_ms: int = setting(60_000, help="last ceiling", unit="ms", low=1, high=86_400_000)

    def __post_init__(self) -> None:
        if self.longest_ms < self.first_ms:
            raise ValueError(
                f"longest_ms = {self.longest_ms}: allowed: at least first_ms = {self.first_ms}"
            )


@dataclass(frozen=True, slots=True)
class BrokerFile:
    """The keys of broker.toml."""

    fleet: str = setting(help="the fleet that this aggregator serves", check=check_fleet)
    root_key: str = setting(help="public root key of the fleet", check=check_key)
    state_dir: Path = setting(help="database, models and keys; relative to this file")
    root_topic: str = setting("fedling", help="first words of every topic", check=check_root_topic)
    keep_updates: KeepUpdates = setting(KeepUpdates.FOLD, help="of what is in the sum already")
    mqtt: MqttTable = setting(MqttTable(), help="the MQTT broker")
    retry: RetryTable = setting(RetryTable(), help="after a lost connection or a full disk")


@dataclass(frozen=True, slots=True)
class Config:
    """broker.toml, with what follows from it."""

    file: BrokerFile
    path: Path

    @property
    def topics(self) -> Topics:
        return Topics(self.file.root_topic, self.file.fleet)

    @property
    def root_key(self) -> bytes:
        return bytes.fromhex(self.file.root_key)

    @property
    def state_dir(self) -> Path:
        return self.path.parent / self.file.state_dir


def find(path: Path | None) -> Path:
    """The file named, else the first that is there. Raises SettingsError."""
    if path is not None:
        return path
    for place in PLACES:
        if place.exists():
            return place
    places = " and ".join(map(str, PLACES))
    raise SettingsError(f"no {FILE} in {places}; name it with --config or run: fedling-broker init")


def load(path: Path) -> Config:
    """Raises SettingsError."""
    return Config(settings.load(path, BrokerFile), path)


TEMPLATE = """\
# The aggregator of one fleet. All keys: docs/configuration.md
fleet = "{fleet}"
root_key = "{root_key}"     # public; agent.toml of every device has the same
state_dir = "{state_dir}"
root_topic = "{root_topic}"
keep_updates = "fold"       # "audit" keeps them, so that `round verify` can add them up again

[mqtt]
host = "{host}"
port = {port}
"""
