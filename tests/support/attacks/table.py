"""What an attack is. It is played twice: with its defence it fails, without it it succeeds."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import pytest

from tests.support.attacks.stage import (
    Stage,
)


class Who(StrEnum):
    """Who attacks, as SECURITY.md calls them."""

    STRANGER = "a stranger on the network"
    GUEST = "who has a token"
    BROKER = "whoever runs the MQTT broker"
    DEVICE = "a certified device"
    FORMER = "who has a key or a state of former times"
    AUTHORITY = "who has the authority's key"
    AGGREGATOR = "who has the online key"


Switch = Callable[[pytest.MonkeyPatch], None]


def _nothing(_patch: pytest.MonkeyPatch) -> None:
    """What stands against it is left out of the MQTT broker's configuration alone."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One line of the table.

    play:     tries it on a fleet; whether it succeeded, as its effect tells
    off:      takes the defence out of the code, in the test only
    left_out: words of lines that are taken out of the MQTT broker's configuration
    guarded:  the MQTT broker is the fleet's own, by TLS; False: it lets everybody do everything
    """

    name: str
    who: Who
    play: Callable[[Stage], bool]
    off: Switch = _nothing
    left_out: tuple[str, ...] = ()
    guarded: bool = False
