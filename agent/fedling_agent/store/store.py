"""Everything a device keeps, in one folder: facts in SQLite, large things in files."""

from pathlib import Path

from fedling_agent.store.database import open_database
from fedling_agent.store.files import Files
from fedling_agent.store.ledger import Ledger
from fedling_agent.store.models import Models
from fedling_agent.store.plans import Plans
from fedling_agent.store.recordings import Bounds, Recordings
from fedling_agent.store.spool import Spool
from fedling_protocol.disk.errors import writing

NAME = "store.db"


class Store:
    """The parts share one database; one process writes, others open it read_only."""

    def __init__(
        self, directory: Path, bounds: Bounds | None = None, *, read_only: bool = False
    ) -> None:
        """Open, or make. Raises CannotWrite, WrongTables; read_only: Missing if there is none."""
        if not read_only:
            with writing(str(directory)):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self.database = open_database(directory / NAME, read_only=read_only)
        self.files = Files(directory, self.database)
        self.recordings = Recordings(self.database, bounds or Bounds())
        self.models = Models(self.database, self.files.models)
        self.plans = Plans(self.database)
        self.spool = Spool(self.database, self.files)
        self.ledger = Ledger(self.database)
        if not read_only:
            self.files.make()
            self.models.clean()

    def close(self) -> None:
        """Close the connections of all threads. Counters that were not flushed are lost."""
        self.database.close()
