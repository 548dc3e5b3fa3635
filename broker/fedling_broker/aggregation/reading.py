"""Reads an update by the model that it changes: its vector, and how large it is."""

from collections.abc import Sequence
from typing import NamedTuple

from fedling_broker.aggregation import limits, vectors
from fedling_broker.aggregation.limits import Sizes
from fedling_broker.aggregation.vectors import Key, Vector
from fedling_native import Layer
from fedling_protocol.classes import dataclass
from fedling_protocol.wire import digest
from fedling_protocol.wire.messages import Update


class Read(NamedTuple):
    """An update that was read."""

    vector: Vector
    sizes: Sizes  # whatever counts of it


@dataclass(frozen=True, slots=True)
class Base:
    """The model that a round's updates change, and how its plan has them say so."""

    layers: Sequence[Layer]
    exponents: Sequence[int]
    target: int | None = None  # bytes of a coded vector; None: vectors are not coded

    @property
    def fraction(self) -> int:
        """How many fractional bits the vectors have."""
        return vectors.fraction_of(self.target)

    def vector(self, device: str, update: Update) -> Vector:
        """What it says. Raises ValueError as decode() does."""
        key = None
        if self.target is not None:
            seed = digest.codec_seed(update.plan_id, device)
            key = Key(self.exponents, self.target, seed)
        return vectors.decode(update.codec, update.vector, self.layers, key)

    def read(self, device: str, update: Update) -> Read:
        """What it says, and how large that is. Raises ValueError as decode() does."""
        vector = self.vector(device, update)
        return Read(vector, limits.measure(self.layers, self.exponents, vector, update.weight))
