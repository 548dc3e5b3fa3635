"""`fedling-broker device`: who belongs to the fleet, and who may come into it."""

import argparse
import sys
import time
from collections.abc import Sequence

from fedling_broker import agreement
from fedling_broker.authority import certificates, roles, signing
from fedling_broker.authority.certificates import Bundle
from fedling_broker.commands import authority, installation
from fedling_broker.commands.states import listen
from fedling_broker.config import Config
from fedling_broker.store.devices import OFFICES, Certified, DeviceError, Devices
from fedling_broker.store.rounds import Part
from fedling_broker.store.store import Store
from fedling_broker.store.tls_certificates import TlsCertificate
from fedling_protocol.classes import dataclass
from fedling_protocol.command import output
from fedling_protocol.disk.errors import Missing
from fedling_protocol.exits import Exit
from fedling_protocol.moments import moment
from fedling_protocol.wire.messages import Role, State
from fedling_protocol.wire.names import is_device

NOTHING_CAME = (
    "no device says anything: none was ever connected, or the MQTT broker lets nobody read that;"
    " see: fedling-broker check"
)


def add(args: argparse.Namespace) -> Exit:
    if args.certificate is not None:
        return _take_in(args)
    if args.device is None or args.key is None:
        raise DeviceError("name the device's id and key, or a file: --certificate FILE")
    key = authority.read_key(args.key)
    authority.check_device(args.device, key, args.name)
    with authority.opened(args) as here:
        assert here.found is not None
        assert here.store is not None
        term = roles.term(Role.DEVICE, signing.now_s(), args.name)
        devices = Devices(here.store.database, here.found.topics)
        devices.certify(args.device, key, here.own.authority_key(), term)
    output.print_answer(
        f"{args.device} belongs to the fleet; it needs no restart",
        {"device": args.device, "name": args.name, "key": key.hex(), "enrolled": True},
        as_json=args.json,
    )
    return Exit.OK


def _take_in(args: argparse.Namespace) -> Exit:
    """Take in what the authority wrote on another machine: certificates, successors, tombstones."""
    text = authority.file_of(args.certificate)
    with installation.opened(args) as (found, store):
        bundle = Bundle.parse(text, str(args.certificate), found.file.fleet)
        devices = Devices(store.database, found.topics)
        known = certificates.trusted(
            devices.bundle().only(OFFICES), found.root_key, str(found.state_dir)
        )
        certificates.believe(known, bundle, str(args.certificate))
        taken = devices.take_in(bundle)
        agreement.agree(found, store)
    output.print_answer(
        f"{args.certificate}: {len(taken)} certificates are new here: {', '.join(taken) or 'none'}",
        {"taken": taken},
        as_json=args.json,
    )
    return Exit.OK


@dataclass(frozen=True, slots=True)
class Roll:
    """Who belongs to the fleet, and what the state knows of each."""

    devices: list[Certified]
    parts: dict[str, list[Part | None]]  # of a device in each task
    copies: dict[str, list[TlsCertificate]]


def roll(found: Config, store: Store, now_s: int) -> Roll:
    """Call the roll, by what the state has. now_s: Unix time"""
    parts: dict[str, list[Part | None]] = {}
    for part in store.rounds.parts():
        parts.setdefault(part.device, []).append(part)
    devices = Devices(store.database, found.topics).certified()
    return Roll(devices, parts, store.tls_certificates.copies(now_s))


def rows(
    roll: Roll, states: dict[str, State] | None, now_s: int, *, as_json: bool
) -> list[dict[str, object]]:
    """A row of each device and task. states: what devices say of themselves; None: nobody asked"""
    return [
        _listed(device, part, now_s, as_json=as_json)
        | _copies(roll.copies.get(device.id, []), as_json=as_json)
        | _said(device, states)
        for device in roll.devices
        for part in roll.parts.get(device.id, [None])
    ]


def list_(args: argparse.Namespace) -> Exit:
    states, now_s = None, int(time.time())
    with installation.opened(args) as (found, store):
        called = roll(found, store, now_s)
    if args.live:
        states = listen(found, called.devices)
        if called.devices and not states:
            print(NOTHING_CAME, file=sys.stderr)
    listed = rows(called, states, now_s, as_json=args.json)
    shown = listed[: output.most(args)]
    output.print_rows(
        shown, as_json=args.json, empty="no devices; see: fedling-broker device invite"
    )
    output.print_more(args, "the first", more=len(listed) > len(shown))
    if not args.json:
        tell_copies(called)
    return Exit.OK


def _copies(copies: Sequence[TlsCertificate], *, as_json: bool) -> dict[str, object]:
    """Both sides of an identity that two boards seem to have."""
    keys = [{"tls_key": one.key.hex(), "asked_s": one.issued_s} for one in copies]
    return {"copies": keys} if as_json else {}


def tell_copies(roll: Roll) -> None:
    """Say which devices seem to be two boards."""
    names = {device.id: device.term.name or device.id for device in roll.devices}
    for owner, both in roll.copies.items():
        asked = ", ".join(f"key {one.key.hex()[2:10]} at {moment(one.issued_s)}" for one in both)
        words = f"{names.get(owner, owner)} asked with several keys for TLS ({asked}): was its"
        print(output.paint(f"{words} state copied, and is the copy in use?", output.YELLOW))


def _listed(
    certified: Certified, part: Part | None, now_s: int, *, as_json: bool
) -> dict[str, object]:
    """Make a row of a device and a task; a person has no use for its key here."""
    until_s, name = certified.term.until_s, certified.term.name
    row: dict[str, object] = {"device": certified.id if as_json else name or certified.id}
    if part is None:
        row |= dict.fromkeys(("task", "last", "examples"))
        row |= {"accepted": 0, "refused": 0, "doing": "never asked"}
    else:
        row |= {"task": part.task, "last": part.last, "examples": part.examples}
        row |= {"accepted": part.accepted, "refused": part.refused}
        row["doing"] = "takes part" if part.has_place else ""
    if 0 < until_s < now_s:
        row["doing"] = "certificate over"
    if as_json:
        row |= {"key": certified.key.hex(), "serial": certified.serial}
        row |= {"name": name, "until_s": until_s}
    return row


def _said(device: Certified, states: dict[str, State] | None) -> dict[str, object]:
    """What the device says of itself, if that was asked for."""
    if states is None:
        return {}
    state = states.get(device.id)
    if state is None:
        return {"now": "never heard", "why_not": "", "model": None}
    return {"now": str(state.code), "why_not": state.why_not, "model": state.version or None}


def pending(args: argparse.Namespace) -> Exit:
    with installation.opened(args) as (found, store):
        rows = [
            {
                "device": p.id,
                "key": p.key.hex(),
                **({"asked_ms": 1000 * p.seen_s} if args.json else {"asked": moment(p.seen_s)}),
            }
            for p in Devices(store.database, found.topics).pending()
        ]
    shown = rows[: output.most(args)]
    output.print_rows(shown, as_json=args.json, empty="no device waits to be enrolled")
    output.print_more(args, "the first", more=len(rows) > len(shown))
    return Exit.OK


def revoke(args: argparse.Namespace) -> Exit:
    """Doing it again ends what was interrupted. Raises Missing."""
    with authority.opened(args) as here:
        assert here.found is not None
        assert here.store is not None
        devices = Devices(here.store.database, here.found.topics)
        device = _named(devices, args.device)
        if not device.revoked:
            devices.revoke(device.id, here.own.authority_key())
        here.agree(here.own)
    output.print_answer(
        f"{device.id} no longer belongs to the fleet, and cannot come back with its key",
        {"device": device.id, "name": device.term.name, "enrolled": False},
        as_json=args.json,
    )
    return Exit.OK


def _named(devices: Devices, word: str) -> Certified:
    """Find a device by its name or its id. Raises Missing."""
    found = devices.named(word) or (devices.look_up(word) if is_device(word) else None)
    if found is None:
        raise Missing(f"no device of that name or id: {word}; see: fedling-broker device list")
    return found
