"""A federation in one process: devices train with the kernel, the server is that of the broker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.watch_federation import Device, Way, batches
from fedling_broker.aggregation.aggregate import aggregate
from fedling_broker.aggregation.changes import change
from fedling_broker.aggregation.limits import Limits, Sizes, limits_of, measure, middle
from fedling_broker.aggregation.optimisers import leaps_of, of_momentum
from fedling_broker.aggregation.state import ServerState
from fedling_broker.aggregation.sums import Sum
from fedling_broker.aggregation.vectors import Key, Vector, decode, fraction_of
from fedling_broker.service.plans import CLAIM_MARGIN
from fedling_broker.store.rounds import LOOKED_BACK
from fedling_native import Layer, Net, coded, delta, parameter_counts
from fedling_protocol.wire.codecs import Codec

CAP = 1000  # training.weight_cap
CLIP_Q8 = 320  # server.clip = 1.25, the default

Attack = Callable[[Vector, np.random.Generator], Vector]


@dataclass(frozen=True, slots=True)
class Sent:
    """An update as the server sees it."""

    vector: Vector
    sizes: Sizes
    size: int  # bytes


@dataclass
class Fleet:
    """A server, its devices, and what it knows of the rounds before."""

    devices: Sequence[Device]
    layers: tuple[Layer, ...]
    way: Way
    cohort: int  # devices in a round
    dice: np.random.Generator
    state: ServerState
    attack: Attack | None = None
    clip_q8: int = CLIP_Q8
    target: int | None = None  # bytes of a coded update; None: they are sent as they are
    on_grid: bool = False  # devices hold the model so, and get its changes
    middles: list[Sizes] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)  # bytes of each that was said
    sizes: list[int] = field(default_factory=list)  # of all that was sent

    def round(self) -> None:
        limits = limits_of(self.middles[-LOOKED_BACK:], self.clip_q8)
        cap = min(CAP, CLAIM_MARGIN * limits.examples)
        sent = [self.send(number, cap) for number in self.chosen()]
        own = Sizes(*(middle(sizes) for sizes in zip(*(s.sizes for s in sent), strict=True)))
        if not self.middles:
            limits = limits_of([own], self.clip_q8)
        self.middles.append(own)
        self.fold(sent, limits)

    def chosen(self) -> Sequence[int]:
        """Device 0 is hostile, if one is."""
        first = [] if self.attack is None else [0]
        others = np.arange(len(first), len(self.devices))
        return [*first, *self.dice.choice(others, self.cohort - len(first), replace=False)]

    def send(self, number: int, cap: int) -> Sent:
        device = self.devices[number]
        payload, examples = self.train(device), min(len(device.train_y), cap)
        if self.attack is not None and number == 0:
            sent = self.attack(self.vector(payload), self.dice)
            payload = sent.weights.astype("<i2").tobytes() + sent.biases.astype("<i4").tobytes()
            examples = cap
        size, vector = self.sent(payload, (number, len(self.middles)))
        self.sizes.append(size)
        return Sent(vector, measure(self.layers, self.state.exponents, vector, examples), size)

    def sent(self, payload: bytes, seed: coded.Seed) -> tuple[int, Vector]:
        """How many bytes are sent of an update, and what is read of them."""
        if self.target is None:
            return len(payload), self.vector(payload)
        exponents = self.state.exponents
        message = coded.encode(self.layers, exponents, payload, self.target, seed)
        key = Key(exponents, self.target, seed)
        return len(message), decode(Codec.CODED, message, self.layers, key)

    def train(self, device: Device) -> bytes:
        net = Net(self.layers, self.state.exponents, self.state.view)
        for batch in batches(device, self.way, self.dice):
            classes = device.train_y[batch].astype(np.uint8)
            net.step(device.train_x[batch].data, classes.data, self.way.lr_q24)
        return delta(self.layers, self.state.view, net.weights())[0]

    def vector(self, payload: bytes) -> Vector:
        return decode(Codec.RAW_INT16, payload, self.layers)

    def fold(self, sent: Sequence[Sent], limits: Limits) -> None:
        total = Sum(self.layers, fraction_of(self.target))
        for update in sent:
            weight = min(update.sizes.examples, limits.examples)
            total.add(update.vector, weight, limits.shares(update.sizes))
        parameters = sum(parameter_counts(self.layers))
        leaps = leaps_of(self.target, parameters) if self.on_grid else None
        before, setup = self.state, of_momentum(self.way.momentum, leaps)
        self.state = aggregate(before, [total.group()], setup, limits.steps)
        if self.on_grid:
            self.changes.append(len(self.change_from(before)))

    def change_from(self, before: ServerState) -> bytes:
        """What devices are told: how the model that they hold follows from the one before."""
        exponents = zip(self.state.exponents, before.exponents, strict=True)
        shifts = [now - then for now, then in exponents]
        said = change(self.layers, before.view, shifts, self.state.view)
        assert said is not None
        return said

    def accuracy(self) -> float:
        net = Net(self.layers, self.state.exponents, self.state.view)
        right = [
            net.predict(x.data).label == y
            for device in self.devices
            for x, y in zip(device.test_x, device.test_y, strict=True)
        ]
        return float(np.mean(right))
