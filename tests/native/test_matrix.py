"""The same bits everywhere: golden vectors and whole trainings, computed by each path through the
kernel, on each processor, built by each compiler at each level."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fedling_sim.board import boards, toolchain
from fedling_sim.board import selftest as images
from fedling_sim.board.boards import BOARDS, Board
from fedling_sim.board.toolchain import Build
from tests.native import selftest, vectors
from tests.native.compiler import ROOT
from tests.support.tools import need

pytestmark = pytest.mark.long

LEVELS = ("-O0", "-O1", "-O2", "-O3")


@dataclass(frozen=True)
class Target:
    """A path through the kernel on a Linux processor.

    isa:        the name that the path gives itself
    define:     what chooses it at compile time
    processor:  as gcc's cross compilers are named; none: this machine's
    emulator:   a program of qemu-user; none: it runs here
    """

    isa: str
    define: str
    processor: str = ""
    emulator: str = ""
    flags: list[str] = field(default_factory=list)

    def compiler(self, name: str) -> list[str]:
        if not self.processor:
            return [need(name)]
        cross = need(f"{self.processor}-gcc", f"gcc-{self.processor}")
        return [cross] if name == "gcc" else [need(name), f"--target={self.processor}"]


# The emulation of AVX-512 in C (SIMDe): the same source of ours, for a machine without it.
EMULATED_AVX512 = [f'-DFDL_IMMINTRIN="{ROOT / "tests/native/emulated_avx512.h"}"', "-Wno-psabi"]


def machine_has(*features: str) -> bool:
    return set(features) <= set(Path("/proc/cpuinfo").read_text().split())


def x86_targets() -> dict[str, Target]:
    avx2 = "" if machine_has("avx2") else "qemu-x86_64"
    vnni = [] if machine_has("avx512_vnni", "avx512bw", "avx512vl") else EMULATED_AVX512
    return {
        "x86-64 plain": Target("plain", "FDL_ISA_PLAIN"),
        "x86-64 avx2": Target("avx2", "FDL_ISA_AVX2", emulator=avx2),
        "x86-64 avx512vnni": Target("avx512vnni", "FDL_ISA_AVX512VNNI", flags=vnni),
    }


AARCH64 = ("aarch64-linux-gnu", "qemu-aarch64", ["-static"])
ARMV7 = ("arm-linux-gnueabihf", "qemu-arm", ["-static", "-march=armv7-a", "-mfpu=neon"])
TARGETS = x86_targets() | {
    "aarch64 plain": Target("plain", "FDL_ISA_PLAIN", *AARCH64),
    "aarch64 neon": Target("neon", "FDL_ISA_NEON", *AARCH64),
    "aarch64 dotprod": Target("dotprod", "FDL_ISA_DOTPROD", *AARCH64),
    "armv7 plain": Target("plain", "FDL_ISA_PLAIN", *ARMV7),
}

BOARD_ISA = {"cortex-m0": "plain", "cortex-m3": "plain"}  # all others have the DSP instructions


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("compiler", toolchain.COMPILERS)
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_linux(target: Target, compiler: str, level: str, tmp_path: Path) -> None:
    emulator = [need(target.emulator, "qemu-user")] if target.emulator else []
    cases = vectors.small_cases() if emulator and level != "-O3" else vectors.all_cases()
    flags = [level, f"-D{target.define}", *target.flags]
    program = selftest.build(target.compiler(compiler), flags, tmp_path, cases)
    report = selftest.run(program, emulator)
    assert report.isa == target.isa
    selftest.check(report, cases)


@pytest.mark.parametrize("level", [*LEVELS, "-Os"])
@pytest.mark.parametrize("compiler", toolchain.COMPILERS)
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board.name))
def test_board(board: Board, compiler: str, level: str) -> None:
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    need("qemu-system-arm")
    need(compiler)
    report = images.run(board, Build(compiler, level))
    assert report.isa == BOARD_ISA.get(board.core, "dsp")
    selftest.check(report, vectors.small_cases())


# --- One line of rounding broken --------------------------------------------------------------

BROKEN = {  # file of native/src: what stands there once, and what stands there instead
    "numbers/fixed.h": ("((x >> (shift - 1)) + 1) >> 1", "(x >> (shift - 1)) >> 1"),
    "loops/plain.c": ("int32_t half = (1 << shift) >> 1;", "int32_t half = 0;"),
}


@pytest.fixture(params=BROKEN)
def broken_sources(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the sources with one line that no longer rounds to nearest."""
    root = tmp_path / "broken"
    for folder in ("native/include", "native/src", "firmware_sim/firmware"):
        shutil.copytree(ROOT / folder, root / folder)
    path = root / "native/src" / str(request.param)
    right, wrong = BROKEN[request.param]
    text = path.read_text()
    assert text.count(right) == 1
    path.write_text(text.replace(right, wrong))
    return root


def small_trainings() -> set[str]:
    return {case.name for case in vectors.small_cases() if case.kind == vectors.Kind.TRAINING}


def test_broken_rounding_is_seen_on_linux(broken_sources: Path, tmp_path: Path) -> None:
    cases = vectors.small_cases()
    flags: Sequence[str] = ["-O1", "-DFDL_ISA_PLAIN"]
    report = selftest.run(
        selftest.build([need("gcc")], flags, tmp_path, cases, root=broken_sources)
    )
    assert small_trainings() & set(report.wrong)


def test_broken_rounding_is_seen_on_a_board(broken_sources: Path) -> None:
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    need("qemu-system-arm")
    report = images.run(boards.find("cortex-m0"), Build(root=broken_sources))
    assert small_trainings() & set(report.wrong)
