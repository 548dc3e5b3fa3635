"""The keys that agent.toml and broker.toml both have: the same names, units and checks."""

import ipaddress
import re
from dataclasses import replace
from pathlib import Path

from fedling_protocol.classes import dataclass
from fedling_protocol.settings import setting
from fedling_protocol.wire.names import is_host, is_ipv6, is_name
from fedling_protocol.wire.topics import Topics

PLAIN_PORT, TLS_PORT = 1883, 8883
WEB_PORT, WEB_TLS_PORT = 80, 443  # over WebSockets
# After so long a silence the other end is told that we live. Web servers and what balances their
# load mostly cut what was silent for a minute (nginx: proxy_read_timeout).
KEEPALIVE_S, WEB_KEEPALIVE_S = 300, 45
LONGEST_PATH = 1000
TLS_FILES = ("ca_file", "certificate_file", "key_file")  # keys of [mqtt]
FILES = ("password_file", *TLS_FILES)
_PATH = re.compile(r"/[!-~]*", re.ASCII)
_NO_HOST = re.compile(r"[\s/@\[\]\0]")
TLS_ONLY = (*TLS_FILES, "server_name")
ELSEWHERE = (
    "is another machine, and without TLS whoever is on the way there reads updates, models and the"
    " password: set tls = true (and ca_file), or, if that is meant, allow_plaintext = true"
)

HOSTS = (
    "a name or address, as broker.local, 192.168.1.9 or ::1, with no https:// before it, no"
    " brackets around it and no port behind it"
)
PLAINTEXT = (
    "nothing is encrypted: whoever is on the way to the MQTT broker reads updates, models and the "
    "password; set mqtt.tls"
)


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
    wrong = _NO_HOST.search(value) or (":" in value and not is_ipv6(value))
    return HOSTS if wrong else None


def check_host_for_devices(value: str) -> str | None:
    """Check a value of the key `enrolment.host`, which stands in tokens; "" is another key's."""
    return HOSTS + "; other letters as xn--" if value and not is_host(value) else None


def check_server_name(value: str) -> str | None:
    """Check a value of the key `mqtt.server_name`."""
    return check_host(value) if value else None


def check_path(value: str) -> str | None:
    """Check a value of the key `mqtt.websocket_path`."""
    if not value or (_PATH.fullmatch(value) and "#" not in value):
        return None
    return "a path as it stands behind the host in a URL, as /mqtt; other letters as %C3%A4"


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


def is_loopback(host: str) -> bool:
    """Whether what goes there stays on this machine."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """[mqtt]: the MQTT broker."""

    host: str = setting(help="name or address of the MQTT broker", low=1, check=check_host)
    port: int | None = setting(
        None, help="TCP port of the MQTT broker; by default 8883 with tls, else 1883; over"
        " WebSockets 443 with tls, else 80",
        low=1, high=65_535,
    )  # fmt: skip
    websocket_path: str = setting(
        "", help="speak MQTT over WebSockets, at this path of a web server or MQTT broker, as"
        " /mqtt; empty: without them", high=LONGEST_PATH, check=check_path,
    )  # fmt: skip
    keepalive_s: int | None = setting(
        None,
        help="after so long a silence the MQTT broker gets a sign of life; by default 300 s, over"
        " WebSockets 45 s, since web servers cut what was silent for a minute",
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
    tls: bool = setting(
        False, help="speak TLS 1.3 or 1.2 with the MQTT broker, and check its certificate and name"
    )
    server_name: str = setting(
        "",
        help="with tls: the name that the MQTT broker's certificate must prove; empty: host's",
        check=check_server_name,
    )
    ca_file: Path | None = setting(
        None,
        help="with tls: the file of the certificates (PEM) whose signature under the MQTT broker's"
        " is believed; without it those that the system trusts",
    )
    certificate_file: Path | None = setting(
        None,
        help="with tls: the file of this end's own certificate (PEM) and of those between it and"
        " its authority; without it none is shown",
    )
    key_file: Path | None = setting(
        None,
        help="the file of certificate_file's private key (PEM), which nobody else may read"
        " (mode 0600)",
    )
    allow_plaintext: bool = setting(
        False, help="without tls: send everything unencrypted to an MQTT broker elsewhere"
    )

    def __post_init__(self) -> None:
        if self.password_file is not None and not self.user:
            raise ValueError("password_file is of no use without user")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file are of use together only")
        for name in TLS_ONLY:
            if getattr(self, name) and not self.tls:
                raise ValueError(f"{name} is of no use without tls = true")
        if self.tls and self.allow_plaintext:
            raise ValueError("tls = true and allow_plaintext = true contradict each other")
        if self.plaintext and not self.allow_plaintext:
            raise ValueError(f'host = "{self.host}" {ELSEWHERE}')

    @property
    def tcp_port(self) -> int:
        """The port, the given one or the usual one."""
        if self.websocket_path:
            return self.port or (WEB_TLS_PORT if self.tls else WEB_PORT)
        return self.port or (TLS_PORT if self.tls else PLAIN_PORT)

    @property
    def silence_s(self) -> int:
        """The seconds of silence before a sign of life, the given ones or the usual ones."""
        return self.keepalive_s or (WEB_KEEPALIVE_S if self.websocket_path else KEEPALIVE_S)

    @property
    def web_host(self) -> str:
        """Write the name, and the port if it is not the usual one, as HTTP does (RFC 9110, 7.2)."""
        name = self.proven_name.partition("%")[0].rstrip(".")  # without the zone of fe80::1%eth0
        host = f"[{name}]" if is_ipv6(name) else name.encode("idna").decode()
        usual = WEB_TLS_PORT if self.tls else WEB_PORT
        return host if self.tcp_port == usual else f"{host}:{self.tcp_port}"

    @property
    def proven_name(self) -> str:
        """The name that the MQTT broker's certificate must prove."""
        return self.server_name or self.host

    @property
    def address(self) -> str:
        """Write host and port as people do."""
        return f"{self.host}:{self.tcp_port}"

    @property
    def plaintext(self) -> bool:
        """Whether somebody on the way to the MQTT broker can read what goes there."""
        return not self.tls and not is_loopback(self.host)

    @property
    def way_there(self) -> str:
        """Write host and port, and how they are spoken with, for logs."""
        where = f"{self.address}{self.websocket_path}"
        where += " by WebSockets" if self.websocket_path else ""
        if self.tls:
            return f"{where} {'and' if self.websocket_path else 'by'} TLS"
        return f"{where}, not encrypted (mqtt.tls)" if self.plaintext else where

    def within(self, folder: Path) -> "MqttSettings":
        """The same, with relative paths taken from the folder of the configuration file."""
        given = {name: getattr(self, name) for name in FILES}
        return replace(self, **{n: folder / file for n, file in given.items() if file is not None})


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
