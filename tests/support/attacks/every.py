"""All attacks, of everybody."""

from typing import Final

from tests.support.attacks import broker, device, former, guest, stranger
from tests.support.attacks.table import Attack

ATTACKS: Final[tuple[Attack, ...]] = (
    *stranger.ATTACKS,
    *guest.ATTACKS,
    *broker.ATTACKS,
    *device.ATTACKS,
    *former.ATTACKS,
)
