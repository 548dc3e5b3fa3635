"""One process at a time writes to a state directory; the kernel forgets the lock with it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedling_agent.store.errors import writing

NAME = "agent.lock"


class Locked(Exception):
    """Another process has the directory."""


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold the directory. Raises Locked, CannotWrite."""
    with writing(str(directory)):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            raise Locked(f"{directory}: in use by another fedling-agent (pid {holder})") from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(handle)
