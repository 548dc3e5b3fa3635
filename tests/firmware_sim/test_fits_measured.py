"""What the planner says against images that QEMU runs: models drawn at random, on every board.

The bounds are those of the project: 2 % of flash and RAM, 15 % of instructions.
"""

from itertools import cycle, islice
from pathlib import Path

import pytest

from fedling_native import Kind, Loss
from fedling_sim.board.boards import BOARDS, Board
from fedling_sim.board.toolchain import Build
from fedling_sim.sizing import costs, measure
from fedling_sim.sizing.estimate import Round, plan
from fedling_sim.sizing.workload import Feature, Job
from tests.firmware_sim import fits_nets
from tests.support.tools import need

SEED = 2025
QUICK = 3  # of as many boards
COUNT = 20
MOST_RAM = 13_800  # bytes: what the smallest board has
JOBS = fits_nets.jobs(SEED, COUNT, MOST_RAM)
CASES = list(zip(JOBS, islice(cycle(BOARDS), COUNT), strict=True))

MEMORY, INSTRUCTIONS = 0.02, 0.15  # relative errors


@pytest.fixture(autouse=True)
def _tools() -> None:
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    need("qemu-system-arm")


@pytest.mark.parametrize(
    ("job", "board"),
    [
        pytest.param(
            job,
            board,
            id=f"{number}-{board.core}",
            marks=pytest.mark.long if number >= QUICK else (),
        )
        for number, (job, board) in enumerate(CASES)
    ],
)
def test_plan_agrees_with_an_image(job: Job, board: Board, tmp_path: Path) -> None:
    measured, flash = measure.measure(board, job, Build(), tmp_path)
    planned = plan(job, board.core, costs.load(), Round(1, job.batch))
    assert planned.ram.arena.total == measured.arena
    assert planned.ram.total - planned.ram.stack == measured.memory
    assert planned.ram.total == pytest.approx(measured.ram, rel=MEMORY)
    assert planned.flash.total == pytest.approx(flash, rel=MEMORY)
    assert planned.step_instructions == pytest.approx(measured.instructions, rel=INSTRUCTIONS)


def test_models_have_every_kind_loss_and_feature() -> None:
    assert {layer.kind for job in JOBS for layer in job.layers} == set(Kind)
    assert {job.loss for job in JOBS} == set(Loss)
    coded = {Feature.CODEC, Feature.TRELLIS}  # no job of a board sends its updates so
    assert frozenset[Feature]().union(*(job.features for job in JOBS)) == set(Feature) - coded
    assert any(job.pull for job in JOBS)
    assert any(job.frozen for job in JOBS)


def test_structs_are_those_of_the_table(tmp_path: Path) -> None:
    board = BOARDS[0]
    report = measure.measure_together(board, JOBS[:1], Build(), tmp_path)
    assert report.structs == costs.load().structs
    assert report.isa == costs.load().cores[board.core].isa
