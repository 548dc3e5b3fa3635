"""`fedling-agent ingest --watch`: files of a folder are brought when nobody writes to them.

A folder is looked at again and again: what tells of changes (inotify) says nothing of a file that
another machine has written. What was brought is known by size and time while this runs; after a
restart each file is read once more, and stores nothing twice.
"""

import os
import stat
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from fedling_agent.commands.interrupts import Interrupts
from fedling_agent.data import npz
from fedling_protocol.classes import dataclass
from fedling_protocol.exits import Exit

LOOK_S = 5.0
QUIET_S = 2.0  # without a change: nobody writes to it
OPEN_S = 60.0  # if its end is missing: a program writes blocks, which end anywhere
ENDINGS = (".csv", ".tsv", ".txt", ".ndjson", ".jsonl", ".json", *npz.ENDINGS)

Bring = Callable[[Path, int, Interrupts], str]
"""Brings so many bytes of a file; why it is to be tried again, or nothing."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """How a file is told from what it was."""

    size: int
    times_ns: tuple[int, int]  # of its content, and of what else is known of it
    whole: bool  # its last line has an end, or its arrays have

    @property
    def rests_s(self) -> float:
        """For how long nobody has written to it if all of it is there."""
        return QUIET_S if self.whole else OPEN_S


class Folder:
    """Which files of a folder are whole and not brought. Times are given, in seconds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: dict[Path, tuple[Stamp, float]] = {}  # and since when
        self._brought: dict[Path, Stamp] = {}

    def due(self, now: float) -> list[Path]:
        """List them, by name. Raises OSError: the folder cannot be read."""
        here = self._look()
        self._seen = {
            path: self._seen[path] if self._seen.get(path, (None,))[0] == stamp else (stamp, now)
            for path, stamp in here.items()
        }
        self._brought = {path: old for path, old in self._brought.items() if path in here}
        return sorted(
            path
            for path, (stamp, since) in self._seen.items()
            if now - since >= stamp.rests_s and self._brought.get(path) != stamp
        )

    @property
    def waits(self) -> bool:
        """Whether a file is there that may be whole soon."""
        return any(self._brought.get(path) != stamp for path, (stamp, _) in self._seen.items())

    def brought(self, path: Path) -> None:
        """All of it is stored as it was when it was due, or cannot be."""
        if path in self._seen:
            self._brought[path] = self._seen[path][0]

    def size(self, path: Path) -> int:
        """How many bytes it had when it was due."""
        return self._seen[path][0].size

    def _is_whole(self, path: Path, facts: os.stat_result) -> bool:
        """Whether its last line, or array, has an end; as before if it is as before."""
        before = self._seen.get(path)
        if before is not None:
            times_ns = (facts.st_mtime_ns, facts.st_ctime_ns)
            if before[0] == Stamp(facts.st_size, times_ns, before[0].whole):
                return before[0].whole
        try:
            with path.open("rb") as file:
                if path.suffix.lower() in npz.ENDINGS:
                    return npz.is_whole(file.fileno())
                file.seek(max(0, facts.st_size - 1))
                return file.read(1) in (b"\n", b"\r", b"")
        except OSError:  # who brings it says so
            return True

    def _look(self) -> dict[Path, Stamp]:
        found: dict[Path, Stamp] = {}
        for path in self.path.iterdir():
            if path.name.startswith(".") or path.suffix.lower() not in ENDINGS:
                continue
            with suppress(OSError):  # it has gone meanwhile, or leads nowhere
                facts = path.stat()
                if stat.S_ISREG(facts.st_mode) and facts.st_size:  # else who made it goes on soon
                    times_ns = (facts.st_mtime_ns, facts.st_ctime_ns)
                    found[path] = Stamp(facts.st_size, times_ns, self._is_whole(path, facts))
        return found


def watch(paths: Sequence[Path], bring: Bring, interrupts: Interrupts) -> Exit:
    """Bring files as they come, until a signal."""
    folders, troubles = [Folder(path) for path in paths], Troubles()
    while not interrupts.came:
        for folder in folders:
            _look(folder, bring, interrupts, troubles)
        interrupts.wait(QUIET_S if any(folder.waits for folder in folders) else LOOK_S)
    return Exit.INTERRUPTED


class Troubles:
    """What is tried again, and why: each is told once."""

    def __init__(self) -> None:
        self._told: dict[object, str] = {}

    def now(self, path: object, words: str) -> None:
        """Say what is wrong with it; nothing: it is well."""
        if words and self._told.get(path) != words:
            print(f"{words}; it is tried again", file=sys.stderr, flush=True)
        if words:
            self._told[path] = words
        else:
            self._told.pop(path, None)


def _look(folder: Folder, bring: Bring, interrupts: Interrupts, troubles: Troubles) -> None:
    try:
        due = folder.due(time.monotonic())
    except OSError as error:
        troubles.now(folder.path, f"{folder.path}: cannot be read: {error.strerror}")
        return
    troubles.now(folder.path, "")
    for path in due:
        if interrupts.came:
            return
        why = bring(path, folder.size(path), interrupts)
        troubles.now(path, why)
        if not why and not interrupts.came:
            folder.brought(path)
