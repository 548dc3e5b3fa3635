"""What training costs on each Cortex-M core: the table that `fedling-sim fits` plans with.

Models drawn at random are measured on boards that QEMU plays: their instructions in images with the
whole kernel, their flash and stack in images with what each needs. Code and instructions are fitted
to counted parts by least squares of the relative errors. The table changes with the kernel, its
compiler and the options. The figures are the largest errors on models that were not fitted.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.report import Report
from fedling_native import Loss, dense
from fedling_sim.board import toolchain
from fedling_sim.board.boards import BOARDS, KIB, Board
from fedling_sim.board.toolchain import Build
from fedling_sim.sizing import costs, flash, measure, operations
from fedling_sim.sizing.costs import Costs, CostTable, Structs
from fedling_sim.sizing.estimate import Round, plan
from fedling_sim.sizing.measure import Measured
from fedling_sim.sizing.memory import packed_bytes
from fedling_sim.sizing.workload import Job
from tests.firmware_sim import fits_nets

Float = NDArray[np.float64]

Own = tuple[Job, Measured, int]  # in an image of its own, with bytes of flash

BUILD = Build()
MOST_RAM = 64 * KIB  # of a model, where the board has as much
BOARD_RAM = 2 * KIB + measure.OTHER_RAM  # what an image needs beside, with room
TOGETHER, FITTED, CHECKED = 400, 30, 10  # models: in one image, and in images of their own
TOGETHER_SEED, OWN_SEED = 1, 2
# What random models hardly ever are: dense layers alone, one example at a time. Without them the
# code of a gradient cannot be told from what every build has.
PLAIN = [Job((dense(n, 16, relu=True), dense(16, 4)), Loss.SOFTMAX, 1) for n in (24, 63, 96)]
SWEEPS = 3000  # of the fit; it stands still long before


@dataclass(frozen=True)
class Sample:
    """What was measured on a board."""

    isa: str
    structs: Structs
    together: list[tuple[Job, Measured]]
    own: list[Own]
    checks: list[Own]  # that nothing is fitted to


def sample(board: Board, folder: Path) -> Sample:
    """Measure all models on a board."""
    most = min(MOST_RAM, board.ram.size - BOARD_RAM)
    jobs = fits_nets.jobs(TOGETHER_SEED, TOGETHER, most)
    together = folder / "together"
    together.mkdir(parents=True)
    report = measure.measure_together(board, jobs, BUILD, together)
    models = [*PLAIN, *fits_nets.jobs(OWN_SEED, FITTED + CHECKED, most)]
    own = [
        (job, *measure.measure(board, job, BUILD, folder / str(number)))
        for number, job in enumerate(models)
    ]
    measured = list(zip(jobs, report.jobs, strict=True))
    fitted = len(PLAIN) + FITTED
    return Sample(report.isa, report.structs, measured, own[:fitted], own[fitted:])


# --- fits -----------------------------------------------------------------------------------------


def fit(found: Sample) -> Costs:
    """The costs of a core."""
    code = [size - model_bytes(job, found.structs) for job, _, size in found.own]
    return Costs(
        found.isa,
        fit_parts(
            [dict.fromkeys(flash.code_parts(job), 1.0) for job, _, _ in found.own],
            code,
            least_squares,
        ),
        fit_stack(found),
        fit_parts(
            [operations.terms(job) for job, _ in found.together],
            [measured.instructions for _, measured in found.together],
            not_negative,
        ),
    )


def model_bytes(job: Job, structs: Structs) -> int:
    """Of flash, beside code."""
    return packed_bytes(job.layers) + structs.layer * len(job.layers)


def fit_parts(
    parts: Sequence[Mapping[str, float]],
    totals: Sequence[int],
    solve: Callable[[Float, Float], Float],
) -> dict[str, float]:
    """The price of each part, so that sums of parts come near the totals, relative to these."""
    names = sorted({name for row in parts for name in row})
    rows = np.array([[row.get(name, 0) for name in names] for row in parts], np.float64)
    rows /= np.array(totals, np.float64)[:, None]
    prices = solve(rows, np.ones(len(rows)))
    return {name: round(float(price), 3) for name, price in zip(names, prices, strict=True)}


def least_squares(rows: Float, totals: Float) -> Float:
    """Prices of either sign: a part may make another one smaller."""
    return np.asarray(np.linalg.lstsq(rows, totals, rcond=None)[0], np.float64)


def not_negative(rows: Float, totals: Float) -> Float:
    """Least squares with prices of 0 and more, by coordinate descent."""
    scale = rows.max(axis=0)
    scaled = rows / np.where(scale > 0, scale, 1)
    products, aims = scaled.T @ scaled, scaled.T @ totals
    prices = np.zeros(len(scale))
    for _ in range(SWEEPS):
        for j in np.flatnonzero(scale):
            step = (aims[j] - products[j] @ prices) / products[j, j]
            prices[j] = max(0.0, prices[j] + step)
    return prices / np.where(scale > 0, scale, 1)


def fit_stack(found: Sample) -> dict[str, int]:
    """The most that a model needed for which no other of its ways is deeper."""
    least: dict[str, int] = {}
    for job, measured, _ in found.own:
        for way in operations.updates(job):
            least[way] = min(measured.stack, least.get(way, measured.stack))
    most = dict.fromkeys(sorted(least), 0)
    for job, measured, _ in found.own:
        deepest = max(operations.updates(job), key=least.__getitem__)
        most[deepest] = max(measured.stack, most[deepest])
    return {way: most[way] or least[way] for way in most}


# --- checks ---------------------------------------------------------------------------------------


def errors(checks: Sequence[Own], core: str, table: CostTable) -> dict[str, float]:
    """The largest relative errors of flash, RAM and instructions."""
    found: dict[str, list[float]] = {"flash": [], "ram": [], "instructions": []}
    for job, measured, size in checks:
        planned = plan(job, core, table, Round(1, job.batch))
        found["flash"].append(planned.flash.total / size - 1)
        found["ram"].append(planned.ram.total / measured.ram - 1)
        found["instructions"].append(planned.step_instructions / measured.instructions - 1)
    return {name: max(map(abs, values)) for name, values in found.items()}


def compiler() -> str:
    """gcc's name, version and options."""
    command = [toolchain.tool(toolchain.GCC, toolchain.GCC), "-dumpversion"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return f"{toolchain.GCC} {version} {BUILD.optimisation}"


def main() -> None:
    report = Report("board_costs")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        samples = list(pool.map(lambda board: sample(board, Path(folder) / board.name), BOARDS))
    found = dict(zip((board.core for board in BOARDS), samples, strict=True))
    table = CostTable(
        compiler(), samples[0].structs, {core: fit(sampled) for core, sampled in found.items()}
    )
    costs.FILE.write_text(json.dumps(asdict(table), indent=1) + "\n")
    for core, sampled in found.items():
        worst = errors(sampled.checks, core, table)
        report.row(core=core, isa=sampled.isa, **{f"{name}_error": x for name, x in worst.items()})
        for name, error in worst.items():
            report.figure(f"{name}_error_{core}", round(error, 4))
    report.finish()


if __name__ == "__main__":
    main()
