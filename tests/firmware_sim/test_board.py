"""Images on boards that QEMU plays: start-up, the counter, the stack, faults, what is missing."""

import re
from pathlib import Path

import pytest

from fedling_sim.board import boards, qemu, toolchain
from fedling_sim.board.boards import BOARDS, Board
from fedling_sim.board.toolchain import Build, BuildFailed, Program
from tests.support.tools import need

PROBE = Path(__file__).parent / "probe.c"
STACK = 2048  # bytes
COUNTED = 200_000  # instructions of the probe's loop
TICK = 64  # instructions, on the board with the slowest clock


@pytest.fixture(autouse=True)
def _tools() -> None:
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    need("qemu-system-arm")


def build_probe(board: Board, folder: Path, *defines: str, build: Build | None = None) -> Path:
    program = Program((PROBE,), ("PROBE_STACK=256", *defines), kernel=False, stack=STACK)
    return toolchain.build_image(board, program, build or Build(), folder)


def run_probe(board: Board, folder: Path, *defines: str) -> qemu.Outcome:
    return qemu.run(board, build_probe(board, folder, *defines))


def each_board() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board.name))


@each_board()
@pytest.mark.parametrize("compiler", toolchain.COMPILERS)
def test_board_starts_and_counts(board: Board, compiler: str, tmp_path: Path) -> None:
    need(compiler)
    outcome = qemu.run(board, build_probe(board, tmp_path, build=Build(compiler)))
    assert outcome.errors == ""
    counted, memory, stack = outcome.lines
    assert abs(int(counted) - COUNTED) <= 2 * TICK
    assert memory == "12345678"
    assert 0 < int(stack) < STACK
    assert outcome.status == 7


@each_board()
def test_fault_is_reported(board: Board, tmp_path: Path) -> None:
    outcome = run_probe(board, tmp_path, "PROBE_FAULT")
    assert re.fullmatch(
        "fault: exception 3 at [0-9a-f]{8}, called from [0-9a-f]{8}", outcome.lines[-1]
    )
    assert outcome.status == 1


def test_stack_use_is_measured(tmp_path: Path) -> None:
    board = boards.find("cortex-m0")
    used = [
        int(run_probe(board, tmp_path / str(n), f"PROBE_STACK={n}").lines[2]) for n in (256, 1280)
    ]
    assert 1024 <= used[1] - used[0] <= 1280


@each_board()
def test_stack_that_overflows_is_reported(board: Board, tmp_path: Path) -> None:
    outcome = run_probe(board, tmp_path, f"PROBE_STACK={2 * STACK}")
    assert outcome.lines[-1] == "fault: exception 3, the stack is full"
    assert outcome.status == 1


def test_pool_that_is_exhausted_ends_the_program(tmp_path: Path) -> None:
    outcome = run_probe(boards.find("microbit"), tmp_path, "PROBE_POOL=12289")
    assert outcome.lines[-1] == "out of memory: the pool has 12288 bytes"
    assert outcome.status == 1


def test_image_that_hangs_is_ended(tmp_path: Path) -> None:
    board = boards.find("microbit")
    with pytest.raises(qemu.ImageHangs):
        qemu.run(board, build_probe(board, tmp_path), timeout_s=0.001)


def test_program_too_large_for_a_board_is_refused(tmp_path: Path) -> None:
    program = Program((PROBE,), ("PROBE_STACK=256",), kernel=False, stack=16384)
    with pytest.raises(BuildFailed, match="RAM"):
        toolchain.build_image(boards.find("microbit"), program, Build(), tmp_path)


def test_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(toolchain.ToolMissing, match="apt-get install gcc-arm-none-eabi"):
        build_probe(boards.find("microbit"), tmp_path)


def test_missing_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(toolchain.SourcesMissing, match="in a clone"):
        build_probe(boards.find("microbit"), tmp_path, build=Build(root=tmp_path))


def test_find_knows_names_and_cores() -> None:
    assert boards.find("mps2-an386") is boards.find("cortex-m4")
    with pytest.raises(boards.NoSuchBoard, match=r"microbit \(cortex-m0\)"):
        boards.find("cortex-m1")
