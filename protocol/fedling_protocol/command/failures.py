"""Which exception ends a command in which exit code, at both ends (docs/exit-codes.md)."""

import sqlite3
from collections.abc import Mapping

from fedling_protocol.disk.errors import (
    BadInput,
    Busy,
    CannotWrite,
    Missing,
    WrongTables,
    is_of_disk,
)
from fedling_protocol.disk.lock import Locked
from fedling_protocol.disk.ownership import NotOurs
from fedling_protocol.exits import Exit, Failure
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.identity import IdentityError

Exits = Mapping[type[Exception], Exit]

COMMON: Exits = {
    SettingsError: Exit.BAD_CONFIG,
    IdentityError: Exit.BAD_CONFIG,
    WrongTables: Exit.BAD_CONFIG,
    NotOurs: Exit.NOT_ALLOWED,
    CannotWrite: Exit.CANNOT_WRITE,
    Busy: Exit.TRY_LATER,
    Locked: Exit.TRY_LATER,
    BadInput: Exit.FAILED,
    Missing: Exit.NOT_FOUND,
    OSError: Exit.FAILED,
    sqlite3.Error: Exit.FAILED,
}


def exit_code(error: Exception, own: Exits) -> Exit | None:
    """Look in the program's own table, then in the common one. None: nobody expected this."""
    if isinstance(error, Failure):
        return error.code
    # Standard output into a file on a full disk, too; and a key or a configuration that a failing
    # card did not give this time is not a wrong one, for which systemd would not start us again.
    if is_of_disk(error) or is_of_disk(error.__cause__):
        return Exit.CANNOT_WRITE
    for table in (own, COMMON):
        for kind, code in table.items():
            if isinstance(error, kind):
                return code
    return None
