"""Everything a device keeps, in one folder: facts in SQLite, large things in files."""

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from fedling_agent.store import aside
from fedling_agent.store.chunks import Chunks
from fedling_agent.store.database import open_database
from fedling_agent.store.files import Files
from fedling_agent.store.ledger import Ledger
from fedling_agent.store.lives import Lives
from fedling_agent.store.models import Models
from fedling_agent.store.pauses import Pauses
from fedling_agent.store.personal import PersonalModels
from fedling_agent.store.plans import Plans
from fedling_agent.store.recordings import Bounds, Recordings
from fedling_agent.store.spells import Spells
from fedling_agent.store.spool import Spool
from fedling_agent.store.vouched import Vouched
from fedling_protocol.disk import durable, second_look
from fedling_protocol.disk.database import not_one
from fedling_protocol.disk.errors import BadDatabase, CannotWrite, writing
from fedling_protocol.wire.messages import Plan, Rest

log = logging.getLogger(__name__)

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
            aside.put_in_place(directory / NAME)
        self.directory = directory
        self.database = open_database(directory / NAME, read_only=read_only)
        self.files = Files(directory, self.database)
        self.recordings = Recordings(self.database, bounds or Bounds())
        self.models = Models(self.database, self.files.models)
        self.chunks = Chunks(self.files.chunks)
        self.personal = PersonalModels(self.database, self.files.personal)
        self.plans = Plans(self.database)
        self.spool = Spool(self.database, self.files)
        self.ledger = Ledger(self.database)
        self.lives = Lives(self.database)
        self.vouched = Vouched(self.database)
        self.pauses = Pauses(self.database)
        self.spells = Spells(self.database)
        if not read_only:
            self.files.make()
            self.models.clean()
            self.personal.clean()
            self.chunks.keep_only(self.tasks())

    @classmethod
    def open_or_begin_anew(
        cls,
        directory: Path,
        bounds: Bounds | None,
        now_s: int,
        alive: Callable[[], None] = lambda: None,
    ) -> "Store":
        """Open, or make; a database that is damaged is put aside first. Raises as Store() does.

        alive: called again and again while what can be read of it is copied
        """
        path = directory / NAME
        try:
            aside.put_in_place(path)
            if why := not_one(path):
                raise BadDatabase(f"{path}: {why}")
            return cls(directory, bounds)
        except BadDatabase as error:
            return cls.begin_anew(directory, bounds, now_s, error, alive)

    @classmethod
    def begin_anew(
        cls,
        directory: Path,
        bounds: Bounds | None,
        now_s: int,
        why: BadDatabase,
        alive: Callable[[], None] = lambda: None,
    ) -> "Store":
        """Put the database aside, and begin with what can be read of it.

        Raises CannotWrite, also where it is sound, and the disk did not read it well.
        """
        path = directory / NAME
        second_look.confirm(path, why, alive)
        try:
            with writing(str(path)), closing(open_database(aside.begin_filling(path))) as new:
                saved = aside.salvage(path, new, alive)
            put = aside.end_filling(path, now_s)
            log.error(
                "%s; it is now %s, and a new one was begun: %d recordings could be saved",
                why, put.name, saved,
            )  # fmt: skip
            return cls(directory, bounds)
        except BadDatabase as error:  # of what was just written: as it was, at the next start
            raise CannotWrite(str(path), f"the disk is failing: {error}") from error

    def aside(self) -> list[Path]:
        """List the files of a damaged database that was put aside: they hold examples, too."""
        return aside.found(self.directory / NAME)

    def forget_aside(self) -> None:
        """Erase what was put aside: what is forgotten may be in it. Raises CannotWrite."""
        with writing("what was put aside"):
            durable.remove_files(self.aside())

    def tasks(self) -> list[str]:
        """List the tasks that this device knows of, by name."""
        known = {*self.models.tasks(), *self.plans.unfinished_tasks(), *self.lives.seen()}
        return sorted(known)

    def remember(self, task: str, message: Plan | Rest) -> None:
        """Remember what holds of a task; models of one that had its name go. Raises CannotWrite."""
        if self.lives.remember(task, message):
            self.models.clean()
            self.personal.clean()

    def forget(self, task: str, now_ms: int) -> None:
        """A task was removed: its plans are over, its models go. Raises CannotWrite."""
        with self.database.transaction("a task that was removed"):
            for entry in self.spool.entries(task):
                self.spool.end(
                    task, entry.plan_id, entry.update_hash, None, "the task was removed", now_ms
                )
            for record in self.plans.in_work(task):
                plan_id = record.plan.plan_id
                self.spool.end(task, plan_id, None, None, "the task was removed", now_ms)
            self.lives.forget(task)
        self.files.tidy()
        self.models.clean()
        self.personal.erase(task)
        self.chunks.forget(task)

    def close(self) -> None:
        """Close the connections of all threads. Counters that were not flushed are lost."""
        self.database.close()
