"""A job: the folder with everything one training needs, and what it leaves."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Result:
    """What training changed, ready to be put into an Update."""

    vector: bytes  # NUMERICS.md section 7
    saturated: int
    examples: int


class Job:
    """A folder made by Freezer, whole and unchanged since."""

    def __init__(self, directory: Path) -> None:
        raise NotImplementedError

    @property
    def directory(self) -> Path:
        """What TrainingProcess is started on."""
        raise NotImplementedError

    @property
    def plan_id(self) -> bytes:
        """Of the plan it answers."""
        raise NotImplementedError

    @property
    def total_steps(self) -> int:
        """Batches of all epochs."""
        raise NotImplementedError

    def done_steps(self) -> int:
        """Batches in the last checkpoint."""
        raise NotImplementedError

    def result(self) -> Result | None:
        """If the training has finished."""
        raise NotImplementedError
