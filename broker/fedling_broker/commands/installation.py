"""Where a command works: broker.toml, the state directory, the keys in it."""

import argparse
import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedling_broker import config
from fedling_broker.config import ONLINE_KEY, SECRET, Config
from fedling_broker.onnx import OnnxError
from fedling_broker.store.database import WrongDatabase
from fedling_broker.store.devices import DeviceError
from fedling_broker.store.shelf import Damaged
from fedling_broker.store.store import ModelRow, Store, TaskExists
from fedling_broker.tasks import task_file
from fedling_broker.tasks.task_file import Task
from fedling_protocol.exits import Exit
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire import digest, identity
from fedling_protocol.wire.identity import IdentityError, SigningKey


class NotFound(Exception):
    """There is no such task, device, round or model."""


EXITS: dict[type[Exception], Exit] = {
    SettingsError: Exit.BAD_CONFIG,
    IdentityError: Exit.BAD_CONFIG,
    WrongDatabase: Exit.BAD_CONFIG,
    NotFound: Exit.NOT_FOUND,
    DeviceError: Exit.FAILED,
    TaskExists: Exit.FAILED,
    OnnxError: Exit.FAILED,
    Damaged: Exit.FAILED,
    OSError: Exit.FAILED,
    sqlite3.Error: Exit.FAILED,
}
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
SQLITE_DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR}
SQLITE_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def exit_code(error: Exception) -> Exit | None:
    """None: nobody expected this."""
    if isinstance(error, OSError) and error.errno in DISK:
        return Exit.CANNOT_WRITE
    if isinstance(error, sqlite3.Error):
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if primary in SQLITE_DISK:
            return Exit.CANNOT_WRITE
        if primary in SQLITE_LOCKED:
            return Exit.TRY_LATER
    return next((code for kind, code in EXITS.items() if isinstance(error, kind)), None)


def load(args: argparse.Namespace) -> Config:
    """The configuration that a command is about."""
    return config.load(config.find(args.config))


@contextmanager
def opened(args: argparse.Namespace) -> Iterator[tuple[Config, Store]]:
    """Configuration and store."""
    found = load(args)
    store = Store(found.state_dir)
    try:
        yield found, store
    finally:
        store.close()


def online_key(found: Config) -> SigningKey:
    return identity.load_key(found.state_dir / ONLINE_KEY)


def root_key(found: Config, path: Path) -> SigningKey:
    """The key in the file, if it is the root of this fleet. Raises IdentityError, DeviceError."""
    key = identity.load_key(path)
    if key.public != found.root_key:
        raise DeviceError(f"{path} is not the root key of fleet {found.file.fleet}")
    return key


def secret(found: Config) -> bytes:
    return identity.load_secret(found.state_dir / SECRET)


def first_model_seed(found: Config, task: str) -> bytes:
    return digest.first_model_seed(secret(found), found.file.fleet, task)


def task(store: Store, name: str) -> Task:
    """Raises NotFound."""
    for row in store.tasks():
        if row.name == name:
            return task_file.parse_task(row.text, f"task {name}")
    names = ", ".join(row.name for row in store.tasks()) or "none"
    raise NotFound(f"no task {name}; there are: {names}")


def model_row(store: Store, task: str, version: int | None) -> ModelRow:
    """A version of the task's model, by default the newest. Raises NotFound."""
    if version is None:
        return store.newest(task)
    for row in store.model_rows(task):
        if row.version == version:
            return row
    raise NotFound(f"task {task} has no model {version}")
