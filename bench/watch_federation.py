"""Federated averaging on the watch recordings: integers beside a float twin.

The evidence of docs/decisions/0002-integer-numerics.md. 20 devices, each normalises on its own
training windows; MLP 600-64-7; 10 to 16 devices take part in a round. Devices train with the
kernel in C, the server is section 8 of native/NUMERICS.md. The twin has the same first weights,
windows, batch order and participation in float32, and the float mean and deviation.
With --all also the ways that were rejected.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.report import Report
from examples.watch import fetch
from fedling_agent.streams import load_stream
from fedling_native import Layer, Net
from tests.native import float_twin as twin
from tests.native import reference as ref

WATCH = Path(fetch.__file__).parent
WINDOW, STRIDE = 100, 50
SIZES = [600, 64, 7]
LAYERS = [Layer(600, 64, True), Layer(64, 7, False)]
FEWEST, MOST = 10, 16  # devices in a round: 50 to 80 %
SEEDS = range(5)
TOLD = (30, 40)  # rounds after which the accuracy is told; training ends with the last


@dataclass(frozen=True, slots=True)
class Way:
    """How to learn."""

    name: str
    momentum: int  # of the server, in 1/256
    epochs: int = 3
    batch: int = 10
    lr_q24: int = 838_861  # 0.05


WAYS = (Way("plain", momentum=0), Way("momentum", momentum=192))
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
    """Masters [out][in] and biases [out] with 16 fractional bits, and how fast they move."""

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

    def model(self) -> list[ref.Layer]:
        parts = zip(self.masters, self.biases, self.exps, LAYERS, strict=True)
        return [ref.Layer(ref.stored_view(m), ref.bias_view(b), e, x.relu) for m, b, e, x in parts]


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
        self.velocities = [np.zeros(p.shape) for p in self.parameters(self.net)]

    @staticmethod
    def parameters(net: twin.FloatNet) -> list[twin.Floats]:
        return [*net.weights, *net.biases]

    def add(self, trained: list[twin.FloatNet], shares: list[int]) -> None:
        columns = [self.parameters(net) for net in trained]
        for i, values in enumerate(self.parameters(self.net)):
            change = twin.mean([net[i] for net in columns], shares) - values
            self.velocities[i] = self.velocities[i] * self.momentum + change
            values[:] = values + self.velocities[i]

    def copy(self) -> twin.FloatNet:
        net = self.net
        return twin.FloatNet(
            [w.copy() for w in net.weights], [b.copy() for b in net.biases], net.relus
        )


# --- the rounds -----------------------------------------------------------------------------------


def native_net(model: ref.Model) -> Net:
    return Net(LAYERS, [m.w_exp for m in model], ref.weight_bytes(model))


def model_of(net: Net, like: ref.Model) -> list[ref.Layer]:
    """The weights of a trained net."""
    data, start, layers = net.weights(), 0, []
    for m in like:
        stored = np.frombuffer(data, "<i2", m.stored.size, start).reshape(m.stored.shape)
        layers.append(ref.Layer(stored.astype(np.int16), m.bias, m.w_exp, m.relu))
        start += stored.nbytes
    for m in layers:
        m.bias = np.frombuffer(data, "<i4", m.bias.size, start).astype(np.int32)
        start += m.bias.nbytes
    return layers


def train(
    device: Device, net: Net, floats: twin.FloatNet, order: NDArray[np.int64], way: Way
) -> None:
    """One epoch of both, in the same order."""
    for start in range(0, len(order), way.batch):
        batch = order[start : start + way.batch]
        classes = device.train_y[batch]
        net.step(device.train_x[batch].data, classes.astype(np.uint8).data, way.lr_q24)
        twin.step(floats, device.train_floats[batch], classes, way.lr_q24 / 2**24)


def play_round(server: Server, floats: FloatServer, way: Way, dice: np.random.Generator) -> None:
    before = server.model()
    chosen = dice.choice(len(devices()), dice.integers(FEWEST, MOST + 1), replace=False)
    deltas, twins, shares = [], [], []
    for device in (devices()[i] for i in chosen):
        net, copy = native_net(before), floats.copy()
        for _ in range(way.epochs):
            train(device, net, copy, dice.permutation(len(device.train_y)), way)
        deltas.append(ref.delta(before, model_of(net, before)))
        twins.append(copy)
        shares.append(len(device.train_y))
    server.add(deltas, shares)
    floats.add(twins, shares)


def accuracy(model: ref.Model) -> float:
    """Of the global model, on the test windows of all devices."""
    net = native_net(model)
    right = [
        net.predict(x.data).label == y
        for d in devices()
        for x, y in zip(d.test_x, d.test_y, strict=True)
    ]
    return float(np.mean(right))


def float_accuracy(net: twin.FloatNet) -> float:
    return float(
        np.mean(np.concatenate([twin.labels(net, d.test_floats) == d.test_y for d in devices()]))
    )


def play(way: Way, seed: int) -> dict[int, tuple[float, float]]:
    """Rounds to (accuracy, accuracy of the twin)."""
    masters, exps = ref.first_masters(seed.to_bytes(32, "big"), SIZES)
    server = Server(masters, [np.zeros(n, np.int64) for n in SIZES[1:]], exps, way.momentum)
    floats = FloatServer(twin.dequantise(server.model()), way.momentum / 256)
    dice = np.random.default_rng(seed)
    told = {}
    for done in range(1, max(TOLD) + 1):
        play_round(server, floats, way, dice)
        if done in TOLD:
            told[done] = (accuracy(server.model()), float_accuracy(floats.net))
    return told


def main() -> None:
    report = Report("watch_federation")
    for way in WAYS + MORE * ("--all" in sys.argv[1:]):
        runs = [play(way, seed) for seed in SEEDS]
        for done in TOLD:
            ours, theirs = np.mean([run[done] for run in runs], axis=0)
            seeds = " ".join(f"{run[done][0]:.3f}" for run in runs)
            report.row(way=way.name, rounds=done, accuracy=ours, float_twin=theirs, seeds=seeds)
            report.figure(f"{way.name}_accuracy_{done}", round(float(ours), 4))
            report.figure(f"{way.name}_float_accuracy_{done}", round(float(theirs), 4))
    report.finish()


if __name__ == "__main__":
    main()
