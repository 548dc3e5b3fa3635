"""Which exception ends a command in which exit code (docs/exit-codes.md)."""

import sqlite3

from fedling_agent.control import RequestFailed, Unavailable
from fedling_agent.errors import BadInput, CannotWrite, Missing
from fedling_agent.lock import Locked
from fedling_protocol.exits import Exit
from fedling_protocol.identity import IdentityError
from fedling_protocol.settings import SettingsError

EXITS: dict[type[Exception], Exit] = {
    SettingsError: Exit.BAD_CONFIG,
    IdentityError: Exit.BAD_CONFIG,
    CannotWrite: Exit.CANNOT_WRITE,
    BadInput: Exit.FAILED,
    Missing: Exit.NOT_FOUND,
    Unavailable: Exit.UNAVAILABLE,
    Locked: Exit.TRY_LATER,
    OSError: Exit.FAILED,
    sqlite3.Error: Exit.FAILED,
}


def exit_code(error: Exception) -> Exit | None:
    """None: nobody expected this."""
    if isinstance(error, RequestFailed):
        return error.code
    return next((code for kind, code in EXITS.items() if isinstance(error, kind)), None)
