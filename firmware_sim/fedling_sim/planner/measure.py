"""Measures jobs on a board that QEMU plays: an image with their models compiled in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedling_broker.aggregate import stored_weights
from fedling_broker.initial import initial_state
from fedling_native import Layer, Loss
from fedling_sim.board import qemu, toolchain
from fedling_sim.board.boards import Board
from fedling_sim.board.toolchain import Program
from fedling_sim.planner.job import Job

SEED = bytes(32)  # of first weights
EXAMPLES = 32  # that are trained on, at least
STEPS = 4  # at least
RATES = {Loss.SOFTMAX: 1 / 64, Loss.SIGMOID: 1 / 64}  # learning rates of losses of classes
VALUE_RATE = 1 / 1024  # of the others
CLIP_Q16 = 1 << 16
MOMENTUM = 230  # in 1/256
MOST_CLASSES = 8


class BadMeasurement(RuntimeError):
    """What an image printed is not a measurement. Holds the end of it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one job took."""

    instructions: int  # of a step, on average
    arena: int  # bytes that fdl_step_arena_size() asks for
    memory: int  # bytes that were in use at once, beside the stack
    stack: int  # bytes, from the caller of the library down


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of structs that memory is made of, in bytes."""

    part: int
    layer: int


def program(jobs: Sequence[Job], folder: Path, root: Path, pool: int, stack: int) -> Program:
    """An image's program for jobs; writes their constants to folder/nets.c."""
    nets = folder / "nets.c"
    nets.write_text(source(jobs))
    firmware = toolchain.firmware(root)
    own, shared = firmware / "measure", firmware / "selftest"
    calls = [f"POOL_BYTES={pool}"]
    if any(job.pull for job in jobs):
        calls.append("MEASURE_PULL")
    if any(job.normaliser for job in jobs):
        calls.append("MEASURE_NORMALISER")
    left_out = set.intersection(*(set(job.left_out) for job in jobs))
    return Program(
        (own / "main.c", shared / "generated.c", nets),
        (*calls, *sorted(left_out)),
        (own, shared),
        stack=stack,
    )


def run(board: Board, image: Path) -> tuple[Sizes, list[Measured]]:
    """What an image says of its jobs. Raises ToolMissing, ImageHangs and BadMeasurement."""
    outcome = qemu.run(board, image)
    try:
        sizes, *rows = ([int(x) for x in line.split()] for line in outcome.lines)
        if outcome.status != 0:
            raise ValueError
        return Sizes(*sizes), [Measured(*row) for row in rows]
    except (TypeError, ValueError):
        end = "\n".join([*outcome.lines[-3:], outcome.errors])
        raise BadMeasurement(f"no measurement, status {outcome.status}:\n{end}") from None


# --- constants in C -------------------------------------------------------------------------------


def source(jobs: Sequence[Job]) -> str:
    """A C file with the models and their first weights."""
    parts = ['#include "measure.h"\n']
    rows = []
    for number, job in enumerate(jobs):
        state = initial_state(job.layers, SEED)
        start = stored_weights(state)
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
    """The fields of struct fdl_layer in their order."""
    fields = (
        layer.kind, layer.relu, exponent, *layer.kernel, *layer.stride, *layer.pad,
        layer.height, layer.width, layer.channels, layer.out,
    )  # fmt: skip
    return f"{{{', '.join(str(int(x)) for x in fields)}}}"


def net_row(job: Job, number: int) -> str:
    """A struct measured_net."""
    fields = {
        "layers": f"layers_{number}",
        "layer_count": len(job.layers),
        "loss": int(job.loss),
        "start": f"start_{number}",
        "start_len": f"sizeof start_{number}",
        "lr_q24": round(RATES.get(job.loss, VALUE_RATE) * (1 << 24)) // (8 if job.momentum else 1),
        "clip_q16": CLIP_Q16 if job.clip else 0,
        "momentum": MOMENTUM if job.momentum else 0,
        "frozen": job.frozen,
        "batch": job.batch,
        "steps": max(STEPS, EXAMPLES // job.batch),
        "classes": min(job.layers[-1].outputs, MOST_CLASSES),
    }
    return f"{{{', '.join(f'.{name} = {value}' for name, value in fields.items())}}}"
