"""What stands on the wire between a device and its MQTT broker: who listens, who is another one."""

import selectors
import socket
import ssl
import threading
from contextlib import suppress

from tests.support.certificates import Pair
from tests.support.packets import length, text

PIECE = 65_536
WAIT_S = 20.0


class _Stands:
    """A listening socket on a free port, and a thread for each who comes."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def serve(self, peer: socket.socket) -> None:
        """Talk to one who came; in a thread of its own."""
        raise NotImplementedError

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                self._open.append(peer)
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with suppress(OSError):
            self.serve(peer)

    def __exit__(self, *_: object) -> None:
        for each in (self._listening, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class Tee(_Stands):
    """Passes everything on, and keeps a copy."""

    def __init__(self, port: int) -> None:
        self.passed = bytearray()
        self._to = port
        super().__init__()

    def serve(self, peer: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._to)) as there:
            other = {peer: there, there: peer}
            with selectors.DefaultSelector() as selector:
                for each in other:
                    selector.register(each, selectors.EVENT_READ)
                while True:
                    for key, _ in selector.select():
                        source = key.fileobj
                        assert isinstance(source, socket.socket)
                        data = source.recv(PIECE)
                        if not data:
                            return
                        self.passed += data
                        other[source].sendall(data)

    def __enter__(self) -> "Tee":
        return self


class SaysTwice(_Stands):
    """An MQTT broker that sends messages of quality 2 and never comes back to them.

    A client that takes one in keeps it, answers PUBREC, and waits.
    """

    def __init__(self, topic: str, payload: bytes, messages: int) -> None:
        self.taken = 0  # messages that are kept at the other end
        self.over = False
        self._packets = [self._packet(topic, number, payload) for number in range(1, messages + 1)]
        super().__init__()

    def serve(self, peer: socket.socket) -> None:
        peer.settimeout(WAIT_S)
        peer.recv(PIECE)
        peer.sendall(b"\x20\x02\x00\x00")
        try:
            for packet in self._packets:
                peer.sendall(packet)
            while self.taken < len(self._packets) and (data := peer.recv(PIECE)):
                self.taken += data.count(b"\x50\x02")
        finally:
            self.over = True

    @staticmethod
    def _packet(topic: str, number: int, payload: bytes) -> bytes:
        body = text(topic) + number.to_bytes(2, "big") + payload
        return b"\x34" + length(len(body)) + body

    def __enter__(self) -> "SaysTwice":
        return self


class FalseBroker(_Stands):
    """Answers in the MQTT broker's place, with a certificate of its own."""

    def __init__(self, pair: Pair) -> None:
        self.heard = bytearray()  # after the handshake
        self.served = 0  # connections that have ended, or said something
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(pair.certificate, pair.key)
        super().__init__()

    def serve(self, peer: socket.socket) -> None:
        peer.settimeout(WAIT_S)
        try:
            with self._tls.wrap_socket(peer, server_side=True) as secure:
                self.heard += secure.recv(PIECE)
        finally:
            self.served += 1

    def __enter__(self) -> "FalseBroker":
        return self
