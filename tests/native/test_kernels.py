"""Every table of inner loops gives the bits of the one in plain C, on random shapes and values that
test_kernels.c draws."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.native import compiler
from tests.native.test_matrix import TARGETS, Target
from tests.support.quick import quick
from tests.support.tools import need

HARNESS = Path(__file__).parent / "test_kernels.c"
TABLES = {name: target for name, target in TARGETS.items() if target.isa != "plain"} | {
    "armv7 dsp": Target(
        "dsp", "FDL_ISA_DSP", "arm-linux-gnueabihf", "qemu-arm", ["-static", "-mthumb"]
    )
}
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def check(
    target: Target,
    flags: Sequence[str],
    cases: int,
    seed: int,
    folder: Path,
    name: str = "gcc",
) -> None:
    """Builds the harness for a target and runs it: `cases` of every function."""
    emulator = [need(target.emulator, "qemu-user")] if target.emulator else []
    command = [*target.compiler(name), "-std=c11", *flags, *target.flags, f"-D{target.define}"]
    sources = [HARNESS, *compiler.SOURCES]
    command += [*compiler.INCLUDES, *map(str, sources), "-o", str(folder / "harness")]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    arguments = [str(folder / "harness"), str(seed), str(cases), target.isa]
    done = subprocess.run([*emulator, *arguments], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize("level", quick(["-O3"], ["-O0"]))
@pytest.mark.parametrize("name", TABLES)
def test_equals_plain(name: str, level: str, tmp_path: Path) -> None:
    target = TABLES[name]
    check(target, [level], 200 if target.emulator else 1000, 1, tmp_path)


# clang looks at sums in vectors, too: quick is the widest table with it
HERE = [name for name, target in TABLES.items() if not target.emulator]
BUILDS = [f"{compiler} {name}" for name in HERE for compiler in ("gcc", "clang")]


FEW, MANY = 150, 500


@pytest.mark.parametrize("build", quick([f"{FEW} {BUILDS[-1]}"], [f"{MANY} {b}" for b in BUILDS]))
def test_touches_nothing_outside(build: str, tmp_path: Path) -> None:
    cases, compiler, name = build.split(" ", 2)
    check(TABLES[name], ["-O1", "-g", *SANITIZED], int(cases), 2, tmp_path, compiler)
