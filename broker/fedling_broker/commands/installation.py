"""Where a command works: broker.toml, the state directory, the keys in it."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from fedling_broker import config
from fedling_broker.authority import certificates
from fedling_broker.config import ONLINE_KEY, SECRET, Config
from fedling_broker.store.devices import Devices
from fedling_broker.store.models import ModelRow
from fedling_broker.store.store import Store
from fedling_broker.tasks import task_file
from fedling_broker.tasks.task_file import Task
from fedling_protocol.disk import durable, given, mounts
from fedling_protocol.disk.errors import BadInput, Missing, writing
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire import digest, identity
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.names import AGGREGATOR

READABLE = 0o644
MOST_CERTIFICATES = 64 << 20  # bytes of a file of certificates that are read

T = TypeVar("T")


def load(args: argparse.Namespace) -> Config:
    """Load the configuration that a command is about. Raises SettingsError."""
    path = config.find(args.config)
    if args.config is None and path == config.PLACES[0] and config.SYSTEM_FILE.exists():
        print(f"this is about {path.absolute()}, not {config.SYSTEM_FILE}", file=sys.stderr)
    return config.load(path)


@contextmanager
def opened(args: argparse.Namespace) -> Iterator[tuple[Config, Store]]:
    """Open what a verb works on; an aggregator may work there. Raises NotOurs, and as Store does.

    Inside of it root is who keeps the state: the caller's own files are for before and after.
    """
    found = load(args)
    with at_work(found) as store:
        yield found, store


@contextmanager
def at_work(found: Config) -> Iterator[Store]:
    """Open the store of a configuration that was loaded, as opened() does."""
    with found.acting():
        store = Store(found.state_dir)
        try:
            yield store
        finally:
            store.close()


def online_key(found: Config) -> SigningKey:
    return identity.load_key(found.state_dir / ONLINE_KEY)


def check_certificates(found: Config, devices: Devices) -> None:
    """Check every certificate against fleet and root key. Raises SettingsError, IdentityError."""
    own = devices.find(AGGREGATOR)
    if own is None or own.key != online_key(found).public:
        raise SettingsError(
            f"{found.state_dir}: the online key has no certificate; run: fedling-broker init"
        )
    try:
        certificates.trusted(devices.bundle(), found.root_key, str(found.state_dir))
    except BadInput as error:
        raise SettingsError(f"{found.path}: another fleet or root key: {error}") from error


def given_root_key(args: argparse.Namespace) -> SigningKey | None:
    """Load the root key from the file that a person names, as who they are. Raises IdentityError.

    A stick may be of a file system that knows no modes.
    """
    path: Path | None = args.root_key
    if path is None:
        return None
    bare = mounts.kind(path.absolute().parent) in mounts.WITHOUT_MODES
    return identity.load_key(path, private=not bare)


def secret(found: Config) -> bytes:
    return identity.load_secret(found.state_dir / SECRET)


def first_model_seed(found: Config, task: str) -> bytes:
    return digest.first_model_seed(secret(found), found.file.fleet, task)


def task(store: Store, name: str) -> Task:
    """Parse a task that was added. Raises Missing."""
    row = store.tasks.find(name)
    if row is not None:
        return task_file.parse_task(row.text, f"task {name}")
    names = ", ".join(row.name for row in store.tasks.rows()) or "none"
    raise Missing(f"no task {name}; there are: {names}")


def write(path: Path, data: bytes, *, exact: bool = False) -> None:
    """Write a file that a person asked for. Raises CannotWrite, BadInput.

    exact: everybody may read it, whatever the umask
    """
    given.check_target(path)
    with writing(str(path)):
        durable.write_file(path, data, READABLE, exact=exact)


def model_row(store: Store, task: str, version: int | None) -> ModelRow:
    """Find a version of the task's model, by default the newest. Raises Missing."""
    if version is None:
        return store.models.newest(task)
    row = store.models.find(task, version)
    if row is None:
        raise Missing(f"task {task} has no model {version}")
    return row
