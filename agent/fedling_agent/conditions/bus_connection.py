"""A connection to the system's D-Bus, by the package jeepney: each call ends by its deadline.

jeepney reads and writes the bytes. Its own connections wait without a limit for a bus that has let
them in and then says nothing.
"""

import socket
import time
from itertools import count

from jeepney import (
    DBusAddress,
    HeaderFields,
    Message,
    MessageFlag,
    MessageType,
    Parser,
    find_system_bus,
    new_method_call,
)
from jeepney.auth import Authenticator

from fedling_protocol.classes import dataclass

BUS = "org.freedesktop.DBus"
CHUNK = 4096
LARGEST = 65_536  # bytes that may come while one answer is awaited; they have a hundred or two


@dataclass(frozen=True, slots=True)
class Answer:
    """What a method has given back."""

    signature: str  # of the values, as D-Bus writes it
    values: tuple[object, ...]
    error: str = ""  # the name of the error that came instead


class Connection:
    """Made, and let in. Raises OSError (TimeoutError: not by the deadline), or as jeepney does.

    deadline: of time.monotonic()
    """

    def __init__(self, deadline: float) -> None:
        self._serials = count(1)
        self._parser = Parser()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._begin(deadline)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def call(
        self,
        service: str,
        path: str,
        interface: str,
        method: str,
        arguments: tuple[str, ...],
        deadline: float,
    ) -> Answer:
        """Call a method, and wait for its answer. Raises as above."""
        address = DBusAddress(path, bus_name=service, interface=interface)
        signature = "s" * len(arguments) or None
        message = new_method_call(address, method, signature, arguments)
        message.header.flags |= MessageFlag.no_auto_start
        serial = next(self._serials)
        self._send(message.serialise(serial=serial), deadline)
        reply = self._reply(serial, deadline)
        fields = reply.header.fields
        error = reply.header.message_type is MessageType.error
        return Answer(
            str(fields.get(HeaderFields.signature, "")),
            tuple(reply.body),
            str(fields.get(HeaderFields.error_name, "an error")) if error else "",
        )

    def _reply(self, serial: int, deadline: float) -> Message:
        """Read until it comes; signals may come before it."""
        came = 0
        while True:
            message = self._parser.get_next_message()
            if message is None:
                data = self._receive(deadline)
                came += len(data)
                if came > LARGEST:
                    raise OSError(f"more than {LARGEST} bytes, and no answer")
                self._parser.add_data(data)
            elif message.header.fields.get(HeaderFields.reply_serial) == serial:
                return message

    def _begin(self, deadline: float) -> None:
        self._wait(deadline)
        self._socket.connect(find_system_bus())
        entry = Authenticator()
        for data in entry:
            self._send(data, deadline)
            entry.feed(self._receive(deadline))
        self._send(b"BEGIN\r\n", deadline)
        self.call(BUS, "/org/freedesktop/DBus", BUS, "Hello", (), deadline)

    def _send(self, data: bytes, deadline: float) -> None:
        self._wait(deadline)
        self._socket.sendall(data)

    def _receive(self, deadline: float) -> bytes:
        self._wait(deadline)
        data = self._socket.recv(CHUNK)
        if not data:
            raise ConnectionResetError("the bus has closed the connection")
        return data

    def _wait(self, deadline: float) -> None:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)
