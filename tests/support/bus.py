"""A real dbus-daemon as this machine's system bus, and services of it that a test plays."""

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jeepney import (
    DBusAddress,
    HeaderFields,
    Message,
    MessageType,
    Parser,
    new_error,
    new_method_call,
    new_method_return,
)
from jeepney.auth import Authenticator

from tests.support.tools import need

CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <servicedir>{services}</servicedir>
  <policy context="default">
    <allow user="*"/><allow own="*"/>
    <allow send_type="method_call"/><allow send_destination="*"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/>
    <allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
</busconfig>
"""
ACTIVATED = """[D-BUS Service]
Name={name}
Exec=/bin/touch {proof}
User=root
"""
BUS = DBusAddress(
    "/org/freedesktop/DBus", bus_name="org.freedesktop.DBus", interface="org.freedesktop.DBus"
)
Variant = tuple[str, object]
Tell = Callable[[str, str, tuple[object, ...]], Variant | None]


class DBus:
    """A bus that lives until it is ended."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bus"
        self.address = f"unix:path={self.path}"
        self._file = folder / "bus.conf"
        self.services = folder / "services"
        self.services.mkdir()
        words = {"socket": self.path, "services": self.services}
        self._file.write_text(CONFIGURATION.format_map(words))
        self._daemon: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.path.unlink(missing_ok=True)
        words = [need("dbus-daemon"), f"--config-file={self._file}", "--nofork", "--nopidfile"]
        self._daemon = subprocess.Popen(
            [*words, "--print-address"], stdout=subprocess.PIPE, text=True
        )
        assert self._daemon.stdout is not None
        assert self._daemon.stdout.readline().startswith(self.address)

    def end(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.communicate()
            self._daemon = None

    def would_start(self, name: str) -> Path:
        """A service that the bus starts when it is called; the file that is then there."""
        proof = self.services.parent / "started"
        text = ACTIVATED.format(name=name, proof=proof)
        (self.services / f"{name}.service").write_text(text)
        return proof


@contextmanager
def played(bus: DBus, name: str, tell: Tell) -> Iterator[list[str]]:
    """Be a service. tell: path, method and arguments to a signature and a value; None: no answer

    Yields the methods that were called.
    """
    service = _Service(bus, name, tell)
    thread = threading.Thread(target=service.serve)
    thread.start()
    try:
        yield service.called
    finally:
        service.end()
        thread.join()


class _Service:
    def __init__(self, bus: DBus, name: str, tell: Tell) -> None:
        self._tell = tell
        self._parser = Parser()
        self.called: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(bus.path))
        entry = Authenticator()
        for data in entry:
            self._socket.sendall(data)
            entry.feed(self._socket.recv(4096))
        self._socket.sendall(b"BEGIN\r\n")
        self._serial = 0
        self._send(new_method_call(BUS, "Hello"))
        self._send(new_method_call(BUS, "RequestName", "su", (name, 0)))
        while (message := self._next()).header.fields.get(HeaderFields.reply_serial) != 2:
            pass
        assert message.header.message_type is MessageType.method_return, message

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                message = self._next()
                if message.header.message_type is MessageType.method_call:
                    self._answer(message)

    def end(self) -> None:
        with suppress(OSError):  # the bus has ended before
            self._socket.shutdown(socket.SHUT_RDWR)

    def _answer(self, message: Message) -> None:
        fields = message.header.fields
        method = str(fields[HeaderFields.member])
        self.called.append(method)
        try:
            told = self._tell(str(fields[HeaderFields.path]), method, tuple(message.body))
        except LookupError:
            self._send(new_error(message, "org.freedesktop.DBus.Error.Failed"))
            return
        if told is not None:
            signature, value = told
            self._send(new_method_return(message, signature, (value,)))

    def _send(self, message: Message) -> None:
        self._serial += 1
        self._socket.sendall(message.serialise(serial=self._serial))

    def _next(self) -> Message:
        while (message := self._parser.get_next_message()) is None:
            data = self._socket.recv(4096)
            if not data:
                self._socket.close()
                raise ConnectionResetError(os.strerror(104))
            self._parser.add_data(data)
        return message
