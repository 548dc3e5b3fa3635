"""A message in chunks, as the aggregator says it."""

from fedling_protocol.wire import envelope
from fedling_protocol.wire.digest import message_hash
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Change, Chunk, Chunked, Model
from tests.support.service import ONLINE, TOPICS

EACH = 256


class Cut:
    """A model or change of a task."""

    def __init__(self, message: Model | Change, task: str = "watch", each: int = EACH) -> None:
        self.kind = Kind.MODEL if isinstance(message, Model) else Kind.CHANGE
        self.version = message.version
        self._task = task
        bound = TOPICS.bound(TOPICS.of(self.kind, task, message.version))
        self.data = envelope.seal(message, bound, ONLINE)
        self.hash, self.each = message_hash(self.data), each

    @property
    def count(self) -> int:
        return -(-len(self.data) // self.each)

    @property
    def chunked(self) -> Chunked:
        """What the plan or rest says of it, if it is a model."""
        return Chunked(self.each, self.hash)

    def topic(self, number: int) -> str:
        return TOPICS.of(Kind.CHUNK, self._task, self.kind.word, self.version, number)

    def chunk(self, number: int) -> Chunk:
        data = self.data[number * self.each : (number + 1) * self.each]
        return Chunk(self.hash, len(self.data), data)
