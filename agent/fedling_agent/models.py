"""Models that a device holds: weights as files by hash, newest first, and its normalisers."""

from dataclasses import dataclass
from pathlib import Path

from fedling_agent.database import Database
from fedling_native import Normaliser
from fedling_protocol.messages import Model, TaskSpec


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model without its weights."""

    task: str
    version: int
    hash: bytes
    spec: TaskSpec
    exponents: tuple[int, ...]
    path: Path  # of the weights as bytes


class Models:
    """The newest 8 versions of every task; what a job needs is linked into the job."""

    def __init__(self, database: Database, directory: Path) -> None:
        raise NotImplementedError

    def put(self, model: Model) -> StoredModel:
        """Store durably a message that was verified. Again: the same. Raises CannotWrite."""
        raise NotImplementedError

    def newest(self, task: str) -> StoredModel | None:
        """The highest version whose file is whole."""
        raise NotImplementedError

    def find(self, model_hash: bytes) -> StoredModel | None:
        """The model of this hash, if its weights are still here and whole."""
        raise NotImplementedError

    def tasks(self) -> list[str]:
        """Tasks of which a model is here."""
        raise NotImplementedError

    def weights(self, model: StoredModel) -> bytes:
        """Raises Missing if the file is gone or damaged."""
        raise NotImplementedError

    def keep_normaliser(self, task: str, normaliser: Normaliser) -> None:
        """The one that predict uses from now on."""
        raise NotImplementedError

    def normaliser(self, task: str) -> Normaliser | None:
        """The one of the last freeze."""
        raise NotImplementedError
