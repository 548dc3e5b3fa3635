"""A whole state in one file: taken while the aggregator runs, checked, put back.

The file is a tar: the database, keys, every file that its rows speak of, broker.toml, and at last
manifest.json with the SHA-256 of each. The authority's directory is in it, if it is here, without
the root key.
"""

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Final

from fedling_broker.authority import directory
from fedling_broker.config import AUTHORITY, ONLINE_KEY, SECRET, Config
from fedling_broker.store.database import FILE, PROGRAM
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import FOLDERS, Store
from fedling_broker.tasks.task_file import parse_task
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable, given, lock
from fedling_protocol.disk.errors import BadInput, writing
from fedling_protocol.wire.digest import start_model_hash
from fedling_protocol.wire.names import AGGREGATOR

FORMAT: Final = 1
MANIFEST, CONFIG = "manifest.json", "broker.toml"
TRIES = 5  # a round that ends meanwhile takes files away: the next copy is of after it
PIECE = 1 << 20  # bytes that are copied at once
COPIED: Final = 1  # a place that no state has: `serve` sees that this one is a copy
RESTORING, REPLACED = "restoring", "replaced"  # folders in the state directory
_NAMES = re.compile(
    rf"{re.escape(FILE)}|{re.escape(ONLINE_KEY)}|{SECRET}|{re.escape(CONFIG)}"
    rf"|({'|'.join(FOLDERS)})/[0-9a-f]{{32,64}}"
    rf"|{AUTHORITY}/({'|'.join(map(re.escape, directory.KEPT))})"
)


class StateExists(Exception):
    """There is a state where another one is to be put."""


class _Gone(Exception):
    """A file that the copied database speaks of was taken away meanwhile, or is lost."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file that rows speak of. digest: gives its name, if that is a hash of what it holds."""

    name: str  # in the state directory, and in the backup
    size: int | None = None  # of a log only so much counts
    digest: "Callable[[], hashlib._Hash] | None" = None


@dataclass(frozen=True, slots=True)
class Made:
    """A backup."""

    size: int  # bytes
    files: int
    epoch: int
    faults: list[str]  # files that were missing or damaged before


# --- to make one ---------------------------------------------------------------------------------


def make(found: Config, path: Path) -> Made:
    """Write a backup and read it again. Raises CannotWrite, Busy, BadInput."""
    given.check_target(path)
    with writing(str(path)):
        for number in range(1, TRIES + 1):
            try:
                return _copy(found, path, last=number == TRIES)
            except _Gone:
                continue
    raise AssertionError("the last try takes what is there")


def _copy(found: Config, path: Path, *, last: bool) -> Made:
    """Copy the database as it is at one instant, then what it speaks of.

    The file is the caller's, what is read for it is read as who keeps the state.
    """
    folder, text = path.absolute().parent, found.path.read_bytes()
    durable.remove_abandoned(folder, path.name)
    with durable.draft(folder, path.name) as file:
        with found.acting(), _scratch(folder) as made, tarfile.open(fileobj=file, mode="w") as tar:
            items, epoch = _instant(found, made)
            faults = _write(_Archive(tar), found, text, made, items, epoch, last=last)
        size = file.tell()
        durable.keep_draft(file, path.name, path.absolute())
    check(path)
    return Made(size, len(items), epoch, faults)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder for a copy of the database: beside the backup, if who keeps the state may write."""
    ours = os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
    with durable.scratch(folder if ours else None) as made:
        yield made


def _instant(found: Config, made: Path) -> tuple[list[Item], int]:
    """Copy the database; what its rows speak of, and its epoch."""
    copy_database(found.state_dir / FILE, made / FILE)
    store = Store(made, alone=True)
    try:
        return list(named(store)), store.ledger.meta("epoch")
    finally:
        store.close()


def copy_database(source: Path, target: Path) -> None:
    """Copy a database that others write to, as it is at one instant. Raises BadInput."""
    durable.create_file(target, b"")
    reader, writer = sqlite3.connect(source), sqlite3.connect(target)
    try:
        reader.backup(writer)
        ((word,), *_) = writer.execute("PRAGMA integrity_check(1)").fetchall()
    finally:
        reader.close()
        writer.close()
    if word != "ok":
        raise BadInput(f"{source}: is damaged: {word}; restore an older backup")


def named(store: Store) -> Iterator[Item]:
    """Name all files that a store's rows speak of; first those that a round takes away."""
    models = store.models
    for row in store.tasks.rows():
        spec = parse_task(row.text, f"task {row.name}").spec
        for state in (models.newest_state(row.name), *models.horizon.states(row.name)):
            yield Item(f"states/{state.hex()}", digest=hashlib.sha256)
        for plan in store.rounds.plans(row.name):
            ends = [m.extent.end for m in store.rounds.members(row.name, plan.plan_id)]
            if plan.kept and ends:
                yield Item(f"updates/{plan.plan_id.hex()}", max(ends))
        for model in models.rows(row.name):
            start = start_model_hash(model.spec(spec), model.exponents)
            yield Item(f"models/{model.model_hash.hex()}", digest=start.copy)
        for fold in models.folds(row.name):
            if fold.sum_hash:
                yield Item(f"sums/{fold.sum_hash.hex()}", digest=hashlib.sha256)


class _Archive:
    """A tar that remembers what it was given."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.hashes: dict[str, str] = {}

    def add(self, name: str, file: IO[bytes], size: int) -> None:
        """Take in so many bytes of a file."""
        if name in self.hashes:  # tasks that began with one model
            return
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, durable.PRIVATE
        reading = _Hashing(file, hashlib.sha256())
        self._tar.addfile(info, reading)
        self.hashes[name] = reading.digest.hexdigest()

    def add_bytes(self, name: str, data: bytes) -> None:
        self.add(name, io.BytesIO(data), len(data))


class _Hashing(io.RawIOBase):
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes], digest: "hashlib._Hash") -> None:
        self._file = file
        self.digest = digest

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def _write(
    archive: _Archive,
    found: Config,
    config: bytes,
    made: Path,
    items: list[Item],
    epoch: int,
    *,
    last: bool,
) -> list[str]:
    """Fill an archive; what was damaged before. Raises _Gone, unless this is the last try."""
    faults = []
    for item in items:
        fault = _add(archive, found.state_dir, item)
        if fault and not last:
            raise _Gone
        faults += [fault] if fault else []
    for name in (ONLINE_KEY, SECRET):
        archive.add_bytes(name, (found.state_dir / name).read_bytes())
    for name in directory.KEPT:
        if (found.authority / name).exists():
            archive.add_bytes(f"{AUTHORITY}/{name}", (found.authority / name).read_bytes())
    archive.add_bytes(CONFIG, config)
    with (made / FILE).open("rb") as file:
        archive.add(FILE, file, (made / FILE).stat().st_size)
    manifest = {
        "format": FORMAT,
        "fleet": found.file.fleet,
        "root_key": found.file.root_key,
        "epoch": epoch,
        "files": dict(archive.hashes),
    }
    archive.add_bytes(MANIFEST, json.dumps(manifest, indent=1).encode())
    return faults


def _add(archive: _Archive, directory: Path, item: Item) -> str:
    """Add a file; what is wrong with it, which is empty if nothing is."""
    try:
        with (directory / item.name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size if item.size is None else item.size
            if os.fstat(file.fileno()).st_size < size:
                return f"{item.name}: is too short"
            if item.digest is not None and _digest(file, item.digest()) != Path(item.name).name:
                return f"{item.name}: its bytes have another hash than its name"
            file.seek(0)
            archive.add(item.name, file, size)
    except FileNotFoundError:
        return f"{item.name}: is missing"
    return ""


def _digest(file: IO[bytes], digest: "hashlib._Hash") -> str:
    while piece := file.read(PIECE):
        digest.update(piece)
    return digest.hexdigest()


# --- to read one ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself."""

    fleet: str
    root_key: str
    epoch: int


def check(path: Path, into: Path | None = None) -> Manifest:
    """Read all of a backup; put its files into a folder, if one is given. Raises BadInput."""
    with given.opened(path) as file:
        return _read(path, file, into)


def _read(path: Path, opened: IO[bytes], into: Path | None = None) -> Manifest:
    hashes: dict[str, str] = {}
    manifest: dict[str, object] = {}
    try:
        with tarfile.open(fileobj=opened, mode="r:") as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is None or not (member.name == MANIFEST or _NAMES.fullmatch(member.name)):
                    raise BadInput(f"{path}: not a backup of fedling-broker: {member.name!r}")
                if member.name == MANIFEST:
                    manifest = json.loads(file.read())
                else:
                    hashes[member.name] = _take(file, None if into is None else into / member.name)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BadInput(f"{path}: not a whole backup of fedling-broker: {error}") from error
    if manifest.get("format") != FORMAT or manifest.get("files") != hashes:
        raise BadInput(f"{path}: not a whole backup of fedling-broker, or damaged; use another one")
    return Manifest(str(manifest["fleet"]), str(manifest["root_key"]), int(str(manifest["epoch"])))


def _take(file: IO[bytes], path: Path | None) -> str:
    """Read a file of a backup, and write it if it is wanted; its SHA-256."""
    reading = _Hashing(file, hashlib.sha256())
    if path is None:
        while reading.read(PIECE):
            pass
        return reading.digest.hexdigest()
    with writing(str(path)), durable.draft(path.parent, path.name) as out:
        shutil.copyfileobj(reading, out, PIECE)
        durable.keep_draft(out, path.name, path)
    return reading.digest.hexdigest()


def read_config(path: Path) -> bytes:
    """Read the broker.toml that a backup has. Raises BadInput, Missing."""
    check(path)
    with tarfile.open(path, "r:") as tar:
        file = tar.extractfile(CONFIG)
        assert file is not None  # it was checked
        return file.read()


# --- to put one back -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Restored:
    """A state that was put back."""

    manifest: Manifest
    faults: list[str]
    aside: Path | None  # where the state before it is now
    stayed: list[str] | None  # who belongs to the fleet, or not, as that one said; None: unknown


def restore(
    found: Config, path: Path, *, replace: bool, verify: Callable[[Store], list[str]]
) -> Restored:
    """Put a state back.

    Nothing is changed before all of it is there and was verified. replace: a state that is there
    is moved aside; who was revoked since the backup, or added, stays so. Raises Locked,
    StateExists, BadInput, Missing, CannotWrite.
    """
    state = found.state_dir
    with given.opened(path) as file, found.acting(), lock.exclusive(state, PROGRAM):
        if (state / FILE).exists() and not replace:
            raise StateExists(
                f"{state}: holds a state already; to put the backup in its place, and the state"
                f" into {REPLACED}-N there: fedling-broker restore {shlex.quote(str(path))}"
                " --replace"
            )
        with writing(str(state)):
            made = state / RESTORING
            shutil.rmtree(made, ignore_errors=True)
            try:
                _make_folders(made)
                manifest = _read(path, file, made)
                _check_fleet(found, path, manifest)
                faults = _prepare(made, verify)
                stayed = _take_over(found, made) if (state / FILE).exists() else None
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
            aside = _move_aside(state) if (state / FILE).exists() else None
            _put_authority(made / AUTHORITY, found.authority)
            _move_in(made, state)
    return Restored(manifest, faults, aside, stayed)


def _make_folders(made: Path) -> None:
    """Make a folder, and those of a state in it."""
    for folder in (made, *(made / name for name in (*FOLDERS, AUTHORITY))):
        folder.mkdir(mode=0o700)


def _check_fleet(found: Config, path: Path, manifest: Manifest) -> None:
    if (manifest.fleet, manifest.root_key) != (found.file.fleet, found.file.root_key):
        raise BadInput(
            f"{path}: is of fleet {manifest.fleet} with root_key {manifest.root_key}, which is not"
            f" what {found.path} says"
        )


def _prepare(made: Path, verify: Callable[[Store], list[str]]) -> list[str]:
    """Verify a state that was unpacked, and mark it as a copy."""
    store = Store(made, alone=True)
    try:
        faults = verify(store)
        store.ledger.set_meta("place", COPIED)
    finally:
        store.close()
    return faults


def _take_over(found: Config, made: Path) -> list[str] | None:
    """Have the state that is to be replaced say who belongs to the fleet, as far as it is later.

    Else a device that was revoked would be in again, and a key that was replaced would sign. None:
    nothing can be read of it.
    """
    former = found.state_dir
    store = Store(made, alone=True)
    try:
        key = (former / ONLINE_KEY).read_bytes()
        with closing(durable.connect_database(former / FILE, read_only=True)) as tables:
            stayed = Devices(store.database, found.topics).take_over(tables)
        if AGGREGATOR in stayed:
            durable.write_file(made / ONLINE_KEY, key)
    except (sqlite3.Error, FileNotFoundError):
        return None
    finally:
        store.close()
    return stayed


def _move_aside(state: Path) -> Path:
    """Keep what is there; the database goes last, so that a crash between leaves a state."""
    number = 1 + sum(entry.name.startswith(f"{REPLACED}-") for entry in state.iterdir())
    aside = state / f"{REPLACED}-{number}"
    aside.mkdir(mode=0o700)
    kept = {aside.name, RESTORING, AUTHORITY, lock.lock_file(state, PROGRAM).name}
    entries = [e for e in state.iterdir() if e.name not in kept]
    for entry in sorted(entries, key=lambda e: e.name == FILE):
        if not entry.name.startswith(f"{REPLACED}-"):
            entry.rename(aside / entry.name)
    durable.sync_directory(aside)
    return aside


def _put_authority(made: Path, place: Path) -> None:
    """Put the authority back where there is none. One that is here knows whom it has revoked."""
    if not (place / directory.SETTINGS).exists():
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in reversed(directory.KEPT):  # the settings at last: without them there is none
            if (made / name).exists():
                durable.write_file(place / name, (made / name).read_bytes())
    shutil.rmtree(made)


def _move_in(made: Path, state: Path) -> None:
    """The database goes last: without it there is no state, and `restore` may be repeated."""
    (made / CONFIG).unlink()
    for folder in FOLDERS:
        shutil.rmtree(state / folder, ignore_errors=True)  # of a restore that was interrupted
    for entry in sorted(made.iterdir(), key=lambda e: e.name == FILE):
        entry.rename(state / entry.name)
    made.rmdir()
    durable.sync_directory(state)
