"""One machine: a program of ours, and the disk that its state is on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fedling_broker.mosquitto.process import die_with_parent
from fedling_protocol.exits import Exit
from tests.support.outages.bad_disk import SEEN, BadDisk, Trouble
from tests.support.outages.disk import Disk
from tests.support.plug import tree

RESTARTED = (Exit.FAILED, Exit.CANNOT_WRITE)  # that a disk in trouble is a reason for
AGAIN_S = 0.5
STOP_S = 30.0
TICKS = os.sysconf("SC_CLK_TCK")


class Machine:
    """A fedling program as people run it: its start has all imports in it."""

    def __init__(
        self, name: str, words: Sequence[object], disk: Disk, trouble: BadDisk, log: Path
    ) -> None:
        """words: behind `python -m`"""
        self.name = name
        self.disk, self.trouble = disk, trouble
        self.log = log
        self.started_s = 0.0
        self._command = [sys.executable, "-m", *map(str, words)]
        self._may_end = False
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.started_s = time.monotonic()  # a recovery is measured from here
        self._may_end = self.trouble.trouble in SEEN
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.trouble.environment,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  one system call, no lock, no memory
            )

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def be_in(self, trouble: Trouble) -> None:
        """From now on. It may end by that, and is started again, as systemd does."""
        self._may_end = trouble is not Trouble.WELL or self._may_end
        self.trouble.be(trouble)

    def look_after(self) -> bool:
        """Start it again where it may have ended; False: it may not."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return True
        if not self._may_end or code not in RESTARTED:
            return False
        time.sleep(AGAIN_S)  # as systemd's RestartSec
        self.start()
        return True

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
        """To the program and its training child, which may have been started meanwhile."""
        assert self._process is not None
        program, *before = tree(self._process.pid)
        for pid in (program, *before, *tree(program)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
