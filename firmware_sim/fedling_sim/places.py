"""Where the files of a run go: its report, and what its processes write."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedling_protocol.disk.errors import writing
from fedling_sim import record
from fedling_sim.simulation import Scenario

STATE = "state"


class OutTaken(RuntimeError):
    """The folder for the report has one already."""


@contextmanager
def place(scenario: Scenario, out: Path | None) -> Iterator[Path]:
    """Make the folder of the report, before anything takes time; if none came, it goes again.

    out: as the user says it; None: the first of runs/TASK-SEED, runs/TASK-SEED.2 ... that is
    free. Raises OutTaken, CannotWrite.
    """
    folder = out or Path("runs") / f"{scenario.task.name}-{scenario.seed}"
    with writing(str(folder)):
        folder = _named(folder) if out else _free(folder)
    try:
        yield folder
    finally:
        with suppress(OSError):  # it holds a report
            folder.rmdir()


def _named(folder: Path) -> Path:
    if folder.is_file():
        raise OutTaken(f"{folder}: is a file; name another --out")
    for taken in (folder / record.FILE, folder / STATE):
        if taken.exists():
            raise OutTaken(f"{taken}: is there already; remove it or name another --out")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _free(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(2):
        try:
            folder.mkdir()
            break
        except FileExistsError:  # an earlier run's, or that of one at the same time
            folder = folder.with_name(f"{folder.name.partition('.')[0]}.{number}")
    return folder


@contextmanager
def workplace(out: Path, *, keep: bool) -> Iterator[Path]:
    """Make a folder for the processes' files: temporary, or kept beside the report.

    After a failure nothing stays: the error has told the end of the log that matters.
    """
    if not keep:
        with tempfile.TemporaryDirectory(
            prefix="fedling-sim-", ignore_cleanup_errors=True
        ) as scratch:
            yield Path(scratch)
        return
    directory = out / STATE
    with writing(str(directory)):
        directory.mkdir()
    try:
        yield directory
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
