"""What lies between links and the broker: delays and faults, drawn from one Random.

Off by default: then a message arrives after the latency, in order, and that is one event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from fedling_protocol.classes import dataclass
from fedling_sim.virtual.clock import US, WorldClock

if TYPE_CHECKING:
    from fedling_sim.virtual.connection import Connection

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Weather:
    """What the network does to what is sent from now on. Chances are those of one message."""

    latency_s: float = 0.0  # one way
    jitter_s: float = 0.0  # up to so much more, mostly little
    broken: float = 0.0  # its connection breaks meanwhile: it arrives or not, so does its PUBACK
    lost: float = 0.0  # on its way from the broker, as if a queue had been full
    doubled: float = 0.0  # the broker delivers it again, later
    overtaking: float = 0.0  # it keeps no order: TCP does, so this is harder than any network

    @property
    def calm(self) -> bool:
        """Whether everything arrives once, in order, after the latency."""
        return not (self.jitter_s or self.broken or self.lost or self.doubled or self.overtaking)


CALM = Weather()


class Network:
    """The weather between all links and the broker. It may change at any time."""

    def __init__(self, world: WorldClock, random: Random, weather: Weather = CALM) -> None:
        self.world = world
        self._draw = random.random
        self.weather = weather

    @property
    def weather(self) -> Weather:
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._weather = weather
        self.calm = weather.calm
        self.latency_us = round(weather.latency_s * US)
        self._jitter_us = weather.jitter_s * US

    def delay_us(self) -> int:
        """How long one message takes."""
        if self.calm:
            return self.latency_us
        return self.latency_us + int(self._jitter_us * self._draw() ** 3)

    def copies(self) -> int:
        """How often the broker delivers one message: 0, 1 or 2 times."""
        if self.calm:
            return 1
        if self._draw() < self._weather.lost:
            return 0
        return 2 if self._draw() < self._weather.doubled else 1

    def breaks(self) -> bool:
        return self._draw() < self._weather.broken

    def overtakes(self) -> bool:
        return self._draw() < self._weather.overtaking


class Lane:
    """One direction of one connection. In order, as TCP is.

    rate: bytes a second; None: a message has no length
    """

    __slots__ = (
        *("_closed", "_connection", "_free_us", "_last_us", "_moving"),
        *("_network", "_us_per_byte", "_world"),
    )

    def __init__(self, connection: Connection, network: Network, rate: float | None) -> None:
        self._connection = connection
        self._network = network
        self._world = network.world
        self._us_per_byte = 0.0 if rate is None else US / rate
        self._last_us = 0  # nothing arrives before: what was sent earlier does first
        self._free_us = 0.0  # when everything sent has left wholly
        self._moving: deque[tuple[int, int, int]] | None  # begins and ends to arrive, bytes
        self._moving = None if rate is None else deque()  # an empty one has 600 bytes
        self._closed = False

    @property
    def free_us(self) -> float:
        """When everything that was sent has left wholly."""
        return self._free_us

    @property
    def expected(self) -> int:
        """Bytes still to come of the packet that is coming in."""
        now_us, moving = self._world.now_us, self._moving
        if moving is None:
            return 0
        while moving and moving[0][1] <= now_us:
            moving.popleft()
        if not moving or moving[0][0] >= now_us:
            return 0
        begins_us, ends_us, size = moving[0]
        return max(1, size * (ends_us - now_us) // (ends_us - begins_us))

    def hold(self, until_us: int) -> None:
        """Nothing that is sent from now on arrives before; TCP sends it again until then."""
        self._last_us = max(self._last_us, until_us)

    def close(self) -> None:
        """The sender gives up: what has not left wholly never arrives; the end itself does."""
        self._closed = True

    def send(self, size: int, call: Callable[[A], None], argument: A) -> None:
        """Have call(argument) happen when the packet arrives."""
        network = self._network
        if self._us_per_byte and size:
            self._send_slowly(size, call, argument)
        elif network.calm:
            due_us = self._world.now_us + network.latency_us
            if due_us < self._last_us:
                due_us = self._last_us
            self._last_us = due_us
            self._world.at(due_us, call, argument)
        else:
            self._send_in_bad_weather(call, argument)

    def send_again(self, call: Callable[[A], None], argument: A) -> None:
        """The same once more, some time later."""
        due_us = self._world.now_us + 3 * self._network.delay_us()
        self._world.at(max(due_us, self._last_us), call, argument)

    def _send_slowly(self, size: int, call: Callable[[Any], None], argument: Any) -> None:
        assert self._moving is not None
        now_us, latency_us = self._world.now_us, self._network.latency_us
        begins_us = max(now_us, self._free_us)
        self._free_us = begins_us + size * self._us_per_byte
        left_us = round(self._free_us)
        self._moving.append((round(begins_us) + latency_us, left_us + latency_us, size))
        self._world.at(left_us, self._on_left, (call, argument))

    def _on_left(self, packet: tuple[Callable[[Any], None], Any]) -> None:
        """Its last byte is out."""
        if self._closed:
            return
        call, argument = packet
        if self._network.calm:
            due_us = max(self._last_us, self._world.now_us + self._network.latency_us)
            self._last_us = due_us
            self._world.at(due_us, call, argument)
        else:
            self._send_in_bad_weather(call, argument)

    def _send_in_bad_weather(self, call: Callable[[Any], None], argument: Any) -> None:
        network, now_us = self._network, self._world.now_us
        due_us = now_us + network.delay_us()
        if not network.overtakes():
            due_us = self._last_us = max(due_us, self._last_us)
        self._world.at(due_us, call, argument)
        if network.breaks():
            self._world.at(now_us + network.delay_us(), self._connection.sever, None)
