"""MQTT 3.1.1 by hand: a client that says what it likes, one packet after another.

Whatever it sends is done at the MQTT broker when ping() returns: packets of a connection are taken
in their order.
"""

import socket
import ssl

from tests.support.packets import length, text

WAIT_S = 20.0
CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 2, 3, 4, 9, 13
ACCEPTED, DENIED = 0, 0x80


class PutOff(ConnectionError):
    """The other end has ended the connection, or lets nobody in."""


class Intruder:
    """One connection. Raises PutOff as soon as it is not let in, or not any more."""

    def __init__(
        self,
        port: int,
        client_id: str,
        *,
        tls: ssl.SSLContext | None = None,
        user: str = "",
        password: str = "",
        host: str = "localhost",
    ) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._packet_id = 0
        try:
            plain = socket.create_connection(("127.0.0.1", port), WAIT_S)
            self.socket = plain if tls is None else tls.wrap_socket(plain, server_hostname=host)
            flags = 2 | (0xC0 if user else 0)
            words = [client_id, user, password] if user else [client_id]
            body = text("MQTT") + bytes([4, flags, 0, 60]) + b"".join(map(text, words))
            self.send(0x10, body)
            kind, answer = self._read()
        except OSError as error:  # of TLS, too
            raise PutOff(str(error)) from error
        if kind != CONNACK or answer[1] != ACCEPTED:
            raise PutOff(f"CONNACK {answer.hex()}")

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, quality: int = 1
    ) -> None:
        """Send a PUBLISH, and wait for nothing."""
        self._packet_id = self._packet_id % 65_535 + 1
        identifier = self._packet_id.to_bytes(2, "big") if quality else b""
        self.send(0x30 | quality << 1 | retain, text(topic) + identifier + payload)

    def subscribe(self, *filters: str) -> list[int]:
        """Ask for topics; what SUBACK says of each."""
        self._packet_id = self._packet_id % 65_535 + 1
        asked = b"".join(text(each) + b"\x01" for each in filters)
        self.send(0x82, self._packet_id.to_bytes(2, "big") + asked)
        return list(self._until(SUBACK)[2:])

    def ping(self) -> list[tuple[str, bytes]]:
        """Wait until all that was sent is done; what was heard up to now."""
        self.send(0xC0, b"")
        self._until(PINGRESP)
        return self.heard

    @property
    def lives(self) -> bool:
        """Whether the MQTT broker still answers."""
        try:
            self.ping()
        except PutOff:
            return False
        return True

    def send(self, head: int, body: bytes) -> None:
        """Send a packet. head: its first byte"""
        try:
            self.socket.sendall(bytes([head]) + length(len(body)) + body)
        except OSError as error:
            raise PutOff(str(error)) from error

    def close(self) -> None:
        """Vanish without a word."""
        self.socket.close()

    def _until(self, wanted: int) -> bytes:
        while True:
            kind, body = self._read()
            if kind == wanted:
                return body

    def _read(self) -> tuple[int, bytes]:
        """Take in one packet; of a PUBLISH its payload is kept."""
        head = self._take(1)[0]
        size = shift = 0
        while True:
            byte = self._take(1)[0]
            size, shift = size | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        body = self._take(size)
        if head >> 4 == PUBLISH:
            self._on_publish(head >> 1 & 3, body)
        return head >> 4, body

    def _on_publish(self, quality: int, body: bytes) -> None:
        end = 2 + int.from_bytes(body[:2], "big")
        if quality:
            self.send(0x40, body[end : end + 2])
        self.heard.append((body[2:end].decode(), body[end + (2 if quality else 0) :]))

    def _take(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            try:
                more = self.socket.recv(count - len(found))
            except OSError as error:
                raise PutOff(str(error)) from error
            if not more:
                raise PutOff("the other end has closed the connection")
            found += more
        return found

    def __enter__(self) -> "Intruder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
