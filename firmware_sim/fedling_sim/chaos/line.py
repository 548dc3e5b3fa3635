"""What the proxy knows of one client: its port, the state of its link, its connections."""

import asyncio
import random
import socket
from collections import deque
from dataclasses import field

from fedling_protocol.classes import dataclass
from fedling_sim.chaos.fault import WHOLE, Fault
from fedling_sim.chaos.messages import Habits, Moment, Splitter

PIECES = 16  # of a slow or delayed way that are read ahead


@dataclass(slots=True)
class Traffic:
    """TCP payload bytes of one client, over all its connections."""

    up: int = 0  # client to server
    down: int = 0  # server to client
    connections: int = 0


@dataclass(eq=False, slots=True)
class Line:
    """One client."""

    name: str
    listener: socket.socket
    dice: random.Random
    fault: Fault = WHOLE
    ended: int = 0  # connections that ended after their bytes, under this fault
    habits: Habits | None = None  # of a proxy that reads MQTT
    moments: deque[Moment] = field(default_factory=deque)  # the first one is waited for
    traffic: Traffic = field(default_factory=Traffic)
    connections: list["Connection"] = field(default_factory=list)
    passes: asyncio.Event = field(default_factory=asyncio.Event)
    accepting: asyncio.Task[None] | None = None
    playing: asyncio.TimerHandle | None = None


@dataclass(eq=False, slots=True)
class Connection:
    """A connection of a client, and its other half to the server."""

    near: socket.socket
    far: socket.socket
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Piece:
    """Something on its way.

    whole: it is a packet of ours, which goes between those of the stream
    """

    due: float  # in the time of the loop
    data: bytes
    whole: bool = False


@dataclass(eq=False, slots=True)
class Way:
    """One direction of a connection, and what is on its way."""

    source: socket.socket
    sink: socket.socket
    up: bool
    passed: int = 0
    packets: Splitter = field(default_factory=Splitter)
    pieces: asyncio.Queue[Piece] = field(default_factory=asyncio.Queue)
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PIECES))


def left(line: Line, way: Way) -> int | None:
    """How many bytes may still pass this way before the connection ends; None: all."""
    fault = line.fault
    allowed = fault.allowed(up=way.up)
    if allowed is None or (fault.times is not None and line.ended >= fault.times):
        return None
    return max(0, allowed - way.passed)
