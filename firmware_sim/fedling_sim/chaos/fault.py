"""What a proxy does to the connections of one client, as values."""

import random
from collections.abc import Iterator, Sequence
from enum import StrEnum

from fedling_protocol.classes import dataclass


class End(StrEnum):
    """How a connection ends: who is told of it."""

    CUT = "cut"  # both ends are, by a reset
    HALF_OPEN = "half-open"  # neither: nothing passes any more, and nothing says so
    CLIENT_HOLDS = "client-holds"  # the server is; the client waits
    SERVER_HOLDS = "server-holds"  # the client is, and connects anew beside its old connection


@dataclass(frozen=True, slots=True)
class Fault:
    """The state of a link. As it is made without arguments, everything passes at once."""

    delay_s: float = 0.0  # each way, of every byte
    jitter_s: float = 0.0  # at most so much more, drawn for what is read at once; order is kept
    up_rate: int | None = None  # bytes a second from client to server; None: no bound
    down_rate: int | None = None
    up_bytes: int | None = None  # so many pass from client to server, then the connection ends
    down_bytes: int | None = None
    end: End = End.CUT  # how it ends then
    times: int | None = None  # connections that end so; None: each
    refuse: bool = False  # living connections are cut, new ones are refused
    mute: bool = False  # nothing passes, new connections are accepted; later all comes

    def rate(self, *, up: bool) -> int | None:
        return self.up_rate if up else self.down_rate

    def allowed(self, *, up: bool) -> int | None:
        return self.up_bytes if up else self.down_bytes


WHOLE = Fault()
REFUSING = Fault(refuse=True)
MUTE = Fault(mute=True)

Spell = tuple[float, Fault]  # so many seconds of a fault


def flapping(
    seed: int, faults: Sequence[Fault], good_s: float, bad_s: float, usual: Fault = WHOLE
) -> Iterator[Spell]:
    """Draw spells of a link that comes and goes for ever; the same seed gives the same ones.

    good_s, bad_s: the mean of spells without and with a fault; a spell has up to twice as much
    usual: the link between two faults
    """
    dice = random.Random(seed)
    while True:
        yield 2 * good_s * dice.random(), usual
        yield 2 * bad_s * dice.random(), dice.choice(faults)
