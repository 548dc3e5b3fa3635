"""Floats become masters, and what that changed is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_broker.aggregation.aggregate import move_exponents
from fedling_broker.aggregation.fixed import MIN_EXPONENT
from fedling_broker.aggregation.state import state_of_weights
from fedling_broker.onnx import OnnxError
from fedling_broker.onnx.quantise import quantise
from fedling_broker.onnx.walk import FloatLayer
from fedling_native import Layer, average_pool, dense, depthwise


def floats(layer: Layer, weights: object, biases: object = 0.0) -> FloatLayer:
    rows = np.broadcast_to(np.asarray(weights, float), (layer.out, layer.span))
    return FloatLayer(layer, "node", rows, np.broadcast_to(np.asarray(biases, float), layer.out))


def test_quantise_by_hand() -> None:
    """16383 masters are worth 1.99988 at w_exp -5; the last weight falls between two int8 ones."""
    state, (change,) = quantise([floats(dense(3, 1), [[1.5, -0.25, 0.0078125]], [0.5])])
    assert state.exponents == (-5,)
    assert (state.master >> 16).tolist() == [12288, -2048, 64, 32768]
    assert (change.layer, change.kind, change.w_exp, change.largest) == (1, "dense", -5, 1.5)
    assert change.rms == pytest.approx(np.sqrt((1.5**2 + 0.25**2 + 0.0078125**2) / 3))
    assert change.rms_error == pytest.approx(0.0078125 / np.sqrt(3))
    assert (change.rms_error_master, change.bias_error, change.saturated) == (0, 0, 0)


def test_quantise_takes_the_finest_exponent_that_holds_the_largest_weight() -> None:
    for largest, w_exp in ((16383 / 16384, -6), (16383.5 / 16384, -5), (1.0, -5), (0.5, -7 + 1)):
        state, _ = quantise([floats(dense(2, 1), [[largest, 0]])])
        assert state.exponents == (w_exp,), largest


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=20))
def test_quantised_weights_stay_where_rounds_put_them(values: list[float]) -> None:
    """The next round's rule moves no exponent, and devices lose nothing."""
    state, (change,) = quantise([floats(dense(len(values), 1), [values])])
    if any(values) and state.exponents[0] > MIN_EXPONENT:
        assert move_exponents(state).exponents == state.exponents
    again = state_of_weights(state.layers, state.exponents, state.view)
    assert np.array_equal(again.master, state.master)
    if not change.saturated:
        assert change.rms_error <= 2.0 ** (change.w_exp - 1)
        assert change.rms_error_master <= 2.0 ** (change.w_exp - 9)


def test_quantise_counts_what_saturates() -> None:
    state, (change,) = quantise([floats(dense(3, 2), [[9000, -1e300, 8000]] * 2, [40000.0, -1e9])])
    assert (state.exponents, change.saturated) == ((7,), 6)
    assert change.rms_error == pytest.approx(1e300 / np.sqrt(3))
    masters = (state.master >> 16)[:6]
    assert masters.tolist() == [16383, -16383, 16000] * 2
    assert (state.master >> 16)[6:].tolist() == [2**31 - 1, -(2**31 - 1)]


def test_quantise_of_zeros_leaves_room_to_learn() -> None:
    state, (change,) = quantise([floats(dense(6, 2), 0.0)])
    assert state.exponents == (-5,)
    assert (change.rms, change.rms_error) == (0, 0)


def test_quantise_orders_depthwise_weights_by_place_and_pools_have_none() -> None:
    pool, layer = average_pool((1, 1, 2)), depthwise((1, 3, 2), (1, 3))
    state, changes = quantise(
        [
            floats(layer, [[0.5, 0.25, 0.125], [-0.5, -0.25, -0.125]]),
            FloatLayer(pool, "pool", np.zeros((0, 0)), np.zeros(0)),
        ]
    )
    assert state.exponents == (-6, 0)
    assert ((state.master >> 16)[:6] / 8192).tolist() == [1, -1, 0.5, -0.5, 0.25, -0.25]
    assert [change.layer for change in changes] == [1]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_quantise_refuses_what_is_no_number(wrong: float) -> None:
    for layer in (floats(dense(2, 1), [[wrong, 1]]), floats(dense(2, 1), [[1, 1]], [wrong])):
        with pytest.raises(OnnxError, match="node 'node' has weights that are no numbers"):
            quantise([layer])
