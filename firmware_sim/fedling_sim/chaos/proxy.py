"""A TCP proxy with a port for each client, which passes, slows, mutes and cuts as it is told.

It sees bytes only, so that TLS goes through it as well. It counts what passes its end of a client's
connection, whatever becomes of it: what a client had sent when it was cut off, too, read or not.
"""

import asyncio
import contextlib
import errno
import os
import random
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from fedling_protocol.net.way import addresses
from fedling_sim.chaos.fault import REFUSING, WHOLE, End, Fault, Spell
from fedling_sim.chaos.line import Connection, Line, Piece, Traffic, Way, left
from fedling_sim.chaos.messages import Habits, Moment, Packet

P = ParamSpec("P")
T = TypeVar("T")

_GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FEWEST = 1000  # ports to choose from
_CHUNK = 65_536  # bytes read at once
_PIECES_A_SECOND = 10  # of a way with a rate

Tell = Callable[[str, str], None]
"""Told the name of a client and, in words, what became of one of its connections."""


class Proxy:
    """Served by a thread of its own; its methods return when what they ask for is done.

    port, host: of the server. Raises OSError when the name is unknown
    tell: called in that thread
    mqtt: it reads plain MQTT, so that something can happen to single messages, or when one comes
    """

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        tell: Tell = lambda _name, _what: None,
        *,
        mqtt: bool = False,
    ) -> None:
        self._server = addresses(host, port)[0]
        self._tell = tell
        self._mqtt = mqtt
        self._lines: dict[str, Line] = {}
        self._husks: dict[socket.socket, asyncio.Task[None]] = {}  # ends that were told nothing
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()

    # --- what it is told to do -------------------------------------------------------------------

    def add(self, name: str, host: str = "127.0.0.1", port: int = 0) -> int:
        """Open a port for a client; returns its number. 0: a free one."""
        # With a port that was asked for, the kernel leaves it to us while we do not listen.
        listener = socket.create_server((host, port)) if port else _somewhere(host)
        listener.setblocking(False)
        self._call(self._open, name, listener)
        return int(listener.getsockname()[1])

    def show(self, name: str, fault: Fault) -> None:
        """Have the client's link be so from now on; whatever was played ends."""
        self._call(self._stop_playing, self._lines[name])
        self._call(self._show, self._lines[name], fault)

    def cut(self, name: str) -> None:
        """Drop the client's connections with a reset and refuse new ones before a byte is sent."""
        self.show(name, REFUSING)

    def mend(self, name: str) -> None:
        """Let everything pass again."""
        self.show(name, WHOLE)

    def end(self, name: str, how: End = End.CUT) -> None:
        """End the connections that live now. New ones are as the fault says."""
        self._call(self._end_all, self._lines[name], how)

    def play(self, name: str, spells: Iterable[Spell]) -> None:
        """Show one fault after the other; the last one stays. Returns when the first is shown."""
        self._call(self._play, self._lines[name], spells)

    def have_habits(self, name: str, habits: Habits | None) -> None:
        """Lose, double and delay the client's messages from now on."""
        assert self._mqtt
        self._call(setattr, self._lines[name], "habits", habits)

    def wait_for(self, name: str, *moments: Moment) -> None:
        """Have something happen at each moment, once, one after the other."""
        assert self._mqtt
        self._call(setattr, self._lines[name], "moments", deque(moments))

    def awaits(self, name: str) -> int:
        """How many of the client's moments are still to come."""
        return self._call(lambda: len(self._lines[name].moments))

    def traffic(self, name: str) -> Traffic:
        """What the client has sent and received up to now."""
        t = self._lines[name].traffic
        return self._call(lambda: Traffic(t.up, t.down, t.connections))

    def living(self, name: str) -> int:
        """Count the client's connections that pass bytes."""
        return self._call(lambda: len(self._lines[name].connections))

    def close(self) -> None:
        """Close every socket and end the thread. A second time is harmless."""
        if self._loop.is_closed():
            return
        self._call(self._close_all)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call in the thread of the loop, which alone touches what is in a line."""

        async def call() -> T:
            return function(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    # --- lines -----------------------------------------------------------------------------------

    def _open(self, name: str, listener: socket.socket) -> None:
        line = self._lines[name] = Line(name, listener, random.Random(name))
        line.passes.set()
        line.accepting = self._loop.create_task(self._accept(line))

    def _show(self, line: Line, fault: Fault) -> None:
        before, line.fault, line.ended = line.fault, fault, 0
        if fault.mute:
            line.passes.clear()
        else:
            line.passes.set()
        if fault.refuse and not before.refuse:
            self._shut(line)
        elif before.refuse and not fault.refuse:
            line.listener.listen()
            line.accepting = self._loop.create_task(self._accept(line))

    def _shut(self, line: Line) -> None:
        """Who connected and was not come to yet may have sent something."""
        assert line.accepting is not None
        line.accepting.cancel()
        self._loop.remove_reader(line.listener)
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                near, _ = line.listener.accept()
                near.setblocking(False)
                line.traffic.up += _rest(near)
                _close(near, reset=True)
        line.listener.shutdown(socket.SHUT_RDWR)  # stops listening, stays bound
        self._end_all(line, End.CUT)

    def _end_all(self, line: Line, how: End | None) -> None:
        for connection in list(line.connections):
            self._finish(line, connection, how)

    def _play(self, line: Line, spells: Iterable[Spell]) -> None:
        self._stop_playing(line)
        rest = iter(spells)

        def turn() -> None:
            seconds, fault = next(rest, (0.0, None))
            if fault is None:
                line.playing = None
                return
            self._show(line, fault)
            line.playing = self._loop.call_later(seconds, turn)

        turn()

    def _stop_playing(self, line: Line) -> None:
        if line.playing is not None:
            line.playing.cancel()
            line.playing = None

    async def _accept(self, line: Line) -> None:
        while True:
            await self._ready(line.listener)
            try:
                near, _ = line.listener.accept()
            except (BlockingIOError, ConnectionAbortedError):  # it changed its mind
                continue
            far = socket.socket(self._server.family)
            connection = Connection(near, far)
            for end in (near, far):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line.connections.append(connection)
            connection.tasks = [self._loop.create_task(self._connect(line, connection))]

    # --- connections -----------------------------------------------------------------------------

    async def _connect(self, line: Line, connection: Connection) -> None:
        try:
            await self._loop.sock_connect(connection.far, self._server.address)
        except OSError as error:
            self._tell(line.name, f"the server does not answer: {os.strerror(error.errno or 0)}")
            self._finish(line, connection, End.CUT)
            return
        line.traffic.connections += 1
        self._tell(line.name, "connected")
        up = Way(connection.near, connection.far, up=True)
        down = Way(connection.far, connection.near, up=False)
        for way, back in ((up, down), (down, up)):
            for work in (
                self._read(line, connection, way),
                self._write(line, connection, way, back),
            ):
                connection.tasks.append(self._loop.create_task(work))

    async def _read(self, line: Line, connection: Connection, way: Way) -> None:
        """Take in what one end sends; nothing is the end of it."""
        data = b"at least one turn"
        while data:
            await self._ready(way.source)
            rate = line.fault.rate(up=way.up)
            size = _CHUNK if rate is None else max(1, rate // _PIECES_A_SECOND)
            try:
                data = way.source.recv(size)
            except BlockingIOError:
                continue
            except OSError:
                self._finish(line, connection, End.CUT)
                return
            if way.up:
                line.traffic.up += len(data)
            delay_s = line.fault.delay_s + line.fault.jitter_s * line.dice.random()
            await way.room.acquire()
            way.pieces.put_nowait(Piece(self._loop.time() + delay_s, data))

    async def _write(self, line: Line, connection: Connection, way: Way, back: Way) -> None:
        try:
            how = await self._pass_pieces(line, way, back)
        except OSError:
            how = End.CUT
        self._finish(line, connection, how)

    async def _pass_pieces(self, line: Line, way: Way, back: Way) -> End | None:
        """Pass on what was read when its time has come. Returns how it ends; None: in order."""
        while True:
            piece = await way.pieces.get()
            if piece.due > self._loop.time():
                await asyncio.sleep(piece.due - self._loop.time())
            if not piece.data:
                await line.passes.wait()
                return None
            if piece.whole:
                passed = await self._pass_on(line, way, piece.data)
            else:
                way.room.release()
                passed = await self._pass_piece(line, way, back, piece.data)
            if not passed:
                line.ended += 1
                return line.fault.end

    async def _pass_piece(self, line: Line, way: Way, back: Way, data: bytes) -> bool:
        """Pass bytes on, or what becomes of the packets in them. False: the connection ends."""
        if not self._mqtt:
            return await self._pass_on(line, way, data)
        for packet in way.packets.feed(data):
            for part in self._become(line, way, back, packet):
                if not await self._pass_on(line, way, part):
                    return False
        return True

    def _become(self, line: Line, way: Way, back: Way, packet: Packet) -> Iterator[bytes]:
        """What a packet becomes, part by part; what happens meanwhile happens between them."""
        data = packet.data
        if line.moments and line.moments[0].is_met(packet, up=way.up):
            moment = line.moments.popleft()
            before = round(moment.share * len(data))
            yield data[:before]
            self._play(line, moment.spells)
            if moment.end is not None:
                self._end_all(line, moment.end)
                raise ConnectionAbortedError
            data = data[before:]
        habits = line.habits
        if habits is None or not habits.concern(packet):
            yield data
            return
        copies, delay_s = habits.copies(line.dice), habits.delay_s(line.dice)
        if not copies:
            back.pieces.put_nowait(Piece(0, packet.acknowledgement, whole=True))
        for _ in range(copies):
            if delay_s:
                late = Piece(0, data, whole=True)
                self._loop.call_later(delay_s, way.pieces.put_nowait, late)
            else:
                yield data

    async def _pass_on(self, line: Line, way: Way, data: bytes) -> bool:
        """Whether the connection lives on: so many bytes may pass, no more."""
        await line.passes.wait()
        most = left(line, way)
        data = data[:most]
        await self._send(line, way, data)
        if rate := line.fault.rate(up=way.up):
            await asyncio.sleep(len(data) / rate)
        return most != len(data)

    async def _send(self, line: Line, way: Way, data: bytes) -> None:
        while data:
            try:
                size = way.sink.send(data)
            except BlockingIOError:
                await self._ready(way.sink, writing=True)
                continue
            data = data[size:]
            way.passed += size
            if not way.up:
                line.traffic.down += size

    def _finish(self, line: Line, connection: Connection, how: End | None) -> None:
        """Give a connection up. None: it was closed in order."""
        if connection not in line.connections:
            return
        line.connections.remove(connection)
        for task in connection.tasks:
            task.cancel()
        for end, held in (
            (connection.near, how in (End.HALF_OPEN, End.CLIENT_HOLDS)),
            (connection.far, how in (End.HALF_OPEN, End.SERVER_HOLDS)),
        ):
            self._forget(end)
            near = end is connection.near
            if held:
                self._husks[end] = self._loop.create_task(self._swallow(line, end, counted=near))
                continue
            if near:
                line.traffic.up += _rest(end)
            _close(end, reset=how is not None)
        self._tell(line.name, "closed" if how is None else how)

    async def _swallow(self, line: Line, end: socket.socket, *, counted: bool) -> None:
        """Acknowledge what an end sends that was told nothing, until it gives up by itself."""
        data = b"at least one turn"
        with contextlib.suppress(OSError):
            while data:
                await self._ready(end)
                data = end.recv(_CHUNK)
                if counted:
                    line.traffic.up += len(data)
        del self._husks[end]
        end.close()

    async def _ready(self, end: socket.socket, *, writing: bool = False) -> None:
        """Wait until something can be done there; who is cancelled before has done nothing."""
        loop = self._loop
        add, remove = loop.add_reader, loop.remove_reader
        if writing:
            add, remove = loop.add_writer, loop.remove_writer
        ready = loop.create_future()

        def on_ready() -> None:
            remove(end)
            if not ready.done():
                ready.set_result(None)

        add(end, on_ready)
        await ready

    def _forget(self, end: socket.socket) -> None:
        """Before it is closed: a descriptor of the same number may be another's at once."""
        self._loop.remove_reader(end)
        self._loop.remove_writer(end)

    def _close_all(self) -> None:
        for line in self._lines.values():
            self._stop_playing(line)
            self._end_all(line, None)
            if not line.fault.refuse:
                self._shut(line)
            line.listener.close()
        for end, task in self._husks.items():
            task.cancel()
            self._forget(end)
            end.close()


def own_ports(low: int, high: int) -> list[int]:
    """List ports but for those from `low` to `high`, which the kernel gives to whoever asks.

    Who knocks again and again at the port of a server that has ended, and had such a one, would be
    counted as a client of ours. Where the kernel gives nearly all, all have to do.
    """
    every = range(1024, 65_536)
    ours = [port for port in every if not low <= port <= high]
    return ours if len(ours) >= _FEWEST else list(every)


def given_ports() -> tuple[int, int]:
    """The first and last port that the kernel gives."""
    low, high = map(int, _GIVEN.read_text().split())
    return low, high


def _somewhere(host: str) -> socket.socket:
    """Listen on a port that nobody has."""
    ports = own_ports(*given_ports())
    for port in random.sample(ports, len(ports)):
        try:
            return socket.create_server((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, f"no port of {host} is free")


def _rest(near: socket.socket) -> int:
    """Count what a client has sent and nobody has read; it goes nowhere."""
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
