"""Updates that were signed and have no receipt yet, and the receipts that ended others."""

from dataclasses import dataclass
from pathlib import Path

from fedling_agent.database import Database
from fedling_agent.plans import Plans
from fedling_protocol.messages import Receipt


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """A frozen message: it is sent as these bytes or not at all."""

    plan_id: bytes
    task: str
    update_hash: bytes  # message hash
    size: int


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """The aggregator's last word about a plan."""

    task: str
    round: int
    receipt: Receipt
    time_ms: int


class Spool:
    """Files by message hash, facts in the database."""

    def __init__(self, database: Database, plans: Plans, directory: Path, jobs: Path) -> None:
        raise NotImplementedError

    def put(self, plan_id: bytes, envelope: bytes, vector: bytes) -> SpoolEntry:
        """Durable before the first byte is sent; the job's files go. Raises CannotWrite."""
        raise NotImplementedError

    def entries(self, task: str | None = None) -> list[SpoolEntry]:
        """Oldest first."""
        raise NotImplementedError

    def envelope(self, entry: SpoolEntry) -> bytes:
        """Raises Missing if the file is damaged: then abort the plan and train again."""
        raise NotImplementedError

    def end(self, task: str, receipt: Receipt, now_ms: int) -> None:
        """Record the verdict, finish the plan, forget the update. A repetition changes nothing."""
        raise NotImplementedError

    def receipts(self, task: str | None = None) -> list[ReceiptRecord]:
        """Newest first, at most 1,000 a task."""
        raise NotImplementedError

    def erase(self, task: str) -> None:
        """Forget what was not sent."""
        raise NotImplementedError
