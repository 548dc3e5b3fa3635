"""C beside the benches, compiled for the machine that runs it and called through ctypes."""

import ctypes
import os
import re
import shlex
import subprocess
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"
KERNEL_CALLER = ["-D_POSIX_C_SOURCE=199309L"]  # for the clock of kernel.c


@cache
def library(source: str, *defines: str) -> ctypes.CDLL:
    """One C file of this folder, for this processor, with definitions such as "BATCH=16"."""
    flags = ["-std=gnu11", "-O3", "-march=native", *(f"-D{d}" for d in defines)]
    return compiled(flags, [HERE / source])


@cache
def kernel() -> ctypes.CDLL:
    """kernel.c and the kernel, with the flags that it is installed with."""
    return compiled([*kernel_flags(), *KERNEL_CALLER], kernel_sources())


def kernel_flags() -> list[str]:
    """Those that the kernel is installed with."""
    flags = re.search(r"^FDL_CFLAGS = (.*)$", (NATIVE / "flags.mk").read_text(), re.MULTILINE)
    assert flags is not None
    return flags[1].split()


def kernel_sources() -> list[Path]:
    return [HERE / "kernel.c", *sorted((NATIVE / "src").rglob("*.c"))]


def compiled(flags: list[str], sources: list[Path]) -> ctypes.CDLL:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "library.so"
        command = [*compiler, *flags, f"-I{NATIVE / 'include'}", "-shared", "-fPIC"]
        subprocess.run([*command, *map(str, sources), "-lm", "-o", str(path)], check=True)
        return ctypes.CDLL(str(path))
