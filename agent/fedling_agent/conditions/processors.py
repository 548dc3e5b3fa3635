"""What was seen of this machine's processors in the last minute (/proc/stat).

What this service and its training children took themselves is told apart: the kernel's own figures
of load and pressure count it in (docs/decisions/0081-load-is-what-others-use.md).
"""

import os
from collections import deque
from dataclasses import field

from fedling_agent.conditions import files
from fedling_agent.conditions.files import Unreadable
from fedling_protocol.classes import dataclass

WINDOW_S = 60.0  # others' use is the mean of so long, or since the last look if that is longer
STEP_S = 2.0  # between two looks: while something is trained, readers are asked all the time
LONGEST_LINE = 512  # bytes that are read of a line of the kernel's numbers
TICKS = os.sysconf("SC_CLK_TCK")

# proc(5), of all processors: user, nice, system, idle, iowait, irq, softirq, steal. What guests
# take comes after these, and is in user and nice already.
TIMES, IDLE, IOWAIT = 8, 3, 4
UTIME, STIME = 11, 12  # of a process, counted after its name


@dataclass(frozen=True, slots=True)
class Look:
    """Seconds of all processors since the machine has started."""

    at: float
    total_s: float
    free_s: float
    own_s: float  # what this process and its children took

    def others_since(self, before: "Look") -> float:
        """The percentage of all processors that others have used since then."""
        total_s = self.total_s - before.total_s
        free_s = self.free_s - before.free_s
        others_s = total_s - free_s - (self.own_s - before.own_s)
        # The one is counted in ticks, the other exactly; and what the kernel calls iowait may sink.
        return 100 * min(max(others_s / total_s, 0.0), 1.0) if total_s > 0 else 0.0


@dataclass(slots=True)
class Processors:
    """The looks of one reader; a Watcher has one.

    children: process ids; who starts one adds it, and takes it away when it has ended
    """

    children: set[int] = field(default_factory=set)
    _looks: deque[Look] = field(default_factory=deque)

    def look(self, proc: str, now: float) -> None:
        """See what was used up to now (seconds), if some time has gone by. Raises Unreadable."""
        if self._looks and now - self._looks[-1].at < STEP_S:
            return
        self._looks.append(_look(proc, self.children, now))
        while len(self._looks) > 1 and now - self._looks[1].at >= WINDOW_S:
            self._looks.popleft()

    @property
    def watched_s(self) -> float:
        return self._looks[-1].at - self._looks[0].at

    @property
    def others(self) -> float:
        """The percentage of all processors that others have used in that time."""
        return self._looks[-1].others_since(self._looks[0])


def _look(proc: str, children: set[int], now: float) -> Look:
    line = files.text(f"{proc}/stat", LONGEST_LINE).partition("\n")[0]
    name, _, words = line.partition(" ")
    times = _numbers(words.split()[:TIMES])
    if name != "cpu" or len(times) < TIMES:
        raise Unreadable(f"{files.shown(name)} does not begin the times of processors")
    free = times[IDLE] + times[IOWAIT]
    return Look(now, sum(times) / TICKS, free / TICKS, _own_s(proc, children))


def _own_s(proc: str, children: set[int]) -> float:
    """What this process and its children took, also those that have ended."""
    while True:
        before = os.times()
        living = sum(_taken_s(f"{proc}/{pid}/stat") for pid in tuple(children))
        now = os.times()
        ended = now.children_user + now.children_system
        if ended == before.children_user + before.children_system:  # else one may count twice
            return now.user + now.system + ended + living


def _taken_s(source: str) -> float:
    """What a process took of a processor; 0: it is gone."""
    try:
        line = files.text(source, LONGEST_LINE)
    except Unreadable:
        return 0.0
    words = line.rpartition(")")[2].split()  # its name may have blanks and brackets
    return sum(_numbers(words[UTIME : STIME + 1])) / TICKS


def _numbers(words: list[str]) -> list[int]:
    if all(word.isascii() and word.isdigit() for word in words):
        return [int(word) for word in words]
    raise Unreadable(f"{files.shown(' '.join(words))} is no count of ticks")
