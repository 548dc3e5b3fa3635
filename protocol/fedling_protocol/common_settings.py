"""The keys that agent.toml and broker.toml both have: the same names, units and checks."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from fedling_protocol.settings import setting
from fedling_protocol.wire.names import is_name
from fedling_protocol.wire.topics import Topics


def check_fleet(value: str) -> str | None:
    """Check a value of the key `fleet`."""
    return None if is_name(value) else "a name, [a-z0-9][a-z0-9-]{0,31}"


def check_root_key(value: str) -> str | None:
    """Check a value of the key `root_key`."""
    hexadecimal = re.fullmatch(r"[0-9a-f]{64}", value)
    return None if hexadecimal else "64 digits of [0-9a-f], as `fedling-broker init` prints it"


def check_host(value: str) -> str | None:
    """Check a value of the key `mqtt.host`."""
    try:
        value.encode("idna")
    except UnicodeError:
        return "a name or address; the words between its dots have 1 to 63 characters"
    return None if "\0" not in value else "a name or address"


def check_topic_root(value: str) -> str | None:
    """Check a value of the key `mqtt.topic_root`."""
    try:
        Topics(value, "x")
    except ValueError:
        return "1 to 4 words of A-Z, a-z, 0-9, _ . - with / between"
    return None


def check_user(value: str) -> str | None:
    """Check a value of the key `mqtt.user`."""
    return None if value.isprintable() else "a name without control characters"


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """[mqtt]: the MQTT broker."""

    host: str = setting(help="name or address of the MQTT broker", low=1, check=check_host)
    port: int = setting(1883, help="TCP port of the MQTT broker", low=1, high=65_535)
    keepalive_s: int = setting(
        300,
        help="after so long a silence the MQTT broker gets a sign of life",
        unit="s",
        low=1,
        high=65_535,
    )
    topic_root: str = setting(
        "fedling", help="the words that every topic begins with", check=check_topic_root
    )

    user: str = setting(
        "", help="the name of this end at the MQTT broker; empty: it asks for none", high=256,
        check=check_user,
    )  # fmt: skip
    password_file: Path | None = setting(
        None, help="the file of the user's password, which nobody else may read (mode 0600)"
    )

    def __post_init__(self) -> None:
        if self.password_file is not None and not self.user:
            raise ValueError("password_file is of no use without user")

    @property
    def address(self) -> str:
        """Write host and port as people do."""
        return f"{self.host}:{self.port}"

    def within(self, folder: Path) -> "MqttSettings":
        """The same, with a relative path taken from the folder of the configuration file."""
        file = self.password_file
        return self if file is None else replace(self, password_file=folder / file)


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """[retry]: full jitter: a delay is drawn from 0 up to a ceiling that doubles."""

    first_s: float = setting(
        1.0, help="the first delay before connecting again, at most", unit="s",
        low=0.01, high=3600,
    )  # fmt: skip
    longest_s: float = setting(
        60.0, help="the longest delay before connecting again", unit="s", low=0.01, high=86_400
    )

    def __post_init__(self) -> None:
        check_order(self, "first_s", "longest_s")


def check_order(settings: object, first: str, longest: str) -> None:
    """Check two delays. Raises ValueError if the first is longer than the longest."""
    low, high = getattr(settings, first), getattr(settings, longest)
    if high < low:
        raise ValueError(f"{longest} = {high}: allowed: at least {first} = {low}")
