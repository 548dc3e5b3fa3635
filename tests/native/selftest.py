"""The self-test of boards built for Linux: for this machine's processor, or another's with an
emulator for programs (qemu-user)."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from fedling_sim.board import selftest, toolchain
from tests.native import vectors
from tests.native.compiler import ROOT
from tests.native.vectors import Case

FLAGS = ["-std=c11", "-ffp-contract=off"]
HOST = ("linux.c", "print.c")
FOLDERS = (
    "firmware_sim/firmware",
    "firmware_sim/firmware/selftest",
    "native/include",
    "native/src",
)


def build(
    compiler: Sequence[str],
    flags: Sequence[str],
    folder: Path,
    cases: Sequence[Case],
    root: Path = ROOT,
) -> Path:
    """The program with these vectors in it. compiler: its path, and flags that it always needs."""
    (folder / "vectors.bin").write_bytes(vectors.vectors(cases))
    firmware = root / "firmware_sim/firmware"
    sources = [*selftest.sources(firmware / "selftest"), *(firmware / name for name in HOST)]
    sources += toolchain.kernel_sources(root)
    includes = [folder, *(root / name for name in FOLDERS)]
    command = [*compiler, *FLAGS, *flags, *(f"-I{x}" for x in includes), *map(str, sources)]
    program = folder / "selftest"
    done = subprocess.run([*command, "-o", str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def run(program: Path, emulator: Sequence[str] = ()) -> selftest.Report:
    done = subprocess.run([*emulator, str(program)], capture_output=True, text=True)
    assert done.stderr == ""
    return selftest.parse(done.stdout.splitlines(), done.returncode)


def check(report: selftest.Report, cases: Sequence[Case]) -> None:
    """Every value must be that of the golden files, whatever the program itself expects."""
    values = {case.name: case.value for case in report.cases}
    golden = {case.name: case.value for case in cases}
    assert values.keys() == golden.keys()
    assert [name for name in golden if values[name] != golden[name]] == []
