"""`fedling-agent diag`: one file for a report of a fault, to be read and given away."""

import argparse
import json
import os
import platform
import shutil
import sqlite3
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import fedling_native
from fedling_agent import config as configuration
from fedling_agent.commands import check, conditions, installation, status
from fedling_agent.commands.installation import SERVICE, Installation
from fedling_agent.commands.masking import Masks
from fedling_agent.config import UNIT, AgentConfig
from fedling_agent.store.store import Store
from fedling_protocol import settings
from fedling_protocol.classes import dataclass
from fedling_protocol.command import output
from fedling_protocol.disk import durable, given, mounts, ownership
from fedling_protocol.disk.errors import BadInput, Missing, writing
from fedling_protocol.exits import Exit
from fedling_protocol.moments import moment
from fedling_protocol.runtime import mishaps
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.identity import read_private

FORMAT = 1
FILE_NAME = "fedling-diag-{now}.json"
STANDARD_OUTPUT = Path("-")
PACKAGES = ("fedling", "cbor2", "cffi", "cryptography", "paho-mqtt", "pynacl")
OS_RELEASE = ("PRETTY_NAME", "ID", "VERSION_ID", "VARIANT_ID")
PROCESSOR = ("model name", "Model", "Hardware", "Revision", "Features", "flags")  # not Serial
CPUINFO, MEMINFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
DEVICE_TREE = Path("/proc/device-tree/model")
MEMORY = ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
LOG_LINES = "200"
UNIT_FACTS = (
    "ActiveState,SubState,UnitFileState,Result,NRestarts,ExecMainStatus,StatusText,"
    "FragmentPath,DropInPaths,MemoryCurrent,CPUUsageNSec"
)
WAIT_S = 30.0  # for a program that answers nothing
SPELLS_S, SPELLS = 7 * 86_400, 200  # of what was done about training
FAULTS = 20  # of a database
OURS = ("enrol", "key")  # of what `status` tells: the device's public key, and who types it


@dataclass(frozen=True, slots=True)
class Unread(Installation):
    """An installation whose configuration cannot be read: who needs it is told why."""

    error: SettingsError

    def needed_config(self) -> AgentConfig:
        raise self.error


def run(args: argparse.Namespace) -> Exit:
    now = moment(time.time()).replace(" ", "-").replace(":", "")
    file = Path(args.file or FILE_NAME.format(now=now))
    if file != STANDARD_OUTPUT:
        _check_new(file)
    report = collect(args)
    text = json.dumps(report, indent=1, ensure_ascii=False, default=str) + "\n"
    if file == STANDARD_OUTPUT:
        print(text, end="")
        return Exit.OK
    data = text.encode(errors="backslashreplace")
    _write_new(file, data)
    failed = [name for name, part in report.items() if isinstance(part, dict) and "failed" in part]
    lacks = f"; it could not tell: {', '.join(failed)}" if failed else ""
    output.print_answer(
        f"wrote {file}, {output.size(len(data))}: look at it before you give it away{lacks}",
        {"file": str(file), "bytes": len(data), "failed": failed},
        as_json=args.json,
    )
    return Exit.OK


def collect(args: argparse.Namespace) -> dict[str, object]:
    """Gather all parts, as others may read them; of one that fails, why."""
    where, masks = _find(args), Masks()
    keys = _told(_keys, where, masks)
    where = _as_the_service_finds(where)
    parts = {name: _told(call, where) for name, call in _one_by_one(AS_CALLER)}
    parts |= {name: _told(_as_owner, where, call) for name, call in _one_by_one(AS_OWNER)}
    parts["configuration"] = _told(_as_owner, where, lambda it: _configuration(it, keys))
    for learn in (_learn_password, _learn_labels):
        _told(_as_owner, where, lambda it: learn(it, masks))  # noqa: B023 (it is called at once)
    masks.hide(platform.node(), "this machine")
    masks.learn(parts["status"])
    masks.hosts_of(parts["log"])
    for name in OURS:
        _hide(parts["status"], name, masks)
    told = {name: masks.applied(parts[name], name) for name in ORDER}
    return {"diag": FORMAT, "made": moment(time.time()), **told}


def _one_by_one(parts: Mapping[str, "Part"]) -> Iterator[tuple[str, "Part"]]:
    """Tell who waits at a terminal what is asked now: a service that hangs takes half a minute."""
    for name, call in parts.items():
        if sys.stderr.isatty():
            print(f"looks at {name}", file=sys.stderr, flush=True)
        yield name, call


def _find(args: argparse.Namespace) -> Installation:
    """Name what there is, whatever is wrong with it."""
    file = installation.named_file(args)
    try:
        wanted = bool(args.config) or os.path.lexists(file)
        config = configuration.load(file) if wanted else None
        return Installation(file, config, configuration.state_directory(args.state, config))
    except SettingsError as error:
        return Unread(file, None, configuration.state_directory(args.state, None), error)


def _as_the_service_finds(where: Installation) -> Installation:
    """Where root's eyes see more than the service's, what it lacks is told."""
    if where.config is None or os.geteuid() != 0:
        return where
    try:
        _as_owner(where, lambda it: installation.as_the_service_reads(it.file))
    except SettingsError as error:
        return Unread(where.file, None, where.state, error)
    except ownership.NotOurs:  # each part says so
        pass
    return where


def _told(call: Callable[..., object], *values: object) -> object:
    try:
        return call(*values)
    except Exception as error:  # noqa: BLE001 (the boundary of a part: the others are told, too)
        return {"failed": mishaps.sentence(error)}


def _as_owner(where: Installation, call: Callable[[Installation], object]) -> object:
    """As find() would have root work: as who keeps the state. Raises NotOurs."""
    if os.geteuid() != 0:
        return call(where)
    read = [where.file] if where.file.exists() else []
    with ownership.acting(where.state, UNIT, *read):
        return call(where)


def _check_new(file: Path) -> None:
    given.check_target(file)
    if os.path.lexists(file):
        raise BadInput(f"{file}: is there already, and is not replaced: name another")


def _write_new(file: Path, data: bytes) -> None:
    """Make a file that nobody else can read, also where another one has come meanwhile."""
    with writing(str(file)):
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, durable.PRIVATE)
        except FileExistsError:
            _check_new(file)
            raise
        with os.fdopen(handle, "wb") as made:
            made.write(data)


# --- the machine -----------------------------------------------------------------------------


def _versions(_where: Installation) -> dict[str, object]:
    found: dict[str, object] = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found | {
        "python": sys.version,
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
        "kernel of training": f"{fedling_native.version()}, {fedling_native.isa()}",
    }


def _machine(where: Installation) -> dict[str, object]:
    """Tell of processor, memory, system and disk; no serial number, no name."""
    uname, release = platform.uname(), dict[str, str]()
    with suppress(OSError):
        release = platform.freedesktop_os_release()
    return {
        "system": {key: release[key] for key in OS_RELEASE if key in release},
        "kernel": f"{uname.system} {uname.release} {uname.version} {uname.machine}",
        "board": _read(DEVICE_TREE).rstrip("\0"),
        "processor": _fields(_read(CPUINFO), PROCESSOR),
        "processors": os.cpu_count(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "memory": _fields(_read(MEMINFO), MEMORY),
        "up_s": round(time.clock_gettime(time.CLOCK_BOOTTIME)),
        "disk": _disk(where.state),
    }


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _fields(text: str, names: tuple[str, ...]) -> dict[str, str]:
    """Take lines "name : value" out of a text, the first of each name."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() in names:
            found.setdefault(name.strip(), value.strip())
    return found


def _disk(state: Path) -> dict[str, object]:
    there = next(path for path in (state, *state.parents) if path.exists())
    usage = shutil.disk_usage(there)
    return {"file system": mounts.kind(there), "bytes": usage.total, "free": usage.free}


def _unit(_where: Installation) -> dict[str, str]:
    said = _said("systemctl", "show", SERVICE, "--no-pager", "-p", UNIT_FACTS)
    pairs = (line.partition("=") for line in said.splitlines())
    return {key: value for key, _, value in pairs if key}


def _log(_where: Installation) -> list[str]:
    """Read the last lines of the service: it logs neither examples nor keys."""
    form = ("--no-pager", "--no-hostname", "-o", "short-iso", "-q")
    lines = _said("journalctl", "-u", SERVICE, "-n", LOG_LINES, *form).splitlines()
    if not lines:
        raise Missing("journalctl shows this user no line of the service")
    return lines


def _said(*command: str) -> str:
    """Run a program to its end. Raises Missing with what it said instead."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=WAIT_S
        )
    except FileNotFoundError as error:
        raise Missing(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise Missing(f"{command[0]} did not end within {WAIT_S:.0f} s") from error
    if done.returncode:
        raise Missing(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout


# --- the device ------------------------------------------------------------------------------


def _keys(where: Installation, masks: Masks) -> dict[str, object]:
    """Tell agent.toml without its private words, which are learned."""
    text = _read(where.file)
    try:
        return masks.settings(settings.tables(text, str(where.file)))
    except SettingsError:
        masks.settings_text(text)
        raise


def _configuration(where: Installation, keys: object) -> dict[str, object]:
    """Tell what agent.toml says, and what is wrong with it."""
    fault = ""
    try:
        where.streams()
    except SettingsError as error:
        fault = str(error)
    return {"file": str(where.file), "state": str(where.state), "fault": fault, "keys": keys}


def _learn_password(where: Installation, masks: Masks) -> None:
    """Who has written it into a wrong place, too, does not give it away."""
    file = None if where.config is None else where.config.mqtt.password_file
    if file is not None:
        said = read_private(file, private=False).decode(errors="replace")
        masks.hide(said.strip(), "mqtt.password_file")


def _learn_labels(where: Installation, masks: Masks) -> None:
    with closing(Store(where.state, read_only=True)) as store:
        masks.hide_labels(label for (label,) in store.database.rows("SELECT label FROM labels"))


def _check(where: Installation) -> object:
    return check.facts(check.outcomes(where))


def _hide(facts: object, name: str, masks: Masks) -> None:
    """Leave a fact out; sentences that have it are told without it."""
    if isinstance(facts, dict) and (word := facts.pop(name, None)):
        masks.hide(str(word), name)


def _explained(where: Installation) -> object:
    return conditions.spells(where, SPELLS_S)[-SPELLS:]


def _store(where: Installation) -> dict[str, object]:
    """Tell how large everything is, and whether the database is sound; nothing that is in it."""
    files = sorted(where.kept().iterdir())
    return {
        "files": {path.name: _about(path) for path in files if not path.is_dir()},
        "folders": {path.name: _size(path) for path in files if path.is_dir()},
        "database": _told(_database, where),
    }


def _database(where: Installation) -> dict[str, object]:
    with closing(Store(where.state, read_only=True)) as store:
        read = store.database.rows
        names = [name for (name,) in read("SELECT name FROM sqlite_master WHERE type = 'table'")]
        ((version,),), ((pages,),), ((free,),) = (
            read(f"PRAGMA {name}") for name in ("user_version", "page_count", "freelist_count")
        )
        return {
            "version": version,
            "pages": pages,
            "free pages": free,
            "rows": {name: read(f"SELECT count(*) FROM {name}")[0][0] for name in sorted(names)},  # noqa: S608 (the database's own names)
            "counters": store.ledger.counters(),
            "faults": [line for (line,) in read(f"PRAGMA quick_check({FAULTS})") if line != "ok"],
        }


def _about(path: Path) -> dict[str, object]:
    found = path.lstat()
    owner = f"{found.st_uid}:{found.st_gid}"  # whose names may be people's
    return {"bytes": found.st_size, "mode": f"{stat.filemode(found.st_mode)} {owner}"}


def _size(folder: Path) -> dict[str, object]:
    sizes = [path.lstat().st_size for path in folder.rglob("*") if path.is_file()]
    return {"files": len(sizes), "bytes": sum(sizes)}


Part = Callable[[Installation], Any]
AS_CALLER: dict[str, Part] = {
    "versions": _versions,
    "machine": _machine,
    "unit": _unit,
    "log": _log,
}
AS_OWNER: dict[str, Part] = {
    "check": _check,
    "status": status.read,
    "conditions": conditions.read,
    "explained": _explained,
    "store": _store,
}
ORDER = (
    *("versions", "machine", "configuration", "unit", "check", "status", "conditions"),
    *("explained", "store", "log"),
)
