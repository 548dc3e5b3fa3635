"""Signals that end a command after it has put away what it holds; a second one ends it at once."""

import os
import select
import signal
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """While it is entered, a signal is noted, and wakes who polls `fileno()`.

    A signal that was ignored before (nohup, a shell's background) stays so.
    """

    def __init__(self) -> None:
        self.came = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Readable once a signal has come."""
        return self._read

    def wait(self, seconds: float) -> bool:
        """Wait; True as soon as a signal has come."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        poll.poll(seconds * 1000)
        return self.came

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True
        os.write(self._write, b"\0")

    def __enter__(self) -> "Interrupts":
        self._before = {n: signal.getsignal(n) for n in ENDING}
        for number, before in self._before.items():
            if before is not signal.SIG_IGN:
                signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)
        os.close(self._read)
        os.close(self._write)
