"""Windows that `fedling-agent predict` cuts out of its input."""

import pytest

from fedling_agent.commands.predict import pieces
from fedling_agent.data.streams import read_window
from fedling_protocol.disk.errors import BadInput
from tests.support.device import STREAM

LINES = ["\n", "x,y\n", "1,1\n", "\n", "2,2\n", "3,3\n", "\n", "\n", "4,4\n", "\n"]


def test_windows_know_where_they_were_in_the_input() -> None:
    first, second = pieces(iter(LINES), "csv", 2)
    assert first == {"before": 2, "lines": ["x,y\n", "1,1\n", "\n", "2,2\n"]}
    assert second == {"before": 5, "lines": ["x,y\n", "3,3\n", "\n", "\n", "4,4\n"]}


@pytest.mark.parametrize("line", [2, 4, 5, 8])
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_a_bad_row_is_named_by_its_line(line: int, form: str) -> None:
    lines = list(LINES)
    lines[line] = "bad,1\n"
    if form == "ndjson":
        lines = ["\n", "\n", *['{"x":1,"y":1}\n' if "," in one else one for one in lines[2:]]]
        lines[line] = "bad\n"
    with pytest.raises(BadInput, match=f"^row {line + 1}: "):
        read(lines, form)


def read(lines: list[str], form: str) -> None:
    for piece in pieces(iter(lines), form, 2):
        given, before = piece["lines"], piece["before"]
        assert isinstance(given, list)
        assert isinstance(before, int)
        read_window(STREAM, given, form, 2, before)


def test_a_window_that_is_not_complete_is_named() -> None:
    with pytest.raises(BadInput, match="window 2 has 1 samples, the model wants 3"):
        list(pieces(iter(LINES), "csv", 3))
    for form in ("csv", "ndjson"):
        with pytest.raises(BadInput, match="window 1 has 0 samples"):
            list(pieces(iter(["\n"]), form, 3))
