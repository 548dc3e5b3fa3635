"""What a process costs, read from outside: CPU, memory, and how long its main loop stood still."""

import ctypes
import os
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
QUIET_S, QUIET_TICKS = 0.4, 1  # so little CPU in so long a time: it has nothing left to do
SO_TIMESTAMPNS = 35  # asm-generic/socket.h: the kernel stamps a datagram when it is sent
_TIMESPEC = struct.Struct("@ll")
WATCHDOG_S = 0.02
PR_SET_CHILD_SUBREAPER = 36
GONE = (FileNotFoundError, ProcessLookupError)  # what is read of a process that has just ended
LIBC = ctypes.CDLL(None, use_errno=True)


def cpu_s(pid: int) -> float:
    """User and system time of all threads and of children that have ended, in ticks of 10 ms."""
    return sum(_times(Path(f"/proc/{pid}/stat").read_text())) * TICK_S


def _ended_s(pid: int) -> float:
    """Of children that have ended and were waited for."""
    return sum(_times(Path(f"/proc/{pid}/stat").read_text())[2:]) * TICK_S


def _times(stat: str) -> list[int]:
    """User and system time, then those of children that have ended, in ticks."""
    fields = stat[stat.rindex(")") + 2 :].split()  # from field 3, state
    return [int(field) for field in fields[11:15]]


def own_cpu_s() -> float:
    """Of this process."""
    return _used_s(resource.RUSAGE_SELF)


def children_cpu_s() -> float:
    """Of children that have ended and were waited for, and of those that they waited for."""
    return _used_s(resource.RUSAGE_CHILDREN)


def _used_s(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def adopt_orphans() -> None:
    """Be the parent of those whose own parent ends first, so that what they used is not lost."""
    if LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1) != 0:
        raise OSError("PR_SET_CHILD_SUBREAPER")


def await_children() -> None:
    """Return when all children of this process have ended."""
    with suppress(ChildProcessError):
        while True:
            os.wait()


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had resident."""
    return 1024 * number_of("VmHWM:", f"/proc/{pid}/status")


def is_quiet(pid: int, wait: Callable[[float], None]) -> bool:
    """Whether a process does next to nothing for QUIET_S. wait: passes so many seconds."""
    before = cpu_s(pid)
    wait(QUIET_S)
    return cpu_s(pid) - before <= QUIET_TICKS * TICK_S * 1.01


def descendants(pid: int) -> list[int]:
    """Children and theirs; of one that has just ended there are none."""
    found: list[int] = []
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        with suppress(*GONE):
            found += [child, *descendants(child)]
    return found


@dataclass(frozen=True, slots=True)
class Spent:
    """What processes with their descendants have taken so far; also a difference of two.

    Who has ended counts for its parent, but for its wake-ups, which the kernel forgets.
    """

    at_s: float  # in the time of time.monotonic()
    cpu_s: float
    wakeups: int  # that a thread slept, and was woken
    written: int  # bytes, in whole pages of what was to go to a disk

    @classmethod
    def by(cls, *pids: int) -> "Spent":
        """So far."""
        found = [_amounts(pid) for pid in pids]
        for child in [one for pid in pids for one in descendants(pid)]:
            with suppress(*GONE):
                found.append(_amounts(child))
        cpu, wakeups, written = zip(*found, strict=True)
        return cls(time.monotonic(), sum(cpu), sum(wakeups), sum(written))

    def __sub__(self, earlier: "Spent") -> "Spent":
        return Spent(
            self.at_s - earlier.at_s,
            self.cpu_s - earlier.cpu_s,
            self.wakeups - earlier.wakeups,
            self.written - earlier.written,
        )


def _amounts(pid: int) -> tuple[float, int, int]:
    """Seconds of CPU, of threads that live to the nanosecond; wake-ups; bytes written."""
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    wakeups = sum(number_of("voluntary_ctxt_switches:", thread / "status") for thread in threads)
    ran = [float((thread / "schedstat").read_text().split()[0]) / 1e9 for thread in threads]
    return sum(ran) + _ended_s(pid), wakeups, number_of("write_bytes:", f"/proc/{pid}/io")


def number_of(key: str, file: str | Path) -> int:
    """Read the number behind a key that begins a line."""
    lines = Path(file).read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that passed, and seconds of CPU that each took; also an instant, to subtract from."""

    wall_s: float
    aggregator_s: float
    mosquitto_s: float
    generator_s: float

    @classmethod
    def now(cls, aggregator: int, mosquitto: int) -> "Cost":
        """So far. Process ids."""
        return cls(time.monotonic(), cpu_s(aggregator), cpu_s(mosquitto), own_cpu_s())

    def __sub__(self, earlier: "Cost") -> "Cost":
        return Cost(
            self.wall_s - earlier.wall_s,
            self.aggregator_s - earlier.aggregator_s,
            self.mosquitto_s - earlier.mosquitto_s,
            self.generator_s - earlier.generator_s,
        )


class ServiceManager:
    """Stands where systemd stands and notes when a service feeds its watchdog.

    A service feeds it from its main loop, each half of the period: a gap that is longer than that
    is a time in which the loop did nothing else that was due either.
    """

    def __init__(self, period_s: float = WATCHDOG_S) -> None:
        self.period_s = period_s
        self.times: list[float] = []  # Unix time at which it was fed
        name = f"fedling-bench-{os.getpid()}-{id(self):x}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind(f"\0{name}")
        self.environment = {
            "NOTIFY_SOCKET": f"@{name}",
            "WATCHDOG_USEC": str(round(period_s * 1e6)),
        }
        # Ten words may wait in the socket, then the service would: they are taken at once.
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def fed_since(self, moment: float) -> bool:
        """Whether the service has shown a sign of life at that Unix time or later."""
        return bool(self.times) and self.times[-1] >= moment

    def longest_stall_s(self, start: float, end: float) -> float:
        """By how much the longest gap in between (Unix time) was longer than half a period."""
        return longest_gap_s(self.times, start, end) - self.period_s / 2

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _take(self) -> None:
        while True:
            words, extra, _, _ = self._socket.recvmsg(4096, 64)
            if not words:
                return
            if b"WATCHDOG=1" in words:
                seconds, nanoseconds = _TIMESPEC.unpack(extra[0][2])
                self.times.append(seconds + nanoseconds / 1e9)

    def __enter__(self) -> "ServiceManager":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def longest_gap_s(times: Sequence[float], start: float, end: float) -> float:
    """The longest time without a sign of life, from the last before start to the first after end.

    Raises ValueError when there is none before start or none after end: then nobody knows.
    """
    inside = [time for time in times if start < time < end]
    before = [time for time in times if time <= start][-1:]
    after = [time for time in times if time >= end][:1]
    if not before or not after:
        raise ValueError("the watchdog was not fed around the time that was asked for")
    signs = [*before, *inside, *after]
    return max(late - early for early, late in pairwise(signs))
