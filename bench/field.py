"""What the field does to a fleet: accuracy of the watch task with a hostile device in every round.

Twenty devices, 13 of them in a round, 40 rounds; the task of examples/watch. Devices train with the
kernel in C, the server is fedling_broker.aggregation with the limits of its default. The hostile
device answers first, so it is in every round, and claims as many examples as it may.

    poison_none     accuracy when nobody is hostile
    poison_max      the largest values there are, in every weight and bias
    poison_flip     its honest update turned round, ten times as long
    poison_random   random values, as large as they can be

Mean of three seeds. The same without limits is told in rows only.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.report import Report
from bench.watch_federation import MLP, Device, Way, batches, devices
from fedling_broker.aggregation.aggregate import aggregate
from fedling_broker.aggregation.initial import initial_state
from fedling_broker.aggregation.limits import Limits, Sizes, limits_of, measure, middle
from fedling_broker.aggregation.optimisers import of_momentum
from fedling_broker.aggregation.state import ServerState
from fedling_broker.aggregation.sums import Sum
from fedling_broker.aggregation.vectors import Vector, decode
from fedling_broker.service.plans import CLAIM_MARGIN
from fedling_broker.store.rounds import LOOKED_BACK
from fedling_native import Net, delta, parameter_counts
from fedling_protocol.wire.codecs import Codec
from tests.native import kernel

SEEDS, ROUNDS, COHORT = 3, 40, 13
CAP = 1000  # training.weight_cap
LAYERS = tuple(kernel.layer(shape) for shape in MLP)
WAY = Way("watch", momentum=192)
CLIP_Q8 = 256  # server.clip = 1

Attack = Callable[[Vector, np.random.Generator], Vector]


def largest(honest: Vector, _dice: np.random.Generator) -> Vector:
    return Vector(np.full_like(honest.weights, 2**15 - 1), np.full_like(honest.biases, 2**31 - 1))


def turned(honest: Vector, _dice: np.random.Generator) -> Vector:
    weights, biases = (-10 * values.astype(np.int64) for values in honest)
    return Vector(np.clip(weights, -(2**15), 2**15 - 1), np.clip(biases, -(2**31), 2**31 - 1))


def random(honest: Vector, dice: np.random.Generator) -> Vector:
    weights, biases = honest
    return Vector(
        dice.integers(-(2**15), 2**15, weights.shape), dice.integers(-(2**31), 2**31, biases.shape)
    )


ATTACKS: dict[str, Attack | None] = {
    "none": None, "max": largest, "flip": turned, "random": random,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sent:
    """An update as the server sees it."""

    payload: bytes
    sizes: Sizes


@dataclass
class Fleet:
    """A server, and what it knows of the rounds before."""

    attack: Attack | None
    clip_q8: int
    dice: np.random.Generator
    state: ServerState
    middles: list[Sizes] = field(default_factory=list)

    def round(self) -> None:
        limits = limits_of(self.middles[-LOOKED_BACK:], self.clip_q8)
        cap = min(CAP, CLAIM_MARGIN * limits.examples)
        sent = [self.send(number, cap) for number in self.cohort()]
        own = Sizes(*(middle(sizes) for sizes in zip(*(s.sizes for s in sent), strict=True)))
        if not self.middles:
            limits = limits_of([own], self.clip_q8)
        self.middles.append(own)
        self.fold(sent, limits)

    def cohort(self) -> Sequence[int]:
        """Device 0 is hostile, if one is."""
        first = [] if self.attack is None else [0]
        others = np.arange(len(first), len(devices()))
        return [*first, *self.dice.choice(others, COHORT - len(first), replace=False)]

    def send(self, number: int, cap: int) -> Sent:
        device = devices()[number]
        payload, examples = self.train(device), min(len(device.train_y), cap)
        if self.attack is not None and number == 0:
            weights, biases = self.attack(self.vector(payload), self.dice)
            payload = weights.astype("<i2").tobytes() + biases.astype("<i4").tobytes()
            examples = cap
        vector = self.vector(payload)
        return Sent(payload, measure(LAYERS, self.state.exponents, vector, examples))

    def train(self, device: Device) -> bytes:
        net = Net(LAYERS, self.state.exponents, self.state.view)
        for batch in batches(device, WAY, self.dice):
            classes = device.train_y[batch].astype(np.uint8)
            net.step(device.train_x[batch].data, classes.data, WAY.lr_q24)
        return delta(LAYERS, self.state.view, net.weights())[0]

    def vector(self, payload: bytes) -> Vector:
        return decode(Codec.RAW_INT16, payload, parameter_counts(LAYERS))

    def fold(self, sent: Sequence[Sent], limits: Limits) -> None:
        total = Sum(LAYERS)
        for update in sent:
            weight = min(update.sizes.examples, limits.examples)
            total.add(Codec.RAW_INT16, update.payload, weight, limits.shares(update.sizes))
        self.state = aggregate(self.state, [total.group()], of_momentum(WAY.momentum), limits.steps)

    def accuracy(self) -> float:
        net = Net(LAYERS, self.state.exponents, self.state.view)
        right = [
            net.predict(x.data).label == y
            for device in devices()
            for x, y in zip(device.test_x, device.test_y, strict=True)
        ]
        return float(np.mean(right))


def play(attack: Attack | None, clip_q8: int, seed: int) -> float:
    state = initial_state(LAYERS, seed.to_bytes(32, "big"))
    fleet = Fleet(attack, clip_q8, np.random.default_rng(seed), state)
    for _ in range(ROUNDS):
        fleet.round()
    return fleet.accuracy()


def main() -> None:
    report = Report("field")
    for name, attack in ATTACKS.items():
        for clip_q8 in (CLIP_Q8, 0):
            runs = [play(attack, clip_q8, seed) for seed in range(1, SEEDS + 1)]
            found = float(np.mean(runs))
            seeds = " ".join(f"{run:.3f}" for run in runs)
            report.row(hostile=name, clip=clip_q8 / 256, accuracy=found, seeds=seeds)
            if clip_q8:
                report.figure(f"poison_{name}", round(found, 4))
    report.finish()


if __name__ == "__main__":
    main()
