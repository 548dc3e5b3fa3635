"""Watches MQTT packets as they come in and empties those that are larger than we would ever use.

paho keeps a whole packet in memory before it hands it over, up to 256 MiB, whoever sent it. The
filter lets a PUBLISH whose payload is larger than its topic may carry through with its topic and
its packet id but without its payload: the broker gets its acknowledgement, the shell sees an empty
message, memory stays bounded. A PUBLISH of quality 2, which paho would keep until the broker says
more, was never asked for: it ends the connection. OASIS MQTT 3.1.1, sections 2.2, 3.3 and 4.3.3.
"""

from collections.abc import Callable
from enum import Enum, auto

from fedling_protocol.net.transport import Revoked, Transport

CONNACK, PUBLISH = 2, 3
ASKED_QUALITY = 1  # of service, in all that is subscribed
OTHERS = {
    b"HTTP/": "a web server answers on this port; by WebSockets it may lead to an MQTT broker "
    "(docs/brokers.md)",
    b"INFO {": "NATS speaks its own protocol here; its MQTT has another port, or by WebSockets the "
    'path "/mqtt"',
    b"\x15\x03": "TLS answers on this port",
    b"SSH-": "an SSH server answers on this port",
}
CHUNK = 65_536  # bytes read at once
SMALL = 4096  # bytes of a packet that passes whatever its topic: most do, and cost no look at it
LARGEST_ANSWER = 65_536  # bytes of a packet that is no PUBLISH
LONGEST_LENGTH = 4  # bytes of a remaining length


Largest = Callable[[str], int]
"""How many bytes a message on a topic may have; 0 where none belongs."""


class _Part(Enum):
    HEADER = auto()  # the first byte and the remaining length
    BODY = auto()  # of a packet that passes as it is
    TOPIC = auto()  # of a large PUBLISH: its variable header is collected
    SKIP = auto()  # the payload that is thrown away


class FramingError(ConnectionError):
    """The bytes are not MQTT; the connection is of no use."""


class Framing:
    """One connection's filter: feed() bytes as received, get those to hand on."""

    def __init__(self, largest: Largest) -> None:
        self._largest = largest
        self.emptied = 0  # packets
        self._part = _Part.HEADER
        self._head = bytearray()
        self._left = 0  # bytes of the packet still to come

    @property
    def expected(self) -> int:
        """Bytes still to come of the present packet, as far as they are known."""
        return self._left

    def feed(self, data: bytes) -> bytes:
        """Filter bytes; may return nothing: then more must come first. Raises FramingError."""
        out = bytearray()
        rest = memoryview(data)
        while rest:
            if self._part is _Part.BODY:
                rest = self._pass(rest, out)
            elif self._part is _Part.SKIP:
                rest = self._skip(rest)
            else:
                self._head.append(rest[0])
                rest = rest[1:]
                if self._part is _Part.HEADER:
                    self._on_header(out)
                else:
                    self._on_topic(out)
        return bytes(out)

    def _pass(self, rest: memoryview, out: bytearray) -> memoryview:
        take = min(self._left, len(rest))
        out += rest[:take]
        self._consume(take)
        return rest[take:]

    def _skip(self, rest: memoryview) -> memoryview:
        take = min(self._left, len(rest))
        self._consume(take)
        return rest[take:]

    def _consume(self, count: int) -> None:
        self._left -= count
        if self._left == 0:
            self._part = _Part.HEADER

    def _on_header(self, out: bytearray) -> None:
        length = _remaining_length(self._head[1:])
        if length is None:
            return
        self._left = length
        kind, quality = self._head[0] >> 4, (self._head[0] >> 1) & 3
        if kind == PUBLISH and quality > ASKED_QUALITY:
            raise FramingError(f"a message of quality of service {quality}, which nobody asked for")
        if kind == PUBLISH and length > SMALL:
            self._part = _Part.TOPIC
            del self._head[1:]
            return
        if length > LARGEST_ANSWER:
            raise FramingError(f"a packet of type {kind} has {length} bytes")
        out += self._head
        self._part = _Part.BODY if length else _Part.HEADER
        self._head.clear()

    def _on_topic(self, out: bytearray) -> None:
        """Go on with the topic; _head has the first byte, then what has come of the header."""
        self._left -= 1
        if len(self._head) < 3:
            return
        quality = (self._head[0] >> 1) & 3
        wanted = 2 + int.from_bytes(self._head[1:3], "big") + (2 if quality else 0)
        if wanted > len(self._head) - 1 + self._left:
            raise FramingError("a topic is longer than its packet")
        if len(self._head) - 1 == wanted:
            self._on_topic_known(out)

    def _on_topic_known(self, out: bytearray) -> None:
        """Decide about the payload, of which nothing has come yet."""
        header, size = self._head[1:], self._left
        end = 2 + int.from_bytes(header[:2], "big")
        if size <= self._largest(header[2:end].decode("utf-8", "replace")):
            passed, part = size, _Part.BODY
        else:
            passed, part = 0, _Part.SKIP
            self.emptied += 1
        out += self._head[:1] + _write_length(len(header) + passed) + header
        self._head.clear()
        self._part = part if size else _Part.HEADER


class FilteredSocket:
    """What the MQTT library takes for its socket: reads pass the filter, closing is left to us.

    tired: says between two packets that enough was read for this turn of the loop
    """

    def __init__(self, transport: Transport, fd: int, largest: Largest) -> None:
        self._transport = transport
        self._fd = fd
        self._framing = Framing(largest)
        self._ready = bytearray()
        self._begun = False
        self._tired: Callable[[], bool] = _never
        self.dry = False  # nothing is left to read, here or below
        self.cut = False  # reading ended because it was tired
        self.closed = False  # by the library
        self.hung_up = False  # by the other end
        self.revoked = False  # the other end said so of us
        self.error = ""

    @property
    def emptied(self) -> int:
        """How many packets lost their payload so far."""
        return self._framing.emptied

    @property
    def expected(self) -> int:
        """Bytes still to come of the packet that is coming in."""
        return self._framing.expected

    def begin(self, tired: Callable[[], bool]) -> None:
        """Begin a turn of reading, which the loop gives."""
        self._tired = tired
        self.dry = self.cut = False

    def recv(self, count: int) -> bytes:
        if self._tired():
            self.dry = self.cut = True
            raise BlockingIOError
        while not self._ready and not self.closed:
            try:
                data = self._transport.recv(CHUNK)
                self._look(data)
                self._ready += self._framing.feed(data)
            except BlockingIOError:
                self.dry = True
                raise
            except OSError as error:
                self._fail(error)
                raise
            if not data:
                self.hung_up = True
                self.error = "the broker closed the connection"
                return b""
        out = bytes(self._ready[:count])
        del self._ready[:count]
        return out

    def send(self, data: bytes) -> int:
        try:
            return self._transport.send(data)
        except BlockingIOError:
            raise
        except OSError as error:
            self._fail(error)
            raise

    def _look(self, data: bytes) -> None:
        """Look at the first bytes: an MQTT broker begins with CONNACK. Raises FramingError."""
        if data and not self._begun and data[0] >> 4 != CONNACK:
            known = (who for word, who in OTHERS.items() if data.startswith(word))
            raise FramingError(f"no MQTT broker, {next(known, 'something answers on this port')}")
        self._begun = True

    def _fail(self, error: OSError) -> None:
        self.error = error.strerror or str(error)
        self.hung_up = isinstance(error, ConnectionResetError | BrokenPipeError)
        self.revoked = isinstance(error, Revoked)

    def close(self) -> None:
        self.closed = True

    def fileno(self) -> int:
        return self._fd

    def setblocking(self, _flag: bool) -> None:
        """Do nothing: it never blocks."""


def publish_size(topic: str, size: int) -> int:
    """Count a PUBLISH of QoS 1 with a payload of `size`: header, topic, packet id, payload."""
    words = len(topic) if topic.isascii() else len(topic.encode())
    return packet_size(2 + words + 2 + size)


def packet_size(length: int) -> int:
    """Count a packet with this remaining length, which takes 7 bits of each of its bytes."""
    return 1 + max(1, -(-length.bit_length() // 7)) + length


def _never() -> bool:
    return False


def _remaining_length(data: bytearray) -> int | None:
    """Read MQTT 2.2.3's number: 7 bits a byte, low bits first; None while it is incomplete."""
    value = 0
    for position, byte in enumerate(data):
        value |= (byte & 127) << (7 * position)
        if byte < 128:
            return value
    if len(data) >= LONGEST_LENGTH:
        raise FramingError("a remaining length has more than 4 bytes")
    return None


def _write_length(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 127
        out.append(low | 128 if value else low)
        if not value:
            return bytes(out)
