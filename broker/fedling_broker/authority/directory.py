"""The directory of the fleet's authority: its keys, and what the root key vouched for.

    authority.toml    fleet, the public half of its first root key, the grace of devices
    certificates      the chain of roots, the certificates of authority and aggregator, tombstones;
                      of devices those that were certified by hand, here
    authority.key     certifies devices
    root.key          certifies authority and aggregator; until the operator takes it away
    tls-ca.*          the authority for TLS (x509.py)
    serial            of the last certificate that was made here

It may lie beside the aggregator's state, or on another machine. `certificates` is the one fact: a
new key lies as NAME.new until it is certified there, and settle() ends what was interrupted.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fedling_broker.authority import certificates, roles, x509
from fedling_broker.authority.certificates import ROOTS, Bundle
from fedling_broker.authority.roles import GRACE_DAYS, Term, role_of
from fedling_broker.authority.x509 import TlsAuthority
from fedling_protocol import settings
from fedling_protocol.classes import dataclass
from fedling_protocol.common_settings import check_fleet, check_root_key
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import Missing, writing
from fedling_protocol.settings import setting
from fedling_protocol.wire import identity, roots
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.limits import MAX_U32
from fedling_protocol.wire.messages import Role
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY, is_device

SETTINGS, CERTIFICATES, SERIAL, LOCK = "authority.toml", "certificates", "serial", "lock"
ROOT_KEY, AUTHORITY_KEY = "root.key", "authority.key"
KEPT = (  # what a backup has of it
    SETTINGS, CERTIFICATES, SERIAL, AUTHORITY_KEY, x509.KEY, x509.CERTIFICATE, x509.REVOKED
)  # fmt: skip
NEW = ".new"  # ends the name of a key that nobody has certified yet
TEMPLATE = """\
# The authority of one fleet.
fleet = "{fleet}"
root_key = "{root_key}"     # public: the first one; its successors stand in `certificates`
grace_days = {grace_days}   # after the end of its certificate a device still comes back by itself
"""


@dataclass(frozen=True, slots=True)
class AuthorityFile:
    """The keys of authority.toml."""

    fleet: str = setting(help="the fleet that this authority serves", check=check_fleet)
    root_key: str = setting(
        help="the public half of the fleet's first root key", check=check_root_key
    )
    grace_days: int = setting(
        GRACE_DAYS,
        help="a device whose certificate is over comes back by itself within so many days",
        unit="days",
        low=0,
        high=3650,
    )


@dataclass(frozen=True, slots=True)
class Directory:
    """An authority's directory, as it was when it was opened."""

    path: Path
    file: AuthorityFile
    bundle: Bundle

    # --- what is there ---------------------------------------------------------------------------

    @property
    def first_root(self) -> bytes:
        """The public half of the root key that the fleet began with."""
        return bytes.fromhex(self.file.root_key)

    @property
    def newest_root(self) -> bytes:
        """The public half of the root key in force."""
        chain = self.bundle.envelopes.get(ROOTS)
        return self.first_root if chain is None else certificates.links(chain)[-1].key

    @property
    def devices(self) -> Mapping[str, bytes]:
        """The certificates and tombstones of devices, by id."""
        return {id_: data for id_, data in self.bundle.envelopes.items() if is_device(id_)}

    @property
    def has_root_key(self) -> bool:
        """Whether the root key lies here: it should be with the operator."""
        return (self.path / ROOT_KEY).exists()

    @property
    def has_authority_key(self) -> bool:
        return (self.path / AUTHORITY_KEY).exists()

    def authority_key(self) -> SigningKey:
        """Load the key that certifies devices. Raises IdentityError."""
        path = self.path / AUTHORITY_KEY
        key = identity.load_key(path)
        own = self.bundle.envelopes.get(AUTHORITY)
        if own is None or certificates.read(own).key != key.public:
            raise identity.IdentityError(f"{path}: is not certified; restore it from a backup")
        return key

    def root_key(self, path: Path | None = None) -> SigningKey:
        """Load the root key in force, from here or from a file. Raises Missing, IdentityError."""
        if path is None and not self.has_root_key:
            raise Missing(
                f"{self.path}: the root key is not here, it was taken away: name the file where it"
                " is now: --root-key FILE"
            )
        path = path or self.path / ROOT_KEY
        key = identity.load_key(path)
        if key.public != self.newest_root:
            raise identity.IdentityError(f"{path}: is not the root key of fleet {self.file.fleet}")
        return key

    def tls(self) -> TlsAuthority:
        """Load the authority for TLS. Raises IdentityError."""
        return x509.load_ca(self.path)

    def until_s(self, owner: str) -> int:
        """When the certificate of an office ends, as Unix time; 0: it has none, or no end."""
        found = self.bundle.envelopes.get(owner)
        return 0 if found is None else certificates.read(found).until_s

    # --- what is certified here ------------------------------------------------------------------

    def certified(
        self, owner: str, key: bytes, signer: SigningKey, term: Term, *, revoked: bool = False
    ) -> bytes:
        """Make a certificate, with a serial of this directory. Raises CannotWrite."""
        serial = self._next_serial(term.issued_s)
        return certificates.sign(self.file.fleet, owner, key, serial, term, signer, revoked=revoked)

    def office(self, owner: str, key: bytes, root: SigningKey, now_s: int) -> "Directory":
        """Have the root key vouch for the aggregator's or the authority's; the directory after it.

        Raises CannotWrite.
        """
        made = self.certified(owner, key, root, roles.term(role_of(owner), now_s))
        return self.keep({owner: made})

    def keep(self, envelopes: Mapping[str, bytes]) -> "Directory":
        """Enter certificates, all at once; the directory after it. Raises CannotWrite."""
        bundle = self.bundle.plus(envelopes)
        with writing(str(self.path)):
            durable.write_file(self.path / CERTIFICATES, bundle.text().encode())
        return replace(self, bundle=bundle)

    def raise_serial(self, least: int) -> None:
        """Make no certificate from now on that an older one of a state outlives."""
        if least > self._serial():
            self._write_serial(least)

    def _next_serial(self, now_s: int) -> int:
        serial = max(self._serial() + 1, min(now_s, MAX_U32))
        self._write_serial(serial)
        return serial

    def _serial(self) -> int:
        path = self.path / SERIAL
        try:
            return int(path.read_text())
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            raise identity.IdentityError(
                f"{path}: no number; put the highest serial there that `device list --json` shows"
            ) from error

    def _write_serial(self, serial: int) -> None:
        with writing(str(self.path)):
            durable.write_file(self.path / SERIAL, f"{serial}\n".encode())

    # --- new keys in the place of old ones -------------------------------------------------------

    def rotate_authority(self, root: SigningKey, now_s: int) -> "Directory":
        """Make another key for the authority; the directory after it. Raises CannotWrite.

        What the former key signed of devices counts no more: here it is signed anew.
        """
        new = new_key(self.path / AUTHORITY_KEY)
        made = self.certified(AUTHORITY, new.public, root, roles.term(Role.AUTHORITY, now_s))
        anew = {owner: self._again(data, new) for owner, data in self.devices.items()}
        directory = self.keep({AUTHORITY: made, **anew})
        directory.settle()
        return directory

    def _again(self, data: bytes, signer: SigningKey) -> bytes:
        """Sign what another key had signed."""
        old = certificates.read(data)
        term = Term(old.issued_s, old.until_s, old.name)
        return self.certified(old.id, old.key, signer, term, revoked=old.revoked)

    def rotate_root(self, root: SigningKey, aggregator: bytes | None, now_s: int) -> "Directory":
        """Have the root key certify a successor, which certifies the offices; all at once.

        aggregator: the public half of its online key, if that is known
        """
        new = new_key(self.path / ROOT_KEY)
        chain = self.bundle.envelopes.get(ROOTS)
        links = () if chain is None else certificates.links(chain)
        link = roots.succeed(root, new.public, self.file.fleet, len(links) + 1, now_s)
        envelopes = {ROOTS: certificates.sign_roots(self.file.fleet, (*links, link), new)}
        keys = {AGGREGATOR: aggregator, AUTHORITY: self.authority_key().public}
        for owner, key in keys.items():
            if key is not None:
                term = roles.term(role_of(owner), now_s)
                envelopes[owner] = self.certified(owner, key, new, term)
        made = self.keep(envelopes)
        made.settle()
        return made

    def settle(self) -> None:
        """End what a power cut interrupted: a new key that is certified takes the old one's place.

        One that nobody certified is removed.
        """
        authority = self.bundle.envelopes.get(AUTHORITY)
        wanted = {ROOT_KEY: self.newest_root}
        if authority is not None:
            wanted[AUTHORITY_KEY] = certificates.read(authority).key
        for name, public in wanted.items():
            settle_key(self.path / name, public)


def new_key(path: Path) -> SigningKey:
    """Make a key that will take another's place, as NAME.new; one that was left there goes."""
    new = path.with_name(path.name + NEW)
    with writing(str(path.parent)):
        durable.remove_file(new)
        return identity.create_key(new)


def settle_key(path: Path, public: bytes) -> None:
    """Put NAME.new in the place of NAME, if it is the key of this public half, or remove it."""
    new = path.with_name(path.name + NEW)
    if not new.exists():
        return
    with writing(str(path.parent)):
        if identity.load_key(new).public == public:
            new.replace(path)
            durable.sync_directory(path.parent)
        else:
            durable.remove_file(new)


def create(path: Path, fleet: str, root: SigningKey | None, now_s: int) -> Directory:
    """Make what is missing of an authority. Raises CannotWrite, IdentityError, SettingsError.

    root: the fleet's root key, if there is one already; it is not kept here
    """
    with writing(str(path)):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        if not (path / SETTINGS).exists():
            first = root or identity.ensure_key(path / ROOT_KEY)
            text = TEMPLATE.format(fleet=fleet, root_key=first.public.hex(), grace_days=GRACE_DAYS)
            durable.write_file(path / SETTINGS, text.encode())
    made = open_(path)
    if AUTHORITY not in made.bundle.envelopes:
        with writing(str(path)):
            key = identity.ensure_key(path / AUTHORITY_KEY)
        made = made.office(AUTHORITY, key.public, root or made.root_key(), now_s)
    with writing(str(path)):
        x509.create_ca(path, made.file.fleet)
    return made


def open_(path: Path) -> Directory:
    """Read an authority's directory. Raises Missing, SettingsError, BadInput, IdentityError."""
    file = path / SETTINGS
    if not file.exists():
        raise Missing(f"{path}: no authority is here; make one: fedling-broker authority init")
    found = settings.load(file, AuthorityFile)
    bundle = Bundle(found.fleet)
    text = path / CERTIFICATES
    if text.exists():
        bundle = Bundle.parse(text.read_text(), str(text), found.fleet)
    directory = Directory(path, found, bundle)
    certificates.trusted(bundle, directory.first_root, str(text))
    return directory


@contextmanager
def alone(path: Path) -> Iterator[Directory]:
    """Open it for changes; other commands wait meanwhile. Raises as open_(), CannotWrite."""
    open_(path)  # no file is made where none is
    with writing(str(path)):
        held = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, durable.PRIVATE)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        found = open_(path)
        found.settle()
        yield found
    finally:
        os.close(held)
