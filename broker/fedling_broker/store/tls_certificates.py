"""The certificates for TLS that were made, so that they can be revoked."""

from dataclasses import dataclass

from fedling_broker.authority import x509
from fedling_protocol.disk.database import Database

_ROW = "SELECT owner, key, der, issued_s, until_s FROM tls_certificates"


@dataclass(frozen=True, slots=True)
class TlsCertificate:
    """One client certificate."""

    owner: str  # a device, or "aggregator"
    key: bytes  # P-256 public key, compressed, 33 bytes
    der: bytes
    issued_s: int  # Unix time
    until_s: int  # Unix time: its own end, with the grace


class TlsCertificates:
    """The table `tls_certificates`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: TlsCertificate) -> None:
        """Keep one that was made, before it is given away."""
        with self._database.transaction("a certificate for TLS") as connection:
            connection.execute(
                "INSERT INTO tls_certificates VALUES (?, ?, ?, ?, ?, ?)",
                (
                    str(x509.serial(new.der)), new.owner, new.key, new.der, new.issued_s,
                    new.until_s,
                ),
            )  # fmt: skip

    def of(self, owner: str) -> list[TlsCertificate]:
        """All of one owner, newest first."""
        rows = self._database.rows(f"{_ROW} WHERE owner = ? ORDER BY issued_s DESC, serial", owner)
        return [TlsCertificate(*row) for row in rows]

    def revoked(self) -> set[int]:
        """Serial numbers of devices that were revoked."""
        rows = self._database.rows(
            "SELECT t.serial FROM tls_certificates AS t"
            " JOIN certificates AS c ON c.id = t.owner WHERE c.removed = 1"
        )
        return {int(serial) for (serial,) in rows}

    def forget_old(self, owner: str, now_s: int) -> None:
        """Erase those of an owner that are over: nobody needs to refuse them any more."""
        with self._database.transaction("old certificates for TLS") as connection:
            connection.execute(
                "DELETE FROM tls_certificates WHERE owner = ? AND until_s < ?", (owner, now_s)
            )
