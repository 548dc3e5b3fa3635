"""TLS below MQTT, by Python's ssl: a transport. What it believes and shows: tls_files.py.

TLS works on two buffers in memory. So the socket stays ours, with its byte count, and no call of
TLS waits: what a handshake takes of the loop is its arithmetic, a step at a time.
"""

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net import tls_files
from fedling_protocol.net.tls_faults import CONFIGURED, REVOKED, STRANGERS, Shown, Words, sentence
from fedling_protocol.net.transport import Layer, Revoked
from fedling_protocol.runtime.loop import READ, WRITE

BEGINNINGS = (21, 22)  # types of a record: an alert, a handshake (RFC 8446, section 5.1)
RECORD = 16_384  # bytes of the largest piece that TLS encrypts at once
MOST_RECORDS = 8  # encrypted at once: a board without AES instructions takes 10 ms for them
CHUNK = 32_768  # encrypted bytes read at once, at least one record
MOST_UNSENT = 65_536  # bytes that TLS itself has to say, and nobody reads


class TlsError(ConnectionError):
    """The connection is not secure, or not any more: it is of no use. Says why and what to do."""


def layer(mqtt: MqttSettings) -> Layer:
    """Read the certificates that [mqtt] names. Raises IdentityError, SettingsError.

    Those that were replaced since are used from the next connection on.
    """
    return _layer(mqtt, tls_files.Contexts(mqtt).current)


def layer_of_now(mqtt: MqttSettings) -> Layer:
    """As layer(), by the files as they are now: they may be removed. Raises the same."""
    context = tls_files.context(mqtt)
    return _layer(mqtt, lambda: context)


def layer_of_strangers(mqtt: MqttSettings) -> Layer:
    """Encrypt, and believe whoever answers: for who checks by other means what is said there."""
    return _layer(mqtt, tls_files.believing_anybody, STRANGERS)


def _layer(
    mqtt: MqttSettings, context: Callable[[], ssl.SSLContext], words: Words = CONFIGURED
) -> Layer:
    host = mqtt.proven_name.partition("%")[0].rstrip(".")  # without the zone of fe80::1%eth0
    shown = Shown(mqtt.proven_name, mqtt.ca_file, mqtt.certificate_file, words)
    return Layer(lambda sock: Tls(context(), host, shown, sock), words.silence)


class Tls:
    """A Transport. context: what is believed and shown; host: the name that must be proven."""

    def __init__(
        self, context: ssl.SSLContext, host: str, shown: Shown, sock: socket.socket
    ) -> None:
        self._socket = sock
        self._shown = shown
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._begun = self._heard = False
        self._unsent = memoryview(b"")  # taken from _outgoing
        self._taken = 0  # of the bytes that send() was given last, and that have not all left

    def handshake(self) -> int | None:
        try:
            return self._step()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise TlsError(self._shown.words.unfinished) from error

    def _step(self) -> int | None:
        """Take in what has come, once, and answer: so a step is never longer than it must be."""
        if self._begun:
            with suppress(BlockingIOError):
                self._fill()
        self._begun = True
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return READ if self._flush() else WRITE
        except ssl.SSLError as error:
            self._fail(error)
        return None if self._flush() else WRITE

    def recv(self, count: int) -> bytes:
        data = self._read(count)
        if data is None:
            self._fill()
            data = self._read(count)
        if not self._flush() and self._outgoing.pending > MOST_UNSENT:
            raise TlsError("the MQTT broker talks about TLS without end and does not listen")
        if data is None:
            raise BlockingIOError
        return data

    def send(self, data: bytes) -> int:
        """Encrypt a piece; it is taken when all of it has left, so a second call must offer it."""
        if not self._taken:
            self._taken = self._encrypt(memoryview(data)[: MOST_RECORDS * RECORD])
        if not self._flush():
            raise BlockingIOError
        taken, self._taken = self._taken, 0
        return taken

    def close(self) -> None:
        with suppress(OSError):  # the other end's goodbye is not waited for
            self._tls.unwrap()
        with suppress(OSError):
            self._flush()

    def _encrypt(self, data: memoryview) -> int:
        try:
            return sum(
                self._tls.write(data[at : at + RECORD]) for at in range(0, len(data), RECORD)
            )
        except ssl.SSLError as error:
            self._fail(error)

    def _read(self, count: int) -> bytes | None:
        """Decrypt; None: more must come first."""
        try:
            return self._tls.read(min(count, RECORD))
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):  # a packet that is cut shows by itself
            return b""
        except ssl.SSLError as error:
            self._fail(error)

    def _fill(self) -> None:
        """Take in what has come. Raises BlockingIOError, OSError."""
        data = self._socket.recv(CHUNK)
        if data and not self._heard and data[0] not in BEGINNINGS:
            raise TlsError(self._shown.words.no_tls)  # OpenSSL would wait for more of a short word
        self._heard = True
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self) -> bool:
        """Send what TLS has written; whether all of it has left. Raises OSError."""
        while self._unsent or self._outgoing.pending:
            if not self._unsent:
                self._unsent = memoryview(self._outgoing.read())
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            except BlockingIOError:
                return False
            except OSError:
                self._hear_why()
                raise
        return True

    def _hear_why(self) -> None:
        """A client that TLS 1.3 refuses may have begun to talk: then the reason waits to be read.

        Raises TlsError if there is one.
        """
        with suppress(OSError):
            self._fill()
        self._read(RECORD)

    def _fail(self, error: ssl.SSLError) -> NoReturn:
        with suppress(OSError):  # the other end is told, too
            self._flush()
        kind = Revoked if error.reason == REVOKED else TlsError
        raise kind(sentence(self._shown, error)) from error
