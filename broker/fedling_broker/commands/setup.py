"""`fedling-broker setup`: a fleet's server for the mosquitto and the services that systemd runs.

A list of steps: each says what it does, and whether it is done already.
"""

import argparse
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fedling_broker import config
from fedling_broker.authority import directory, x509
from fedling_broker.authority.x509 import TlsAuthority
from fedling_broker.commands import init, up
from fedling_broker.config import Config
from fedling_broker.mosquitto import process
from fedling_broker.mosquitto.configuration import KEY
from fedling_broker.mosquitto.files import Files
from fedling_broker.up import addresses
from fedling_broker.up.foundation import Ground
from fedling_broker.up.system import (
    AGGREGATOR_USER,
    MODE,
    MOSQUITTO_USER,
    SERVICE,
    WATCH,
    Places,
)
from fedling_protocol.command import output
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import writing
from fedling_protocol.exits import Exit, Failure

READABLE = 0o644
SHARED = Path(sys.prefix)  # units and users come along with the package


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
    if not changed:
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
        lambda: not places.real or _has_user(AGGREGATOR_USER),
        lambda: _call("systemd-sysusers", str(SHARED / "lib/sysusers.d/fedling.conf")),
    )
    yield Step(f"write {toml}, keys and database", toml.exists, lambda: _init(args, places))
    yield Step(
        f"make {places.files}, which {AGGREGATOR_USER} writes and {MOSQUITTO_USER} reads",
        lambda: _is_shared(places.files),
        lambda: _share(places),
    )
    yield Step(
        f"make the certificates of mosquitto and aggregator in {places.files}",
        (places.files / KEY).exists,
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
    """Root writes what is mosquitto's; what is the aggregator's is made as who keeps that."""
    found = config.load(places.broker_toml)
    tls = _authority(found)
    host, _ = found.for_devices
    names = addresses.names(x509.server_name(found.file.fleet), host)
    Files(places.files).prepare(tls, found.topics, names)
    if places.real:
        shutil.chown(places.files / KEY, MOSQUITTO_USER, MOSQUITTO_USER)
    with found.acting():
        Ground(places.files, found.state_dir).certify_aggregator(tls, found.file.fleet)


def _authority(found: Config) -> TlsAuthority:
    with found.acting():
        return directory.open_(found.authority).tls()


def _is_shared(path: Path) -> bool:
    return path.exists() and path.stat().st_mode & 0o7777 == MODE


def _share(places: Places) -> None:
    path = places.files
    with writing(str(path)):
        path.mkdir(parents=True, exist_ok=True)
        if places.real:
            shutil.chown(path, AGGREGATOR_USER, MOSQUITTO_USER)
        path.chmod(MODE)


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def _write(path: Path, text: str) -> None:
    with writing(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write_file(path, text.encode(), READABLE)
        path.chmod(READABLE)


# --- the system ----------------------------------------------------------------------------------


def _begin(places: Places) -> None:
    """Have systemd run all of it as it is now."""
    if not places.real:
        return
    unit = SHARED / "lib/systemd/system" / SERVICE
    _call("systemctl", "daemon-reload")
    _call("systemctl", "restart", "mosquitto.service")
    _call("systemctl", "enable", "--now", WATCH)
    _call("systemctl", "enable", str(unit) if unit.exists() else SERVICE)
    _call("systemctl", "restart", SERVICE)


def _call(*command: str) -> None:
    """Raises Failure with what the program said."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise Failure(f"{' '.join(command)}: {said}", Exit.FAILED)


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _tell(args: argparse.Namespace, places: Places) -> None:
    found = config.load(places.broker_toml)
    host, port = found.for_devices
    lines = [
        ("mosquitto", f"listens on {host}:{port}, TLS; {places.configuration}"),
        ("service", f"{SERVICE} runs"),
        ("invite", "sudo fedling-broker device invite"),
    ]
    output.print_pairs(lines)
