"""`fedling-broker device`: who belongs to the fleet."""

import argparse
from datetime import UTC, datetime

from fedling_broker.commands import installation
from fedling_broker.store.devices import DeviceError, Devices
from fedling_protocol.command import output
from fedling_protocol.disk.errors import Missing
from fedling_protocol.exits import Exit
from fedling_protocol.wire.names import AGGREGATOR


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
    with installation.opened(args) as (found, store):
        certified = Devices(store.database, found.topics).certified()
        rows = [
            {"device": c.id, "key": c.key.hex(), "serial": c.serial}
            for c in certified
            if c.id != AGGREGATOR
        ]
    output.print_rows(
        rows, as_json=args.json, empty="no devices; see: fedling-broker device pending"
    )
    return Exit.OK


def pending(args: argparse.Namespace) -> Exit:
    with installation.opened(args) as (found, store):
        rows = [
            {
                "device": p.id,
                "key": p.key.hex(),
                "asked": datetime.fromtimestamp(p.seen_s, UTC).isoformat(),
            }
            for p in Devices(store.database, found.topics).pending()
        ]
    output.print_rows(rows, as_json=args.json, empty="no device waits to be enrolled")
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
