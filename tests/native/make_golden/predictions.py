"""predict.json: examples one by one."""

import numpy as np

from tests.native import reference as ref
from tests.native.make_golden.common import (
    Json,
    Rng,
    b64,
    dense_model,
    describe,
    make_model,
    model_bytes,
)
from tests.native.make_golden.layer_steps import MIXED, RECONSTRUCTING, exponents


def predict_case(name: str, model: ref.Model, x: ref.Int64, x_exp: int) -> Json:
    predictions = [ref.predict(model, one, x_exp) for one in x.astype(np.int8)]
    return {
        "name": name,
        **describe(model),
        "x_exp": x_exp,
        "weights": model_bytes(model),
        "n": len(x),
        "x": b64(x, "<i1"),
        "outputs": b64([values for values, _ in predictions], "<i4"),
        "labels": [label for _, label in predictions],
    }


def dense_predictions(rng: Rng) -> list[Json]:
    """Ordinary nets, and exponents that make the logits huge and tiny."""
    cases = []
    for sizes, exps, x_exp in (
        ([12, 9, 4], [-5, -5], -5),
        ([12, 9, 4], [-7, -6], -5),
        ([7, 3], [-8], -5),
        ([19, 13, 11, 6], [-4, -7, -9], -5),
        ([8, 5, 3], [7, 7], 7),
        ([8, 5, 3], [-24, -24], -24),
        ([8, 5, 3], [0, -24], 0),
        ([6, 6, 6, 6, 6, 6, 6, 6, 4], [-24] * 8, -24),
        ([6, 6, 6, 6, 6, 6, 6, 6, 4], [7] * 8, 7),
    ):
        model = dense_model(sizes, exps, lambda: rng.int16() >> 1, rng.int16)
        x = rng.inputs(6, sizes[0])
        x[0], x[1], x[2] = 0, 127, -127
        name = "-".join(map(str, sizes)) + f", w_exp {exps}, x_exp {x_exp}"
        cases.append(predict_case(name, model, x, x_exp))
    tie = dense_model([2, 5], [-5], lambda: 300, lambda: 77)
    cases.append(predict_case("a tie: the smallest class", tie, rng.inputs(2, 2), -5))
    return cases


def other_predictions(rng: Rng) -> list[Json]:
    """Each loss; layers of every kind."""
    cases = []
    for loss in ref.Loss:
        for w_exp in (-6, -9, 7, -24):
            net = RECONSTRUCTING if loss == ref.Loss.RECONSTRUCTION else MIXED
            exps = exponents(net, w_exp)
            model = make_model(net, exps, lambda: rng.int16() >> 1, rng.int16, loss)
            x = rng.inputs(4, net[0].inputs)
            x[0], x[1], x[2] = 0, 127, -127
            cases.append(predict_case(f"{loss.name.lower()}, w_exp {w_exp}", model, x, -5))
    return cases


def bias_predictions(rng: Rng) -> list[Json]:
    """Biases at their limits, shifted by little in both directions: they end at 2^30 - 1."""
    limits = np.array([-(2**31), -(2**31) + 1, -(2**30), 2**30, 2**31 - 2, 2**31 - 1], np.int32)
    cases = []
    for w_exp in (-13, -12, -11, -10, -9, -8):
        model = dense_model([2, 6], [w_exp], rng.int16, lambda: 0)
        model.layers[0].bias[:] = limits
        cases.append(predict_case(f"biases, w_exp {w_exp}", model, rng.inputs(2, 2), -5))
    return cases


def all_predictions() -> list[Json]:
    rng = Rng(2)
    return dense_predictions(rng) + other_predictions(rng) + bias_predictions(rng)
