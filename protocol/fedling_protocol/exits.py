"""Exit codes of every command. Documented in docs/exit-codes.md."""

from enum import IntEnum


class Exit(IntEnum):
    """How a command ended. 64 and above follow sysexits.h where it has a name for it."""

    OK = 0
    FAILED = 1  # the command ran and its answer is no, or something unexpected happened
    USAGE = 2  # the command line is wrong (argparse)
    SOME_REFUSED = 3  # some input rows were refused, the good ones kept
    NOT_FOUND = 4  # what was asked for is not here (yet): no model, no such task, no such file
    UNAVAILABLE = 69  # a service that the command needs does not answer
    CANNOT_WRITE = 73  # the disk is full, read-only or failing
    TRY_LATER = 75  # a lock is held or a limit reached: the same command may work later
    NOT_ALLOWED = 77  # what is asked for is another user's, or open to everybody
    BAD_CONFIG = 78  # a configuration file or the tables are wrong: systemd does not restart
    INTERRUPTED = 130  # Ctrl-C


class Failure(Exception):
    """An exception that brings its exit code along: the service told it to the command."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code
