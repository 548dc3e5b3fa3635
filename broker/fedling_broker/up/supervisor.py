"""Runs programs as children: who dies is started again, after ever longer delays; all end in order.

The order is that of the list: what stands first is started first and ended last.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Final

from fedling_broker.mosquitto.process import die_with_parent
from fedling_protocol.classes import dataclass
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import READ, Loop, Timer

FIRST_S, LONGEST_S = 1.0, 60.0
STOP_S = 20.0  # `serve` commits what it has accepted
TAIL: Final = 4  # lines of a log that explain a death
LARGEST_LOG: Final = 1 << 20  # bytes; then one begins anew, and the old one stays beside it

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Program:
    """What is run.

    log: the file that takes what it says; None: it says it where we do
    final: exit codes after which it is of no use to start it again
    """

    name: str
    command: Sequence[str]
    log: Path | None = None
    final: frozenset[int] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)


class Supervisor:
    """Runs programs until it is told to stop, or until one ends for good."""

    def __init__(
        self, loop: Loop, programs: Sequence[Program], say: Say, draw: Callable[[], float]
    ) -> None:
        """draw: random.random, which spreads the delays"""
        self._loop = loop
        self._say = say
        self._children = [_Child(loop, program, self._on_death, draw) for program in programs]
        self._stopping: list[_Child] | None = None  # who is still to be told
        self._done: Callable[[], None] = loop.stop
        self.code = 0  # how the one ended that ended for good

    def start(self) -> None:
        """Start all, in order."""
        for child in self._children:
            child.start()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a program a signal, if it runs."""
        for child in self._children:
            if child.program.name == name:
                child.signal(number)

    def again(self, name: str) -> None:
        """End a program and start it again at once: what it is asked to do is no death."""
        for child in self._children:
            if child.program.name == name and child.running:
                child.anew()

    def stop(self, done: Callable[[], None]) -> None:
        """End all, the last one first; each may take its time. A second call is harmless."""
        if self._stopping is None:
            self._done = done
            self._stopping = list(self._children)
            self._stop_next()

    def kill(self) -> None:
        """End all that runs, at once."""
        for child in self._children:
            child.kill()

    def _stop_next(self) -> None:
        while self._stopping:
            child = self._stopping.pop()
            if child.running:
                child.stop()
                return
            child.forget()
        self._done()

    def _on_death(self, child: "_Child", code: int) -> None:
        if self._stopping is not None:
            self._stop_next()
            return
        if child.wanted_anew:
            child.start()
            return
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        said = "".join(f"\n  {line}" for line in child.tail())
        if code in child.program.final:
            self._say(f"{child.program.name} {how}{said}")
            self.code = code
            self.stop(self._loop.stop)
            return
        self._say(f"{child.program.name} {how}; it is started again in {child.again():.1f} s{said}")


class _Child:
    """One program: a process, or a timer until the next one."""

    def __init__(
        self,
        loop: Loop,
        program: Program,
        died: Callable[["_Child", int], None],
        draw: Callable[[], float],
    ) -> None:
        self.program = program
        self._loop = loop
        self._died = died
        self._backoff = Backoff(FIRST_S, LONGEST_S, draw)
        self._process: subprocess.Popen[bytes] | None = None
        self._handle = -1  # a pidfd: readable when the process has ended
        self._began = 0.0
        self._timer: Timer | None = None  # until the next try, or until it is killed
        self.wanted_anew = False

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        self._timer, self.wanted_anew = None, False
        log = None if self.program.log is None else _open_log(self.program.log)
        try:
            self._process = subprocess.Popen(
                self.program.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment() | dict(self.program.environment),
                start_new_session=True,  # a Ctrl-C is for us: we decide who stops first
                preexec_fn=die_with_parent,  # noqa: PLW1509  one system call, no lock, no memory
            )
        finally:
            if log is not None:
                os.close(log)
        self._began = self._loop.now()
        self._handle = os.pidfd_open(self._process.pid)
        self._loop.watch(self._handle, READ, self._on_end)

    def again(self) -> float:
        """Start it again after a while; returns that, in seconds."""
        self._backoff.lived(self._loop.now() - self._began)
        delay_s = self._backoff.next_s()
        self._timer = self._loop.after(delay_s, self.start)
        return delay_s

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """Ask it to end; it is killed when that takes too long."""
        self.signal(signal.SIGTERM)
        self._timer = self._loop.after(STOP_S, self.kill)

    def anew(self) -> None:
        """End it; who hears of its death starts it."""
        self.wanted_anew = True
        self.stop()

    def forget(self) -> None:
        """Start it no more."""
        if self._timer is not None:
            self._timer.cancel()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def tail(self) -> list[str]:
        """The last lines of its log."""
        if self.program.log is None or not self.program.log.exists():
            return []
        return self.program.log.read_text(errors="replace").splitlines()[-TAIL:]

    def _on_end(self, _events: int) -> None:
        assert self._process is not None
        code = self._process.wait()
        self._loop.unwatch(self._handle)
        os.close(self._handle)
        self._process = None
        self.forget()
        self._died(self, code)


def _environment() -> dict[str, str]:
    """Ours, without what a service manager told this process alone."""
    ours = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID")
    return {name: value for name, value in os.environ.items() if name not in ours}


def _open_log(path: Path) -> int:
    """Open a log to be written behind its end; a large one begins anew."""
    if path.exists() and path.stat().st_size > LARGEST_LOG:
        path.replace(path.with_name(path.name + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
