"""Every write that must survive a power cut: files made whole or not at all, SQLite facts.

All durable writes of both ends go through write_file, create_file, keep_draft, append, link_file,
remove_file, remove_files and commit.
"""

import fcntl
import glob
import itertools
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

Bytes = bytes | bytearray | memoryview

PRIVATE = 0o600
SCRATCH = ".fedling-scratch-"  # begins the names of folders for a while
BUSY_S = 10.0  # how long a writer waits for another process's transaction
PAGE_BYTES = 2048  # of new databases: a commit writes whole pages, of rows of some hundred bytes


def write_file(path: Path, data: Bytes, mode: int = PRIVATE, *, exact: bool = False) -> None:
    """Make or replace a file: at any instant either the old bytes are on disk or the new ones.

    exact: it has this mode whatever the umask, and nobody sees it with another
    """
    name = os.fspath(path)
    temporary = _write_temporary(name, data, mode, exact)
    _put(temporary, name)
    sync_directory(os.path.dirname(name))


def create_file(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Make a file that must not exist yet (FileExistsError), even if two try at the same time."""
    temporary = _write_temporary(os.fspath(path), data, mode, exact=False)
    try:
        os.link(temporary, path)
    finally:
        os.unlink(temporary)
    sync_directory(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder, for its owner only, if it is missing; a file in its place is put aside."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        path.rename(_aside(path))
        path.mkdir(mode=0o700)


def link_file(path: Path, name: Path) -> None:
    """Give a file a second name in the same directory, for good; it may have it already."""
    with suppress(FileExistsError):
        os.link(path, name)
    sync_directory(name.parent)


def remove_file(path: Path) -> None:
    """Remove a file, for good; it need not be there."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def remove_files(paths: Iterable[Path]) -> None:
    """Remove files for good, with one wait for each directory; they need not be there."""
    directories = set()
    for path in paths:
        path.unlink(missing_ok=True)
        directories.add(path.parent)
    for directory in directories:
        sync_directory(directory)


@contextmanager
def draft(directory: Path, name: str) -> Iterator[BinaryIO]:
    """A file to be made piece by piece; keep_draft() gives it its name, without it there is none.

    name: for people, no other draft in this directory may have it at the same time
    """
    temporary = _temporary(os.fspath(directory / name))
    handle = _create(temporary, PRIVATE)
    try:
        with os.fdopen(handle, "w+b") as file:
            _hold(handle)
            yield file
    finally:
        _remove(temporary)


def keep_draft(file: BinaryIO, name: str, path: Path) -> None:
    """Make a draft the file `path` of the same directory: durably, whole or not at all."""
    file.flush()
    os.fsync(file.fileno())
    _put(_temporary(os.fspath(path.with_name(name))), os.fspath(path))
    sync_directory(path.parent)


def remove_abandoned(directory: Path, name: str) -> None:
    """Remove drafts of this name, and scratch folders, whose process was killed."""
    drafts = directory.glob(f".{glob.escape(name)}.*.tmp")
    for path in [*drafts, *filter(_is_ours, directory.glob(f"{SCRATCH}*"))]:
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody holds it
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(handle)


@contextmanager
def scratch(directory: Path | None) -> Iterator[Path]:
    """A folder for a while, in a directory or where such folders are."""
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=directory) as made:
        handle = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _hold(handle)
            yield Path(made)
        finally:
            os.close(handle)


def append(path: Path, first: int, pieces: Sequence[Bytes], *, named: bool) -> None:
    """Put pieces behind the first bytes of a file, durably; what lay there is cut off.

    The file is made if it is missing. named: its name is known to be on disk.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    try:
        _write_behind(handle, path, first, pieces)
        os.fdatasync(handle)
    finally:
        os.close(handle)
    if not named:
        sync_directory(path.parent)


def remove_leftovers(directory: Path) -> None:
    """Remove what writers left that were killed in the middle. Only while nobody else writes."""
    for name in os.listdir(directory):
        if name.startswith(".") and name.endswith(".tmp"):
            _remove(os.path.join(directory, name))


def sync_directory(directory: Path | str) -> None:
    """Make the names in a directory durable."""
    handle = os.open(directory or os.curdir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def connect_database(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a database whose commits survive a power cut; made, for its owner only, if missing.

    Statements outside `transaction` commit by themselves, uncounted: use them to read. Any thread
    may use the connection, one at a time.
    """
    target = f"file:{quote(str(path.absolute()))}?{_mode(path)}" if read_only else str(path)
    if not read_only:
        _touch(path)
    connection = sqlite3.connect(
        target, uri=read_only, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        _configure(connection, read_only)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Execute all of the statements inside, durably, or none of them."""
    begin(connection)
    try:
        yield connection
        commit(connection)
    except BaseException:
        roll_back(connection)
        raise


def begin(connection: sqlite3.Connection, *, wait: bool = True) -> None:
    """Become the one writer; while another process is, wait for BUSY_S or not at all.

    Raises sqlite3.OperationalError (SQLITE_BUSY).
    """
    if wait:
        connection.execute("BEGIN IMMEDIATE")
        return
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("BEGIN IMMEDIATE")
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")


def roll_back(connection: sqlite3.Connection) -> None:
    """Undo what was not committed; after a full disk SQLite has done so by itself."""
    with suppress(sqlite3.Error):
        connection.execute("ROLLBACK")


def commit(connection: sqlite3.Connection) -> None:
    """End a transaction; after it returns the facts are on disk."""
    connection.execute("COMMIT")


def forget_deleted(connection: sqlite3.Connection) -> bool:
    """Empty the write-ahead log, where deleted rows would otherwise stay readable for a while.

    False: a reader held on to it for BUSY_S.
    """
    ((busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return not busy


def _hold(handle: int) -> None:
    """Show others that the process lives which makes this, as far as the file system can."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)


def _is_ours(path: Path) -> bool:
    """Whether it is a folder of this user's, and no link to one."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


# Names are texts from here on: what a Path costs is as much as the call that it is for.


def _put(temporary: str, path: str) -> None:
    """Give a file its name; a folder in its place, which is nobody's of ours, is put aside."""
    try:
        os.replace(temporary, path)
    except IsADirectoryError:
        os.rename(path, _aside(Path(path)))
        os.replace(temporary, path)


def _aside(path: Path) -> Path:
    """A name beside it that is free."""
    names = (path.with_name(f"{path.name}.aside{n or ''}") for n in itertools.count())
    return next(name for name in names if not name.exists())


def _mode(path: Path) -> str:
    """How to read a database. On a card that is read-only SQLite cannot make what it reads by."""
    beside = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    alone = not os.access(path.parent, os.W_OK, effective_ids=True) and not any(
        one.exists() for one in beside
    )
    return "mode=ro&immutable=1" if alone else "mode=ro"


def _temporary(path: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.{os.getpid()}.tmp")


def _create(temporary: str, mode: int) -> int:
    """Make a file to be written; a killed process that had our number may have left one."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(temporary, flags, mode)
    except FileExistsError:
        os.unlink(temporary)
        return os.open(temporary, flags, mode)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _write_behind(handle: int, path: Path, first: int, pieces: Sequence[Bytes]) -> None:
    os.ftruncate(handle, first)
    for piece in pieces:
        first = _write_all(handle, piece, first)


def _write_all(handle: int, data: Bytes, first: int) -> int:
    """Write at a place of a file; the place behind it."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(handle, rest, first)
        first, rest = first + written, rest[written:]
    return first


def _write_temporary(path: str, data: Bytes, mode: int, exact: bool) -> str:
    temporary = _temporary(path)
    handle = _create(temporary, mode)
    try:
        if exact:
            os.fchmod(handle, mode)
        _write_all(handle, data, 0)
        os.fsync(handle)
    except BaseException:
        _remove(temporary)
        raise
    finally:
        os.close(handle)
    return temporary


def _touch(path: Path) -> None:
    """SQLite would make the file readable by all; its log files take over the mode set here."""
    with suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
        os.close(handle)
        sync_directory(path.parent)


def _configure(connection: sqlite3.Connection, read_only: bool) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
        return
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # nothing is changed by it later
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"the file system allows no write-ahead log (got {mode})")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
