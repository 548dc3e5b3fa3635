"""The first thing that a program of ours does: from here on Ctrl-C ends it without a word.

A board takes a second or more to import what a command needs, and a KeyboardInterrupt in the middle
of that is a traceback. This module imports next to nothing.
"""

import importlib
import os
import signal
from types import FrameType

INTERRUPTED = 130  # Exit.INTERRUPTED, whose module takes its time


def begin(module: str) -> int:
    """Import a module and call its main(). Returns its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell ignores it
        signal.signal(signal.SIGINT, leave)
    return int(importlib.import_module(module).main())


def leave(_number: int, _frame: FrameType | None) -> None:
    """End at once: nothing was begun. An exception could be swallowed by who imports."""
    os._exit(INTERRUPTED)
