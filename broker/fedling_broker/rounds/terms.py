"""What a plan asks of an update, and whether an update is so."""

from fedling_protocol.classes import dataclass
from fedling_protocol.wire import sums
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.messages import Update


@dataclass(frozen=True, slots=True)
class Terms:
    """The facts of a plan that each of its updates is held against."""

    base_version: int
    base_hash: bytes
    codec: Codec
    weight_cap: int
    vector_size: int  # bytes; of a coded one at most
    classes: int = 0  # that a test tells of; 0: nothing was to be held out for one

    @property
    def asks_for_sums(self) -> bool:
        """Whether the vector is one that must be possible, too."""
        return self.codec is Codec.SUMS

    @property
    def is_coded(self) -> bool:
        """Whether a vector is as long as it happens to be, and must be read to be known."""
        return self.codec is Codec.CODED

    def fits(self, size: int) -> bool:
        """Whether a vector may have so many bytes."""
        return size <= self.vector_size if self.is_coded else size == self.vector_size


def misfit(terms: Terms, update: Update) -> str:
    """Find the first thing of the update that is not as the plan asked; empty: nothing."""
    if (update.base_version, update.base_hash) != (terms.base_version, terms.base_hash):
        return "base"
    if update.codec != terms.codec:
        return "codec"
    if update.weight > terms.weight_cap:
        return "weight"
    if not terms.fits(len(update.vector)):
        return "shape"
    if terms.asks_for_sums and not sums.are_possible(sums.unpack(update.vector)):
        return "sums"
    if update.tested is not None and len(update.tested) != terms.classes:
        return "tested"
    return ""
