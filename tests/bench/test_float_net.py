"""plain_f32.c steps as the float twin, whose gradient is checked by finite differences."""

import numpy as np
import pytest

from bench.support.float_net import Float, FloatNet, dequantised
from fedling_native import (
    Layer,
    Loss,
    average_pool,
    conv,
    dense,
    max_pool,
)
from tests.native import float_twin as twin
from tests.native import reference as ref

CNN = (
    ref.conv((1, 30, 3), 5, (1, 7), (1, 2), relu=True),
    ref.conv((1, 12, 5), 6, (1, 4), relu=True),
    ref.average_pool((1, 9, 6)),
    ref.dense(6, 4),
)
CNN_LAYERS = (
    conv((1, 30, 3), 5, (1, 7), (1, 2), relu=True),
    conv((1, 12, 5), 6, (1, 4), relu=True),
    average_pool((1, 9, 6)),
    dense(6, 4),
)
MLP = (ref.dense(19, 11, relu=True), ref.dense(11, 4))
MLP_LAYERS = (dense(19, 11, relu=True), dense(11, 4))
AUTOENCODER = (ref.dense(10, 3, relu=True), ref.dense(3, 10))
AUTOENCODER_LAYERS = (dense(10, 3, relu=True), dense(3, 10))
SIZES = ("INPUTS=19", "HIDDEN=11", "OUTPUTS=4", "BATCH=6")


def twins(
    shapes: tuple[ref.Shape, ...], layers: tuple[Layer, ...], loss: int = 0
) -> tuple[twin.FloatNet, FloatNet]:
    masters, exponents = ref.first_masters(bytes(32), shapes)
    parts = zip(shapes, exponents, masters, strict=True)
    dice = np.random.default_rng(1)
    model = ref.Model(
        [
            ref.Layer(s, e, ref.stored_view(m), dice.integers(-9999, 9999, s.biases, np.int32))
            for s, e, m in parts
        ],
        ref.Loss(loss),
    )
    ours = dequantised(layers, model.exponents, ref.weight_bytes(model), Loss(loss))
    return twin.dequantise(model), ours


def flat(net: twin.FloatNet) -> Float:
    return np.concatenate([p.ravel() for p in net.parameters])


@pytest.mark.parametrize(
    ("shapes", "layers", "loss"),
    [(CNN, CNN_LAYERS, 0), (MLP, MLP_LAYERS, 0), (AUTOENCODER, AUTOENCODER_LAYERS, 3)],
)
@pytest.mark.parametrize("momentum", [0, 0.5])
def test_train_steps_as_the_twin(
    shapes: tuple[ref.Shape, ...], layers: tuple[Layer, ...], loss: int, momentum: float
) -> None:
    theirs, ours = twins(shapes, layers, loss)
    dice = np.random.default_rng(2)
    x = dice.normal(size=(20, layers[0].inputs)).astype(np.float32)
    y = dice.integers(0, 4, 20).astype(np.uint8)
    ours.train(x, y, 0.125, batch=6, momentum=momentum)
    for i in range(0, 20, 6):  # the last batch is smaller
        twin.step(theirs, x[i : i + 6], y[i : i + 6], 0.125, momentum)
    np.testing.assert_allclose(ours.parameters, flat(theirs), atol=2e-6)
    np.testing.assert_allclose(ours.outputs(x), twin.layer_outputs(theirs, x)[-1], atol=1e-5)
    assert not np.allclose(ours.parameters, flat(twins(shapes, layers, loss)[0]), atol=1e-3)


def test_train_with_sizes_compiled_in_is_the_same() -> None:
    _, general = twins(MLP, MLP_LAYERS)
    _, fixed = twins(MLP, MLP_LAYERS)
    fixed.defines = SIZES
    dice = np.random.default_rng(3)
    x, y = dice.normal(size=(20, 19)).astype(np.float32), dice.integers(0, 4, 20).astype(np.uint8)
    for net in (general, fixed):
        assert net.train(x, y, 0.125, batch=6) > 0
    np.testing.assert_allclose(fixed.parameters, general.parameters, atol=1e-6)


def test_layer_without_a_twin_is_refused() -> None:
    pool = max_pool((1, 10, 1), (1, 2))
    net = FloatNet((pool, dense(5, 2)), np.zeros(12, np.float32))
    with pytest.raises(ValueError, match="MAX_POOL"):
        net.outputs(np.zeros((1, 10), np.float32))
