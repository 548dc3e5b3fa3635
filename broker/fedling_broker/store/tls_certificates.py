"""The certificates for TLS that were made, so that they can be revoked."""

from fedling_broker.authority import x509
from fedling_broker.authority.roles import DAY_S
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.database import Database

COPIES_S = 30 * DAY_S  # so long two keys of one device are told
_ROW = "SELECT owner, key, der, issued_s, until_s, invited FROM tls_certificates"


@dataclass(frozen=True, slots=True)
class TlsCertificate:
    """One client certificate."""

    owner: str  # a device, or "aggregator"
    key: bytes  # P-256 public key, compressed, 33 bytes
    der: bytes
    issued_s: int  # Unix time
    until_s: int  # Unix time: its own end, with the grace
    invited: bool = False  # the operator meant the owner to have another key: it had a new token


class TlsCertificates:
    """The table `tls_certificates`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: TlsCertificate) -> None:
        """Keep one that was made, before it is given away."""
        with self._database.transaction("a certificate for TLS") as connection:
            connection.execute(
                "INSERT INTO tls_certificates VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    str(x509.serial(new.der)), new.owner, new.key, new.der, new.issued_s,
                    new.until_s, new.invited,
                ),
            )  # fmt: skip

    def of(self, owner: str) -> list[TlsCertificate]:
        """All of one owner, newest first."""
        rows = self._database.rows(f"{_ROW} WHERE owner = ? ORDER BY issued_s DESC, serial", owner)
        return [
            TlsCertificate(of, key, der, issued_s, until_s, bool(invited))
            for of, key, der, issued_s, until_s, invited in rows
        ]

    def copies(self, now_s: int) -> dict[str, list[TlsCertificate]]:
        """Devices that lately asked with two keys within a day, with the certificates of both.

        A board that lost its key does so once. Two boards with one identity, as after the copy of
        a card, do so at each renewal. A device that is enrolled anew, with a token of its own, is
        no copy of what it was before.
        """
        rows = self._database.rows(
            "SELECT DISTINCT a.owner FROM tls_certificates AS a JOIN tls_certificates AS b"
            " ON a.owner = b.owner AND a.key != b.key AND NOT b.invited"
            " AND b.issued_s - a.issued_s BETWEEN 0 AND ?"
            " WHERE a.issued_s > ?",
            DAY_S,
            now_s - COPIES_S,
        )
        return {
            owner: [one for one in self.of(owner) if one.issued_s > now_s - COPIES_S]
            for (owner,) in rows
        }

    def revoked(self) -> set[int]:
        """Serial numbers of devices that were revoked."""
        rows = self._database.rows(
            "SELECT t.serial FROM tls_certificates AS t"
            " JOIN certificates AS c ON c.id = t.owner WHERE c.revoked = 1"
        )
        return {int(serial) for (serial,) in rows}

    def forget_old(self, owner: str, now_s: int) -> None:
        """Erase those of an owner that are over: nobody needs to refuse them any more."""
        with self._database.transaction("old certificates for TLS") as connection:
            connection.execute(
                "DELETE FROM tls_certificates WHERE owner = ? AND until_s < ?", (owner, now_s)
            )
