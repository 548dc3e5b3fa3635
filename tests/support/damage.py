"""What a failing card does to a database."""

import sqlite3
from pathlib import Path


def spoil(database: Path, table: str) -> None:
    """Overwrite the first page of a table, in the file under whoever uses it."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    sql = "SELECT rootpage FROM sqlite_master WHERE name = ?"
    (page,) = connection.execute(sql, (table,)).fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
