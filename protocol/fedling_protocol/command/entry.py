"""The first thing that a program of ours does: from here on Ctrl-C ends it without a word.

A board takes a second or more to import what a command needs, and a KeyboardInterrupt in the middle
of that is a traceback. This module imports next to nothing.
"""

import importlib.util
import os
import signal
from types import FrameType

from fedling_protocol import lazily

INTERRUPTED = 130  # Exit.INTERRUPTED, whose module takes its time
# What packages import as they are imported, and an idle device does not use: 2 MB. All of it lies
# with Python, which whom root becomes must be able to read (disk.ownership).
# decisions/0090-ed25519-of-libsodium.md
SELDOM = (
    *("csv", "ipaddress", "tempfile", "uuid"),  # cbor2, paho, ours
    "inspect",  # dataclasses, until Python 3.13
    "locale",  # gettext
    "tokenize",  # linecache
    "urllib.request",  # paho, for a proxy if PySocks is there
)
COMPRESSION = ("bz2", "lzma")  # shutil, which offers them if Python has their half in C


def begin(module: str) -> int:
    """Import a module and call its main(). Returns its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell ignores it
        signal.signal(signal.SIGINT, leave)
    do_without()
    return int(importlib.import_module(module).main())


def do_without() -> None:
    """Have what is seldom used be read by whoever uses it."""
    present = [name for name in COMPRESSION if importlib.util.find_spec(f"_{name}") is not None]
    for name in (*SELDOM, *present):
        lazily.load(name)


def leave(_number: int, _frame: FrameType | None) -> None:
    """End at once: nothing was begun. An exception could be swallowed by who imports."""
    os._exit(INTERRUPTED)
