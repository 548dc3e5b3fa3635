"""One process at a time works in a state directory; the kernel forgets the lock with it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import writing

LOCKS = Path("/proc/locks")


class Locked(Exception):
    """Another process has the directory (exit 75)."""


@contextmanager
def exclusive(directory: Path, program: str) -> Iterator[None]:
    """Hold the directory, made if missing, for `program` ("fedling-agent": agent.lock).

    Raises Locked, CannotWrite. Not to be nested: the inner one is refused like a stranger.
    """
    named = directory.absolute()  # "." says little
    with writing(str(named)):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(lock_file(directory, program), flags, durable.PRIVATE)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            raise Locked(f"{named}: in use by another {program} (pid {holder})") from error
        with suppress(OSError):  # the number is for people: a full disk is no reason to stop
            os.ftruncate(handle, 0)
            os.pwrite(handle, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(handle)


def is_held(directory: Path, program: str) -> bool:
    """Whether somebody holds the directory. Taking the lock would put off who wants it just now."""
    try:
        inode = lock_file(directory, program).stat().st_ino
        locks = LOCKS.read_text().splitlines()
    except OSError:
        return False
    # proc_locks(5): "1: FLOCK ADVISORY WRITE 4711 08:02:131 0 EOF"; who waits has "->" first
    held = [words for line in locks if (words := line.split())[1] == "FLOCK"]
    return any(words[5].rpartition(":")[2] == str(inode) for words in held)


def lock_file(directory: Path, program: str) -> Path:
    """The file that is locked in a directory."""
    return directory / f"{program.removeprefix('fedling-')}.lock"
