"""The folders of large files: made at the start, emptied of what no row of the database names."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from fedling_protocol.disk import durable
from fedling_protocol.disk.database import Database
from fedling_protocol.disk.errors import writing

PAIR_FILE = "tls.pem"  # a certificate for TLS, then its key: tls_pair.py
JOB = "job"  # makes a folder a job: training/job.py


class Files:
    """Folders: models/ weights, frozen/ training sets, spool/ updates, by hash; jobs/ by plan;
    personal/ what personal.py keeps; chunks/ what chunks.py keeps."""

    def __init__(self, directory: Path, database: Database) -> None:
        self._database = database
        self.models = directory / "models"
        self.frozen = directory / "frozen"
        self.jobs = directory / "jobs"
        self.spool = directory / "spool"
        self.personal = directory / "personal"
        self.chunks = directory / "chunks"

    @property
    def _folders(self) -> tuple[Path, ...]:
        return (
            self.models, self.frozen, self.jobs, self.spool, self.personal, self.chunks,
        )  # fmt: skip

    def make(self) -> None:
        """Make the folders; at the start of the one process that writes."""
        with writing("the folders of the store"):
            for folder in self._folders:
                durable.make_folder(folder)
                durable.remove_leftovers(folder)
            durable.sync_directory(self.models.parent)
        self.tidy()

    def job(self, plan_id: bytes) -> Path:
        """Where the job of a plan is, or will be."""
        return self.jobs / plan_id.hex()

    def update(self, update_hash: bytes) -> str:
        """Where an update that waits is, or will be."""
        return os.path.join(self.spool, update_hash.hex())

    def tidy_frozen(self, begun: bytes | None = None) -> None:
        """Remove the training sets that no plan is at work on. The last one of a task stays: often
        the next one is the same, and is not written again; but see clear_frozen().

        begun: that of a plan which has just begun; where there is no other, nothing is to be done
        """
        if begun is not None and os.listdir(self.frozen) == [begun.hex()]:
            return
        named = self._database.rows(
            "SELECT frozen_hash FROM plans WHERE state = 'frozen' OR number IN "
            "(SELECT max(number) FROM plans GROUP BY task)"
        )
        self._keep(self.frozen, named)

    def clear_frozen(self) -> None:
        """Remove all training sets, and what was held out beside them, for something in them may
        have been forgotten. Jobs have theirs."""
        self._keep(self.frozen, [])

    def end_job(self, plan_id: bytes) -> None:
        """Remove the job of a plan, if there is one: it is not in work any more."""
        self._remove(self.jobs, plan_id.hex())

    def end_update(self, update_hash: bytes) -> None:
        """Remove an update that does not wait any more."""
        self._remove(self.spool, update_hash.hex())

    def tidy(self) -> None:
        """Remove what is not in work: after a start, and when a task is forgotten."""
        rows = self._database.rows
        self.tidy_frozen()
        self._keep(self.jobs, rows("SELECT plan_id FROM plans WHERE state = 'frozen'"))
        self._keep(self.spool, rows("SELECT update_hash FROM spool"))

    def _keep(self, folder: Path, named: list[tuple[bytes]]) -> None:
        names = {row[0].hex() for row in named}
        for name in os.listdir(folder):
            if name.partition(".")[0] not in names:  # and what belongs to it
                self._remove(folder, name)

    def _remove(self, folder: Path, name: str) -> None:
        path = os.path.join(folder, name)
        with writing("the folders of the store"):
            if folder is self.jobs and os.path.isdir(path):
                remove_job(path)
            else:
                with suppress(FileNotFoundError, IsADirectoryError):  # somebody else's folder
                    os.unlink(path)
            durable.sync_directory(folder)


def remove_job(directory: Path | str) -> None:
    """Remove a folder. A child that is just being killed may leave one more file in it: what is
    left then is no job, and goes at the next start."""
    with suppress(FileNotFoundError, IsADirectoryError):
        os.unlink(os.path.join(directory, JOB))  # the first to go
    for entry in list(os.scandir(directory)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            with suppress(FileNotFoundError):
                os.unlink(entry.path)
    try:
        os.rmdir(directory)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
