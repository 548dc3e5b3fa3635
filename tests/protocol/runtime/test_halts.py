"""A task that is stopped is told, whatever began it again in between."""

from fedling_protocol.runtime.halts import LONGEST_S, Halts
from tests.support.ports import HandClock


class Board:
    """Halts on a clock, and what they said."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.stops = 0
        self.tried: list[str] = []
        self.halts = Halts(
            self.clock, lambda: 0.5, lambda _task, _error: "call us", self._count,
            lambda: None, self.tried.append,
        )  # fmt: skip

    def _count(self) -> None:
        self.stops += 1


def test_a_task_that_others_began_again_and_that_fails_at_once_is_stopped() -> None:
    """Else it has no runner and is not stopped either: devices would hear that it is no more."""
    board = Board()
    board.halts.add("watch", OSError("one"))
    board.halts.begun("watch")  # by a look at the database, before its own time
    assert "watch" not in board.halts
    board.halts.add("watch", OSError("two"))
    assert board.halts.halted["watch"].says.startswith("OSError: two")
    assert board.stops == 2
    board.clock.move(LONGEST_S)
    assert board.tried == ["watch"]


def test_a_task_that_others_began_again_is_not_tried_once_more() -> None:
    board = Board()
    board.halts.add("watch", OSError("one"))
    board.halts.begun("watch")
    board.clock.move(LONGEST_S)
    assert board.tried == []


def test_a_task_that_fails_again_and_again_waits_longer_however_it_begins() -> None:
    board = Board()
    waits = []
    for _ in range(6):
        board.halts.add("watch", OSError("again"))
        waits.append(board.halts.halted["watch"].until - board.clock.now())
        board.halts.begun("watch")
    assert waits == sorted(waits)
    assert waits[-1] > 8 * waits[0]
