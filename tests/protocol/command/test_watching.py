"""What is watched is drawn anew on a terminal, and appended elsewhere."""

import sys
import time

import pytest

from fedling_protocol.command import watching


class Terminal:
    """Stands where standard output stands."""

    def __init__(self, is_one: bool) -> None:
        self.is_one = is_one
        self.said = ""
        self.flushed = ""

    def isatty(self) -> bool:
        return self.is_one

    def write(self, text: str) -> int:
        self.said += text
        return len(text)

    def flush(self) -> None:
        self.flushed = self.said


def watched(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool, as_json: bool = False
) -> tuple[str, list[str]]:
    """What is said of three readings, and what was flushed before each wait."""
    out, numbers, flushed = Terminal(terminal), iter(range(3)), list[str]()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(time, "sleep", lambda _: flushed.append(out.flushed))

    def read() -> int:
        for number in numbers:
            return number
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watching.watch(read, lambda n: print(f"number {n}"), 5.0, as_json=as_json)
    return out.said, flushed


def test_terminal_is_drawn_anew_once_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    said, flushed = watched(monkeypatch, terminal=True)
    screens = said.split("\033[H\033[J")[1:]
    assert [screen.split("\n")[0] for screen in screens] == ["number 0", "number 1", "number 2"]
    assert all(", again every 5 s\n" in screen for screen in screens)
    assert flushed[-1] == said  # the last one stays


def test_elsewhere_it_is_appended(monkeypatch: pytest.MonkeyPatch) -> None:
    said, _ = watched(monkeypatch, terminal=False)
    assert "\033" not in said
    assert said.count("again every") == 3


@pytest.mark.parametrize("terminal", [True, False])
def test_a_program_gets_nothing_but_lines(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    said, flushed = watched(monkeypatch, terminal=terminal, as_json=True)
    assert said == "number 0\nnumber 1\nnumber 2\n"
    assert flushed[0] == "number 0\n"
