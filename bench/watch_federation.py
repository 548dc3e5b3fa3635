"""Federated averaging on the watch recordings: integers beside a float twin.

The evidence of docs/decisions/0002-integer-numerics.md. 20 devices, each normalises on its own
training windows; an MLP 600-64-7 and a CNN of one-dimensional convolutions. Devices train with the
kernel in C or, with --reference, with the numpy reference; the server is section 8 of
native/NUMERICS.md. The twin has the same first weights, windows, batch order and participation in
float32, and the float mean and deviation. With --all also the ways that were rejected.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import argparse
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.report import Report
from examples.watch import fetch
from fedling_agent.data.streams import load_stream
from tests.native import float_twin as twin
from tests.native import kernel
from tests.native import reference as ref

WATCH = Path(fetch.__file__).parent
WINDOW, STRIDE = 100, 50
MLP = (ref.dense(600, 64, relu=True), ref.dense(64, 7))
CNN = (
    ref.conv((1, 100, 6), 16, (1, 9), (1, 2), relu=True),
    ref.conv((1, 46, 16), 32, (1, 5), (1, 2), relu=True),
    ref.average_pool((1, 21, 32)),
    ref.dense(32, 7),
)
SEEDS = 5
TOLD = (30, 40, 60)  # rounds after which the accuracy is told


@dataclass(frozen=True, slots=True)
class Way:
    """How to learn."""

    name: str
    momentum: int  # of the server, in 1/256
    epochs: int = 3
    batch: int = 10
    lr_q24: int = 838_861  # 0.05
    shapes: Sequence[ref.Shape] = MLP
    rounds: int = 40
    cohort: tuple[int, int] = (10, 16)  # fewest and most devices in a round: 50 to 80 %


WAYS = (
    Way("plain", momentum=0),
    Way("momentum", momentum=192),
    Way("cnn", momentum=0, lr_q24=3_355_443, shapes=CNN, rounds=60, cohort=(14, 14)),
)
MORE = (
    Way("plain_e1", momentum=0, epochs=1),
    Way("plain_e10", momentum=0, epochs=10),
    Way("plain_lr.025", momentum=0, lr_q24=419_430),
    Way("plain_lr.1", momentum=0, lr_q24=1_677_722),
    Way("plain_lr.2", momentum=0, lr_q24=3_355_443),
    Way("momentum_.5", momentum=128),
    Way("momentum_.9", momentum=230),
)


@dataclass(frozen=True, slots=True)
class Windows:
    """Labelled windows: counts int16 [n][100][6], classes [n]."""

    counts: NDArray[np.int16]
    classes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Device:
    """What a device knows of its windows: x int8 [n][600] beside floats float32 [n][600]."""

    train_x: NDArray[np.int8]
    train_floats: NDArray[np.float32]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.int8]
    test_floats: NDArray[np.float32]
    test_y: NDArray[np.int64]


# --- the data -------------------------------------------------------------------------------------


def read_recordings(path: Path) -> Iterator[tuple[int, NDArray[np.int16]]]:
    """(class, counts [n][6]) of each recording of one device's CSV file."""
    sizes = np.array([c.resolution for c in load_stream(WATCH / "stream.toml").channels])
    rows: dict[str, list[list[str]]] = {}
    with path.open(newline="") as file:
        for _, label, *values in list(csv.reader(file))[1:]:
            rows.setdefault(label, []).append(values)
    for label, samples in rows.items():
        counts = np.floor(np.array(samples, np.float64) / sizes + 0.5)
        yield fetch.LABELS.index(label), counts.astype(np.int16)


def split(path: Path) -> tuple[Windows, Windows]:
    """Training and test windows of a device; the last fifth of each recording is test."""
    parts: tuple[list[NDArray[np.int16]], ...] = ([], [])
    classes: tuple[list[int], ...] = ([], [])
    for label, counts in read_recordings(path):
        cut = len(counts) * 4 // 5
        for start in range(0, len(counts) - WINDOW + 1, STRIDE):
            if start + WINDOW <= cut or start >= cut:
                part = int(start >= cut)
                parts[part].append(counts[start : start + WINDOW])
                classes[part].append(label)
    train, test = (Windows(np.stack(p), np.array(c)) for p, c in zip(parts, classes, strict=True))
    return train, test


def prepare(path: Path) -> Device:
    train, test = split(path)
    channels = ref.statistics(train.counts)
    return Device(
        ref.normalise(train.counts, channels),
        twin.normalise(train.counts, train.counts),
        train.classes,
        ref.normalise(test.counts, channels),
        twin.normalise(test.counts, train.counts),
        test.classes,
    )


@cache
def devices() -> list[Device]:
    """All 20, fetched if they are not here."""
    print(fetch.fetch(WATCH / "data"))
    index = json.loads((WATCH / "data" / "devices.json").read_text())
    return [prepare(WATCH / "data" / device["file"]) for device in index["devices"]]


# --- the server, section 8 ------------------------------------------------------------------------


@dataclass
class Server:
    """Masters and biases of every layer with 16 fractional bits, and how fast they move."""

    shapes: Sequence[ref.Shape]
    masters: list[ref.Int64]
    biases: list[ref.Int64]
    exps: list[int]
    momentum: int

    def __post_init__(self) -> None:
        self.velocities = [np.zeros_like(m) for m in self.masters]
        self.bias_velocities = [np.zeros_like(b) for b in self.biases]
        self.move_exponents()

    def move_exponents(self) -> None:
        for i, masters in enumerate(self.masters):
            if self.shapes[i].pools:
                continue
            s = ref.exponent_move(masters, self.exps[i])
            self.masters[i] = ref.moved(masters, s)
            self.velocities[i] = ref.moved(self.velocities[i], s)
            self.exps[i] += s

    def add(self, deltas: list[ref.Delta], shares: list[int]) -> None:
        """A round: updates and their numbers of examples."""
        weights = mean_of([d.stored for d in deltas], shares)
        biases = mean_of([d.bias for d in deltas], shares)
        for i, (masters, bias) in enumerate(zip(self.masters, self.biases, strict=True)):
            own, weights = weights[: masters.size], weights[masters.size :]
            mean = own.reshape(masters.shape)
            self.velocities[i] = ref.accelerate(self.velocities[i], mean, self.momentum)
            self.masters[i] = masters + self.velocities[i]
            mean, biases = biases[: bias.size], biases[bias.size :]
            self.bias_velocities[i] = ref.accelerate(self.bias_velocities[i], mean, self.momentum)
            self.biases[i] = bias + self.bias_velocities[i]
        self.move_exponents()

    def model(self) -> ref.Model:
        parts = zip(self.shapes, self.exps, self.masters, self.biases, strict=True)
        return ref.Model(
            [ref.Layer(s, e, ref.stored_view(m), ref.bias_view(b)) for s, e, m, b in parts]
        )


def mean_of(deltas: Sequence[NDArray[np.signedinteger]], shares: list[int]) -> ref.Int64:
    """Weighted, with 16 fractional bits."""
    total = np.zeros(deltas[0].shape, np.int64)
    for part, share in zip(deltas, shares, strict=True):
        total += part.astype(np.int64) * share
    return ref.mean_change(total, sum(shares))


@dataclass
class FloatServer:
    """The same in float64; devices get float32."""

    net: twin.FloatNet
    momentum: float

    def __post_init__(self) -> None:
        self.velocities = [np.zeros(p.shape) for p in self.net.parameters]

    def add(self, trained: list[twin.FloatNet], shares: list[int]) -> None:
        columns = [net.parameters for net in trained]
        for i, values in enumerate(self.net.parameters):
            change = twin.mean([net[i] for net in columns], shares) - values
            self.velocities[i] = self.velocities[i] * self.momentum + change
            values[:] = values + self.velocities[i]

    def copy(self) -> twin.FloatNet:
        return self.net.copy()


# --- the rounds -----------------------------------------------------------------------------------


Order = list[NDArray[np.int64]]  # batches of examples


def batches(device: Device, way: Way, dice: np.random.Generator) -> Order:
    """Of all epochs; the last batch of an epoch may be smaller."""
    n = len(device.train_y)
    orders = [dice.permutation(n) for _ in range(way.epochs)]
    return [order[i : i + way.batch] for order in orders for i in range(0, n, way.batch)]


@dataclass(frozen=True, slots=True)
class Integers:
    """Who computes in integers: train changes the model, predict gives labels of x [n][inputs]."""

    train: Callable[[ref.Model, Device, Order, Way], ref.Model]
    labels: Callable[[ref.Model, NDArray[np.int8]], list[int]]


def train_kernel(model: ref.Model, device: Device, order: Order, way: Way) -> ref.Model:
    net = kernel.net(model)
    for batch in order:
        classes = device.train_y[batch].astype(np.uint8)
        net.step(device.train_x[batch].data, classes.data, way.lr_q24)
    return ref.load(model.shapes, model.exponents, net.weights())


def train_reference(model: ref.Model, device: Device, order: Order, way: Way) -> ref.Model:
    trained = model.copy()
    for batch in order:
        x = ref.Tensor(device.train_x[batch], ref.NORMALISED_EXP)
        ref.step(trained, x, device.train_y[batch], ref.Sgd(way.lr_q24))
    return trained


def labels_kernel(model: ref.Model, x: NDArray[np.int8]) -> list[int]:
    net = kernel.net(model)
    return [net.predict(one.data).label for one in x]


def labels_reference(model: ref.Model, x: NDArray[np.int8]) -> list[int]:
    return [ref.predict(model, one, ref.NORMALISED_EXP)[1] for one in x]


KERNEL = Integers(train_kernel, labels_kernel)
REFERENCE = Integers(train_reference, labels_reference)


def train_floats(net: twin.FloatNet, device: Device, order: Order, way: Way) -> None:
    for batch in order:
        x, classes = device.train_floats[batch], device.train_y[batch]
        twin.step(net, x, classes, way.lr_q24 / 2**24)


def play_round(
    integers: Integers, server: Server, floats: FloatServer, way: Way, dice: np.random.Generator
) -> None:
    before = server.model()
    fewest, most = way.cohort
    chosen = dice.choice(len(devices()), dice.integers(fewest, most + 1), replace=False)
    deltas, twins, shares = [], [], []
    for device in (devices()[i] for i in chosen):
        order = batches(device, way, dice)
        deltas.append(ref.delta(before, integers.train(before, device, order, way)))
        twins.append(floats.copy())
        train_floats(twins[-1], device, order, way)
        shares.append(len(device.train_y))
    server.add(deltas, shares)
    floats.add(twins, shares)


def accuracy(integers: Integers, model: ref.Model) -> float:
    """Of the global model, on the test windows of all devices."""
    right = [np.array(integers.labels(model, d.test_x)) == d.test_y for d in devices()]
    return float(np.mean(np.concatenate(right)))


def float_accuracy(net: twin.FloatNet) -> float:
    right = [twin.labels(net, d.test_floats) == d.test_y for d in devices()]
    return float(np.mean(np.concatenate(right)))


def play(integers: Integers, way: Way, seed: int) -> dict[int, tuple[float, float]]:
    """Rounds to (accuracy, accuracy of the twin)."""
    masters, exps = ref.first_masters(seed.to_bytes(32, "big"), way.shapes)
    biases = [np.zeros(shape.biases, np.int64) for shape in way.shapes]
    server = Server(way.shapes, masters, biases, exps, way.momentum)
    floats = FloatServer(twin.dequantise(server.model()), way.momentum / 256)
    dice = np.random.default_rng(seed)
    told = {}
    for done in range(1, way.rounds + 1):
        play_round(integers, server, floats, way, dice)
        if done in TOLD:
            told[done] = (accuracy(integers, server.model()), float_accuracy(floats.net))
    return told


def tell(report: Report, way: Way, runs: list[dict[int, tuple[float, float]]]) -> None:
    """Mean and seeds after each of TOLD."""
    for done in runs[0]:
        ours, theirs = np.mean([run[done] for run in runs], axis=0)
        seeds = " ".join(f"{run[done][0]:.3f}" for run in runs)
        report.row(way=way.name, rounds=done, accuracy=ours, float_twin=theirs, seeds=seeds)
        report.figure(f"{way.name}_accuracy_{done}", round(float(ours), 4))
        report.figure(f"{way.name}_float_accuracy_{done}", round(float(theirs), 4))


def main() -> None:
    parser = argparse.ArgumentParser(description="Integers beside a float twin.")
    parser.add_argument("--all", action="store_true", help="also the ways that were rejected")
    parser.add_argument("--reference", action="store_true", help="numpy instead of the C kernel")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs (default %(default)s)")
    parser.add_argument("--way", help="only this one")
    args = parser.parse_args()
    integers = REFERENCE if args.reference else KERNEL
    name = "watch_federation" + "_reference" * args.reference
    report = Report(f"{name}_{args.way}" if args.way else name)
    for way in WAYS + MORE * args.all:
        if args.way in (None, way.name):
            tell(report, way, [play(integers, way, seed) for seed in range(args.seeds)])
    report.finish()


if __name__ == "__main__":
    main()
