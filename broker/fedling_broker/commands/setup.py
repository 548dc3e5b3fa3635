"""`fedling-broker setup`: a fleet's server for the mosquitto and the services that systemd runs.

A list of steps: each says what it does, and whether it is done already.
"""

import argparse
import grp
import os
import pwd
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fedling_broker import config
from fedling_broker.authority import directory, x509
from fedling_broker.commands import init, up
from fedling_broker.mosquitto import process
from fedling_broker.mosquitto.configuration import KEY
from fedling_broker.mosquitto.files import RELOADED
from fedling_broker.up import addresses
from fedling_broker.up.foundation import OWN_CERTIFICATE, Ground
from fedling_broker.up.system import (
    AGGREGATOR_USER,
    MODE,
    MOSQUITTO,
    MOSQUITTO_USER,
    SERVICE,
    WATCH,
    Places,
)
from fedling_protocol.classes import dataclass
from fedling_protocol.command import output, systemd
from fedling_protocol.disk import durable, ownership
from fedling_protocol.disk.errors import writing
from fedling_protocol.exits import Exit, Failure

READABLE = 0o644


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do. done: it need not be"""

    words: str
    done: Callable[[], bool]
    do: Callable[[], object]


def run(args: argparse.Namespace) -> Exit:
    places = Places(args.root)
    process.executable()
    places.check_alone()
    if not args.dry_run and places.real and os.geteuid() != 0:
        raise Failure(
            "this writes into /etc and starts services: put sudo before it, or look first with"
            " --dry-run; without root there is: fedling-broker up",
            Exit.NOT_ALLOWED,
        )
    changed = [step.words for step in _steps(args, places) if _take(step, dry=args.dry_run)]
    if not changed and _runs(places):
        print("everything is as it should be: nothing was changed")
    elif not args.dry_run:
        _begin(places)
        _tell(args, places)
    return Exit.OK


def _take(step: Step, *, dry: bool) -> bool:
    """Do a step that is not done; whether there was anything to do."""
    if step.done():
        return False
    print(f"{'would ' if dry else ''}{step.words}", flush=True)
    if not dry:
        step.do()
    return True


# --- the steps -----------------------------------------------------------------------------------


def _steps(args: argparse.Namespace, places: Places) -> Iterator[Step]:
    toml = places.broker_toml
    yield Step(
        f"make user {AGGREGATOR_USER}",
        lambda: not places.real or systemd.has_user(AGGREGATOR_USER),
        lambda: systemd.make_user(AGGREGATOR_USER),
    )
    yield Step(f"write {toml}, keys and database", toml.exists, lambda: _init(args, places))
    yield Step(
        f"make {places.files}, which {AGGREGATOR_USER} writes and {MOSQUITTO_USER} reads",
        lambda: _is_shared(places),
        lambda: _share(places),
    )
    yield Step(
        f"make the certificates of mosquitto and aggregator in {places.files}",
        lambda: _is_laid(places),
        lambda: _lay(places),
    )
    for path, text in places.texts(*_ports(args, toml)).items():
        yield Step(f"write {path}", partial(_is, path, text), partial(_write, path, text))


def _ports(args: argparse.Namespace, toml: Path) -> tuple[int, int]:
    """Those that broker.toml has; before there is one those that it will have."""
    if toml.exists():
        file = config.load(toml).file
        return file.mqtt.tcp_port, file.enrolment.port
    return args.port or up.PORT, args.enrolment_port or up.ENROLMENT_PORT


def _init(args: argparse.Namespace, places: Places) -> None:
    init.make(up.init_words(args, places.broker_toml, str(places.state), str(places.files)))


def _lay(places: Places) -> None:
    """All is made as the aggregator, whose directory it is; at the end the key is mosquitto's."""
    found = config.load(places.broker_toml)
    host, _ = found.for_devices
    names = addresses.names(x509.server_name(found.file.fleet), host)
    key = places.files / KEY
    if key.exists():
        _give(places, key, AGGREGATOR_USER)
    with found.acting():
        tls = directory.open_(found.authority).tls()
        Ground(places.files, found.state_dir).lay(tls, found.topics, names)
    _give(places, key, MOSQUITTO_USER)


def _is_laid(places: Places) -> bool:
    """Whether nothing is missing. The key becomes mosquitto's when all the rest is there."""
    needed = [places.files / name for name in RELOADED] + [places.state / OWN_CERTIFICATE]
    there = all(file.exists() for file in needed)
    return there and _is_of(places, places.files / KEY, MOSQUITTO_USER)


def _is_shared(places: Places) -> bool:
    path = places.files
    is_open = path.exists() and path.stat().st_mode & 0o7777 == MODE
    return is_open and _is_of(places, path, AGGREGATOR_USER)


def _share(places: Places) -> None:
    path = places.files
    with writing(str(path)):
        path.mkdir(parents=True, exist_ok=True)
        _give(places, path, AGGREGATOR_USER)
        path.chmod(MODE)


def _is_of(places: Places, path: Path, user: str) -> bool:
    """Whether a file is the user's; a trial knows one user only."""
    return not places.real or ownership.user_name(path.lstat().st_uid) == user


def _give(places: Places, path: Path, user: str) -> None:
    """Make a file the user's, and its group mosquitto's; a link itself, not where it leads."""
    if places.real:
        uid, gid = pwd.getpwnam(user).pw_uid, grp.getgrnam(MOSQUITTO_USER).gr_gid
        os.chown(path, uid, gid, follow_symlinks=False)


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def _write(path: Path, text: str) -> None:
    with writing(str(path)):
        ownership.make_folder_for_services(path.parent)
        durable.write_file(path, text.encode(), READABLE, exact=True)


# --- the system ----------------------------------------------------------------------------------


def _begin(places: Places) -> None:
    """Have systemd run all of it as it is now."""
    if not places.real:
        return
    systemd.call("systemctl", "daemon-reload")
    systemd.call("systemctl", "enable", MOSQUITTO)
    systemd.call("systemctl", "restart", MOSQUITTO)
    systemd.call("systemctl", "enable", WATCH)
    systemd.call("systemctl", "restart", WATCH)
    systemd.begin(SERVICE)


def _runs(places: Places) -> bool:
    """Whether an earlier run came to its end."""
    return not places.real or systemd.runs(MOSQUITTO, WATCH, SERVICE)


def _tell(args: argparse.Namespace, places: Places) -> None:
    found = config.load(places.broker_toml)
    host, port = found.for_devices
    lines = [
        ("mosquitto", f"listens on {host}:{port}, TLS; {places.configuration}"),
        ("service", f"{SERVICE} runs"),
        ("invite", "sudo fedling-broker device invite"),
    ]
    output.print_pairs(lines)
