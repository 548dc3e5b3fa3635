"""The server's side of WebSockets, strict, and a proxy that unwraps them for a real MQTT broker.

Written from RFC 6455 and not from what the client does: whatever that must not do is an error here.
"""

import base64
import hashlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
END = b"\r\n\r\n"
CHUNK = 65_536


class Violation(Exception):
    """The client broke a rule for which a server must hang up."""


def frame(data: bytes, opcode: int = BINARY, *, final: bool = True) -> bytes:
    """Write a frame as a server does, not masked."""
    size = len(data)
    if size < 126:
        length = bytes([size])
    else:
        length = struct.pack("!BH", 126, size) if size < 65_536 else struct.pack("!BQ", 127, size)
    return bytes([final << 7 | opcode]) + length + data


def fragments(data: bytes, *sizes: int) -> list[bytes]:
    """Write a message as frames with so much of it each, and one more with the rest."""
    pieces, rest = [], data
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    pieces.append(rest)
    last = len(pieces) - 1
    return [frame(piece, 0 if n else BINARY, final=n == last) for n, piece in enumerate(pieces)]


class Peer:
    """One connection: what the client said, once it was understood."""

    def __init__(self) -> None:
        self._come = bytearray()
        self.path = ""
        self.asked: dict[str, str] = {}  # the request's headers
        self.heard = bytearray()
        self.frames: list[tuple[int, bytes]] = []  # opcode and content of all but data
        self.sizes: list[int] = []  # of frames of data

    def take(self, data: bytes) -> None:
        """Take in what has come. Raises Violation."""
        self._come += data
        if not self.asked:
            self._take_request()
        while self.asked and (found := self._next_frame()):
            self._on_frame(*found)

    def answer(self, *more: str, proof: str = "") -> bytes:
        """Agree, as MQTT 3.1.1 wants it."""
        key = self.asked["sec-websocket-key"].encode() + GUID
        proof = proof or base64.b64encode(hashlib.sha1(key).digest()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "upgrade: WebSocket", "connection: upgrade"]
        lines += [f"sec-websocket-accept: {proof}", "sec-websocket-protocol: mqtt", *more]
        return "\r\n".join([*lines, "", ""]).encode()

    def _take_request(self) -> None:
        if END not in self._come:
            return
        head, _, rest = bytes(self._come).partition(END)
        self._come = bytearray(rest)
        first, *lines = head.decode("ascii").split("\r\n")
        method, self.path, version = first.split(" ")
        self.asked = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        found = {name: self.asked.get(name, "").lower() for name in ("upgrade", "connection")}
        if (method, version) != ("GET", "HTTP/1.1") or "host" not in self.asked:
            raise Violation(f"no request: {first}")
        if found != {"upgrade": "websocket", "connection": "upgrade"}:
            raise Violation(f"no wish for an upgrade: {self.asked}")
        if len(base64.b64decode(self.asked["sec-websocket-key"], validate=True)) != 16:
            raise Violation("a key has 16 bytes")
        if self.asked["sec-websocket-version"] != "13":
            raise Violation("another version")

    def _next_frame(self) -> tuple[int, bytes] | None:
        """Take a whole frame off: its kind and its content, unmasked."""
        come = self._come
        if len(come) < 2:
            return None
        opcode, short = come[0] & 15, come[1] & 127
        if come[0] & 0x70 or not come[0] & 0x80 or not come[1] & 0x80:
            raise Violation(f"a reserved bit, a fragment or no mask: {bytes(come[:2]).hex()}")
        wide = {126: 2, 127: 8}.get(short, 0)
        if len(come) < 6 + wide:
            return None
        size = int.from_bytes(come[2 : 2 + wide], "big") if wide else short
        if wide and size < {2: 126, 8: 65_536}[wide]:
            raise Violation("a length in more bytes than it needs")
        if opcode >= CLOSE and size > 125:
            raise Violation("a control frame is too long")
        begin = 6 + wide
        if len(come) < begin + size:
            return None
        key, data = come[begin - 4 : begin], come[begin : begin + size]
        del come[: begin + size]
        return opcode, bytes(byte ^ key[n % 4] for n, byte in enumerate(data))

    def _on_frame(self, opcode: int, data: bytes) -> None:
        if opcode == BINARY:
            self.heard += data
            self.sizes.append(len(data))
        elif opcode in (CLOSE, PING, PONG):
            self.frames.append((opcode, data))
        else:
            raise Violation(f"a frame of kind {opcode}")


class Unwrapper:
    """A proxy as a web server has it: WebSockets here, plain TCP to the MQTT broker behind.

    It sends a PING with everything, and everything in fragments: both are a server's right.
    """

    def __init__(self, to: int, path: str = "/mqtt") -> None:
        self._to = to
        self._path = path
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.violations: list[Violation] = []
        self.peers: list[Peer] = []
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        for end in [self._server, *self._open]:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in [self._server, *self._open]:
            end.close()
        assert self.violations == []

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self._open.append(client)
                self._begin(self._talk, client)

    def _begin(self, call: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=call, args=args)
        self._threads.append(thread)
        thread.start()

    def _talk(self, client: socket.socket) -> None:
        peer = Peer()
        self.peers.append(peer)
        with suppress(OSError):
            while not peer.asked:
                peer.take(client.recv(CHUNK))
            if peer.path != self._path:
                client.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                client.shutdown(socket.SHUT_RDWR)
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
                client.shutdown(socket.SHUT_RDWR)
                return
            self._open.append(broker)
            client.sendall(peer.answer())
            self._begin(self._down, client, broker)
            self._up(peer, client, broker)

    def _up(self, peer: Peer, client: socket.socket, broker: socket.socket) -> None:
        try:
            while data := client.recv(CHUNK):
                peer.take(data)
                broker.sendall(peer.heard)
                peer.heard.clear()
        except OSError:
            pass
        except Violation as violation:
            self.violations.append(violation)
        finally:
            _shut(broker)

    def _down(self, client: socket.socket, broker: socket.socket) -> None:
        dice = random.Random(1)
        try:
            while data := broker.recv(CHUNK):
                sizes = [dice.randrange(len(data) + 1) for _ in range(2)]
                client.sendall(frame(b"there?", PING).join(fragments(data, *sizes)))
            client.sendall(frame(struct.pack("!H", 1001), CLOSE))
        except OSError:
            pass
        finally:
            _shut(client)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
