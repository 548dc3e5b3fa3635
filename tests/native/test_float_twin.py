"""The float twin's gradient is the slope of its loss, by central differences in float64."""

import numpy as np
import pytest

from tests.native import float_twin as twin
from tests.native import random_nets as nets
from tests.native import reference as ref
from tests.native.reference import Loss, Shape, average_pool, conv, dense, depthwise, max_pool

STEP = 1e-5

NETS: dict[str, list[Shape]] = {
    "dense": [dense(9, 8, relu=True), dense(8, 7, relu=True), dense(7, 4)],
    "linear": [dense(9, 8), dense(8, 7, relu=True), dense(7, 4)],
    "conv1d": [conv((1, 11, 2), 3, (1, 4), (1, 3), relu=True), dense(9, 4)],
    "conv2d": [
        conv((5, 6, 2), 3, (3, 2), (2, 1), pad=(1, 2, 0, 1), relu=True),
        conv((3, 6, 3), 2, (2, 3), pad=(1, 0, 2, 1)),
        dense(42, 4),
    ],
    "depthwise": [
        depthwise((4, 5, 3), (2, 3), (1, 2), pad=(1, 0, 1, 1), relu=True),
        dense(36, 4),
    ],
    "max_pool": [
        conv((4, 6, 1), 3, (1, 1)),
        max_pool((4, 6, 3), (3, 2), (2, 1), pad=(0, 2, 1, 1)),
        dense(42, 4),
    ],
    "average_pool": [conv((1, 7, 2), 4, (1, 1)), average_pool((1, 7, 4)), dense(4, 4)],
    "windows to the end": [conv((3, 5, 2), 4, (2, 2), relu=True), average_pool((2, 4, 4))],
}


def slope(
    net: twin.FloatNet, values: twin.Floats, index: tuple[int, ...], x: twin.Floats, y: twin.Targets
) -> float:
    """Of the loss by one parameter."""
    kept = values[index]
    values[index] = kept + STEP
    above = twin.loss(net, x, y)
    values[index] = kept - STEP
    below = twin.loss(net, x, y)
    values[index] = kept
    return (above - below) / (2 * STEP)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("loss", [Loss.SOFTMAX, Loss.SIGMOID, Loss.SQUARED])
def test_gradients_are_slopes(name: str, loss: Loss) -> None:
    rng = np.random.default_rng(5)
    model = nets.first_model(rng, NETS[name], loss)
    net = twin.dequantise(model, np.float64)
    x, targets = rng.normal(size=(4, NETS[name][0].inputs)), nets.targets(rng, model, 4)
    y = targets / 2**12 if loss == Loss.SQUARED else targets
    check_gradients(net, x, y)


def test_gradients_of_a_reconstruction_are_slopes() -> None:
    rng = np.random.default_rng(6)
    shapes = [dense(8, 3, relu=True), dense(3, 8)]
    net = twin.dequantise(nets.first_model(rng, shapes, Loss.RECONSTRUCTION), np.float64)
    check_gradients(net, rng.normal(size=(5, 8)), ref.NO_TARGETS)


def check_gradients(net: twin.FloatNet, x: twin.Floats, y: twin.Targets) -> None:
    for layer, found in enumerate(twin.gradients(net, x, y)):
        parameters = (net.weights[layer], net.biases[layer])
        for values, slopes in zip(parameters, found, strict=True):
            for index in np.ndindex(values.shape):
                assert slopes[index] == pytest.approx(slope(net, values, index, x, y), abs=1e-7)
