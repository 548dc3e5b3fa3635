"""The caller's end of the nursery: starts product processes there, hears when they end."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.waiting import PATIENCE_S

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent


class Keeper:
    """Owns a nursery and the processes in it."""

    def __init__(self) -> None:
        # Later environments of children are this one and what start() adds.
        path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crash.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path},
        )
        self._rest = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        self.running: set[int] = set()
        self.ended: dict[int, int] = {}  # pid: exit code, negative for a signal

    def start(
        self,
        program: str,
        words: Sequence[object],
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        forks: bool = False,
    ) -> int:
        """Start "agent" or "broker" with command-line words; its pid.

        forks: its training children are forks of it, which is cheaper than a new Python
        """
        request = {
            "program": program,
            "words": [str(word) for word in words],
            "log": str(log),
            "environment": dict(environment or {}),
            "forks": forks,
        }
        assert self._nursery.stdin is not None
        self._nursery.stdin.write(json.dumps(request).encode() + b"\n")
        self._nursery.stdin.flush()
        while True:
            message = self._next(PATIENCE_S)
            if message is not None and "code" not in message:
                pid = int(message["pid"])
                self.ended.pop(pid, None)
                self.running.add(pid)
                return pid

    def wait(self, seconds: float) -> None:
        """Until something ends, at most so long."""
        self._next(seconds)

    def run(self, program: str, words: Sequence[object], log: Path) -> int:
        """Run a command to its end; its exit code."""
        pid = self.start(program, words, log)
        self._wait_for(pid, PATIENCE_S)
        return self.ended[pid]

    def stop_all(self, pids: Sequence[int], number: signal.Signals = signal.SIGTERM) -> list[int]:
        """End processes at the same time; their exit codes."""
        for pid in pids:
            if pid in self.running:
                with suppress(ProcessLookupError):  # it has ended, and we shall hear of it
                    os.kill(pid, number)
        for pid in pids:
            self._wait_for(pid, PATIENCE_S)
        return [self.ended[pid] for pid in pids]

    def kill_all(self) -> None:
        self.stop_all(list(self.running), signal.SIGKILL)

    def close(self) -> None:
        """End the nursery and all in it."""
        assert self._nursery.stdin is not None
        self.kill_all()
        with suppress(BrokenPipeError):
            self._nursery.stdin.close()
        self._nursery.wait(PATIENCE_S)
        self._selector.close()
        os.close(self._output)

    @property
    def _output(self) -> int:
        assert self._nursery.stdout is not None
        return self._nursery.stdout.fileno()

    def _wait_for(self, pid: int, seconds: float) -> None:
        # Of what comes, not every message is about this process.
        late = time.monotonic() + seconds
        while pid in self.running:
            if self._next(max(0.0, late - time.monotonic())) is None:  # what is left
                raise TimeoutError(f"process {pid} did not end")

    def _next(self, seconds: float) -> dict[str, Any] | None:
        """The next message of the nursery; None: none came."""
        late = time.monotonic() + seconds  # a message may come in parts
        while b"\n" not in self._rest:
            if not self._selector.select(max(0.0, late - time.monotonic())):  # what is left
                return None
            data = os.read(self._output, 65_536)
            if not data:
                raise RuntimeError("the nursery has ended; its error is above")
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        if "code" in message:
            self.running.discard(message["pid"])
            self.ended[message["pid"]] = message["code"]
        return message

    def __enter__(self) -> "Keeper":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
