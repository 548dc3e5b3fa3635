"""What each certified key is for: who vouches for it, for how long, when it is to be renewed."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fedling_protocol.classes import dataclass
from fedling_protocol.wire.limits import MAX_U32
from fedling_protocol.wire.messages import Role
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY

DAY_S: Final = 86_400
YEAR_S: Final = 365 * DAY_S
ROOT: Final = "root"  # whom no certificate is about: the first one is configured at each end
GRACE_DAYS: Final = 365  # a device that was away for so long after its certificate's end comes back


@dataclass(frozen=True, slots=True)
class Duty:
    """One row of the table of roles."""

    purpose: str
    signers: tuple[str, ...]  # whose keys may vouch for such a key, the usual one first
    life_s: int
    renewed_at: float  # the part of its life after which it is to be renewed


DUTIES: Final[Mapping[Role, Duty]] = MappingProxyType(
    {
        Role.DEVICE: Duty(
            "signs joins, updates and states of one device", (AUTHORITY, ROOT), 90 * DAY_S, 2 / 3
        ),
        Role.AGGREGATOR: Duty(
            "signs plans, models, tickets and receipts", (ROOT,), 5 * YEAR_S, 2 / 3
        ),
        Role.AUTHORITY: Duty("certifies devices, and revokes them", (ROOT,), 5 * YEAR_S, 2 / 3),
    }
)
OFFICES: Final[Mapping[str, Role]] = MappingProxyType(
    {AUTHORITY: Role.AUTHORITY, AGGREGATOR: Role.AGGREGATOR}
)


@dataclass(frozen=True, slots=True)
class Term:
    """For how long a certificate counts, and what its owner is called."""

    issued_s: int = 0  # Unix time; 0: it does not say
    until_s: int = 0  # Unix time; 0: until it is replaced
    name: str = ""  # of a device, for people

    def due_s(self, role: Role) -> int:
        """When it is to be renewed, as Unix time; 0: never."""
        if not self.until_s:
            return 0
        return self.issued_s + int((self.until_s - self.issued_s) * DUTIES[role].renewed_at)


def role_of(owner: str) -> Role:
    """The role of who has this id."""
    return OFFICES.get(owner, Role.DEVICE)


def term(role: Role, now_s: int, name: str = "") -> Term:
    """Begin the life that keys of a role have. now_s: Unix time"""
    return Term(now_s, min(now_s + DUTIES[role].life_s, MAX_U32), name)
