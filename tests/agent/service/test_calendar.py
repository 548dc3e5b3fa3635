"""What time it is, whatever the clock says."""

from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.service.calendar import WRONG_S, Calendar
from tests.support.ports import HandClock

DAY_S = 86_400.0
TRUE_S = 1_800_000_000


class Board(HandClock):
    """A clock that was set wrong by so much."""

    def __init__(self, wrong_s: float) -> None:
        super().__init__()
        self.wrong_s = wrong_s
        self.begun = self.now()

    @property
    def true_s(self) -> float:
        return TRUE_S + self.now() - self.begun

    def wall(self) -> float:
        return self.true_s + self.wrong_s


WRONG = st.floats(-TRUE_S, 2e9)
STEPS = st.lists(st.tuples(st.sampled_from(["move", "signed", "told"]), st.floats(0, 1e7)))


@given(WRONG, STEPS)
def test_it_is_never_earlier_than_what_was_signed(
    wrong_s: float, steps: list[tuple[str, float]]
) -> None:
    board = Board(wrong_s)
    calendar = Calendar(board)
    latest = 0
    for what, amount in steps:
        if what == "move":
            board.move(amount)
        else:
            issued_s = int(board.true_s - (amount if what == "signed" else 0))
            calendar.signed(issued_s) if what == "signed" else calendar.told(issued_s)
            latest = max(latest, issued_s)
        assert calendar.now_s() >= latest - 1


@given(WRONG, st.floats(0, 1e7))
def test_answer_of_just_now_says_what_day_it_is(wrong_s: float, later: float) -> None:
    board = Board(wrong_s)
    calendar = Calendar(board)
    calendar.told(int(board.true_s))
    board.move(later)
    assert -1 <= calendar.now_s() - board.true_s + 1 <= WRONG_S + 2


@given(st.floats(-TRUE_S, -DAY_S), st.floats(0, 1e7))
def test_clock_that_is_behind_goes_on_from_what_was_signed(wrong_s: float, later: float) -> None:
    board = Board(wrong_s)
    calendar = Calendar(board)
    calendar.signed(TRUE_S)
    board.move(later)
    assert abs(calendar.now_s() - board.true_s) <= 2


def test_clock_that_is_right_is_believed() -> None:
    board = Board(0)
    calendar = Calendar(board)
    calendar.signed(TRUE_S - 1_000_000)
    assert calendar.now_s() == TRUE_S


def test_until_something_was_signed_the_clock_counts_wherever_it_stands() -> None:
    board = Board(-TRUE_S)
    calendar = Calendar(board)
    board.move(60.0)
    assert calendar.now_s() == int(board.wall())


def test_certificate_that_does_not_say_when_moves_nothing() -> None:
    board = Board(1e8)
    calendar = Calendar(board)
    calendar.told(0)
    assert calendar.now_s() == int(board.wall())
