"""WebSockets below MQTT: a transport above TCP or TLS, for ways that let nothing but HTTP through.

What HTTP says comes first (upgrade.py), a step at a time. Then MQTT goes in frames, which are
paho's (mqtt.py): it reads and writes them in memory, so that nothing waits, and an answer to a PING
never stands in the middle of another frame.
"""

import base64
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress

from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net.mqtt import Frames, new_frames, websocket_fault
from fedling_protocol.net.transport import Layer, Transport
from fedling_protocol.net.upgrade import (
    ENDLESS,
    FIRST,
    HEAD_END,
    LARGEST_HEAD,
    SILENT,
    Asked,
    UpgradeError,
    early,
)
from fedling_protocol.runtime.loop import READ, WRITE
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.limits import MAX_PACKET

CHUNK = 65_536  # bytes read at once
PIECE = 16_384  # bytes of MQTT in a frame of ours, at most
LARGEST_FRAME = MAX_PACKET + CHUNK  # bytes, head included: paho has all of it in memory
MOST_EMPTY = 100  # frames in a row without content, PING among them, that are read at once
MOST_UNSENT = 65_536  # bytes that we answer to PING, and nobody reads
SUSPICION = (
    "is this its port for WebSockets, and does mqtt.websocket_path lead to an MQTT broker there?"
)
CODES = {
    1002: "it does not understand our frames",
    1003: "it takes no such content",
    1008: "its rules forbid it",
    1009: "a message was too big for it",
    1011: "it has failed",
    1012: "it starts again",
    1013: "it is overloaded",
}
ENDED = "the broker closed the connection"


class Closed(ConnectionResetError):
    """The other end has closed the WebSocket. Says why, if that was said."""


def layer(mqtt: MqttSettings, below: Layer) -> Layer:
    """Put WebSockets upon TCP or TLS. Raises SettingsError: the MQTT library here has none."""
    fault = websocket_fault()
    if fault:
        raise SettingsError(f"mqtt.websocket_path: {fault}")

    def wrap(sock: socket.socket) -> Transport:
        key = base64.b64encode(secrets.token_bytes(16))
        asked = Asked(mqtt.web_host, mqtt.websocket_path, mqtt.tls, key)
        return WebSocket(below.wrap(sock), asked)

    return Layer(wrap, SUSPICION)


class WebSocket:
    """A Transport upon another."""

    def __init__(self, below: Transport, asked: Asked) -> None:
        self._below = below
        self._asked = asked
        self._wire = _Wire(below)
        self._step: Callable[[], int | None] | None = self._begin
        self._frames: Frames | None = None
        self._taken = 0  # of the bytes that send() was given last, and that have not all left

    def handshake(self) -> int | None:
        while self._step is not None:
            wanted = self._step()
            if wanted is not None:
                return wanted
        return None

    def _begin(self) -> int | None:
        wanted = self._below.handshake()
        if wanted is None:
            self._wire.send(self._asked.request())
            self._step = self._ask
        return wanted

    def _ask(self) -> int | None:
        try:
            if not self._wire.flush():
                return WRITE
        except (BrokenPipeError, ConnectionResetError) as error:
            raise UpgradeError(SILENT) from error
        self._step = self._hear
        return None

    def _hear(self) -> int | None:
        """Take in the answer up to its empty line; what comes after it are frames."""
        head = self._wire.come
        while HEAD_END not in head:
            if len(head) > LARGEST_HEAD:
                raise UpgradeError(ENDLESS)
            try:
                ended = not self._wire.fill()
            except BlockingIOError:
                return READ
            except (BrokenPipeError, ConnectionResetError) as error:
                raise UpgradeError(SILENT) from error
            if wrong := early(bytes(head[:FIRST])) or (SILENT if ended else ""):
                raise UpgradeError(wrong)
        end = head.index(HEAD_END)
        self._asked.judge(bytes(head[:end]))
        del head[: end + len(HEAD_END)]
        self._frames = new_frames(self._wire)
        self._step = None
        return None

    def recv(self, count: int) -> bytes:
        assert self._frames is not None
        empty = 0
        while empty < MOST_EMPTY:
            try:
                data = self._frames.recv(count)
            except BlockingIOError:
                data = None
            self._check(self._frames)
            if data is not None:
                return bytes(data)
            if self._wire.dry:
                raise BlockingIOError
            empty += not self._frames.held  # else it is a part of one
        raise ConnectionError("the other end sends WebSocket frames without content, and no end")

    def _check(self, frames: Frames) -> None:
        """Have answers sent; whether it makes sense to go on. Raises OSError."""
        if self._wire.error is not None:
            raise self._wire.error  # paho has taken it for the end
        if not self._wire.flush() and len(self._wire.out) > MOST_UNSENT:
            raise ConnectionError("the other end sends WebSocket PINGs and does not listen")
        if frames.closed is not None:
            raise Closed(_farewell(frames.closed))
        if frames.held > LARGEST_FRAME:
            raise ConnectionError(f"a WebSocket frame has more than {LARGEST_FRAME:,} bytes")

    def send(self, data: bytes) -> int:
        """Frame a piece; it is taken when all of it has left, so a second call must offer it."""
        assert self._frames is not None
        if not self._taken:
            self._taken = self._frames.send(data[:PIECE])
        if not self._wire.flush():
            raise BlockingIOError
        taken, self._taken = self._taken, 0
        return taken

    def close(self) -> None:
        if self._frames is not None and self._frames.closed is None:
            self._frames.close()
            with suppress(OSError):
                self._wire.flush()
        self._below.close()


class _Wire:
    """The bytes between frames and what lies below; paho takes it for a socket.

    come, out: what was received and not read, and what was written and has not left
    dry: nothing is left to read, here or below
    """

    def __init__(self, below: Transport) -> None:
        self._below = below
        self.come, self.out = bytearray(), bytearray()
        self.dry = False
        self.error: OSError | None = None

    def fill(self) -> bool:
        """Receive; whether anything comes any more. Raises BlockingIOError, OSError."""
        data = self._below.recv(CHUNK)
        self.come += data
        return bool(data)

    def recv(self, count: int) -> bytes:
        try:
            if not self.come:
                self.fill()
        except BlockingIOError:
            self.dry = True
            raise
        except OSError as error:
            self.error = error
            raise
        self.dry = False
        data = bytes(self.come[:count])
        del self.come[:count]
        return data

    def send(self, data: bytes) -> int:
        self.out += data
        return len(data)

    def flush(self) -> bool:
        """Send; whether all of it has left. Raises OSError."""
        while self.out:
            try:
                sent = self._below.send(bytes(self.out))
            except BlockingIOError:
                return False
            del self.out[:sent]
        return True


def _farewell(said: bytes) -> str:
    """Tell what a closing frame says: a code, and perhaps a text. RFC 6455, section 7.4."""
    code = int.from_bytes(said[:2], "big")
    text = said[2:].decode("utf-8", "replace")
    words = [CODES.get(code, ""), text if text.isprintable() else ""]
    why = "; it says: ".join(word for word in words if word)
    return f"the WebSocket was closed by the other end: {why} ({code})" if why else ENDED
