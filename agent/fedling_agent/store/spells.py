"""Spells: what held of training from when on, and why. A new one begins when that changes."""

import json
from collections.abc import Sequence
from enum import StrEnum

from fedling_agent.store.lived import live, lived
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.database import Database, one
from fedling_protocol.disk.errors import stored

KEPT = 1000  # the newest


class Course(StrEnum):
    """What a device does about training."""

    TRAINS = "trains"
    FORBIDDEN = "forbidden"  # a round is open or begun, conditions or the owner do not allow it
    WAITS = "waits"  # they do; it is not its turn, or something is missing
    NOTHING = "nothing to do"  # no round is open
    OFF = "off"  # the service was ended


Why = tuple[dict[str, object], ...]
"""Each a code and its numbers, as report.of_reason() tells them."""


@dataclass(frozen=True, slots=True)
class Spell:
    """A time in which the same holds; to the next one, or until the run ends."""

    run: int  # of the service: they follow one another
    lived_ms: int  # when it began, of the time that this device has run
    wall_ms: int  # the same by its clock; Unix time
    course: Course
    why: Why


@dataclass(frozen=True, slots=True)
class Read:
    """Spells, the oldest first."""

    lived_ms: int  # when they were read
    spells: Sequence[Spell]


class Spells:
    """A bounded number of spells."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last_run(self) -> int:
        """The run of the last spell; 0: there is none."""
        row = self._database.row("SELECT run FROM spells ORDER BY number DESC LIMIT 1")
        return 0 if row is None else int(row[0])

    def add(
        self, run: int, course: Course, why: Why, since_ms: int, up_ms: int, wall_ms: int
    ) -> None:
        """Add a spell that began at since_ms since boot, and forget the oldest. up_ms: now"""
        with self._database.transaction("what is done about training") as connection:
            lived_ms = live(connection, up_ms) - (up_ms - since_ms)
            sql = "SELECT number, lived_ms FROM spells ORDER BY number DESC LIMIT 1"
            before, before_ms = one(connection, sql) or (0, 0)
            number = before + 1
            connection.execute(
                "INSERT INTO spells (number, run, lived_ms, wall_ms, course, why)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (number, run, max(lived_ms, before_ms), wall_ms, course.value, json.dumps(why)),
            )
            connection.execute("DELETE FROM spells WHERE number <= ?", (number - KEPT,))

    def within(self, span_ms: int, up_ms: int) -> Read:
        """Read the spells that reach into the last span_ms that were lived. up_ms: since boot"""
        lived_ms = lived(self._database, up_ms)
        sql = """SELECT run, lived_ms, wall_ms, course, why FROM spells WHERE number >= coalesce(
                 (SELECT max(number) FROM spells WHERE lived_ms <= ?), 0) ORDER BY number"""
        with stored("what was done about training"):
            spells = [
                Spell(run, began_ms, wall_ms, Course(course), tuple(json.loads(why)))
                for run, began_ms, wall_ms, course, why in self._database.rows(
                    sql, lived_ms - span_ms
                )
            ]
        return Read(lived_ms, spells)
