"""Everything a device keeps, in one folder: facts in SQLite, large things in files."""

from pathlib import Path

from fedling_agent.database import Database
from fedling_agent.ledger import Ledger
from fedling_agent.models import Models
from fedling_agent.plans import Plans
from fedling_agent.recordings import Bounds, Recordings
from fedling_agent.spool import Spool


class Store:
    """The parts share one database connection; one process writes, others open it read_only."""

    directory: Path
    database: Database
    recordings: Recordings
    models: Models
    plans: Plans
    spool: Spool
    ledger: Ledger

    def __init__(
        self, directory: Path, bounds: Bounds | None = None, *, read_only: bool = False
    ) -> None:
        """Made if missing. Raises CannotWrite; Missing if read_only and there is none."""
        raise NotImplementedError

    def close(self) -> None:
        """Flush counters and close the database."""
        raise NotImplementedError
