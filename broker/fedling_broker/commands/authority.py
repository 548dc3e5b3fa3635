"""`fedling-broker authority`: the keys that vouch for others, here or on another machine."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedling_broker import agreement
from fedling_broker.authority import certificates, directory, roles, signing
from fedling_broker.authority.directory import Directory
from fedling_broker.authority.roles import ROOT, role_of
from fedling_broker.commands import installation
from fedling_broker.config import ONLINE_KEY, Config
from fedling_broker.store.database import PROGRAM
from fedling_broker.store.devices import DeviceError, Devices
from fedling_broker.store.store import Store
from fedling_protocol.classes import dataclass
from fedling_protocol.command import output
from fedling_protocol.disk import durable, given, lock
from fedling_protocol.disk.errors import CannotWrite, Missing, writing
from fedling_protocol.exits import Exit
from fedling_protocol.moments import day
from fedling_protocol.wire import identity
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY, LABELS, is_device, is_label

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Here:
    """An authority's directory, held, and the state beside it, if there is one."""

    own: Directory
    found: Config | None
    store: Store | None

    def agree(self, own: Directory) -> Directory:
        """Have the state say what the directory says."""
        if self.found is None or self.store is None:
            return own
        own = agreement.settle(self.found, self.store, own)
        aggregator = Devices(self.store.database, self.found.topics).find(AGGREGATOR)
        if aggregator is not None:
            directory.settle_key(self.found.state_dir / ONLINE_KEY, aggregator.key)
        return own


@contextmanager
def opened(args: argparse.Namespace) -> Iterator[Here]:
    """Open the directory that is named, or that of broker.toml with its state.

    Inside of it root is who keeps the state: the caller's own files are for before and after.
    """
    if args.directory is not None:
        with directory.alone(args.directory) as own:
            yield Here(own, None, None)
        return
    with installation.opened(args) as (found, store), directory.alone(found.authority) as own:
        here = Here(own, found, store)
        yield Here(here.agree(own), found, store)


# --- init, show ----------------------------------------------------------------------------------


def init(args: argparse.Namespace) -> Exit:
    root = installation.given_root_key(args)
    if args.directory is not None:
        made = directory.create(args.directory, args.fleet, root, signing.now_s())
    else:
        with installation.opened(args) as (found, store):
            made = begin(found, store, root)
    facts = {"directory": str(made.path), "fleet": made.file.fleet, "root_key": made.file.root_key}
    words = [f"the authority of fleet {made.file.fleet} is in {made.path}", _advice(made)]
    output.print_answer("\n".join(filter(None, words)), facts, as_json=args.json)
    return Exit.OK


def begin(found: Config, store: Store, root: SigningKey | None) -> Directory:
    """Make the authority beside a state, with the root key that the fleet has already, if any."""
    if root is None and not (found.authority / directory.SETTINGS).exists():
        raise Missing(
            f"{found.path}: the fleet has a root key already; name its file: --root-key FILE"
        )
    directory.create(found.authority, found.file.fleet, root, signing.now_s())
    with directory.alone(found.authority) as own:
        return agreement.settle(found, store, own)


def _advice(own: Directory) -> str:
    if not own.has_root_key:
        return ""
    return (
        f"the root key lies in {own.path / directory.ROOT_KEY}: who has it has the fleet; take it"
        " away: fedling-broker authority take-root /media/stick/root.key"
    )


def show(args: argparse.Namespace) -> Exit:
    with opened(args) as here:
        own, now_s = here.own, int(time.time())
        rows = [_row(own, owner, now_s) for owner in (AUTHORITY, AGGREGATOR)]
        facts = {
            "directory": str(own.path),
            "fleet": own.file.fleet,
            "root_key": own.newest_root.hex(),
            "first_root_key": own.file.root_key,
            "root_key_here": own.has_root_key,
            "grace_days": own.file.grace_days,
            "certificates": rows,
        }
    if args.json:
        output.print_json(facts)
        return Exit.OK
    output.print_rows(rows, empty="")
    print(f"root key {own.newest_root.hex()}; devices come back within {own.file.grace_days} days")
    if advice := _advice(own):
        print(output.paint(advice, output.YELLOW))
    return Exit.OK


def _row(own: Directory, owner: str, now_s: int) -> dict[str, object]:
    row: dict[str, object] = {"certificate": owner, "serial": None, "until": None, "renew": ""}
    data = own.bundle.envelopes.get(owner)
    if data is None:
        return row
    found = certificates.read(data)
    row |= {"serial": found.serial, "until": _day(found.until_s)}
    due_s = roles.Term(found.issued_s, found.until_s).due_s(role_of(owner))
    return row | {"renew": "now" if 0 < due_s < now_s else _day(due_s) or ""}


# --- certify, rotate, take-root ------------------------------------------------------------------


def certify(args: argparse.Namespace) -> Exit:
    key = read_key(args.key)
    given.check_target(args.to)
    if args.to.exists():
        raise DeviceError(f"{args.to}: is there already, and is not replaced: name another")
    root = installation.given_root_key(args)
    with opened(args) as here:
        own = here.agree(_certify(here.own, args, key, root))
    installation.write(args.to, own.bundle.text().encode())
    output.print_answer(
        f"{args.to} has the certificate; where the aggregator runs:"
        f" fedling-broker device add --certificate {args.to}",
        {"owner": args.owner, "file": str(args.to)},
        as_json=args.json,
    )
    return Exit.OK


def _certify(
    own: Directory, args: argparse.Namespace, key: bytes, root: SigningKey | None
) -> Directory:
    now_s = signing.now_s()
    if args.owner == AGGREGATOR:
        return own.office(AGGREGATOR, key, _root(own, root), now_s)
    check_device(args.owner, key, args.name)
    held = [certificates.read(data) for data in own.devices.values()]
    if any(one.name == args.name and one.id != args.owner and not one.revoked for one in held):
        raise DeviceError(f"{args.name} is the name of another device")
    if any(one.id == args.owner and one.revoked for one in held):
        raise DeviceError(f"{args.owner} was revoked: a device that comes back needs another key")
    term = roles.term(role_of(args.owner), now_s, args.name)
    return own.keep({args.owner: own.certified(args.owner, key, own.authority_key(), term)})


def _root(own: Directory, root: SigningKey | None) -> SigningKey:
    """The root key: the given one, if it is in force, or that of the directory."""
    if root is None:
        return own.root_key()
    if root.public != own.newest_root:
        raise DeviceError(f"that is not the root key in force of fleet {own.file.fleet}")
    return root


def rotate(args: argparse.Namespace) -> Exit:
    root = installation.given_root_key(args)
    with opened(args) as here:
        ROTATE[args.which](here, _root(here.own, root))
    output.print_answer(DONE[args.which], {"rotated": args.which}, as_json=args.json)
    return Exit.OK


def _rotate_aggregator(here: Here, root: SigningKey) -> None:
    """While `serve` runs it signs with the key that it has: it has to end first."""
    if here.found is None:
        raise Missing("the online key is where the aggregator is: run this there")
    now_s = signing.now_s()  # before there is a key that nobody certifies
    with lock.exclusive(here.found.state_dir, PROGRAM):
        new = directory.new_key(here.found.state_dir / ONLINE_KEY)
        here.agree(here.own.office(AGGREGATOR, new.public, root, now_s))


def _rotate_authority(here: Here, root: SigningKey) -> None:
    here.agree(here.own.rotate_authority(root, signing.now_s()))


def _rotate_root(here: Here, root: SigningKey) -> None:
    aggregator = here.own.bundle.envelopes.get(AGGREGATOR)
    key = None if aggregator is None else certificates.read(aggregator).key
    here.agree(here.own.rotate_root(root, key, signing.now_s()))


ROTATE = {
    AGGREGATOR: _rotate_aggregator,
    AUTHORITY: _rotate_authority,
    ROOT: _rotate_root,
}
DONE = {
    AGGREGATOR: "the aggregator has another online key: start `serve`, and devices follow",
    AUTHORITY: "the authority has another key, and all devices certificates by it",
    ROOT: "the root key has a successor, which devices follow by themselves; take the new one away:"
    " fedling-broker authority take-root FILE; and destroy the old one",
}


def take_root(args: argparse.Namespace) -> Exit:
    """A stick may know neither modes nor hard links: the copy is written, read again, compared."""
    given.check_target(args.file)
    with opened(args) as here:
        if not here.own.has_root_key:
            raise Missing(f"{here.own.path}: the root key is not here, it was taken away already")
        pem = here.own.root_key().pem()
    if not (args.file.exists() and args.file.read_bytes() == pem):  # else it was interrupted
        if args.file.exists():
            raise DeviceError(f"{args.file}: is there already, and is not this key: name another")
        with writing(str(args.file)):
            durable.write_file(args.file, pem)
        if args.file.read_bytes() != pem:
            raise CannotWrite(str(args.file), "it reads back as something else")
    with opened(args) as here, writing(str(here.own.path)):
        durable.remove_file(here.own.path / directory.ROOT_KEY)
    output.print_answer(
        f"the root key is in {args.file}, and here no longer",
        {"file": str(args.file)},
        as_json=args.json,
    )
    return Exit.OK


# --- what people type ----------------------------------------------------------------------------


def read_key(text: str) -> bytes:
    """Read a public key as people type it. Raises DeviceError."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise DeviceError("the key is not 64 hexadecimal digits, as `fedling-agent init` prints it")
    return key


def check_device(owner: str, key: bytes, name: str) -> None:
    """Check what a certificate by hand is to say. Raises DeviceError."""
    if not is_device(owner) or identity.device_id(key) != owner:
        raise DeviceError(f"{owner} is not the id of this key: that is {identity.device_id(key)}")
    if identity.is_weak(key):
        raise DeviceError("this key is of small order: anybody can sign for it")
    check_name(name)


def check_name(name: str) -> None:
    """Check a device's name. Raises DeviceError."""
    if name and not is_label(name):
        raise DeviceError(f"{name!r} is not a name: {LABELS}")


def file_of(path: Path) -> str:
    """Read a file of certificates that a person names. Raises Missing, BadInput."""
    with given.opened(path) as file:
        return file.read(installation.MOST_CERTIFICATES).decode(errors="replace")


def _day(seconds: int) -> str | None:
    """Write the day of a Unix time; None: there is none."""
    return day(seconds) if seconds else None
