"""The folders of large files: made at the start, emptied of what no row of the database names."""

import os
from pathlib import Path

from fedling_protocol.disk import durable
from fedling_protocol.disk.database import Database
from fedling_protocol.disk.errors import writing

# What training/job.py writes; the first one makes the folder a job.
JOB = ("job", "examples", "base", "lock", "checkpoint", "result")


class Files:
    """Folders: models/ weights, frozen/ training sets, spool/ updates, by hash; jobs/ by plan."""

    def __init__(self, directory: Path, database: Database) -> None:
        self._database = database
        self.models = directory / "models"
        self.frozen = directory / "frozen"
        self.jobs = directory / "jobs"
        self.spool = directory / "spool"

    def make(self) -> None:
        """Make the folders; at the start of the one process that writes."""
        with writing("the folders of the store"):
            for folder in (self.models, self.frozen, self.jobs, self.spool):
                folder.mkdir(mode=0o700, exist_ok=True)
                durable.remove_leftovers(folder)
            durable.sync_directory(self.models.parent)
        self.tidy()

    def job(self, plan_id: bytes) -> Path:
        """Where the job of a plan is, or will be."""
        return self.jobs / plan_id.hex()

    def tidy(self) -> None:
        """Remove what is not in work. The last training set of a task stays: often the next one
        is the same, and is not written again."""
        rows = self._database.rows
        with writing("the folders of the store"):
            self._keep(
                self.frozen,
                rows(
                    "SELECT frozen_hash FROM plans WHERE state = 'frozen' OR number IN "
                    "(SELECT max(number) FROM plans GROUP BY task)"
                ),
            )
            self._keep(self.jobs, rows("SELECT plan_id FROM plans WHERE state = 'frozen'"))
            self._keep(self.spool, rows("SELECT update_hash FROM spool"))

    def _keep(self, folder: Path, named: list[tuple[bytes]]) -> None:
        names = {row[0].hex() for row in named}
        removed = False
        for path in folder.iterdir():
            if path.name not in names:
                remove_job(path) if path.is_dir() else path.unlink(missing_ok=True)
                removed = True
        if removed:
            durable.sync_directory(folder)


def remove_job(directory: Path) -> None:
    """A child that is just being killed may leave one more file: the next tidy() finds it."""
    # `job` goes first: without it the rest is no job.
    for name in (*JOB, *os.listdir(directory)):
        (directory / name).unlink(missing_ok=True)
    directory.rmdir()
