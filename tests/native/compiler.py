"""Compiles the kernel for a test, by any compiler, into a folder of the test's own."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.tools import need

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted((ROOT / "native/src").rglob("*.c"))
OF_PROCESSORS = {
    "avx2",
    "avx512",
    "code_avx2",
    "code_avx512",
    "dotprod",
    "dsp",
    "neon",
}  # in loops/, empty elsewhere
PORTABLE = [path for path in SOURCES if path.stem not in OF_PROCESSORS]
INCLUDES = [f"-I{ROOT / 'native/include'}", f"-I{ROOT / 'native/src'}"]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]

CORTEX_M4 = ["-mcpu=cortex-m4", "-mthumb"]
PACKAGES = {"arm-none-eabi-gcc": "gcc-arm-none-eabi"}  # else gcc-PROCESSOR for PROCESSOR-gcc


def run_compiler(compiler: str, arguments: Sequence[str | Path], folder: Path) -> None:
    """One call of a compiler, in a folder; it must not fail."""
    processor = compiler.removesuffix("-gcc")
    package = compiler if processor == compiler else f"gcc-{processor}"
    program = need(compiler, PACKAGES.get(compiler, package))
    command = [program, "-std=c11", *INCLUDES, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000]


def compile_objects(
    compiler: str, flags: Sequence[str], folder: Path, files: Sequence[Path] = SOURCES
) -> list[Path]:
    """An object of each file, in the folder."""
    run_compiler(compiler, [*flags, "-c", *files], folder)
    return [folder / f"{path.stem}.o" for path in files]
