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
ROOT = HERE.parents[1]
NATIVE = ROOT / "native"
KERNEL_CALLER = ["-D_POSIX_C_SOURCE=199309L"]  # for the clock of kernel.c


@cache
def library(source: str, *defines: str) -> ctypes.CDLL:
    """One C file of this folder, for this processor, with definitions such as "BATCH=16"."""
    flags = ["-std=gnu11", "-O3", "-march=native", *(f"-D{d}" for d in defines)]
    return compiled(flags, [HERE / source])


@cache
def kernel(root: Path = ROOT, *defines: str) -> ctypes.CDLL:
    """kernel.c and the kernel of a tree, with the flags that it is installed with."""
    given = [*KERNEL_CALLER, *(f"-D{d}" for d in defines), f"-I{root / 'native/include'}"]
    return compiled([*kernel_flags(root), *given], kernel_sources(root))


def kernel_flags(root: Path = ROOT) -> list[str]:
    """Those that the kernel is installed with."""
    flags = re.search(r"^FDL_CFLAGS = (.*)$", (root / "native/flags.mk").read_text(), re.MULTILINE)
    assert flags is not None
    return flags[1].split()


def kernel_sources(root: Path = ROOT) -> list[Path]:
    return [root / "bench/support/kernel.c", *sorted((root / "native/src").rglob("*.c"))]


def compiled(flags: list[str], sources: list[Path]) -> ctypes.CDLL:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "library.so"
        command = [*compiler, *flags, "-shared", "-fPIC"]
        subprocess.run([*command, *map(str, sources), "-lm", "-o", str(path)], check=True)
        return ctypes.CDLL(str(path))
