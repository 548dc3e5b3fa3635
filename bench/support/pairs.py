"""A model in integers and its twin in float32, learning side by side.

Both begin with the same weights and see the same batches, devices and rounds. The integers live as
on a server: exponents move after each epoch or round (NUMERICS.md sections 8 and 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.support.datasets import Examples
from bench.support.float_net import Float, FloatNet, dequantised
from fedling_broker.aggregation import optimisers
from fedling_broker.aggregation.aggregate import aggregate, move_exponents
from fedling_broker.aggregation.initial import initial_state
from fedling_broker.aggregation.state import ServerState, state_of_weights
from fedling_broker.aggregation.sums import Sum
from fedling_broker.aggregation.vectors import decode
from fedling_native import INPUT_EXP, VALUE_EXP, Layer, Loss, Net, delta
from fedling_protocol.wire.codecs import Codec


@dataclass(frozen=True, slots=True)
class Way:
    """How to learn."""

    lr: float
    batch: int = 16
    momentum: int = 0  # in 1/256; the velocity is zero when an epoch begins
    x_exp: int = INPUT_EXP

    @property
    def lr_q24(self) -> int:
        return round(self.lr * 2**24)


@dataclass(frozen=True, slots=True)
class Pair:
    """The integer model, as the server knows it, and the twin."""

    state: ServerState
    floats: FloatNet

    @property
    def loss(self) -> Loss:
        return self.floats.loss

    @property
    def net(self) -> Net:
        """The kernel with the integer model's weights."""
        return Net(self.state.layers, self.state.exponents, self.state.view, self.loss)


def first_pair(layers: tuple[Layer, ...], seed: int, loss: Loss = Loss.SOFTMAX) -> Pair:
    state = initial_state(layers, seed.to_bytes(32, "big"), loss)
    return Pair(state, dequantised(layers, state.exponents, state.view, loss))


# --- training -------------------------------------------------------------------------------------


def train_integers(net: Net, loss: Loss, examples: Examples, way: Way) -> None:
    """Once through the examples, in their order."""
    x, y = np.ascontiguousarray(examples.x), examples.y
    for i in range(0, len(y), way.batch):
        targets = b"" if loss is Loss.RECONSTRUCTION else y[i : i + way.batch].data
        batch = x[i : i + way.batch].data
        net.step(batch, targets, way.lr_q24, way.x_exp, momentum=way.momentum)


def train_floats(net: FloatNet, examples: Examples, way: Way) -> None:
    net.train(examples.floats, examples.y, way.lr, batch=way.batch, momentum=way.momentum / 256)


def train_epoch(pair: Pair, examples: Examples, way: Way, dice: np.random.Generator) -> Pair:
    """Once through the examples, in an order of the dice."""
    shuffled = examples[dice.permutation(len(examples))]
    train_floats(pair.floats, shuffled, way)
    net, state = pair.net, pair.state
    train_integers(net, pair.loss, shuffled, way)
    trained = state_of_weights(state.layers, state.exponents, net.weights())
    return replace(pair, state=move_exponents(trained))


def play_round(
    pair: Pair, cohort: Sequence[Examples], way: Way, epochs: int, dice: np.random.Generator
) -> Pair:
    """Federated averaging over the devices that take part, weighted by their examples."""
    layers, before = pair.state.layers, pair.state.view
    total, parameters, shares = Sum(layers), [], [len(examples) for examples in cohort]
    for examples in cohort:
        net, floats = pair.net, pair.floats.copy()
        for _ in range(epochs):
            shuffled = examples[dice.permutation(len(examples))]
            train_integers(net, pair.loss, shuffled, way)
            train_floats(floats, shuffled, way)
        change = delta(layers, before, net.weights())[0]
        total.add(decode(Codec.RAW_INT16, change, layers), len(examples))
        parameters.append(floats.parameters)
    mean = np.average(np.array(parameters, np.float64), axis=0, weights=shares)
    floats = replace(pair.floats, parameters=mean.astype(np.float32))
    return Pair(aggregate(pair.state, [total.group()], optimisers.of_momentum(0)), floats)


# --- what they say --------------------------------------------------------------------------------


def accuracies(pair: Pair, test: Examples, x_exp: int = INPUT_EXP) -> tuple[float, float]:
    """Right labels of the integers and of the twin, in percent."""
    net = pair.net
    labels = np.array([net.predict(one.data, x_exp).label for one in test.x])
    ours, theirs = labels == test.y, pair.floats.labels(test.floats) == test.y
    return 100 * float(ours.mean()), 100 * float(theirs.mean())


def integer_values(net: Net, x: NDArray[np.int8]) -> Float:
    """The outputs of a net of values, for x [n][inputs]: float32 [n][outputs]."""
    outputs = np.array([net.predict(one.data).outputs for one in x], np.float32)
    return outputs * np.float32(2.0**VALUE_EXP)


# --- devices --------------------------------------------------------------------------------------


def deal_by_label(
    examples: Examples, devices: int, concentration: float, dice: np.random.Generator
) -> list[Examples]:
    """All examples on devices that see labels unevenly.

    Of each class a device gets a share drawn from a symmetric Dirichlet distribution (Hsu 2019):
    the smaller the concentration, the fewer classes a device knows.
    """
    hands: list[list[NDArray[np.intp]]] = [[] for _ in range(devices)]
    for label in np.unique(examples.y):
        places = dice.permutation(np.flatnonzero(examples.y == label))
        shares = dice.dirichlet(np.full(devices, concentration))
        cuts = np.rint(np.cumsum(shares)[:-1] * len(places)).astype(int)
        for hand, part in zip(hands, np.split(places, cuts), strict=True):
            hand.append(part)
    dealt = [examples[np.concatenate(hand)] for hand in hands]
    return [part for part in dealt if len(part)]
