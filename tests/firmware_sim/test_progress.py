"""Who reads a pipe gets whole lines, and of each round what it came to."""

import io

import pytest
from rich.console import Console

from fedling_sim.observer import Now
from fedling_sim.progress import Display, Lines, Silence, for_console


def now(folded: int, accepted: int = 0, closed: int = 0) -> Now:
    doing = {"training": 3, "waiting": 12, "talking": 5, "paused": 4}
    why = {"conditions must hold a while": 12, "no place in the round": 4}
    return Now(1.0, folded, folded + 1, 40, accepted, closed, 13, 0.5, doing, why)


def told(*states: Now) -> list[str]:
    file = io.StringIO()
    lines = Lines(Console(file=file, width=80))
    for state in states:
        lines.show(state, [])
    return file.getvalue().splitlines()


def test_lines_tell_what_a_round_that_is_done_came_to() -> None:
    lines = told(now(0), now(0, 7), now(1, 0, 13), now(1, 5, 13), now(2, 1, 14))
    assert [line[8:40] for line in lines] == [
        "round  1/40   0/13 updates  accu",
        "round  1/40  13/13 updates  accu",
        "round  2/40  14/13 updates  accu",
    ]


def test_lines_are_not_broken_at_the_width_of_a_terminal() -> None:
    (line,) = told(now(0))
    assert len(line) > 80
    assert line.endswith("; why not: 12 conditions must hold a while, 4 no place in the round")


@pytest.mark.parametrize(
    ("terminal", "term", "silent", "kind"),
    [
        (True, "xterm", False, Display),
        (True, "dumb", False, Lines),
        (False, "xterm", False, Lines),
        (True, "xterm", True, Silence),
    ],
)
def test_for_console_chooses_what_can_be_shown(
    terminal: bool, term: str, silent: bool, kind: type
) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, _environ={"TERM": term})
    assert type(for_console(console, silent=silent)) is kind
