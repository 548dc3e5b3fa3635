"""Where a command works: broker.toml, the state directory, the keys in it."""

import argparse
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedling_broker import config, tasks
from fedling_broker.config import ONLINE_KEY, SECRET, Config
from fedling_broker.database import WrongDatabase
from fedling_broker.devices import DeviceError
from fedling_broker.shelf import Damaged
from fedling_broker.store import Store
from fedling_broker.tasks import Task
from fedling_protocol import digest, identity
from fedling_protocol.exits import Exit
from fedling_protocol.identity import IdentityError, SigningKey
from fedling_protocol.settings import SettingsError


class NotFound(Exception):
    """There is no such task, device, round or model."""


EXITS: dict[type[Exception], Exit] = {
    SettingsError: Exit.BAD_CONFIG,
    IdentityError: Exit.BAD_CONFIG,
    WrongDatabase: Exit.BAD_CONFIG,
    NotFound: Exit.NOT_FOUND,
    DeviceError: Exit.FAILED,
    Damaged: Exit.FAILED,
    OSError: Exit.FAILED,
    sqlite3.Error: Exit.FAILED,
}


def exit_code(error: Exception) -> Exit | None:
    """None: nobody expected this."""
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


def secret(found: Config) -> bytes:
    return identity.load_secret(found.state_dir / SECRET)


def first_model_seed(found: Config, task: str) -> bytes:
    return digest.first_model_seed(secret(found), found.file.fleet, task)


def task(store: Store, name: str) -> Task:
    """Raises NotFound."""
    for row in store.tasks():
        if row.name == name:
            return tasks.parse_task(row.text, f"task {name}")
    names = ", ".join(row.name for row in store.tasks()) or "none"
    raise NotFound(f"no task {name}; there are: {names}")


def readable(path: Path) -> Path:
    """The file, if it can be read. Raises SettingsError."""
    if not path.is_file():
        raise SettingsError(f"{path}: no such file")
    return path
