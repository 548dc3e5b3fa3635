"""The plans that a device took part in: what replay needs to know about the last hundred."""

from dataclasses import dataclass
from enum import StrEnum

from fedling_agent.database import Database
from fedling_agent.windows import Example
from fedling_native import Normaliser
from fedling_protocol.messages import Plan


class PlanState(StrEnum):
    """How far a plan has come on this device."""

    FROZEN = "frozen"  # accepted: being trained, or paused
    SPOOLED = "spooled"  # the update waits for its receipt
    FINISHED = "finished"  # receipted; never trained again
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """One line of the device's memory of a plan."""

    plan: Plan
    state: PlanState
    frozen_hash: bytes  # of the frozen set
    examples: int
    normaliser: Normaliser
    vector_hash: bytes | None  # SHA-256 of the update's vector
    update_hash: bytes | None  # message hash of the update as sent


class Plans:
    """Written by Freezer and Spool, read by everyone."""

    def __init__(self, database: Database) -> None:
        raise NotImplementedError

    def find(self, plan_id: bytes) -> PlanRecord | None:
        """Also by Plans.parse_id of what a person typed."""
        raise NotImplementedError

    def recent(self) -> list[PlanRecord]:
        """The last hundred, newest first."""
        raise NotImplementedError

    def in_work(self, task: str | None = None) -> list[PlanRecord]:
        """Frozen and spooled ones: what a session is restored from."""
        raise NotImplementedError

    def is_finished(self, plan_id: bytes) -> bool:
        """Whether any receipt ended it; remembered longer than the records."""
        raise NotImplementedError

    def finish(self, plan_id: bytes) -> None:
        """A receipt without an update (closed, unknown plan) ended it."""
        raise NotImplementedError

    def examples(self, record: PlanRecord) -> tuple[Example, ...]:
        """The frozen windows, in their order."""
        raise NotImplementedError
