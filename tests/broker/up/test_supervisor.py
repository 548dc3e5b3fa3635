"""Children die, are started again and end in order: real processes, no time asserted."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedling_broker.up import supervisor
from fedling_broker.up.supervisor import Program, Supervisor
from fedling_protocol.runtime.loop import Loop
from tests.support.waiting import until

# Says its pid, then waits; at SIGTERM it says so, and takes a moment. argv: name, file of all words
CHILD = """
import signal, sys
name, file = sys.argv[1:]
def say(word):
    with open(file, "a") as words:
        words.write(f"{name} {word}\\n")
def end(*_):
    say("ends")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGHUP, lambda *_: say("reads"))
say("begins")
while True:
    signal.pause()
"""


class Watched:
    """A supervisor, its loop, and what was said."""

    def __init__(self, directory: Path) -> None:
        self.loop = Loop()
        self.words = directory / "words"
        self.words.touch()
        self.said: list[str] = []
        self.supervisor: Supervisor | None = None

    def program(self, name: str, code: str = CHILD, **more: object) -> Program:
        command = [sys.executable, "-c", code, name, str(self.words)]
        return Program(name, command, **more)  # type: ignore[arg-type]

    def start(self, *programs: Program) -> Supervisor:
        made = Supervisor(self.loop, programs, self.said.append, lambda: 0.0)
        self.supervisor = made
        made.start()
        return made

    def until(self, condition: Callable[[], bool]) -> None:
        until(condition, self.loop.turn, says=lambda: (self.words.read_text(), self.said))

    def count(self, line: str) -> int:
        return self.words.read_text().splitlines().count(line)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    if made.supervisor is not None:
        made.supervisor.kill()
    made.loop.close()


def pid_of(child: object) -> int:
    return int(child._process.pid)  # type: ignore[attr-defined]


def test_stop_ends_the_last_one_first(watched: Watched) -> None:
    made = watched.start(watched.program("one"), watched.program("two"), watched.program("three"))
    watched.until(lambda: all(watched.count(f"{n} begins") for n in ("one", "two", "three")))
    done: list[bool] = []
    made.stop(lambda: done.append(True))
    made.stop(lambda: done.append(True))
    watched.until(lambda: bool(done))
    words = watched.words.read_text().splitlines()
    assert [word for word in words if "ends" in word] == ["three ends", "two ends", "one ends"]
    assert done == [True]


def test_one_that_dies_is_started_again_and_that_is_said(watched: Watched) -> None:
    made = watched.start(watched.program("one"), watched.program("two"))
    watched.until(lambda: watched.count("one begins") == 1 and watched.count("two begins") == 1)
    for times in (2, 3):
        os.kill(pid_of(made._children[0]), signal.SIGKILL)
        watched.until(lambda: watched.count("one begins") == times)  # noqa: B023 (called here)
    assert watched.count("two begins") == 1
    assert len(watched.said) == 2
    assert all("one was ended by signal 9; it is started again in" in word for word in watched.said)


def test_delays_grow(watched: Watched) -> None:
    """A program that cannot run is no reason for a loop that eats the machine."""
    program = watched.program("one", "raise SystemExit(3)")
    made = Supervisor(watched.loop, [program], watched.said.append, lambda: 0.1)
    watched.supervisor = made
    made.start()
    watched.until(lambda: len(watched.said) == 3)
    assert [word.partition(" again in ")[2] for word in watched.said] == ["0.1 s", "0.2 s", "0.4 s"]


def test_one_that_ends_for_good_ends_all(watched: Watched) -> None:
    made = watched.start(
        watched.program("one"),
        watched.program("two", "raise SystemExit(78)", final=frozenset({78})),
    )
    watched.loop.run()
    assert made.code == 78
    assert watched.count("one begins") == watched.count("one ends")
    assert watched.said == ["two ended with exit code 78"]


def test_death_is_explained_by_the_end_of_the_log(watched: Watched, tmp_path: Path) -> None:
    code = "print('a'); print('port taken', flush=True); raise SystemExit(1)"
    watched.start(watched.program("one", code, log=tmp_path / "log"))
    watched.until(lambda: bool(watched.said))
    assert watched.said[0].endswith("\n  a\n  port taken")


def test_one_that_does_not_end_is_killed(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STOP_S", 0.0)
    deaf = CHILD.replace("def end(*_):", "def end(*_):\n    return\ndef unused(*_):")
    made = watched.start(watched.program("one", deaf))
    watched.until(lambda: watched.count("one begins") == 1)
    made.stop(watched.loop.stop)
    watched.loop.run()


def test_stop_while_one_waits_to_be_started_starts_it_no_more(watched: Watched) -> None:
    made = Supervisor(watched.loop, [watched.program("one")], watched.said.append, lambda: 1.0)
    watched.supervisor = made
    made.start()
    watched.until(lambda: watched.count("one begins") == 1)
    os.kill(pid_of(made._children[0]), signal.SIGKILL)
    watched.until(lambda: bool(watched.said))
    made.stop(watched.loop.stop)
    watched.loop.run()
    assert watched.count("one begins") == 1


def test_signal_is_for_one(watched: Watched) -> None:
    made = watched.start(watched.program("one"), watched.program("two"))
    watched.until(lambda: watched.count("one begins") == 1 and watched.count("two begins") == 1)
    made.signal("two", signal.SIGHUP)
    watched.until(lambda: watched.count("two reads") == 1)
    assert watched.count("one reads") == 0


def test_again_is_no_death(watched: Watched) -> None:
    made = watched.start(watched.program("one"), watched.program("two"))
    watched.until(lambda: watched.count("one begins") == 1 and watched.count("two begins") == 1)
    made.again("two")
    watched.until(lambda: watched.count("two begins") == 2)
    assert watched.count("two ends") == 1
    assert watched.count("one ends") == 0
    assert watched.said == []


def test_children_do_not_speak_for_us_to_the_service_manager(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nobody")
    code = "import os; print(os.environ.get('NOTIFY_SOCKET'), flush=True); raise SystemExit(1)"
    watched.start(watched.program("one", code, log=tmp_path / "log"))
    watched.until(lambda: bool(watched.said))
    assert "None" in watched.said[0]


def test_large_log_begins_anew(watched: Watched, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(bytes(supervisor.LARGEST_LOG + 1))
    watched.start(watched.program("one", log=log))
    watched.until(lambda: watched.count("one begins") == 1)
    assert log.stat().st_size == 0
    assert (tmp_path / "log.1").stat().st_size == supervisor.LARGEST_LOG + 1
