"""C beside a bench, compiled for the machine that runs it."""

import ctypes
import os
import shlex
import subprocess
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
INCLUDE = HERE.parents[1] / "native" / "include"


@cache
def library(source: str, *defines: str) -> ctypes.CDLL:
    """The shared library of one C file of this folder, with definitions such as "BATCH=16"."""
    flags = ["-std=gnu11", "-O3", "-march=native", "-shared", "-fPIC", f"-I{INCLUDE}"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "library.so"
        command = [*shlex.split(os.environ.get("CC", "cc")), *flags, *(f"-D{d}" for d in defines)]
        subprocess.run([*command, "-o", path, HERE / source, "-lm"], check=True)
        return ctypes.CDLL(str(path))
