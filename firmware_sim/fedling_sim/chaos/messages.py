"""What a proxy that reads MQTT may do to single messages, as values. OASIS MQTT 3.1.1, 2.2, 3.3."""

import random
from collections.abc import Sequence

from fedling_protocol.classes import dataclass
from fedling_sim.chaos.fault import End, Spell

PUBLISH, PUBACK = 3, 4
PUBACK_BYTES = b"\x40\x02"  # and the packet id


@dataclass(frozen=True, slots=True)
class Packet:
    """One MQTT packet, as it is sent."""

    data: bytes
    body: int  # where it begins: behind type and length

    @property
    def topic(self) -> str:
        """That of a message; of other packets: empty."""
        if self.data[0] >> 4 != PUBLISH:
            return ""
        return self.data[self.body + 2 : self._topic_end].decode("utf-8", "replace")

    @property
    def acknowledgement(self) -> bytes:
        """The PUBACK for it; empty if it wants none."""
        if self.data[0] >> 4 != PUBLISH or not self.data[0] & 6:
            return b""
        return PUBACK_BYTES + self.data[self._topic_end : self._topic_end + 2]

    @property
    def _topic_end(self) -> int:
        return self.body + 2 + int.from_bytes(self.data[self.body : self.body + 2], "big")


class Splitter:
    """Cuts a stream of MQTT into its packets."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that are whole now."""
        self._rest += data
        packets = []
        while (found := _first(self._rest)) is not None:
            packets.append(found)
            self._rest = self._rest[len(found.data) :]
        return packets


def _first(data: bytes) -> Packet | None:
    """2.2.3: seven bits of the length a byte, low ones first."""
    length = 0
    for place, byte in enumerate(data[1:5]):
        length |= (byte & 127) << (7 * place)
        if byte < 128:
            body = 2 + place
            whole = data[: body + length]
            return Packet(whole, body) if len(whole) == body + length else None
    return None


@dataclass(frozen=True, slots=True)
class Moment:
    """When a message comes by for the first time, something happens to the link.

    up: it goes from client to server; None: either way
    word: somewhere in its topic
    share: of the message has passed then, from 0 to 1
    spells: are played from then on
    end: so the living connections end then; None: they live
    """

    up: bool | None
    word: str
    share: float = 0.0
    spells: Sequence[Spell] = ()
    end: End | None = None

    def is_met(self, packet: Packet, *, up: bool) -> bool:
        return self.up in (None, up) and self.word in packet.topic


@dataclass(frozen=True, slots=True)
class Habits:
    """How often, from 0 to 1, a message of quality 1 is lost, doubled or late, each way.

    A lost one was acknowledged, as when an MQTT broker dies. Others overtake a late one.
    words: one of them is in its topic; none: all messages are meant
    """

    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    late_s: float = 0.5  # at most
    words: tuple[str, ...] = ()

    def concern(self, packet: Packet) -> bool:
        topic = packet.topic
        of_words = not self.words or any(word in topic for word in self.words)
        return bool(packet.acknowledgement) and of_words

    def copies(self, dice: random.Random) -> int:
        luck = dice.random()
        return 0 if luck < self.lost else 2 if luck < self.lost + self.doubled else 1

    def delay_s(self, dice: random.Random) -> float:
        """Draw how late one comes; 0: at once."""
        return dice.random() * self.late_s if dice.random() < self.late else 0.0
