"""How long this device has run, in all its boots: time that no clock and no off-switch can turn."""

import sqlite3

from fedling_protocol.disk.database import Database, one

_SELECT = "SELECT total_ms, up_ms FROM lived"


def live(connection: sqlite3.Connection, up_ms: int) -> int:
    """Tell how many milliseconds it has run: never more than have passed. up_ms: since boot

    It is written, so that a reboot takes nothing of it back.
    """
    lived_ms = _total(one(connection, _SELECT), up_ms)
    connection.execute("UPDATE lived SET total_ms = ?, up_ms = ?", (lived_ms, up_ms))
    return lived_ms


def lived(database: Database, up_ms: int) -> int:
    """Tell what live() would tell, and write nothing."""
    return _total(database.row(_SELECT), up_ms)


def _total(row: tuple[int, int] | None, up_ms: int) -> int:
    """Of the time since boot what is new is added.

    After a reboot that is all of it or, if this boot is older than the last one had become, the
    difference: too little, never too much.
    """
    assert row is not None
    total_ms, before_ms = row
    return total_ms + (up_ms - before_ms if up_ms >= before_ms else up_ms)
