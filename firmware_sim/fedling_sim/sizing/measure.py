"""Measures jobs on a board that QEMU plays: an image with their models compiled in."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from fedling_broker.aggregation.initial import initial_state
from fedling_native import Layer, Loss
from fedling_protocol.classes import dataclass
from fedling_sim.board import qemu, sizes, toolchain
from fedling_sim.board.boards import KIB, Board
from fedling_sim.board.sizes import Part
from fedling_sim.board.toolchain import Build, Program
from fedling_sim.sizing.costs import Structs
from fedling_sim.sizing.memory import packed_bytes
from fedling_sim.sizing.workload import Job

SEED = bytes(32)  # of first weights
EXAMPLES = 32  # that are trained on, at least
STEPS = 4  # at least
RATES = {Loss.SOFTMAX: 1 / 64, Loss.SIGMOID: 1 / 64}  # learning rates of losses of classes
VALUE_RATE = 1 / 1024  # of the others
CLIP_Q16 = 1 << 16
MOMENTUM = 224  # in 1/256
MOMENTUM_GAIN = 8  # steps add up to so many: the rate is that much lower
MOST_CLASSES = 8

STACK = 3584  # bytes of an image
MOST_POOL = 256 * KIB  # bytes of memory for one job
MODEL = (".rodata.layers_", ".rodata.start_")  # sections of nets.c

OTHER_RAM = 256  # bytes that an image has beside pool and stack
MOST_WEIGHTS = 150 * KIB  # bytes of first weights in one image


class BadMeasurement(RuntimeError):
    """What an image printed is not a measurement. Holds the end of it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one job took on a board."""

    instructions: int  # of a step, on average
    arena: int  # bytes that fdl_step_arena_size() asks for
    memory: int  # bytes that were in use at once, beside the stack
    stack: int  # bytes, from the caller of the library down

    @property
    def ram(self) -> int:
        return self.memory + self.stack


@dataclass(frozen=True, slots=True)
class Report:
    """What an image said of the jobs in it."""

    isa: str  # the inner loops that it ran
    structs: Structs
    jobs: list[Measured]


def measure(board: Board, job: Job, build: Build, folder: Path) -> tuple[Measured, int]:
    """Measure a job in an image with what it needs of the kernel, and the flash of these.

    folder: empty or absent
    Raises ToolMissing, SourcesMissing, BuildFailed, ImageHangs and BadMeasurement.
    """
    folder.mkdir(exist_ok=True)
    options = program(board, [job], job.left_out, build, folder)
    image = toolchain.build_image(board, options, build, folder)
    return run(board, image).jobs[0], flash_of(image)


def measure_together(board: Board, jobs: Sequence[Job], build: Build, folder: Path) -> Report:
    """Measure many jobs with the whole kernel, compiled once. Raises as measure() does."""
    everything = program(board, jobs, (), build, folder)
    kernel = toolchain.kernel_sources(build.root)
    objects = toolchain.compile_files(board, kernel, everything, build, folder / "kernel")
    reports = []
    for number, chunk in enumerate(chunks(jobs)):
        place = folder / str(number)
        place.mkdir()
        own = program(board, chunk, (), build, place)
        files = [*toolchain.platform_sources(build.root), *own.sources]
        more = toolchain.compile_files(board, files, own, build, place / "program")
        reports.append(run(board, toolchain.link(board, [*objects, *more], own, build, place)))
    first = reports[0]
    return Report(first.isa, first.structs, [job for report in reports for job in report.jobs])


def chunks(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Part the jobs: as many at a time as a flash holds."""
    chunk: list[Job] = []
    for job in jobs:
        if sum(packed_bytes(x.layers) for x in (*chunk, job)) > MOST_WEIGHTS:
            yield chunk
            chunk = []
        chunk.append(job)
    yield chunk


def program(
    board: Board, jobs: Sequence[Job], left_out: Sequence[str], build: Build, folder: Path
) -> Program:
    """Make the program of an image; its constants are written to folder/nets.c."""
    nets = folder / "nets.c"
    nets.write_text(source(jobs))
    firmware = toolchain.firmware(build.root)
    own, shared = firmware / "measure", firmware / "selftest"
    defines = [f"POOL_BYTES={min(board.ram.size - STACK - OTHER_RAM, MOST_POOL)}", *left_out]
    if any(job.pull for job in jobs):
        defines.append("MEASURE_PULL")
    if any(job.normaliser for job in jobs):
        defines.append("MEASURE_NORMALISER")
    sources = (own / "main.c", shared / "generated.c", nets)
    return Program(sources, tuple(defines), (own, shared), stack=STACK)


def run(board: Board, image: Path) -> Report:
    """Run an image and read what it says. Raises ToolMissing, ImageHangs and BadMeasurement."""
    outcome = qemu.run(board, image)
    try:
        isa, structs, *rows = outcome.lines
        if outcome.status != 0:
            raise ValueError
        return Report(isa, Structs(*numbers(structs)), [Measured(*numbers(row)) for row in rows])
    except (TypeError, ValueError):
        end = "\n".join([*outcome.lines[-3:], outcome.errors])
        raise BadMeasurement(f"no measurement, status {outcome.status}:\n{end}") from None


def numbers(line: str) -> list[int]:
    """Read the numbers of a line of output."""
    return [int(word) for word in line.split()]


def flash_of(image: Path) -> int:
    """Count the bytes of the kernel, of the compiler's library, of layers and weights."""
    return sum(
        piece.size
        for piece in sizes.in_flash(image)
        if piece.part is not Part.PROGRAM or piece.section.startswith(MODEL)
    )


# --- constants in C -------------------------------------------------------------------------------


def source(jobs: Sequence[Job]) -> str:
    """Write a C file with the models and their first weights."""
    parts = ['#include "measure.h"\n']
    rows = []
    for number, job in enumerate(jobs):
        state = initial_state(job.layers, SEED)
        start = state.view
        layers = ",\n    ".join(
            layer_row(layer, exponent)
            for layer, exponent in zip(job.layers, state.exponents, strict=True)
        )
        parts.append(f"static const fdl_layer layers_{number}[] = {{\n    {layers}}};\n")
        parts.append(f"static const uint8_t start_{number}[] = {{{','.join(map(str, start))}}};\n")
        rows.append(net_row(job, number))
    nets = ",\n    ".join(rows)
    parts.append(f"const measured_net measured_nets[] = {{\n    {nets}}};\n")
    parts.append(f"const size_t measured_count = {len(jobs)};\n")
    return "\n".join(parts)


def layer_row(layer: Layer, exponent: int) -> str:
    """Write the fields of struct fdl_layer in their order."""
    fields = (
        layer.kind, layer.relu, exponent, *layer.kernel, *layer.stride, *layer.pad,
        layer.height, layer.width, layer.channels, layer.out,
    )  # fmt: skip
    return f"{{{', '.join(str(int(x)) for x in fields)}}}"


def net_row(job: Job, number: int) -> str:
    """Write a struct measured_net."""
    fields = {
        "layers": f"layers_{number}",
        "layer_count": len(job.layers),
        "loss": int(job.loss),
        "start": f"start_{number}",
        "start_len": f"sizeof start_{number}",
        "lr_q24": rate_q24(job),
        "clip_q16": CLIP_Q16 if job.clip else 0,
        "momentum": MOMENTUM if job.momentum else 0,
        "frozen": job.frozen,
        "batch": job.batch,
        "steps": max(STEPS, EXAMPLES // job.batch),
        "classes": min(job.layers[-1].outputs, MOST_CLASSES),
    }
    return f"{{{', '.join(f'.{name} = {value}' for name, value in fields.items())}}}"


def rate_q24(job: Job) -> int:
    """A learning rate with which most models learn."""
    rate = RATES.get(job.loss, VALUE_RATE)
    return round(rate / (MOMENTUM_GAIN if job.momentum else 1) * (1 << 24))
