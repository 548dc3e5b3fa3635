"""Which exception ends a command in which exit code (docs/exit-codes.md)."""

import sqlite3

from fedling_agent.service.control import RequestFailed, Unavailable
from fedling_agent.store.errors import BadInput, CannotWrite, Missing
from fedling_agent.store.lock import Locked
from fedling_protocol.exits import Exit
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.identity import IdentityError

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
