"""How a large message is cut into chunks, and how it is told which of them are here."""

from collections.abc import Iterable

from fedling_protocol.classes import dataclass
from fedling_protocol.wire.messages import Chunk


@dataclass(frozen=True, slots=True)
class Whole:
    """A message that comes in chunks."""

    hash: bytes  # message hash
    size: int  # bytes of the message
    each: int  # bytes in each chunk but the last

    @property
    def count(self) -> int:
        """How many chunks it has."""
        return -(-self.size // self.each)

    def length(self, number: int) -> int:
        """How many bytes a chunk has; not above 0: there is no such chunk."""
        return min(self.each, self.size - number * self.each)

    def chunk(self, message: bytes, number: int) -> Chunk:
        """Cut a chunk of the message."""
        first = number * self.each
        return Chunk(self.hash, self.size, message[first : first + self.each])

    def fits(self, chunk: Chunk, number: int) -> bool:
        """Whether this may be its chunk of this number."""
        is_its = (chunk.whole, chunk.size) == (self.hash, self.size)
        return is_its and len(chunk.data) == self.length(number)


def bits(numbers: Iterable[int]) -> bytes:
    """Say which chunks are here, as a ticket does; none: no bytes."""
    value = 0
    for number in numbers:
        value |= 1 << number
    return value.to_bytes(-(-value.bit_length() // 8), "little")


def count(here: bytes) -> int:
    """Count the chunks that are here."""
    return int.from_bytes(here, "little").bit_count()


def has(here: bytes, number: int) -> bool:
    """Whether a chunk is one of those that are here."""
    return bool(int.from_bytes(here, "little") >> number & 1)
