"""State directories as an older release left them: a dump of the tables, the files beside it.

tests/agent/store/tables_1 and tests/broker/store/tables_2 were written by the code of the last
commit before either end could convert its tables. Who adds a step needs no newer ones: from these
all steps are taken.
"""

import shutil
import sqlite3
from pathlib import Path

DUMP = "tables.sql"
Rows = dict[str, list[dict[str, object]]]


def build(old: Path, directory: Path, database: str) -> Rows:
    """Make a state directory of the old one; what its tables hold."""
    shutil.copytree(old, directory, ignore=shutil.ignore_patterns(DUMP), dirs_exist_ok=True)
    for path in directory.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)  # as they were; a clone has other modes
    return build_database(old / DUMP, directory / database)


def build_database(dump: Path, path: Path) -> Rows:
    """Make only the tables."""
    connection = sqlite3.connect(path)
    connection.executescript(dump.read_text())
    connection.close()
    return rows_of(path)


def rows_of(path: Path) -> Rows:
    """All rows, by table and column."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    names = [str(row["name"]) for row in connection.execute(sql)]
    rows = {name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")]  # noqa: S608
            for name in names}  # fmt: skip
    connection.close()
    return rows


def lost(old: Rows, new: Rows) -> list[str]:
    """The old rows that are not among the new ones, which may have more columns."""
    return [
        f"{table}: {row}"
        for table, rows in old.items()
        for row in rows
        if not any(row.items() <= other.items() for other in new.get(table, []))
    ]


def version_of(path: Path) -> int:
    """The tables' version."""
    connection = sqlite3.connect(path)
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    connection.close()
    return int(version)
