"""`fedling-broker status`: one screen of what the fleet does, what hinders it, what is soon due.

What other commands list is listed here by the same functions; `check` is who tries everything.
"""

import argparse
import shutil
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

from fedling_broker.authority.roles import DAY_S, OFFICES
from fedling_broker.commands import ages, backup, device, installation, states, task
from fedling_broker.config import Config
from fedling_broker.store.database import PROGRAM
from fedling_broker.store.devices import Certified, Devices
from fedling_broker.store.store import Store
from fedling_protocol.classes import dataclass
from fedling_protocol.command import output, watching
from fedling_protocol.disk import lock
from fedling_protocol.exits import Exit, Failure
from fedling_protocol.moments import day, moment
from fedling_protocol.wire.messages import State, StateCode

EVERY_S = 10.0  # with --watch: each time the MQTT broker is asked anew

Rows = list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the state and its disk say."""

    fleet: str
    config: str
    serves: bool  # somebody holds the state
    tasks: Rows
    certificates: dict[str, int]  # of aggregator and authority: until when, Unix time
    faults: list[str]  # of keys
    notes: list[str]
    backup_s: int  # Unix time of the last one; 0: there was none
    state_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Screen:
    """All that is shown, as it was at one time."""

    fleet: Fleet
    roll: device.Roll
    said: dict[str, State] | None  # None: the MQTT broker does not tell
    fault: str  # why
    now_s: int


def run(args: argparse.Namespace) -> Exit:
    """An MQTT broker that cannot be reached is told, as all else is."""
    found = installation.load(args)
    read, show = partial(_read, found, as_json=args.json), partial(_show, args, found)
    if args.watch:
        watching.watch(read, show, EVERY_S, as_json=args.json)
    show(read())
    return Exit.OK


def _read(found: Config, *, as_json: bool) -> Screen:
    now_s = int(time.time())
    with installation.at_work(found) as store:
        fleet = _fleet(found, store, now_s, as_json=as_json)
        roll = device.roll(found, store, now_s)
    return Screen(fleet, roll, *_listen(found, roll.devices), now_s)


def _show(args: argparse.Namespace, found: Config, screen: Screen) -> None:
    roll, mqtt = screen.roll, found.file.mqtt
    rows = device.rows(roll, screen.said, screen.now_s, as_json=args.json)
    shown = rows[: output.most(args)]
    if args.json:
        here = {"address": mqtt.address, "tls": mqtt.tls, "fault": screen.fault}
        output.print_json(asdict(screen.fleet) | {"mqtt": here, "devices": shown})
        return
    _tell(found, screen)
    print()
    output.print_rows(shown, empty="no devices; see: fedling-broker device invite")
    output.print_more(args, "the first", more=len(rows) > len(shown))
    device.tell_copies(roll)
    print()
    task.print_rows(screen.fleet.tasks, as_json=False)


def _fleet(found: Config, store: Store, now_s: int, *, as_json: bool) -> Fleet:
    devices = Devices(store.database, found.topics)
    offices = [one for owner in OFFICES if (one := devices.find(owner)) is not None]
    return Fleet(
        found.file.fleet,
        str(found.path),
        lock.is_held(found.state_dir, PROGRAM),
        task.rows(found, store, as_json=as_json),
        {one.id: one.term.until_s for one in offices},
        ages.faults(devices, now_s),
        ages.notes(found, devices, now_s),
        store.ledger.meta(backup.LAST),
        _size(found.state_dir),
        shutil.disk_usage(found.state_dir).free,
    )


def _size(directory: Path) -> int:
    """Bytes of all files; one that goes meanwhile is none."""
    size = 0
    for path in directory.rglob("*"):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        size += found.st_blocks * 512
    return size


def _listen(found: Config, devices: list[Certified]) -> tuple[dict[str, State] | None, str]:
    """What devices say of themselves; None: why nothing was heard stands beside it."""
    try:
        with found.acting():
            return states.listen(found, devices), ""
    except Failure as failure:
        return None, str(failure)


def _tell(found: Config, screen: Screen) -> None:
    fleet, said, devices = screen.fleet, screen.said, len(screen.roll.devices)
    wrong, note = output.paint("WRONG", output.RED), output.paint("note", output.YELLOW)
    well = output.paint("ok", output.GREEN)
    here = [one for one in (said or {}).values() if one.code is not StateCode.OFFLINE]
    known = "" if said is None else f", {len(here)} here"
    tasks = _count(len(fleet.tasks), "task")
    until = [f"{one} until {day(s) if s else 'for ever'}" for one, s in fleet.certificates.items()]
    mqtt = found.file.mqtt
    way = f"{mqtt.address}, {'TLS' if mqtt.tls else 'unencrypted'}"
    serve = f"{well}  runs" if fleet.serves else f"{wrong}  fedling-broker serve does not run"
    disk = f"{output.size(fleet.state_bytes)}, {output.size(fleet.free_bytes)} are free"
    output.print_pairs(
        [
            ("fleet", f"{fleet.fleet}, {_count(devices, 'device')}{known}, {tasks}"),
            ("aggregator", serve),
            ("MQTT broker", f"{wrong}  {screen.fault}" if screen.fault else f"{well}  {way}"),
            ("keys", ", ".join(until)),
            *(("keys", f"{wrong}  {words}") for words in fleet.faults),
            *(("keys", f"{note}  {words}") for words in fleet.notes),
            ("backup", _age(fleet.backup_s, screen.now_s)),
            ("disk", disk),
        ]
    )


def _age(backup_s: int, now_s: int) -> str:
    if not backup_s:
        return "never: fedling-broker backup FILE"
    days = max(0, now_s - backup_s) // DAY_S
    return f"{moment(backup_s)}, {_count(days, 'day')} ago"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
