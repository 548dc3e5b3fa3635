"""One machine: a program of ours, and the disk that its state is on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fedling_sim.mosquitto import die_with_parent
from tests.support.outages.disk import Disk

STOP_S = 30.0
TICKS = os.sysconf("SC_CLK_TCK")


class Machine:
    """A fedling program as people run it: its start has all imports in it."""

    def __init__(
        self, name: str, words: Sequence[object], disk: Disk, log: Path, preload: str = ""
    ) -> None:
        """words: behind `python -m`. preload: a library that stands between it and its disk"""
        self.name = name
        self.disk = disk
        self.log = log
        self.started_s = 0.0
        self._command = [sys.executable, "-m", *map(str, words)]
        self._environment = os.environ | ({"LD_PRELOAD": preload} if preload else {})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.started_s = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,  # its training child is in its group
                preexec_fn=die_with_parent,  # noqa: PLW1509  one system call, no lock, no memory
            )

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def kill(self) -> None:
        """`kill -9` of the program; a training child has to see to itself."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def cut(self, way: str) -> None:
        """Cut the power, and give it back. way: what the disk is like (disk.WAYS)"""
        self._signal(signal.SIGSTOP)
        self.disk.copy(way)
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        self.disk.replace()

    def stop(self) -> int:
        """In good order; its exit code."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(STOP_S)
        self._process = None
        return code

    def cpu_s(self) -> float:
        """What the program itself has used since its start."""
        assert self._process is not None
        text = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(text[11]) + int(text[12])) / TICKS

    def tail(self, size: int = 3000) -> str:
        return f"--- {self.name}\n{self.log.read_text(errors='replace')[-size:]}"

    def _signal(self, number: signal.Signals) -> None:
        """To the program and its training child."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
