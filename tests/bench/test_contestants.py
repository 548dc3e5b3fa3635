"""What the kernel bench times is the same training, whoever does it."""

import importlib.util

import numpy as np
import pytest

from bench.support.contestants import RATE, Course, Fedling, Numpy, PlainC, UnrolledC, course
from bench.support.float_net import Float
from fedling_native import Layer, Net, average_pool, conv, dense

BATCHES = 8
MLP = (dense(24, 12, relu=True), dense(12, 5))
CNN = (
    conv((1, 20, 2), 6, (1, 5), (1, 2), relu=True),
    average_pool((1, 8, 6)),
    dense(6, 3),
)
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is missing: pip install .[bench]"
)


@pytest.fixture(params=[1, 4])
def mlp(request: pytest.FixtureRequest) -> Course:
    return course(MLP, request.param, BATCHES)


def trained(of: Course) -> Float:
    """The parameters after an epoch, by the C that test_float_net.py checks."""
    net = of.first_floats
    net.train(of.floats, of.y, RATE, batch=of.batch)
    assert not np.allclose(net.parameters, of.first_floats.parameters, atol=1e-3)
    return net.parameters


@pytest.mark.parametrize("kind", [PlainC, UnrolledC])
def test_c_trains_from_the_first_weights_each_time(mlp: Course, kind: type[PlainC]) -> None:
    contestant = kind(mlp)
    for _ in range(2):
        assert contestant.epoch() > 0
        np.testing.assert_allclose(contestant.net.parameters, trained(mlp), atol=1e-5)


def test_numpy_trains_from_the_first_weights_each_time(mlp: Course) -> None:
    contestant = Numpy(mlp)
    for _ in range(2):
        contestant.epoch()
        w1, b1, w2, b2 = contestant.parameters
        found = np.concatenate([w1.T.ravel(), w2.T.ravel(), b1, b2])
        np.testing.assert_allclose(found, trained(mlp), atol=1e-5)


@needs_torch
@pytest.mark.parametrize("layers", [MLP, CNN])
def test_torch_trains_from_the_first_weights_each_time(layers: tuple[Layer, ...]) -> None:
    from bench.support.torch_contestant import Torch

    of = course(layers, 4, BATCHES)
    contestant = Torch(of)
    net = of.first_floats
    net.train(of.floats, of.y, RATE, batch=of.batch)
    for _ in range(2):
        contestant.epoch()
        np.testing.assert_allclose(contestant.outputs(), net.outputs(of.floats), atol=1e-4)


@pytest.mark.parametrize("layers", [MLP, CNN])
def test_kernel_in_c_is_the_kernel_in_python(layers: tuple[Layer, ...]) -> None:
    of = course(layers, 4, BATCHES)
    contestant = Fedling(of)
    net = Net(of.layers, of.state.exponents, of.weights)
    x, y = of.x.reshape(BATCHES, -1), of.y.reshape(BATCHES, -1)
    for inputs, classes in zip(x, y, strict=True):
        net.step(inputs.data, classes.data, round(RATE * 2**24))
    for _ in range(2):
        assert contestant.epoch() > 0
        assert contestant.checksum == net.checksum()


def test_kernel_refuses_loudly() -> None:
    of = course(MLP, 4, BATCHES)
    of.y[3] = 5  # there are classes 0 to 4
    with pytest.raises(RuntimeError, match="refused"):
        Fedling(of).epoch()
