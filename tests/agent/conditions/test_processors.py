"""What others use of the processors, told apart from what this process and its children use."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_agent.conditions.files import Unreadable
from fedling_agent.conditions.processors import STEP_S, TICKS, WINDOW_S, Processors
from tests.support.tools import absent

OWN = 7  # the process id of a child
BURN = "import sys, time\nwhile time.process_time() < 1: pass\nprint(); sys.stdin.read()"


class Kernel:
    """/proc of a machine of two processors, and what happened there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 1000.0
        self._times = [0] * 10
        self._own = 0
        self.passes(0)

    def passes(
        self, seconds: int, *, user: float = 0, nice: float = 0, iowait: float = 0, own: float = 0
    ) -> None:
        """So much of each processor is used for so long; the rest is idle. own: of `nice`"""
        self.now += seconds
        busy = {0: user, 1: nice, 4: iowait, 3: 1 - user - nice - iowait}
        for field, share in busy.items():
            self._times[field] += round(2 * seconds * TICKS * share)
        self._times[8] += 2 * seconds * TICKS  # a guest's time is in user's, too
        self._own += round(2 * seconds * TICKS * own)
        line = f"cpu  {' '.join(map(str, self._times))}\ncpu0 1 2 3\n"
        (self.root / "stat").write_text(line)
        self.child(f"{OWN} (a) b) R 1 {' 0' * 9} {self._own} 0 5 6 {'9 ' * 40}")

    def child(self, line: str) -> None:
        (self.root / f"{OWN}").mkdir(exist_ok=True)
        (self.root / f"{OWN}/stat").write_text(line)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setattr(os, "times", lambda: os.times_result((0.0, 0.0, 0.0, 0.0, 0.0)))
    return Kernel(tmp_path)


@pytest.fixture
def seen(kernel: Kernel) -> Processors:
    seen = Processors({OWN})
    seen.look(str(kernel.root), kernel.now)
    return seen


def look(seen: Processors, kernel: Kernel) -> tuple[float, float]:
    """What was watched, and what others have used then."""
    seen.look(str(kernel.root), kernel.now)
    return seen.watched_s, round(seen.others, 1)


@pytest.mark.parametrize(
    ("used", "others"),
    [
        ({}, 0.0),
        ({"user": 0.5}, 50.0),
        ({"user": 1.0}, 100.0),
        ({"nice": 0.5, "own": 0.5}, 0.0),
        ({"user": 0.25, "nice": 0.5, "own": 0.5}, 25.0),
        ({"nice": 0.75, "own": 0.5}, 25.0),
        ({"iowait": 0.5}, 0.0),
        ({"nice": 0.4, "own": 0.5}, 0.0),  # ticks are not exact
    ],
)
def test_own_use_is_taken_off(
    seen: Processors, kernel: Kernel, used: dict[str, float], others: float
) -> None:
    kernel.passes(10, **used)
    assert look(seen, kernel) == (10.0, others)


def test_mean_is_that_of_the_last_minute(seen: Processors, kernel: Kernel) -> None:
    for _ in range(100):
        kernel.passes(3, user=1.0)
        look(seen, kernel)
    assert look(seen, kernel) == (WINDOW_S, 100.0)
    for _ in range(10):
        kernel.passes(3)
        look(seen, kernel)
    assert look(seen, kernel) == (WINDOW_S, 50.0)
    for _ in range(10):
        kernel.passes(3)
        look(seen, kernel)
    assert look(seen, kernel) == (WINDOW_S, 0.0)


def test_after_a_pause_it_is_the_mean_since_the_last_look(seen: Processors, kernel: Kernel) -> None:
    kernel.passes(600, user=0.5)
    assert look(seen, kernel) == (600.0, 50.0)
    kernel.passes(600)
    assert look(seen, kernel) == (600.0, 0.0)


def test_a_minute_holds_few_looks(seen: Processors, kernel: Kernel) -> None:
    """While it trains, readers are asked five times a second."""
    for step in range(10_000):
        seen.look(str(kernel.root), kernel.now + step / 5)
    assert len(seen._looks) <= WINDOW_S / STEP_S + 2


def test_nothing_has_passed_and_nothing_is_used(seen: Processors, kernel: Kernel) -> None:
    kernel.now += 10  # the machine was stopped
    assert look(seen, kernel) == (10.0, 0.0)


@pytest.mark.parametrize(
    "line",
    ["", "intr 1 2 3", "cpu  1 2 3", "cpu  1 2 3 4 5 6 7 x", "cpu  1 2 3 4 5 6 7 -8", "\0" * 600],
)
def test_what_is_no_time_of_processors_is_unreadable(
    seen: Processors, kernel: Kernel, line: str
) -> None:
    kernel.now += 10
    (kernel.root / "stat").write_text(f"{line}\n")
    with pytest.raises(Unreadable):
        look(seen, kernel)


def test_child_that_is_gone_takes_nothing(seen: Processors, kernel: Kernel) -> None:
    seen.children.add(8)
    kernel.passes(10, nice=0.5, own=0.5)
    assert look(seen, kernel) == (10.0, 0.0)


@pytest.fixture
def burnt() -> Iterator[subprocess.Popen[str]]:
    """A process that has taken a second of a processor, and lives."""
    words = [sys.executable, "-c", BURN]
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    yield child
    child.communicate()


def test_child_of_a_real_kernel_counts_once_while_it_lives_and_after(
    burnt: subprocess.Popen[str],
) -> None:
    if not Path("/proc/stat").exists():
        absent("this /proc shows processes only")
    others, ours = Processors(), Processors({burnt.pid})

    def own_s(seen: Processors) -> float:
        seen.look("/proc", 1000.0 * (1 + len(seen._looks)))
        return seen._looks[-1].own_s

    without, living = own_s(others), own_s(ours)
    assert 0.9 < living - without < 1.9
    burnt.communicate()
    assert own_s(ours) - living < 0.9
    assert 0.9 < own_s(others) - without < 1.9
