"""Label-sorted fleets: each device sees the examples of one class or two, as they lie in a table.

A fleet's scale is made as the aggregator makes it, of sums that devices give; the floats have the
mean and deviation of all training data in one place. Everything else is alike: cohort of all,
rounds, epochs, batches, learning rate, first weights.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.support import datasets
from bench.support.kernel_fleet import Fleet
from bench.watch_federation import Device, FloatServer, Way, batches, train_floats
from fedling_broker.aggregation.initial import initial_state
from fedling_broker.aggregation.scale import total_of
from fedling_native import Normaliser, Sums
from tests.native import float_twin as twin
from tests.native import kernel
from tests.native import reference as ref

Int16 = NDArray[np.int16]
Normalisers = list[Normaliser]


@dataclass(frozen=True, slots=True)
class Data:
    """A table, and into how many devices it is cut."""

    name: str
    devices: int
    load: Callable[[], tuple[NDArray[np.float64], NDArray[np.int64]]]
    hidden: int
    rounds: int
    way: Way


def _way(name: str, epochs: int) -> Way:
    return Way(name, momentum=0, epochs=epochs)


ALL = (
    Data("iris", 6, datasets.iris, 16, 60, _way("iris", 5)),
    Data("wine", 5, datasets.wine, 16, 40, _way("wine", 5)),
    Data("digits", 10, datasets.digit_table, 32, 60, _way("digits", 3)),
)


@dataclass(frozen=True, slots=True)
class Part:
    """Examples of one device, or those that nobody trains on: counts [n][1][channels]."""

    counts: Int16
    classes: NDArray[np.int64]


def parts(data: Data, seed: int) -> tuple[list[Part], Part]:
    """The devices' examples, sorted by class, and a fifth of all to test with."""
    values, classes = data.load()
    resolution = np.maximum(values.max(axis=0) - values.min(axis=0), 1e-9) / 10_000
    counts = np.rint((values - values.min(axis=0)) / resolution).astype(np.int16)[:, None, :]
    order = np.random.default_rng(seed).permutation(len(classes))
    cut = len(order) * 4 // 5
    train, test = order[:cut], order[cut:]
    train = train[np.argsort(classes[train], kind="stable")]
    of_devices = [Part(counts[rows], classes[rows]) for rows in np.array_split(train, data.devices)]
    return of_devices, Part(counts[test], classes[test])


def scales(devices: list[Part]) -> dict[str, Normalisers]:
    """How each device reads its samples."""
    channels = devices[0].counts.shape[2]
    sums = [Sums.over([part.counts.data], channels) for part in devices]
    shared = Normaliser.of(total_of(sums, limited=True))
    return {"fleet": [shared] * len(devices), "device": [Normaliser.of(one) for one in sums]}


def read(part: Part, normaliser: Normaliser) -> NDArray[np.int8]:
    x = np.frombuffer(normaliser.apply(part.counts.data), np.int8)
    return x.reshape(len(part.classes), -1)


def made(devices: list[Part], test: Part, normalisers: Normalisers) -> list[Device]:
    """Devices as benches have them; the test is everybody's."""
    everything = np.concatenate([part.counts for part in devices])
    return [
        Device(
            read(part, normaliser),
            twin.normalise(part.counts, everything),
            part.classes,
            read(test, normaliser),
            twin.normalise(test.counts, everything),
            test.classes,
        )
        for part, normaliser in zip(devices, normalisers, strict=True)
    ]


def play(data: Data, seed: int) -> dict[str, float]:
    """Accuracy in integers by the fleet's scale and by devices' own, and in floats."""
    devices, test = parts(data, seed)
    inputs, outputs = devices[0].counts.shape[2], int(data.load()[1].max()) + 1
    shapes = (ref.dense(inputs, data.hidden, relu=True), ref.dense(data.hidden, outputs))
    layers, way = tuple(kernel.layer(shape) for shape in shapes), replace(data.way, shapes=shapes)
    state = initial_state(layers, seed.to_bytes(32, "big"))
    found = {}
    for name, normalisers in scales(devices).items():
        fleet = Fleet(
            made(devices, test, normalisers), layers, way, data.devices,
            np.random.default_rng(seed), state,
        )  # fmt: skip
        for _ in range(data.rounds):
            fleet.round()
        found[name] = fleet.accuracy()
    first = twin.dequantise(ref.load(list(shapes), state.exponents, state.view))
    everybody = made(devices, test, scales(devices)["fleet"])
    return {**found, "floats": _floats(first, everybody, way, data.rounds, seed)}


def _floats(first: twin.FloatNet, devices: list[Device], way: Way, rounds: int, seed: int) -> float:
    """Federated averaging in float32, weighted by examples."""
    server, dice = FloatServer(first, 0.0), np.random.default_rng(seed)
    for _ in range(rounds):
        trained = []
        for device in devices:
            trained.append(server.copy())
            train_floats(trained[-1], device, batches(device, way, dice), way)
        server.add(trained, [len(device.train_y) for device in devices])
    labels = twin.labels(server.copy(), devices[0].test_floats)
    return float(np.mean(labels == devices[0].test_y))
