"""A TCP proxy between devices and the MQTT broker that counts bytes and can cut a device off.

It counts what passes its end of a device's connection, whatever becomes of it: what a device had
sent when it was cut off, too, read or not.
"""

import contextlib
import selectors
import socket
import threading
from dataclasses import dataclass, field

from fedling_sim.mosquitto import free_port

_CHUNK = 65_536  # bytes read at once, and the most that waits for a slow reader


@dataclass
class Traffic:
    """TCP payload bytes of one device, over all its connections."""

    up: int = 0  # device to broker
    down: int = 0  # broker to device
    connections: int = 0


@dataclass(eq=False)
class _Pipe:
    """One direction of one connection."""

    source: socket.socket
    sink: socket.socket
    device: str
    up: bool
    waiting: bytes = b""  # read from source, not yet taken by sink
    link: "_Link" = field(init=False, repr=False)


@dataclass(eq=False)
class _Link:
    """One connection of a device and its other half to the broker."""

    near: socket.socket
    far: socket.socket
    device: str


class Proxy:
    """One listening port for each device, all served by one thread.

    `cut(device)` closes what is open and refuses what comes until `mend(device)`.
    """

    def __init__(self, broker_port: int) -> None:
        self._broker = ("127.0.0.1", broker_port)
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()  # guards all that follows
        self._listeners: dict[str, socket.socket] = {}
        self._links: dict[str, list[_Link]] = {}
        self._traffic: dict[str, Traffic] = {}
        self._cut: set[str] = set()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="proxy", daemon=True)
        self._thread.start()

    def add(self, device: str) -> int:
        """Open a port for `device`; returns its number."""
        # With a port that was asked for, the kernel leaves it to us while we do not listen.
        listener = socket.create_server(("127.0.0.1", free_port()))
        listener.setblocking(False)
        with self._lock:
            self._listeners[device] = listener
            self._links[device] = []
            self._traffic[device] = Traffic()
            self._selector.register(listener, selectors.EVENT_READ, device)
        self._wake.send(b"x")
        return int(listener.getsockname()[1])

    def cut(self, device: str) -> None:
        """Drop the device's connections with a reset and refuse new ones before a byte is sent."""
        with self._lock:
            if device not in self._cut:
                self._cut_off(device)
        self._wake.send(b"x")

    def _cut_off(self, device: str) -> None:
        self._cut.add(device)
        self._refuse_waiting(device)
        self._selector.unregister(self._listeners[device])
        self._listeners[device].shutdown(socket.SHUT_RDWR)  # stops listening, stays bound
        for link in list(self._links[device]):
            self._drop(link, reset=True)

    def _refuse_waiting(self, device: str) -> None:
        """Who connected and was not come to yet may have sent something."""
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                near, _ = self._listeners[device].accept()
                self._refuse(near, device)

    def _refuse(self, near: socket.socket, device: str) -> None:
        self._traffic[device].up += _rest(near)
        _close(near, reset=True)

    def mend(self, device: str) -> None:
        """Let the device connect again."""
        with self._lock:
            if device not in self._cut:
                return
            self._cut.discard(device)
            self._listeners[device].listen()
            self._selector.register(self._listeners[device], selectors.EVENT_READ, device)
        self._wake.send(b"x")

    def traffic(self, device: str) -> Traffic:
        """What the device has sent and received up to now."""
        with self._lock:
            t = self._traffic[device]
            return Traffic(t.up, t.down, t.connections)

    def close(self) -> None:
        """Close every socket and end the thread."""
        self._closing = True
        self._wake.send(b"x")
        self._thread.join()

    def _serve(self) -> None:
        while not self._closing:
            ready = self._selector.select()
            with self._lock:
                for key, mask in ready:
                    self._handle(key, mask)
        with self._lock:
            self._close_all()

    def _handle(self, key: selectors.SelectorKey, mask: int) -> None:
        if key.fileobj is self._woken:
            self._woken.recv(1024)
        elif isinstance(key.data, str):
            if key.data not in self._cut:  # it was ready before it was cut off
                self._accept(key.data)
        else:
            reading, writing = key.data
            if reading.link in self._links[reading.device]:  # not closed earlier in this turn
                self._move(reading, writing, mask)

    def _accept(self, device: str) -> None:
        try:
            near, _ = self._listeners[device].accept()
        except (BlockingIOError, ConnectionAbortedError):  # it changed its mind
            return
        try:
            far = socket.create_connection(self._broker, timeout=5)
        except OSError:
            self._refuse(near, device)
            return
        link = _Link(near, far, device)
        self._links[device].append(link)
        self._traffic[device].connections += 1
        up = _Pipe(near, far, device, up=True)
        down = _Pipe(far, near, device, up=False)
        for pipe, reverse in ((up, down), (down, up)):
            pipe.link = link
            pipe.source.setblocking(False)
            pipe.source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(pipe.source, selectors.EVENT_READ, (pipe, reverse))

    def _move(self, reading: _Pipe, writing: _Pipe, mask: int) -> None:
        """One socket is ready: it is the source of `reading` and the sink of `writing`."""
        try:
            if mask & selectors.EVENT_WRITE:
                self._flush(writing)
            if mask & selectors.EVENT_READ and not reading.waiting:
                reading.waiting = reading.source.recv(_CHUNK)
                if not reading.waiting:
                    self._drop(reading.link, reset=False)
                    return
                if reading.up:
                    self._traffic[reading.device].up += len(reading.waiting)
                self._flush(reading)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(reading.link, reset=True)
            return
        self._listen(reading, writing)
        self._listen(writing, reading)

    def _flush(self, pipe: _Pipe) -> None:
        if pipe.waiting:
            size = pipe.sink.send(pipe.waiting)
            pipe.waiting = pipe.waiting[size:]
            if not pipe.up:
                self._traffic[pipe.device].down += size

    def _listen(self, reading: _Pipe, writing: _Pipe) -> None:
        """Read only when what was read before is gone; write when something waits."""
        mask = 0 if reading.waiting else selectors.EVENT_READ
        mask |= selectors.EVENT_WRITE if writing.waiting else 0
        with contextlib.suppress(KeyError):
            self._selector.unregister(reading.source)
        if mask:
            self._selector.register(reading.source, mask, (reading, writing))

    def _drop(self, link: _Link, *, reset: bool) -> None:
        if link not in self._links[link.device]:
            return
        self._links[link.device].remove(link)
        self._traffic[link.device].up += _rest(link.near)
        for end in (link.near, link.far):
            with contextlib.suppress(KeyError):
                self._selector.unregister(end)
            _close(end, reset=reset)

    def _close_all(self) -> None:
        for links in self._links.values():
            for link in list(links):
                self._drop(link, reset=False)
        for listener in self._listeners.values():
            listener.close()
        self._selector.close()
        self._wake.close()
        self._woken.close()


def _rest(near: socket.socket) -> int:
    """Count what a device has sent and nobody has read; it goes nowhere."""
    near.setblocking(False)
    size = 0
    with contextlib.suppress(OSError):
        while data := near.recv(_CHUNK):
            size += len(data)
    return size


def _close(end: socket.socket, *, reset: bool) -> None:
    if reset:  # linger 0: the peer sees a reset, as when a network goes away
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    end.close()
