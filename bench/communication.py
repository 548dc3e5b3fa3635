"""Bytes of a federation against what they cost in accuracy, each beside one that sends int16.

    python -m bench.communication [--seeds 3] [--only iid,2shard] [--plot docs/accuracy-bytes.svg]

MNIST (10,000 pictures) on 100 devices, 20 in a round, 784-200-10, E = 5, B = 10, as McMahan 2017
has it: pictures dealt out at random (iid), or two labels a device or nearly so (2shard). Integers
on both sides, updates coded, models as changes on a grid; the seeds of a pair are the same.

loss_points_clear_<split>   .10 bit a parameter up, changes down: accuracy less, in points, mean of
                            the last 20 rounds and of all seeds
loss_points_tiny_<split>    .03 bit up, models down as they are
loss_points_usual_<split>   a quarter of a bit up, which is the default, changes down
loss_points_masked_<split>  a server that reads only sums: elements of a ring up, changes down
up_bits_<split>, down_bits_<split>   of the first, a parameter and round, headers included;
                                     up_bits_masked_..., down_bits_masked_... likewise
snapshot_bytes_per_parameter         of a whole model as devices fetch it
aggregator_cpu_ms_per_update         reading one coded update and adding it
                                     (its encoding counts, too)

The plot is of accuracy against what a device has sent and received that takes part in each round:
the first model, then updates and models or their changes, headers of MQTT not included.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.report import Report
from bench.support import datasets
from bench.support.curves import Curve, Point, draw, mean
from bench.support.datasets import PIXEL_EXP, Split
from bench.support.kernel_fleet import Fleet
from bench.support.masked_fleet import MaskedFleet
from bench.watch_federation import Device, Way
from fedling_broker.aggregation.changes import whole
from fedling_broker.aggregation.fixed import on_first_grid
from fedling_broker.aggregation.initial import exactly, initial_state
from fedling_broker.aggregation.sums import Sum
from fedling_broker.aggregation.vectors import fraction_of
from fedling_broker.tasks.task_file import USUAL_BITS
from fedling_native import INPUT_EXP, dense, parameter_counts, weights_size

LAYERS = (dense(784, 200, relu=True), dense(200, 10))
PARAMETERS = sum(parameter_counts(LAYERS))
DEVICES, COHORT, ROUNDS, TOLD = 100, 20, 100, 20
DRAWN = 4  # of so many rounds one is a point of the plot
TITLES = {"iid": "pictures dealt out at random", "2shard": "two labels a device"}
WAY = Way("mnist", momentum=0, epochs=5, batch=10, lr_q24=round(0.1 * 2**24))
PIXELS = INPUT_EXP - PIXEL_EXP  # devices' inputs have a coarser unit


@dataclass(frozen=True, slots=True)
class Link:
    """What goes over it. bits: of an update, a parameter; None: int16, or elements of a ring"""

    name: str
    bits: float | None
    on_grid: bool
    masked: bool = False

    @property
    def target(self) -> int | None:
        return None if self.bits is None else round(self.bits * PARAMETERS / 8)


WHOLE = Link("int16", None, on_grid=False)
LINKS = (
    WHOLE,
    Link("clear", 0.1, on_grid=True),
    Link("tiny", 0.03, on_grid=False),
    Link("usual", USUAL_BITS, on_grid=True),
    Link("masked", None, on_grid=True, masked=True),
)
LINES = {
    "int16": "16 bits up, 16 down",
    "usual": "0.25 bit up, changes down",
    "clear": "0.1 bit up, changes down",
    "tiny": "0.03 bit up, 16 bits down",
    "masked": "0.25 bit up, of which only sums are read, changes down",
}


def parts(split: Split, name: str, dice: np.random.Generator) -> list[np.ndarray]:
    """The rows of each device."""
    count = len(split.train.y)
    if name == "iid":
        return np.array_split(dice.permutation(count), DEVICES)
    shards = np.array_split(np.argsort(split.train.y, kind="stable"), 2 * DEVICES)
    order = dice.permutation(2 * DEVICES)
    return [np.concatenate((shards[a], shards[b])) for a, b in order.reshape(-1, 2)]


def dealt(split: Split, name: str, seed: int) -> list[Device]:
    """Devices with their pictures; the first tests for all."""
    found = []
    for number, rows in enumerate(parts(split, name, np.random.default_rng(seed))):
        part, test = split.train[rows], split.test[slice(None if number == 0 else 0)]
        found.append(
            Device(
                part.x >> PIXELS, part.floats, part.y.astype(np.int64),
                test.x >> PIXELS, test.floats, test.y.astype(np.int64),
            )
        )  # fmt: skip
    return found


def play(of: Sequence[Device], link: Link, seed: int) -> tuple[Fleet, float, Curve]:
    """A federation, its accuracy in the last rounds, and what it was on the way."""
    grid = on_first_grid if link.on_grid and not link.masked else exactly
    state = initial_state(LAYERS, seed.to_bytes(32, "big"), grid=grid)
    dice, first = np.random.default_rng(seed), size_of(state.view)
    kind = MaskedFleet if link.masked else Fleet
    fleet = kind(of, LAYERS, WAY, COHORT, dice, state, target=link.target, on_grid=link.on_grid)
    accuracies, points = [], []
    for number in range(1, ROUNDS + 1):
        fleet.round()
        if number > ROUNDS - TOLD:
            accuracies.append(fleet.accuracy())
        if number % DRAWN == 0:
            points.append(Point(moved(fleet, link, first), fleet.accuracy()))
    return fleet, float(np.mean(accuracies)), points


def moved(fleet: Fleet, link: Link, first: int) -> float:
    """Bytes of a device up to now that took part in each round. first: of the first model"""
    down = sum(fleet.changes) if link.on_grid else weights_size(LAYERS) * len(fleet.middles)
    return first + down + sum(fleet.sizes) / COHORT


def size_of(view: bytes) -> int:
    """Bytes of a whole model as devices fetch it."""
    packed = whole(LAYERS, view)
    return len(view) if packed is None else len(packed)


def reading_ms(fleet: Fleet) -> float:
    """CPU time of one update at the aggregator."""
    payload, times = fleet.train(fleet.devices[0]), []
    total = Sum(LAYERS, fraction_of(fleet.target))
    for number in range(20):
        began = time.process_time()
        _, vector = fleet.sent(payload, (number, 1))
        total.add(vector, 1)
        times.append(time.process_time() - began)
    return 1000 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="iid,2shard")
    parser.add_argument("--plot", type=Path, help="the SVG to write (default: none)")
    args = parser.parse_args()
    report, split = Report("communication"), datasets.mnist()
    panels: dict[str, dict[str, Curve]] = {}
    for name in args.only.split(","):
        found: dict[str, list[float]] = {link.name: [] for link in LINKS}
        curves: dict[str, list[Curve]] = {link.name: [] for link in LINKS}
        bits: dict[str, list[tuple[float, float]]] = {link.name: [] for link in LINKS}
        for seed in range(1, args.seeds + 1):
            of = dealt(split, name, seed)
            for link in LINKS:
                fleet, accuracy, curve = play(of, link, seed)
                found[link.name].append(accuracy)
                curves[link.name].append(curve)
                up = 8 * float(np.mean(fleet.sizes)) / PARAMETERS
                down = 8 * float(np.mean(fleet.changes)) / PARAMETERS if link.on_grid else 16.0
                report.row(
                    split=name, link=link.name, seed=seed, accuracy=accuracy, up_bits=up,
                    down_bits=down,
                )  # fmt: skip
                bits[link.name].append((up, down))
                if link.name == "clear":
                    clear = fleet
        for link in LINKS[1:]:
            loss = np.mean(found[WHOLE.name]) - np.mean(found[link.name])
            report.figure(f"loss_points_{link.name}_{name}", round(100 * float(loss), 2))
        for word, of_link in (("", "clear"), ("masked_", "masked")):
            up, down = np.mean(bits[of_link], axis=0)
            report.figure(f"up_bits_{word}{name}", round(float(up), 4))
            report.figure(f"down_bits_{word}{name}", round(float(down), 4))
        panels[TITLES[name]] = {line: mean(curves[link]) for link, line in LINES.items()}
    packed = whole(LAYERS, clear.state.view)
    assert packed is not None
    report.figure("snapshot_bytes_per_parameter", round(len(packed) / PARAMETERS, 3))
    report.figure("aggregator_cpu_ms_per_update", round(reading_ms(clear), 2))
    report.finish()
    if args.plot is not None:
        draw(args.plot, panels)


if __name__ == "__main__":
    main()
