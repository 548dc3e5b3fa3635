"""A mosquitto that reads its files again."""

import time
from collections.abc import Callable

from fedling_broker.mosquitto.process import Mosquitto
from tests.support.waiting import until

_BEGINS = "Reloading config"  # in its log
_AGAIN_S = 0.2


def read_again(mosquitto: Mosquitto, turn: Callable[[float], object] = time.sleep) -> None:
    """Have it read its files again; return when it has begun: it answers nobody before it ends.

    Told again and again: it forgets a signal that comes while it still reads for the one before.
    """

    def times() -> int:
        return mosquitto.log.read_text().count(_BEGINS)

    def tell_and_turn(seconds: float) -> None:
        mosquitto.reload()
        turn(seconds)

    before = times()
    until(lambda: times() > before, tell_and_turn, look_s=_AGAIN_S)
