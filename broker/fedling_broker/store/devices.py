"""The keys of the fleet: who has a certificate, who lost it, who asks for one."""

import sqlite3

from fedling_broker.authority import certificates
from fedling_broker.authority.certificates import ROOTS, Bundle
from fedling_broker.authority.roles import Term, role_of
from fedling_broker.store.ledger import Ledger
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.database import Database, one
from fedling_protocol.wire import envelope as envelopes
from fedling_protocol.wire.identity import SigningKey, device_id, is_weak, kid
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Certificate, Role
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY, is_device
from fedling_protocol.wire.topics import Topics

MAX_PENDING = 1000  # a stranger with many keys fills no disk
FORGET_S = 86_400  # who has not asked for so long makes room
REFRESH_S = 3600  # a device that asks again and again costs one write an hour
OFFICES = (ROOTS, AUTHORITY, AGGREGATOR)  # who is no device, in the order in which they vouch
_ALL = "SELECT id, key, serial, envelope, issued_s, until_s, name, revoked FROM certificates"
_CERTIFIED = f"{_ALL} WHERE revoked = 0"
_CHANGED = "SELECT id, key, serial, until_s, revoked, changed FROM certificates WHERE changed > ?"
_PUT = """
INSERT INTO certificates
    (id, key, serial, envelope, issued_s, until_s, name, revoked, kid, changed, retained)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
ON CONFLICT (id) DO UPDATE SET
    key = excluded.key, serial = excluded.serial, envelope = excluded.envelope,
    issued_s = excluded.issued_s, until_s = excluded.until_s, name = excluded.name,
    revoked = excluded.revoked, kid = excluded.kid, changed = excluded.changed, retained = 0
"""
_DEVICES = "id NOT IN ('roots', 'authority', 'aggregator')"


NO_TERM = Term()


class DeviceError(Exception):
    """What the operator asked for does not fit; the message says why."""


class NameTaken(DeviceError):
    """Another device of the fleet has the name."""


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate as it is published, or a tombstone; of `roots`, the chain of root keys."""

    id: str
    key: bytes
    serial: int
    envelope: bytes
    term: Term = NO_TERM
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """A device that asked to take part and has no certificate."""

    id: str
    key: bytes
    seen_s: int  # Unix time


@dataclass(frozen=True, slots=True)
class Change:
    """A certificate that was added, replaced or revoked."""

    id: str
    key: bytes
    serial: int
    until_s: int
    revoked: bool
    changed: int  # the number of this change


class Devices:
    """Certificates and those who wait for one."""

    def __init__(self, database: Database, topics: Topics) -> None:
        self._database = database
        self._ledger = Ledger(database)
        self._topics = topics

    # --- certificates ----------------------------------------------------------------------------

    def certify(
        self, owner: str, key: bytes, signer: SigningKey, term: Term | None = None
    ) -> Certified:
        """Sign a certificate and keep it, in the place of an older one. Raises DeviceError.

        signer: the authority's key or, of the aggregator and the authority themselves, the root's
        """
        if role_of(owner) is Role.DEVICE and device_id(key) != owner:
            raise DeviceError(f"{owner} is not the id of this key: that is {device_id(key)}")
        if is_weak(key):
            raise DeviceError("this key is of small order: anybody can sign for it")
        old, term = self.look_up(owner), term or NO_TERM
        if old is not None and old.revoked:
            raise DeviceError(f"{owner} was revoked: a device that comes back needs another key")
        if old is not None and (old.key, old.term) == (key, term):
            raise DeviceError(f"{owner} has a certificate already")
        self._check_name(owner, term.name)
        return self._sign(owner, key, term, signer)

    def revoke(self, owner: str, signer: SigningKey) -> Certified | None:
        """Make a device's tombstone and take back its places; None: it has no certificate."""
        old = self.find(owner)
        if old is None or not is_device(owner):
            return None
        with self._database.transaction("the end of a device"):
            return self._sign(owner, old.key, old.term, signer, revoked=True)

    def resign(self, signer: SigningKey) -> int:
        """Sign anew what a key signed of devices that is in force no more; how many there were."""
        rows = self._database.rows(f"{_ALL} WHERE {_DEVICES}")
        stale = [one for one in map(_certified, rows) if _signer(one.envelope) != signer.kid]
        with self._database.transaction("the certificates"):
            for old in stale:
                self._sign(old.id, old.key, old.term, signer, revoked=old.revoked)
        return len(stale)

    def _sign(
        self, owner: str, key: bytes, term: Term, signer: SigningKey, *, revoked: bool = False
    ) -> Certified:
        with self._database.transaction("a certificate"):
            serial = self._ledger.outlive("serial")
            data = certificates.sign(
                self._topics.fleet, owner, key, serial, term, signer, revoked=revoked
            )
            made = Certified(owner, key, serial, data, term, revoked)
            self._put(made)
            return made

    def take_in(self, bundle: Bundle) -> list[str]:
        """Keep what is newer in a bundle that was verified; whose certificates that are.

        Who was revoked stays so. Raises NameTaken; then nothing is kept.
        """
        taken = []
        with self._database.transaction("certificates"):
            for owner, data in bundle.ordered():
                found, old = _read(owner, data), self.look_up(owner)
                if old is not None and not _is_later(found, old):
                    continue
                self._check_name(owner, found.term.name)
                self._put(found)
                taken.append(owner)
                if owner != ROOTS and found.serial > self._ledger.meta("serial"):
                    self._ledger.set_meta("serial", found.serial)
        return taken

    def _put(self, new: Certified) -> None:
        with self._database.transaction("a certificate") as connection:
            connection.execute(
                _PUT,
                (
                    new.id, new.key, new.serial, new.envelope, new.term.issued_s,
                    new.term.until_s, new.term.name, new.revoked, kid(new.key),
                    self._ledger.raise_meta("changed"),
                ),
            )  # fmt: skip
            connection.execute("DELETE FROM pending WHERE id = ?", (new.id,))
            if new.revoked:
                connection.execute("DELETE FROM places WHERE device = ?", (new.id,))

    def _check_name(self, owner: str, name: str) -> None:
        holder = self.named(name)
        if holder is not None and holder.id != owner:
            raise NameTaken(f"{name} is the name of {holder.id}")

    def look_up(self, owner: str) -> Certified | None:
        """The certificate, or the tombstone."""
        row = self._database.row(f"{_ALL} WHERE id = ?", owner)
        return None if row is None else _certified(row)

    def take_over(self, former: sqlite3.Connection) -> list[str]:
        """Take in what another state of this fleet knows later of who belongs to it; whom.

        former: the other state's tables, perhaps of another version. Raises sqlite3.Error.
        """
        rows = former.execute("SELECT * FROM certificates ORDER BY changed")
        names = [name for name, *_ in rows.description]
        found = [dict(zip(names, row, strict=True)) for row in rows]
        with self._database.transaction("who belongs to the fleet") as connection:
            ours = {name for _, name, *_ in connection.execute("PRAGMA table_info(certificates)")}
            taken = []
            for row in found:
                if "removed" in row:  # tables of before 10: there were no tombstones
                    row["revoked"] = row.pop("removed")
                    row["envelope"] = b"" if row["revoked"] else row["envelope"]
                if not self._is_news(row["id"], row["serial"], row["revoked"]):
                    continue
                row["changed"] = self._ledger.raise_meta("changed")
                own = {name: value for name, value in row.items() if name in ours}
                columns, marks = ", ".join(own), ", ".join("?" * len(own))
                connection.execute(
                    f"INSERT OR REPLACE INTO certificates ({columns}) VALUES ({marks})",  # noqa: S608  our own columns
                    tuple(own.values()),
                )
                if row["revoked"]:
                    connection.execute("DELETE FROM places WHERE device = ?", (row["id"],))
                taken.append(str(row["id"]))
        return taken

    def _is_news(self, owner: str, serial: int, revoked: int) -> bool:
        """Whether it is later than what is known of the owner here."""
        sql = "SELECT serial, revoked FROM certificates WHERE id = ?"
        known = self._database.row(sql, owner)
        return known is None or (serial, revoked) > known

    def find(self, owner: str) -> Certified | None:
        """The certificate in force, if there is one."""
        row = self._database.row(f"{_CERTIFIED} AND id = ?", owner)
        return None if row is None else _certified(row)

    def named(self, name: str) -> Certified | None:
        """The device of that name, if there is one; none is called by no name."""
        row = self._database.row(f"{_CERTIFIED} AND {_DEVICES} AND name = ? AND name != ''", name)
        return None if row is None else _certified(row)

    def certified(self) -> list[Certified]:
        """All devices in force."""
        return [
            _certified(r) for r in self._database.rows(f"{_CERTIFIED} AND {_DEVICES} ORDER BY id")
        ]

    def revoked(self) -> list[Certified]:
        """All tombstones."""
        sql = f"{_ALL} WHERE revoked = 1 AND envelope != x'' ORDER BY id"
        return [_certified(row) for row in self._database.rows(sql)]

    def bundle(self) -> Bundle:
        """All that is published, tombstones included."""
        rows = self._database.rows("SELECT id, envelope FROM certificates WHERE envelope != x''")
        return Bundle(self._topics.fleet, dict(rows))

    def changes(self, since: int) -> list[Change]:
        """What was added or revoked after the change of that number, oldest first."""
        rows = self._database.rows(f"{_CHANGED} ORDER BY changed", since)
        return [Change(i, key, s, until, bool(gone), n) for i, key, s, until, gone, n in rows]

    # --- what the MQTT broker retains ------------------------------------------------------------

    def unpublished(self, most: int) -> list[Certified]:
        """Some certificates and tombstones that the MQTT broker was never given; offices first."""
        sql = f"{_ALL} WHERE retained = 0 AND envelope != x'' ORDER BY {_DEVICES}, changed LIMIT ?"
        return [_certified(row) for row in self._database.rows(sql, most)]

    def set_retained(self, certified: Certified) -> None:
        """The MQTT broker has this one, or is about to get it."""
        with self._database.transaction("what is retained") as connection:
            sql = (
                "UPDATE certificates SET retained = 1 WHERE id = ? AND serial = ? AND retained = 0"
            )
            connection.execute(sql, (certified.id, certified.serial))

    # --- who asks --------------------------------------------------------------------------------

    def asked(self, owner: str) -> bool:
        """Whether a device without certificate is in the list of those who asked."""
        return self._database.row("SELECT 1 FROM pending WHERE id = ?", owner) is not None

    def ask(self, owner: str, key: bytes, now_s: int) -> bool:
        """Note that a device without certificate asked; True: a new one.

        When there are many, who has not asked for a day makes room, and nobody else.
        """
        row = self._database.row("SELECT seen_s FROM pending WHERE id = ?", owner)
        if row is not None and abs(now_s - row[0]) < REFRESH_S:
            return False
        with self._database.transaction("who asked") as connection:
            if row is None and not _make_room(connection, now_s):
                return False
            connection.execute(
                "INSERT OR REPLACE INTO pending VALUES (?, ?, ?)", (owner, key, now_s)
            )
        return row is None

    def pending(self) -> list[Pending]:
        """Newest first."""
        rows = self._database.rows("SELECT id, key, seen_s FROM pending ORDER BY seen_s DESC, id")
        return [Pending(*row) for row in rows]


def _certified(row: tuple[str, bytes, int, bytes, int, int, str, int]) -> Certified:
    owner, key, serial, data, issued_s, until_s, name, revoked = row
    return Certified(owner, key, serial, data, Term(issued_s, until_s, name), bool(revoked))


def _read(owner: str, data: bytes) -> Certified:
    """Read a certificate that was verified. Of a chain of roots the serial is its length."""
    if owner == ROOTS:
        links = certificates.links(data)
        return Certified(ROOTS, links[-1].key, len(links), data)
    found: Certificate = certificates.read(data)
    term = Term(found.issued_s, found.until_s, found.name)
    return Certified(owner, found.key, found.serial, data, term, found.revoked)


def _is_later(new: Certified, old: Certified) -> bool:
    return new.serial > old.serial and (new.revoked or not old.revoked)


def _signer(data: bytes) -> bytes:
    """The kid of who signed a certificate; of none, if it was never made."""
    return envelopes.parse(data, Kind.KEYS).kid if data else b""


def _make_room(connection: sqlite3.Connection, now_s: int) -> bool:
    """Whether there is room for one more who asks."""
    (count,) = one(connection, "SELECT count(*) FROM pending") or (0,)
    if count < MAX_PENDING:
        return True
    gone = connection.execute("DELETE FROM pending WHERE abs(seen_s - ?) > ?", (now_s, FORGET_S))
    return gone.rowcount > 0
