"""What HTTP says before WebSocket frames: the request, and whether the answer lets us through.

RFC 6455, section 4; the subprotocol is OASIS MQTT 3.1.1's, section 6. No Origin is sent: that is
what browsers say of pages, and some servers refuse one that they do not know.
"""

import base64
import hashlib
from collections.abc import Mapping

from fedling_protocol.classes import dataclass

HEAD_END = b"\r\n\r\n"
FIRST = 5  # bytes that tell HTTP from all else
LARGEST_HEAD = 16_384  # bytes of an answer up to its empty line
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MQTT = "mqtt"
LONGEST_WORD = 100  # characters of what others say that are told
ALERT = b"\x15\x03"  # TLS says that it does not understand

SILENT = (
    "the connection was closed without an answer in HTTP: is mqtt.port the one for WebSockets? "
    "For MQTT without them leave mqtt.websocket_path out"
)
NOT_HTTP = (
    "what answers on mqtt.port is no web server: take the port for WebSockets, mostly 443, or for "
    "MQTT without them leave mqtt.websocket_path out"
)
ENDLESS = "the web server's answer has no end: no MQTT broker is behind mqtt.websocket_path"
TLS = "TLS answers on mqtt.port: set mqtt.tls = true"
NO_UPGRADE = (
    "it answers as to a browser, and does not pass WebSockets on (nginx: proxy_http_version 1.1, "
    "and proxy_set_header for Upgrade and Connection), or they have another path there"
)
PERHAPS_TLS = "; where it speaks TLS, set mqtt.tls = true"
ELSEWHERE = "it sends us on to {where}: set mqtt.host, mqtt.port, mqtt.tls and mqtt.websocket_path"
WANTS_LOGIN = (
    "it wants a password of its own before WebSockets: let this path through without, since the "
    "MQTT broker asks for mqtt.user and mqtt.password_file itself"
)
DEAD = "it does not reach the MQTT broker behind it: does that run, and listen for WebSockets?"
MEANINGS = {
    400: "it does not understand the request: is this the port and path for WebSockets?",
    401: WANTS_LOGIN,
    403: "it does not let this machine through: its access rules or its log say why",
    404: "nothing is there: set mqtt.websocket_path to what the web server or MQTT broker calls it",
    405: NO_UPGRADE,
    407: "a proxy on the way wants a password: this program has none for proxies",
    426: NO_UPGRADE,
    429: "it counts our connections as too many: its limits say how many it takes",
    502: DEAD,
    503: DEAD,
    504: DEAD,
}


class UpgradeError(ConnectionError):
    """No WebSocket comes about here. Says why and what to do."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The request of one connection. host: as HTTP writes it. key: base64 of 16 random bytes"""

    host: str
    path: str
    tls: bool
    key: bytes

    def request(self) -> bytes:
        """Write it."""
        lines = [
            f"GET {self.path} HTTP/1.1",
            f"Host: {self.host}",
            "User-Agent: fedling",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {self.key.decode()}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {MQTT}",
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def judge(self, head: bytes) -> None:
        """Whether the answer's head lets us through. Raises UpgradeError."""
        first, *rest = head.decode("latin-1").split("\r\n")
        version, _, status = first.partition(" ")
        code = status[:3]
        if not version.startswith("HTTP/1.") or not code.isdecimal():
            raise UpgradeError(NOT_HTTP)
        found = _headers(rest)
        if code != "101":
            raise UpgradeError(self._refusal(int(code), status, found))
        self._check(found)

    def _refusal(self, code: int, status: str, found: Mapping[str, str]) -> str:
        meaning = MEANINGS.get(code, "its log may say why")
        if 200 <= code < 300:
            meaning = NO_UPGRADE
        elif 300 <= code < 400:
            meaning = ELSEWHERE.format(where=_told(found.get("location", "another place")))
        elif code == 400 and not self.tls:
            meaning += PERHAPS_TLS
        return f"{self.path} at the web server {self.host} says HTTP {_told(status)}: {meaning}"

    def _check(self, found: Mapping[str, str]) -> None:
        """Whether who agrees has understood the question. RFC 6455, section 4.1."""
        upgrade, connection = found.get("upgrade", ""), found.get("connection", "")
        if upgrade.lower() != "websocket" or "upgrade" not in _words(connection):
            raise UpgradeError("the web server changes to something that is no WebSocket")
        proof = base64.b64encode(hashlib.sha1(self.key + GUID, usedforsecurity=False).digest())
        if found.get("sec-websocket-accept", "").encode("latin-1") != proof:
            raise UpgradeError("the web server answers another question: a cache is on the way")
        if found.get("sec-websocket-extensions"):
            raise UpgradeError("the web server uses extensions of WebSockets that nobody asked for")
        spoken = found.get("sec-websocket-protocol", MQTT)  # a bare tunnel names none
        if spoken != MQTT:
            raise UpgradeError(f"what is behind this path speaks {_told(spoken)}, not MQTT")


def early(data: bytes) -> str:
    """Why the FIRST bytes of an answer, or fewer, are none of HTTP; empty: they may be."""
    if data.startswith(ALERT):
        return TLS
    return "" if b"HTTP/".startswith(data) else NOT_HTTP


def _headers(lines: list[str]) -> dict[str, str]:
    """Names in small letters; of one that is there twice all values, with commas between."""
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            name = name.strip().lower()
            found[name] = f"{found[name]}, {value.strip()}" if name in found else value.strip()
    return found


def _words(value: str) -> list[str]:
    return [word.strip().lower() for word in value.split(",")]


def _told(word: str) -> str:
    """What others say, as a log may have it."""
    return "".join(sign if sign.isprintable() else "?" for sign in word[:LONGEST_WORD])
