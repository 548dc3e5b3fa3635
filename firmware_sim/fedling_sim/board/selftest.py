"""The self-test: an image that computes the golden vectors and says what it got."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fedling_protocol.classes import dataclass
from fedling_sim.board import qemu, toolchain
from fedling_sim.board.boards import Board
from fedling_sim.board.toolchain import Build, Program

STACK = 3584  # bytes: what a board of 16 KB has beside the pool of 12 KB

CASE = re.compile(r"([0-9a-f]{8}) ([0-9a-f]{8}) (\d+) (.+)")


class BadReport(RuntimeError):
    """What an image printed is not the report of a self-test. Holds the end of it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One golden vector: the CRC-32 of all that it gave, and what that must be."""

    name: str
    value: int
    expected: int
    instructions: int  # of a training step, on average; 0: no training, or nobody counted

    @property
    def right(self) -> bool:
        return self.value == self.expected


@dataclass(frozen=True, slots=True)
class Report:
    """What an image said of itself."""

    isa: str  # the inner loops that it ran
    cases: tuple[Case, ...]
    stack: int  # the most bytes in use at once; 0: not measured

    @property
    def wrong(self) -> list[str]:
        return [case.name for case in self.cases if not case.right]

    @property
    def instructions(self) -> dict[str, int]:
        """Count the instructions of a step, by training."""
        return {case.name: case.instructions for case in self.cases if case.instructions > 0}


def program(root: Path) -> Program:
    """The self-test with the vectors of the clone."""
    folder = toolchain.firmware(root) / "selftest"
    return Program(sources(folder), includes=(folder,), stack=STACK)


def sources(folder: Path) -> tuple[Path, ...]:
    """List C and assembler of the self-test, less the platform."""
    return tuple(sorted(folder.glob("*.[cS]")))


def run(board: Board, build: Build) -> Report:
    """Build the self-test for a board and run it in QEMU.

    Raises ToolMissing, SourcesMissing, BuildFailed, ImageHangs and BadReport.
    """
    with tempfile.TemporaryDirectory(prefix="fedling-board-") as folder:
        image = toolchain.build_image(board, program(build.root), build, Path(folder))
        outcome = qemu.run(board, image)
    return parse(outcome.lines, outcome.status, outcome.errors)


def parse(lines: Sequence[str], status: int, errors: str = "") -> Report:
    """Read what an image printed, which its status must agree with. Raises BadReport."""
    isa = [line.removeprefix("isa ") for line in lines if line.startswith("isa ")]
    stack = [int(line.removeprefix("stack ")) for line in lines if line.startswith("stack ")]
    cases = tuple(
        Case(found[4], int(found[1], 16), int(found[2], 16), int(found[3]))
        for line in lines
        if (found := CASE.fullmatch(line))
    )
    wrong = sum(not case.right for case in cases)
    total = f"right {len(cases) - wrong} of {len(cases)}"
    if len(isa) != 1 or len(stack) != 1 or lines[-1] != total or status != (wrong > 0):
        end = "\n".join([*lines[-3:], *errors.splitlines()[:3]])
        raise BadReport(f"the self-test ended early, with status {status}:\n{end}")
    return Report(isa[0], cases, stack[0])
