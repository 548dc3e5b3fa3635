"""A child process with a log of its own, which ends with us however we end."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fedling_broker.mosquitto.process import die_with_parent

STOP_S = 15.0  # an agent's child finishes its batch first
TAIL = 8  # lines of a log that explain a death


class ChildDied(RuntimeError):
    """A process of the federation ended by itself: which, how, and the end of its log."""


class Process:
    """One program of ours, run by this Python.

    name: for people; module: of its command line
    """

    def __init__(self, name: str, module: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id; None: not started, or stopped."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the program; returns at once."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,  # a Ctrl-C is for us: we decide who stops first
                preexec_fn=die_with_parent,  # noqa: PLW1509  one system call, no lock, no memory
            )

    def check(self) -> None:
        """Look whether it runs. Raises ChildDied."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise ChildDied(f"{self.name} {how}; the end of its log:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(f"  {line}" for line in text.splitlines()[-TAIL:]) or "  (empty)"

    def ask_to_stop(self) -> None:
        """Send SIGTERM, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, as a power cut; wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wait(self) -> None:
        """Wait until it has ended; it is killed when that takes too long."""
        if self._process is None:
            return
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
