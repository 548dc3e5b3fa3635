"""The devices of the fleet: who has a certificate, who asks for one."""

import sqlite3
from dataclasses import dataclass

from fedling_broker.store.ledger import Ledger
from fedling_protocol.disk.database import Database, one
from fedling_protocol.wire.envelope import seal
from fedling_protocol.wire.identity import SigningKey, device_id, is_weak, kid
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Certificate, Role
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.topics import Topics

MAX_PENDING = 1000  # a stranger with many keys fills no disk
FORGET_S = 86_400  # who has not asked for so long makes room
REFRESH_S = 3600  # a device that asks again and again costs one write an hour
_CERTIFIED = "SELECT id, key, serial, envelope FROM certificates WHERE removed = 0"
_CHANGED = "SELECT id, key, serial, removed, changed FROM certificates WHERE changed > ?"


class DeviceError(Exception):
    """What the operator asked for does not fit; the message says why."""


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate as it is published."""

    id: str
    key: bytes
    serial: int
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Pending:
    """A device that asked to take part and has no certificate."""

    id: str
    key: bytes
    seen_s: int  # Unix time


@dataclass(frozen=True, slots=True)
class Change:
    """A certificate that was added or removed."""

    id: str
    key: bytes
    serial: int
    removed: bool
    changed: int  # the number of this change


class Devices:
    """Certificates and those who wait for one."""

    def __init__(self, database: Database, topics: Topics) -> None:
        self._database = database
        self._ledger = Ledger(database)
        self._topics = topics

    def certify(self, owner: str, key: bytes, root: SigningKey) -> Certified:
        """Sign a certificate with the root key and keep it. Raises DeviceError."""
        role = Role.AGGREGATOR if owner == AGGREGATOR else Role.DEVICE
        if role is Role.DEVICE and device_id(key) != owner:
            raise DeviceError(f"{owner} is not the id of this key: that is {device_id(key)}")
        if is_weak(key):
            raise DeviceError("this key is of small order: anybody can sign for it")
        old = self.find(owner)
        if old is not None and old.key == key:
            raise DeviceError(f"{owner} has a certificate already")
        with self._database.transaction("a certificate") as connection:
            serial = self._ledger.outlive("serial")
            certificate = Certificate(key, role, self._topics.fleet, owner, serial)
            envelope = seal(
                certificate, self._topics.bound(self._topics.of(Kind.KEYS, owner)), root
            )
            connection.execute(
                "INSERT OR REPLACE INTO certificates"
                " (id, key, kid, serial, envelope, removed, changed, retained)"
                " VALUES (?, ?, ?, ?, ?, 0, ?, 0)",
                (owner, key, kid(key), serial, envelope, self._ledger.raise_meta("changed")),
            )
            connection.execute("DELETE FROM pending WHERE id = ?", (owner,))
        return Certified(owner, key, serial, envelope)

    def remove(self, owner: str) -> bool:
        """Take a device's certificate back, and its places; False: it has none."""
        with self._database.transaction("the removal of a device") as connection:
            if owner == AGGREGATOR or self.find(owner) is None:
                return False
            connection.execute(
                "UPDATE certificates SET removed = 1, changed = ? WHERE id = ?",
                (self._ledger.raise_meta("changed"), owner),
            )
            connection.execute("DELETE FROM places WHERE device = ?", (owner,))
            return True

    def take_over(self, former: sqlite3.Connection) -> list[str]:
        """Take in what another state of this fleet knows later of who belongs to it; whom.

        former: the other state's tables, perhaps of another version. Raises sqlite3.Error.
        """
        rows = former.execute("SELECT * FROM certificates")
        names = [name for name, *_ in rows.description]
        found = [dict(zip(names, row, strict=True)) for row in rows]
        with self._database.transaction("who belongs to the fleet") as connection:
            ours = {name for _, name, *_ in connection.execute("PRAGMA table_info(certificates)")}
            taken = []
            for row in found:
                if not self._is_later(row["id"], row["serial"], row["removed"]):
                    continue
                row["changed"] = self._ledger.raise_meta("changed")
                own = {name: value for name, value in row.items() if name in ours}
                columns, marks = ", ".join(own), ", ".join("?" * len(own))
                connection.execute(
                    f"INSERT OR REPLACE INTO certificates ({columns}) VALUES ({marks})",  # noqa: S608  our own columns
                    tuple(own.values()),
                )
                if row["removed"]:
                    connection.execute("DELETE FROM places WHERE device = ?", (row["id"],))
                taken.append(str(row["id"]))
        return taken

    def _is_later(self, owner: str, serial: int, removed: int) -> bool:
        """Whether it is of after what is known of the owner here."""
        sql = "SELECT serial, removed FROM certificates WHERE id = ?"
        known = self._database.row(sql, owner)
        return known is None or (serial, removed) > known

    def find(self, owner: str) -> Certified | None:
        """The certificate in force, if there is one."""
        row = self._database.row(f"{_CERTIFIED} AND id = ?", owner)
        return None if row is None else Certified(*row)

    def certified(self) -> list[Certified]:
        """All in force, the aggregator's among them."""
        return [Certified(*row) for row in self._database.rows(f"{_CERTIFIED} ORDER BY id")]

    def changes(self, since: int) -> list[Change]:
        """What was added or removed after the change of that number, oldest first."""
        rows = self._database.rows(f"{_CHANGED} ORDER BY changed", since)
        return [Change(i, key, serial, bool(gone), n) for i, key, serial, gone, n in rows]

    # --- what the MQTT broker retains ------------------------------------------------------------

    def unpublished(self, most: int) -> list[Certified]:
        """Some devices' in force that the MQTT broker was never given."""
        sql = f"{_CERTIFIED} AND retained = 0 AND id != ? LIMIT ?"
        return [Certified(*row) for row in self._database.rows(sql, AGGREGATOR, most)]

    def withdrawn(self, most: int) -> list[str]:
        """Some of those that were removed and that the MQTT broker may hold."""
        sql = "SELECT id FROM certificates WHERE removed = 1 AND retained = 1 LIMIT ?"
        return [owner for (owner,) in self._database.rows(sql, most)]

    def set_retained(self, owner: str) -> None:
        """The MQTT broker is about to get it."""
        with self._database.transaction("what is retained") as connection:
            sql = "UPDATE certificates SET retained = 1 WHERE id = ? AND retained = 0"
            connection.execute(sql, (owner,))

    def not_retained(self, owner: str) -> None:
        """The MQTT broker has forgotten it, and it was not added again meanwhile."""
        with self._database.transaction("what is retained") as connection:
            sql = "UPDATE certificates SET retained = 0 WHERE id = ? AND removed = 1"
            connection.execute(sql, (owner,))

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


def _make_room(connection: sqlite3.Connection, now_s: int) -> bool:
    """Whether there is room for one more who asks."""
    (count,) = one(connection, "SELECT count(*) FROM pending") or (0,)
    if count < MAX_PENDING:
        return True
    gone = connection.execute("DELETE FROM pending WHERE abs(seen_s - ?) > ?", (now_s, FORGET_S))
    return gone.rowcount > 0
