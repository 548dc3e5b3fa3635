"""What updates and models cost when they are coded, and what that costs in accuracy.

    python -m bench.compression [--seeds 6] [--only watch,digits,mnist]

Federated averaging as the demo has it (watch: 20 devices, their own recordings, 13 in a round), and
on pictures that are dealt out to devices; each by its bits a parameter, 16: sent as they are.

compression_<data>_bytes    of an update, at the default
compression_<data>_down     of a change of the model, likewise
compression_<data>_points   accuracy at the default less that of int16 both ways
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np

from bench.report import Report
from bench.support import datasets
from bench.support.datasets import PIXEL_EXP, Split
from bench.support.kernel_fleet import Fleet
from bench.watch_federation import MLP, Device, Way, devices
from fedling_broker.aggregation.fixed import on_first_grid
from fedling_broker.aggregation.initial import exactly, initial_state
from fedling_broker.tasks.task_file import USUAL_BITS, USUAL_TARGET
from fedling_native import INPUT_EXP, Layer, dense, parameter_counts, weights_size
from tests.native import kernel

PIXELS = INPUT_EXP - PIXEL_EXP  # devices' inputs have a coarser unit
WAYS = (None, 1.0, USUAL_BITS, 0.1)  # bits a parameter


@dataclass(frozen=True, slots=True)
class Data:
    """A fleet and its task."""

    name: str
    layers: tuple[Layer, ...]
    way: Way
    cohort: int
    rounds: int
    load: Callable[[], list[Device]]


def dealt(split: Split, count: int, seed: int = 1) -> list[Device]:
    """Deal the examples out; a device has two thirds of its own from few classes."""
    dice = np.random.default_rng(seed)
    order = np.argsort(split.train.y + dice.integers(0, 4, len(split.train.y)), kind="stable")
    found = []
    for rows in np.array_split(order, count):
        part, test = split.train[rows], split.test
        found.append(
            Device(
                part.x >> PIXELS, part.floats, part.y.astype(np.int64),
                test.x >> PIXELS, test.floats, test.y.astype(np.int64),
            )
        )  # fmt: skip
    return found


def once(of: list[Device]) -> list[Device]:
    """All have the same test: one of them tests it."""
    blank = of[0].test_x[:0]
    rest = [Device(d.train_x, d.train_floats, d.train_y, blank, d.test_floats[:0], d.test_y[:0])
            for d in of[1:]]  # fmt: skip
    return [of[0], *rest]


ALL = (
    Data(
        "watch", tuple(kernel.layer(s) for s in MLP), Way("watch", momentum=192), 13, 40, devices
    ),
    Data(
        "digits", (dense(64, 32, relu=True), dense(32, 10)), Way("digits", momentum=0), 8, 40,
        lambda: once(dealt(datasets.digits(), 10)),
    ),
    Data(
        "mnist", (dense(784, 100, relu=True), dense(100, 10)), Way("mnist", momentum=0, epochs=1),
        10, 30, lambda: once(dealt(datasets.mnist(), 50)),
    ),
)  # fmt: skip


def target_of(data: Data, bits: float | None) -> int | None:
    if bits is None:
        return None
    least = USUAL_TARGET if bits == USUAL_BITS else 12
    return max(least, ceil(bits * sum(parameter_counts(data.layers)) / 8))


def play(data: Data, of: list[Device], target: int | None, seed: int) -> tuple[float, float, float]:
    """Accuracy at the end, bytes of an update and of a change of the model."""
    coded, dice = target is not None, np.random.default_rng(seed)
    grid = on_first_grid if coded else exactly
    state = initial_state(data.layers, seed.to_bytes(32, "big"), grid=grid)
    fleet = Fleet(of, data.layers, data.way, data.cohort, dice, state, target=target, on_grid=coded)
    for _ in range(data.rounds):
        fleet.round()
    whole = float(weights_size(data.layers))
    down = float(np.mean(fleet.changes)) if coded else whole
    return fleet.accuracy(), float(np.mean(fleet.sizes)), down


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--only", default=",".join(data.name for data in ALL))
    args = parser.parse_args()
    report = Report("compression")
    for data in ALL:
        if data.name not in args.only.split(","):
            continue
        of, found = data.load(), {}
        for bits in WAYS:
            runs = [play(data, of, target_of(data, bits), s) for s in range(1, args.seeds + 1)]
            found[bits] = [float(np.mean(values)) for values in zip(*runs, strict=True)]
            accuracy, size, down = found[bits]
            report.row(
                data=data.name, bits=bits or 16, bytes=round(size), down=round(down),
                accuracy=accuracy, error=float(np.std([run[0] for run in runs])) / args.seeds**0.5,
            )  # fmt: skip
        usual, whole = found[USUAL_BITS], found[None]
        report.figure(f"compression_{data.name}_bytes", round(usual[1]))
        report.figure(f"compression_{data.name}_down", round(usual[2]))
        report.figure(f"compression_{data.name}_points", round(100 * (usual[0] - whole[0]), 2))
    report.finish()


if __name__ == "__main__":
    main()
