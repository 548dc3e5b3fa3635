"""Empties what the MQTT broker holds of tasks that were removed, also while nobody served."""

from functools import partial

from fedling_broker.service.publisher import Publisher
from fedling_broker.service.turns import Turns
from fedling_broker.store.withdrawn import Leftover, Withdrawn

AT_ONCE = 50  # topics that are emptied before their PUBACK is awaited


class Sweeper:
    """A topic is forgotten when its PUBACK is here. All of it belongs in a turn, but lost()."""

    def __init__(self, withdrawn: Withdrawn, turns: Turns, publisher: Publisher) -> None:
        self._withdrawn = withdrawn
        self._turns = turns
        self._publisher = publisher
        self._waiting: set[Leftover] | None = None  # for their PUBACK; None: not connected

    def connected(self) -> None:
        """What was under way on the last connection is begun again."""
        self._waiting = set()
        self.look()

    def lost(self) -> None:
        """A connection has ended."""
        self._waiting = None

    def look(self) -> None:
        """Empty what is to be emptied, some topics at a time."""
        if self._waiting is None or self._waiting:
            return
        self._waiting = waiting = set(self._withdrawn.some(AT_ONCE))
        for left in sorted(waiting, key=lambda left: (left.task, left.version)):
            acknowledged = partial(self._turns.run, partial(self._gone, left, waiting))
            self._turns.then(partial(self._publisher.nothing, left, acknowledged))

    def _gone(self, left: Leftover, waiting: set[Leftover]) -> None:
        self._withdrawn.forget(left)
        waiting.discard(left)
        self.look()
