"""The only module here that knows paho, 1.6 or 2: an MQTT client for fedling_protocol.net.link.

And paho's frames for fedling_protocol.net.websocket, where MQTT goes over WebSockets.
"""

import os
from functools import partial
from typing import Any, Protocol, cast

import paho.mqtt
import paho.mqtt.client as mqtt

from fedling_protocol.net.ports import WHO, Client, ClientOwner, Credentials, Will

QOS = 1
REFUSED = 0x80  # SUBACK's return codes from here on, MQTT 3.1.1, section 3.9.3
KEEPALIVE = "or mqtt.keepalive_s is longer than this broker allows"
# CONNACK's return codes, as paho 1 and paho 2 tell them
TOO_LONG = frozenset({2, 133})
UNKNOWN = frozenset({4, 134, 5, 135})
API: Any = vars(mqtt).get("CallbackAPIVersion")  # None in paho 1
# paho's class of WebSocket frames, by the name that 2 and that 1.6 give it, and what is used of it
WRAPPER: Any = vars(mqtt).get("_WebsocketWrapper") or vars(mqtt).get("WebsocketWrapper")
USED = ("_do_handshake", "_create_frame", "recv", "send")
CLOSE, MASKED = 8, 0x80  # RFC 6455, section 5.2
NO_REASON = b"\x03\xe8"  # of closing: 1000, all was said


def new_client(
    client_id: str,
    credentials: Credentials | None,
    will: Will | None,
    owner: ClientOwner,
    *,
    retained: bool = True,
) -> Client:
    """Make an MQTT 3.1.1 client with a clean session, not connected.

    retained: what was published before we subscribed, and is kept, is for the owner too
    """
    make: Any = partial(_Paho, API.VERSION2) if API else _Paho
    paho: _Paho = make(client_id, protocol=mqtt.MQTTv311, clean_session=True)
    paho.owner = owner
    if credentials is not None:
        password: Any = credentials.password  # bytes are as good to paho as a text
        paho.username_pw_set(credentials.user, password)
    if will is not None:
        paho.will_set(will.topic, will.payload, qos=QOS, retain=True)
    unknown = WHO if credentials is None else credentials.unknown
    return _Client(paho, owner, unknown, retained)


class _Paho(mqtt.Client):
    """paho's client, whose socket is ours: in both versions it comes from this one method."""

    owner: ClientOwner

    def _create_socket_connection(self) -> Any:
        return self.owner.give_socket()


class _Client:
    """A paho client with the methods and callbacks that the link knows."""

    def __init__(self, paho: mqtt.Client, owner: ClientOwner, unknown: str, retained: bool) -> None:
        self._unknown = unknown
        self._retained = retained
        self._paho = paho
        self._owner = owner
        paho.on_connect = self._on_connect
        paho.on_message = self._on_message
        paho.on_subscribe = self._on_subscribe
        paho.on_publish = self._on_publish
        paho.on_socket_register_write = self._on_want_write
        paho.on_socket_unregister_write = self._on_want_no_write

    def connect(self, keepalive_s: int) -> None:
        # paho wants an address, though the socket is connected already.
        self._paho.connect("given.invalid", 1883, keepalive_s)

    def disconnect(self) -> None:
        self._paho.disconnect()

    def wants_write(self) -> bool:
        return bool(self._paho.want_write())

    def publish(self, topic: str, payload: bytes, retain: bool) -> int:
        return int(self._paho.publish(topic, payload, qos=QOS, retain=retain).mid)

    def subscribe(self, topics: list[str]) -> int:
        _, packet_id = self._paho.subscribe([(topic, QOS) for topic in topics])
        return int(packet_id or 0)

    def unsubscribe(self, topics: list[str]) -> None:
        self._paho.unsubscribe(topics)

    def loop_read(self) -> int:
        return int(self._paho.loop_read())

    def loop_write(self) -> int:
        return int(self._paho.loop_write())

    def loop_misc(self) -> int:
        return int(self._paho.loop_misc())

    # --- called by paho: client and user data first, then what differs between 1 and 2 -----------

    def _on_connect(self, *words: Any) -> None:
        code = words[3]  # an int in paho 1, a ReasonCode in paho 2
        if code == 0:
            self._owner.accepted()
        else:
            reason = str(code) if API else str(mqtt.connack_string(code))
            self._owner.refused(reason + self._hint(code.value if API else code))

    def _hint(self, code: int) -> str:
        if code in UNKNOWN:
            return f", {self._unknown}"
        return f", {KEEPALIVE}" if code in TOO_LONG else ""

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.retain and not self._retained:
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # no topic of ours
        self._owner.message(topic, bytes(message.payload))

    def _on_subscribe(self, *words: Any) -> None:
        codes = [code.value if API else code for code in words[3]]
        self._owner.subscribed(int(words[2]), [code < REFUSED for code in codes])

    def _on_publish(self, *words: Any) -> None:
        self._owner.published(int(words[2]))

    def _on_want_write(self, *_: object) -> None:
        self._owner.want_write(True)

    def _on_want_no_write(self, *_: object) -> None:
        self._owner.want_write(False)


# --- WebSockets ----------------------------------------------------------------------------------


class Wire(Protocol):
    """What paho's frames read and write: it never waits, and it takes all that it is given."""

    def recv(self, count: int) -> bytes: ...
    def send(self, data: bytes) -> int: ...


class Frames(Protocol):
    """One connection's frames, those that come and those that go."""

    closed: bytes | None  # what the other end said in closing

    @property
    def held(self) -> int:
        """Bytes in memory of a frame that has not come wholly."""

    def recv(self, count: int) -> bytes:
        """Read of what has come; answers PING and CLOSE. Raises BlockingIOError: no content."""

    def send(self, data: bytes) -> int:
        """Make one frame of it."""

    def close(self) -> None:
        """Say that this was all."""


def websocket_fault() -> str:
    """Why this paho cannot speak over WebSockets; empty: it can."""
    if WRAPPER is not None and all(hasattr(WRAPPER, name) for name in USED):
        return ""
    return (
        f"paho-mqtt {paho.mqtt.__version__} has no WebSockets that this program can drive: install "
        "paho-mqtt 1.6.1, or 2.0 to 2.2"
    )


def new_frames(wire: Wire) -> Frames:
    """Make frames above a wire on which HTTP has had its say."""
    made: Any = type("_PahoFrames", (_Frames, WRAPPER), {})
    return cast(Frames, made(wire, "given.invalid", 80, False, "/", None))


class _Frames:
    """What paho's frames do otherwise here, put before its class."""

    _readbuffer: bytearray
    _socket: Wire
    closed: bytes | None = None

    def _do_handshake(self, _headers: object) -> None:
        """Do nothing: paho would wait for the answer, and not say what was wrong with it."""

    def _create_frame(self, opcode: int, data: bytearray, _mask: int = 1) -> bytearray:
        """Mask whatever goes, and at once.

        paho leaves out what answers a PING or a CLOSE, for which the other end must hang up (RFC
        6455, section 5.1), and takes the rest byte by byte: 160 KB are 0.1 s of a Raspberry Pi.
        """
        if opcode == CLOSE:
            self.closed = bytes(data)
        parent: Any = super()
        frame: bytearray = parent._create_frame(opcode, data, 0)
        begin, key = len(frame) - len(data), os.urandom(4)
        frame[1] |= MASKED
        frame[begin:] = key + masked(data, key)
        return frame

    @property
    def held(self) -> int:
        return len(self._readbuffer)

    def close(self) -> None:
        self._socket.send(bytes(self._create_frame(CLOSE, bytearray(NO_REASON))))


def masked(data: bytes | bytearray, key: bytes) -> bytes:
    """Mask bytes by a key of four, each by each. RFC 6455, section 5.3."""
    size = len(data)
    keys = (key * (size // 4 + 1))[:size]
    number = int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")
    return number.to_bytes(size, "little")
