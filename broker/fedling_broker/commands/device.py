"""`fedling-broker device`: who belongs to the fleet."""

import argparse
import sys

from fedling_broker.commands import installation
from fedling_broker.commands.states import listen
from fedling_broker.store.devices import Certified, DeviceError, Devices
from fedling_broker.store.rounds import Part
from fedling_protocol.command import output
from fedling_protocol.disk.errors import Missing
from fedling_protocol.exits import Exit
from fedling_protocol.moments import moment
from fedling_protocol.wire.messages import State
from fedling_protocol.wire.names import AGGREGATOR

NOTHING_CAME = (
    "no device says anything: none was ever connected, or the MQTT broker lets nobody read that;"
    " see: fedling-broker check"
)


def add(args: argparse.Namespace) -> Exit:
    try:
        key = bytes.fromhex(args.key)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise DeviceError("the key is not 64 hexadecimal digits, as `fedling-agent init` prints it")
    root = installation.root_key(installation.load(args), args.root_key)
    with installation.opened(args) as (found, store):
        Devices(store.database, found.topics).certify(args.device, key, root)
    output.print_answer(
        f"{args.device} belongs to the fleet; it needs no restart",
        {"device": args.device, "key": key.hex(), "enrolled": True},
        as_json=args.json,
    )
    return Exit.OK


def list_(args: argparse.Namespace) -> Exit:
    states: dict[str, State] | None = None
    with installation.opened(args) as (found, store):
        devices = Devices(store.database, found.topics).certified()
        devices = [device for device in devices if device.id != AGGREGATOR]
        parts: dict[str, list[Part | None]] = {}
        for part in store.rounds.parts():
            parts.setdefault(part.device, []).append(part)
    if args.live:
        states = listen(found, devices)
        if devices and not states:
            print(NOTHING_CAME, file=sys.stderr)
    rows = [
        _listed(device, part, as_json=args.json) | _said(device, states)
        for device in devices
        for part in parts.get(device.id, [None])
    ]
    shown = rows[: output.most(args)]
    output.print_rows(
        shown, as_json=args.json, empty="no devices; see: fedling-broker device pending"
    )
    output.print_more(args, "the first", more=len(rows) > len(shown))
    return Exit.OK


def _listed(certified: Certified, part: Part | None, *, as_json: bool) -> dict[str, object]:
    """Make a row of a device and a task; a person has no use for its key here."""
    row: dict[str, object] = {"device": certified.id}
    if part is None:
        row |= dict.fromkeys(("task", "last", "examples"))
        row |= {"accepted": 0, "refused": 0, "doing": "never asked"}
    else:
        row |= {"task": part.task, "last": part.last, "examples": part.examples}
        row |= {"accepted": part.accepted, "refused": part.refused}
        row["doing"] = "takes part" if part.has_place else ""
    return row | {"key": certified.key.hex(), "serial": certified.serial} if as_json else row


def _said(device: Certified, states: dict[str, State] | None) -> dict[str, object]:
    """What the device says of itself, if that was asked for."""
    if states is None:
        return {}
    state = states.get(device.id)
    if state is None:
        return {"now": "never heard", "model": None}
    return {"now": str(state.code), "model": state.version or None}


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


def remove(args: argparse.Namespace) -> Exit:
    with installation.opened(args) as (found, store):
        if not Devices(store.database, found.topics).remove(args.device):
            raise Missing(f"no certificate of {args.device} is in force")
    output.print_answer(
        f"{args.device} no longer belongs to the fleet",
        {"device": args.device, "enrolled": False},
        as_json=args.json,
    )
    return Exit.OK
