"""`fedling-broker device invite`: a token by which devices come into the fleet by themselves."""

import argparse
import sys

from fedling_broker.authority import signing
from fedling_broker.authority.certificates import ROOTS
from fedling_broker.commands import authority, installation
from fedling_broker.config import Config
from fedling_broker.store.devices import DeviceError, Devices
from fedling_broker.store.invitations import Invitation
from fedling_protocol.command import output
from fedling_protocol.disk.errors import Missing
from fedling_protocol.exits import Exit
from fedling_protocol.moments import moment
from fedling_protocol.wire.names import AUTHORITY
from fedling_protocol.wire.token import Token, TokenError


def run(args: argparse.Namespace) -> Exit:
    if args.name and args.count != 1:
        raise DeviceError("--name is for one device, and so not with --count")
    authority.check_name(args.name)
    now_s = signing.now_s()
    with installation.opened(args) as (found, store):
        devices = Devices(store.database, found.topics)
        if devices.find(AUTHORITY) is None or not found.authority.exists():
            raise Missing(
                f"{found.authority}: no authority is here, and so nobody who would certify a"
                " device; make one (fedling-broker authority init), or certify by hand"
            )
        if devices.named(args.name) is not None:
            raise DeviceError(f"{args.name} is the name of a device already")
        chain = devices.find(ROOTS)
        root = found.root_key if chain is None else chain.key
        token = _token(args, found, root)
        made = Invitation(token, args.name, args.count, now_s, now_s + args.expires)
        store.invitations.forget_old(now_s)
        store.invitations.add(made)
    _tell(made, as_json=args.json)
    return Exit.OK


def _token(args: argparse.Namespace, found: Config, root: bytes) -> Token:
    """Make one for the address that devices use. Raises DeviceError: it is none for a token."""
    host, port = args.host or found.for_devices[0], args.port or found.file.enrolment.port
    try:
        return Token.generate(root, found.topics, host, port)
    except TokenError as error:
        words = f"{error}; {host} is of mqtt.host: set enrolment.host, or name another: --host"
        raise DeviceError(f"{found.path}: {words}") from error


def _tell(made: Invitation, *, as_json: bool) -> None:
    token = made.token
    if as_json:
        facts = {"token": token.text(), "devices": made.uses, "name": made.name}
        facts |= {"until_s": made.until_s, "host": token.host, "port": token.port}
        output.print_json(facts)
        return
    named = f" --name {made.name}" if made.name else ""
    until = moment(made.until_s)
    who = f"{made.uses} devices" if made.uses > 1 else "one device"
    print(f"fedling-agent enroll {token.text()}{named}")
    print(f"valid for {who} until {until}; on each: who reads it can take its place")
    if sys.stdout.isatty():
        _print_code(token.text())


def _print_code(text: str) -> None:
    """Draw a QR code, if the library is here."""
    try:
        import segno
    except ImportError:
        return
    segno.make(text, error="l").terminal(compact=True)
