"""A disk that gets into trouble and out of it, under a program that runs (bad_disk.c)."""

import shutil
import subprocess
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("bad_disk.c")


class Trouble(IntEnum):
    """What becomes of calls, as the C has it."""

    WELL = 0
    FULL = 1
    READ_ONLY = 2
    FAILING = 3  # one call in four; reads, too
    FORGETFUL = 4  # what is to be synced is not, without a word


SEEN = (Trouble.FULL, Trouble.READ_ONLY, Trouble.FAILING)  # by the program


def build(directory: Path) -> Path:
    """Make the library. Raises CalledProcessError; OSError: there is no compiler."""
    library = directory / "bad_disk.so"
    compiler = shutil.which("cc")
    if compiler is None:
        raise OSError("cc is missing: install the package gcc")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True)
    return library


class BadDisk:
    """The trouble of one disk."""

    def __init__(self, library: Path, root: Path, control: Path) -> None:
        self._control = control
        self.trouble = Trouble.WELL
        control.write_bytes(bytes(4))
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "BAD_DISK_ROOT": str(root),
            "BAD_DISK_CONTROL": str(control),
        }

    def be(self, trouble: Trouble) -> None:
        """From now on, for all who use it."""
        self.trouble = trouble
        with self._control.open("r+b") as file:  # the same file: it is mapped
            file.write(trouble.to_bytes(4, "little"))
