"""Computes a past update again from what the device still has, and tells how it was trained."""

from dataclasses import dataclass
from pathlib import Path

from fedling_agent.store import Store


@dataclass(frozen=True, slots=True)
class Replay:
    """A second computation of an update."""

    plan_id: bytes
    expected: bytes  # SHA-256 of the vector that was spooled
    computed: bytes

    @property
    def same(self) -> bool:
        """Bit for bit."""
        return self.expected == self.computed


def replay(store: Store, fleet: str, secret: bytes, plan_id: bytes) -> Replay:
    """Raises Missing: plan unknown, samples evicted, base model gone, never finished."""
    raise NotImplementedError


def batch_order(
    store: Store, fleet: str, secret: bytes, plan_id: bytes
) -> list[list[list[tuple[str, int]]]]:
    """[epoch][batch][example] as window ids. Raises Missing if the plan is unknown."""
    raise NotImplementedError


def export(store: Store, fleet: str, secret: bytes, plan_id: bytes) -> dict[str, object]:
    """For JSON: round, examples with labels, normaliser, order by positions, hashes, weight."""
    raise NotImplementedError
