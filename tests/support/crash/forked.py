"""A training child that is a fork of its agent: what exec would load is in memory already.

For the devices that only keep the process under test company.
"""

import os
import signal
import subprocess
import sys
import traceback
from types import SimpleNamespace
from typing import Any, BinaryIO

from fedling_agent.training import process, trainer

FAILED = 1


def install() -> None:
    """From now on the training children of this process are forks."""
    stand_in: Any = SimpleNamespace(Popen=Forked, PIPE=subprocess.PIPE)
    process.subprocess = stand_in  # type: ignore[attr-defined]


class Forked:
    """As much of subprocess.Popen as fedling_agent.training.process asks for."""

    def __init__(self, command: list[str], **_: object) -> None:
        child_in, write = os.pipe()
        read, child_out = os.pipe()
        self.returncode: int | None = None  # once it was reaped
        self.pid = os.fork()
        if self.pid == 0:
            become(command[command.index("-m") + 2 :], child_in, child_out)
        os.close(child_in)
        os.close(child_out)
        self.stdin: BinaryIO = os.fdopen(write, "wb", buffering=0)
        self.stdout: BinaryIO = os.fdopen(read, "rb", buffering=0)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def poll(self) -> int | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def become(words: list[str], child_in: int, child_out: int) -> None:
    """In the child; never returns."""
    code = FAILED
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.dup2(child_in, 0)
        os.dup2(child_out, 1)
        os.closerange(3, 64)
        code = trainer.main(words)
    except BaseException:  # noqa: BLE001  an interpreter would print it, too
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
