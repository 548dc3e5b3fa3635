"""Who may enrol: the tokens that were handed out, and the devices that came with them."""

from fedling_protocol.classes import dataclass
from fedling_protocol.disk.database import Database
from fedling_protocol.wire.token import Token

KEEP_S = 7 * 86_400  # after its end: a device whose answer was lost asks again meanwhile
_ROW = (
    "SELECT token, name, uses, made_s, until_s,"
    " (SELECT count(*) FROM enrolments WHERE invitation = id) FROM invitations"
)


@dataclass(frozen=True, slots=True)
class Invitation:
    """A token that was handed out. Its text form does not tell the secret."""

    token: Token
    name: str  # that its device gets; empty: the one that it asks for
    uses: int  # devices that it is for
    made_s: int  # Unix time
    until_s: int  # Unix time
    used: int = 0  # devices that were enrolled by it

    def is_late(self, now_s: int) -> bool:
        """Whether its time is over."""
        return now_s >= self.until_s

    @property
    def is_used_up(self) -> bool:
        return self.used >= self.uses


class Invitations:
    """The tables `invitations` and `enrolments`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: Invitation) -> None:
        """Hand a token out."""
        with self._database.transaction("an invitation") as connection:
            connection.execute(
                "INSERT INTO invitations VALUES (?, ?, ?, ?, ?, ?)",
                (new.token.id, new.token.text(), new.name, new.uses, new.made_s, new.until_s),
            )

    def find(self, token_id: bytes) -> Invitation | None:
        row = self._database.row(f"{_ROW} WHERE id = ?", token_id)
        return None if row is None else _invitation(row)

    def all(self) -> list[Invitation]:
        """Newest first."""
        return [_invitation(r) for r in self._database.rows(f"{_ROW} ORDER BY made_s DESC, id")]

    def live(self, now_s: int) -> list[Invitation]:
        """Those whose bearer the MQTT broker should let in, to ask or to ask again."""
        return [one for one in self.all() if not one.is_late(now_s)]

    def has_used(self, token_id: bytes, device: str) -> bool:
        """Whether a device was enrolled by a token."""
        sql = "SELECT 1 FROM enrolments WHERE invitation = ? AND device = ?"
        return self._database.row(sql, token_id, device) is not None

    def use(self, token_id: bytes, device: str) -> None:
        """Count a device."""
        with self._database.transaction("an enrolment") as connection:
            connection.execute("INSERT INTO enrolments VALUES (?, ?)", (token_id, device))

    def forget_old(self, now_s: int) -> None:
        """Erase tokens that are over for long."""
        with self._database.transaction("old invitations") as connection:
            connection.execute("DELETE FROM invitations WHERE until_s < ?", (now_s - KEEP_S,))


def _invitation(row: tuple[str, str, int, int, int, int]) -> Invitation:
    token, name, uses, made_s, until_s, used = row
    return Invitation(Token.parse(token), name, uses, made_s, until_s, used)
