"""What left the device and what was refused: the sent log, counters, certificates."""

from dataclasses import dataclass

from fedling_agent.database import Database


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that left."""

    time_ms: int
    kind: str  # "join", "update", "state"
    topic: str
    size: int  # bytes of the envelope
    meaning: str  # for a person: "asks to take part in round 3 of watch"


class Ledger:
    """Small facts, each bounded."""

    def __init__(self, database: Database) -> None:
        raise NotImplementedError

    def record_sent(self, sent: Sent) -> None:
        """Durable, before the message is handed to the socket; the last 10,000 are kept."""
        raise NotImplementedError

    def sent(self, limit: int = 10_000) -> list[Sent]:
        """Newest first."""
        raise NotImplementedError

    def count(self, name: str, n: int = 1) -> None:
        """Add to a counter, in memory until flush() or the next record_sent()."""
        raise NotImplementedError

    def flush(self) -> None:
        """Make the counters durable."""
        raise NotImplementedError

    def counters(self) -> dict[str, int]:
        """With what is not flushed yet."""
        raise NotImplementedError

    def keep_certificate(self, id: str, serial: int, envelope: bytes) -> bool:
        """If its serial is the highest seen. id: a device id or "aggregator"."""
        raise NotImplementedError

    def certificate(self, id: str) -> bytes | None:
        """The envelope as received."""
        raise NotImplementedError
