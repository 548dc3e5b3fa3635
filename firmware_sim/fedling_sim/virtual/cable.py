"""One end's way to the broker: how fast it is, and what somebody does to it."""

from __future__ import annotations

from fedling_sim.virtual.clock import US
from fedling_sim.virtual.connection import PATIENCE, Connection
from fedling_sim.virtual.network import Network

NOTICED = 2  # keepalives: one until the next ping, one more without an answer to it


class Cable:
    """Outlives the connections that go through it.

    up_rate, down_rate: bytes a second to and from the broker; None: as fast as you like
    """

    def __init__(
        self, network: Network, up_rate: float | None = None, down_rate: float | None = None
    ) -> None:
        self.network = network
        self.rates = up_rate, down_rate
        self._connection: Connection | None = None
        self._keepalive_s = 0
        self._cut_until_us = 0
        self._up_until_us = 0
        self._down_until_us = 0

    @property
    def is_cut(self) -> bool:
        return self.network.world.now_us < self._cut_until_us

    def carry(self, connection: Connection, keepalive_s: int) -> None:
        """A new connection: its first packet needs both ways, for TCP's handshake."""
        self._connection = connection
        self._keepalive_s = keepalive_s
        now_us = self.network.world.now_us
        handshake_us = self.network.delay_us() + self.network.delay_us()
        both_us = max(self._up_until_us, self._down_until_us)
        connection.up.hold(max(now_us + handshake_us, both_us))

    def cut(self, seconds: float = 0.0) -> None:
        """The connection breaks, both ends hear of it; another one cannot be made meanwhile."""
        self._cut_until_us = max(self._cut_until_us, self._until(seconds))
        if self._connection is not None:
            self._connection.sever()

    def block(self, seconds: float, *, up: bool = True, down: bool = True) -> None:
        """A black hole: nothing gets through, nobody is told. TCP makes up for a short one.

        An end that is kept waiting too long gives the connection up by itself.
        """
        until_us = self._until(seconds)
        connection, world = self._connection, self.network.world
        if up:
            self._up_until_us = max(self._up_until_us, until_us)
        if down:
            self._down_until_us = max(self._down_until_us, until_us)
        if connection is None:
            return
        connection.up.hold(self._up_until_us)
        connection.down.hold(self._down_until_us)
        if up and seconds > PATIENCE * self._keepalive_s:
            world.after(PATIENCE * self._keepalive_s, _miss, connection)
        if seconds > NOTICED * self._keepalive_s:
            world.after(NOTICED * self._keepalive_s, connection.lost, "the connection was lost")

    def _until(self, seconds: float) -> int:
        return self.network.world.now_us + round(seconds * US)


def _miss(connection: Connection) -> None:
    """The broker has not heard a word for too long."""
    if connection.open:
        connection.put_off("the broker closed the connection")
