"""Listens to each call of C that our code makes, however deep in the library, and may make it fail.

A site is a line of ours and the name of what is called from there: `store/shelf.py:52 posix.open`.
Nobody lists them: a new call is met when it is made. What computes only is no call to the outside.
"""

import errno
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

OURS = ("fedling_agent", "fedling_broker", "fedling_protocol", "fedling_native")
OTHERS = ("fedling_sim", "tests", "logging")  # a log that cannot be written is logging's affair
OUTSIDE = {
    *("posix", "_io", "io", "sqlite3", "mmap", "fcntl", "_socket", "select", "_posixsubprocess"),
    *("_cbor2", "_json", "_hashlib", "_struct", "time", "_core", "fedling_native._core"),
}

Site = tuple[str, int, str]
Make = Callable[[], Exception]


def _sqlite(kind: type[sqlite3.Error], code: int, text: str) -> Make:
    def make() -> Exception:
        error = kind(text)
        error.sqlite_errorcode = code
        return error

    return make


ERRORS: tuple[Make, ...] = (
    *(lambda n=n: OSError(n, errno.errorcode[n]) for n in (5, 13, 24, 28, 30, 2, 12)),
    _sqlite(sqlite3.OperationalError, sqlite3.SQLITE_IOERR, "disk I/O error"),
    _sqlite(sqlite3.OperationalError, sqlite3.SQLITE_FULL, "database or disk is full"),
    _sqlite(sqlite3.OperationalError, sqlite3.SQLITE_BUSY, "database is locked"),
    _sqlite(sqlite3.DatabaseError, sqlite3.SQLITE_CORRUPT, "database disk image is malformed"),
    _sqlite(sqlite3.DatabaseError, sqlite3.SQLITE_NOTADB, "file is not a database"),
    *(lambda kind=kind: kind("planted") for kind in (
        sqlite3.IntegrityError, sqlite3.ProgrammingError, ValueError, KeyError, TypeError,
        AssertionError, MemoryError, RecursionError, UnicodeError, StopIteration, Exception,
    )),
)  # fmt: skip


CLOSE = "sqlite3.close"  # sqlite3_close_v2() fails never, and a simulation calls it to kill


class Injector:
    """Makes a call fail when the dice say so. arm() it again after each failure."""

    def __init__(self, seed: int, rate: float) -> None:
        """rate: of the calls to the outside that fail, while it is armed"""
        self.sites: dict[Site, int] = {}  # how often each was met
        self.struck: list[tuple[Site, str]] = []  # and the name of the error's class
        self.rate = rate
        self._dice = Random(seed)
        self._names: dict[Any, str | None] = {}

    def arm(self) -> None:
        if self.rate:
            sys.setprofile(self._on_event)

    def disarm(self) -> None:
        sys.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call":
            return
        name = self._name(called)
        site = None if name is None else _site(frame, name)
        if site is None:
            return
        self.sites[site] = self.sites.get(site, 0) + 1
        # What was struck often leaves room for what is met seldom.
        if self._dice.random() < self.rate / self.sites[site] ** 0.5:
            error = self._dice.choice(ERRORS)()
            self.struck.append((site, type(error).__name__))
            try:
                raise error
            finally:  # of a cursor that is kept with the traceback the reading would go on
                del error, called, frame

    def _name(self, called: Any) -> str | None:
        """What is called, if it is of the outside."""
        owner = getattr(called, "__self__", None)
        module = owner.__name__ if isinstance(owner, type(sys)) else type(owner).__module__
        key = module, called.__name__
        if key not in self._names:
            outside = module in OUTSIDE or (module == "builtins" and called.__name__ == "open")
            name = f"{module}.{called.__name__}"
            self._names[key] = name if outside and name != CLOSE else None
        return self._names[key]


def _site(frame: FrameType | None, name: str) -> Site | None:
    """The line of ours that the call comes from; None: it is of a simulation, a test, a log."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(OTHERS):
            return None
        if module.startswith(OURS):
            path = Path(frame.f_code.co_filename)
            return f"{path.parent.name}/{path.name}", frame.f_lineno, name
        frame = frame.f_back
    return None
