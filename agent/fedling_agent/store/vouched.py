"""Whom this device had heard to be vouched for: certificates, root keys, and how late it is.

A restart must know, so that nothing older is believed again. What counts is decided in memory, by
Trust; this keeps what was decided, in that order.
"""

from fedling_protocol.disk.database import Database


class Vouched:
    """Keeps one certificate an owner, tombstones too, and one chain of roots."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep_certificate(self, id: str, serial: int, issued_s: int, envelope: bytes) -> None:
        """Keep what counts of an owner from now on. id: a device, "aggregator" or "authority"."""
        with self._database.transaction("a certificate") as connection:
            connection.execute(
                "INSERT OR REPLACE INTO certificates (id, serial, envelope, holds)"
                " VALUES (?, ?, ?, 1)",
                (id, serial, envelope),
            )
            connection.execute(_LATEST, (issued_s,))

    def drop_certificate(self, id: str) -> None:
        """Note that an owner's certificate was taken back; no earlier one will count again."""
        with self._database.transaction("a certificate") as connection:
            connection.execute("UPDATE certificates SET holds = 0 WHERE id = ?", (id,))

    def certificate(self, id: str) -> bytes | None:
        """The envelope of an owner's certificate, as received, if it was not taken back."""
        sql = "SELECT envelope FROM certificates WHERE id = ? AND holds"
        row = self._database.row(sql, id)
        return None if row is None else row[0]

    def last_certificate(self, id: str) -> bytes | None:
        """The last that counted of an owner, taken back or not."""
        row = self._database.row("SELECT envelope FROM certificates WHERE id = ?", id)
        return None if row is None else row[0]

    def keep_roots(self, links: int, issued_s: int, envelope: bytes) -> None:
        """Keep the chain of roots, if it is no shorter than the one that is known."""
        with self._database.transaction("the chain of roots") as connection:
            connection.execute(
                "INSERT INTO roots (only, links, envelope) VALUES (0, ?, ?) ON CONFLICT (only)"
                " DO UPDATE SET links = excluded.links, envelope = excluded.envelope"
                " WHERE excluded.links >= links",
                (links, envelope),
            )
            connection.execute(_LATEST, (issued_s,))

    def roots(self) -> bytes | None:
        """The envelope of the chain; None: the root of agent.toml has no successor."""
        row = self._database.row("SELECT envelope FROM roots")
        return None if row is None else row[0]

    def latest_s(self) -> int:
        """The latest time, in Unix time, at which something that counts was signed; 0: unknown."""
        row = self._database.row("SELECT issued_s FROM latest")
        return 0 if row is None else int(row[0])


_LATEST = (
    "INSERT INTO latest (only, issued_s) VALUES (0, ?) ON CONFLICT (only)"
    " DO UPDATE SET issued_s = max(issued_s, excluded.issued_s)"
)
