"""A message that is larger than the MQTT broker takes becomes chunks, each signed by itself."""

from collections.abc import Iterator

from fedling_protocol.classes import dataclass
from fedling_protocol.wire import digest, envelope
from fedling_protocol.wire.chunks import Whole
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import CHUNK_ROOM
from fedling_protocol.wire.topics import Topics


@dataclass(frozen=True, slots=True)
class Packets:
    """A sealed model or change as it is published: on its own topic, or as chunks on theirs."""

    kind: Kind
    size: int  # bytes of the message
    packets: tuple[tuple[str, bytes], ...]  # topic and what is said there
    whole: bytes | None  # message hash; None: there are no chunks

    @property
    def chunks(self) -> int:
        """How many chunks there are; 0: it is one message."""
        return 0 if self.whole is None else len(self.packets)


class Chunking:
    """Cuts what is larger than a chunk."""

    def __init__(self, topics: Topics, key: SigningKey, largest_packet: int) -> None:
        """largest_packet: bytes of MQTT packet that a chunk fits in, whatever its topic"""
        self._topics = topics
        self._key = key
        self.size = largest_packet - CHUNK_ROOM  # bytes of a message in each chunk

    def of(self, message: bytes, kind: Kind, task: str, version: int) -> Packets:
        """The packets of a sealed message, whose kind is Model or Change."""
        topic = self._topics.of(kind, task, version)
        if len(message) <= self.size:
            return Packets(kind, len(message), ((topic, message),), None)
        whole = Whole(digest.message_hash(message), len(message), self.size)

        def chunks() -> Iterator[tuple[str, bytes]]:
            for number in range(whole.count):
                where = self._topics.of(Kind.CHUNK, task, kind.word, version, number)
                chunk = whole.chunk(message, number)
                yield where, envelope.seal(chunk, self._topics.bound(where), self._key)

        return Packets(kind, len(message), tuple(chunks()), whole.hash)
