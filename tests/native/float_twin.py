"""The same nets in floating point: what the integers are compared with.

A twin starts from the dequantised weights of an integer model and takes the same steps in plain
float arithmetic, mean softmax cross-entropy. Its gradient is checked by finite differences in
test_reference.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.native import reference as ref

Floats = NDArray[np.floating]


@dataclass
class FloatNet:
    """weights [out][in], biases [out] and ReLU flag of each layer, float32 or float64."""

    weights: list[Floats]
    biases: list[Floats]
    relus: list[bool]


def dequantise(model: ref.Model, dtype: type[np.floating] = np.float32) -> FloatNet:
    """The master weights and biases of an integer model, exactly (float32 holds 24 bits)."""
    return FloatNet(
        [((m.stored.astype(np.int64) - 128) * 2.0 ** (m.w_exp - 8)).astype(dtype) for m in model],
        [(m.bias * 2.0**-16).astype(dtype) for m in model],
        [m.relu for m in model],
    )


def layer_outputs(net: FloatNet, x: Floats) -> list[Floats]:
    """x [n][in] and what each layer makes of it, the logits last."""
    values = [x]
    for w, b, relu in zip(net.weights, net.biases, net.relus, strict=True):
        z = values[-1] @ w.T + b
        values.append(np.maximum(z, 0) if relu else z)
    return values


def softmax(z: Floats) -> Floats:
    p: Floats = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return p


def loss(net: FloatNet, x: Floats, y: NDArray[np.integer]) -> float:
    """Mean cross-entropy of classes y [n]."""
    p = softmax(layer_outputs(net, x)[-1])
    return float(-np.log(p[np.arange(len(y)), y]).mean())


def gradients(net: FloatNet, x: Floats, y: NDArray[np.integer]) -> list[tuple[Floats, Floats]]:
    """Of the loss, by weights and biases of each layer, first layer first."""
    values = layer_outputs(net, x)
    d = softmax(values[-1])
    d[np.arange(len(y)), y] -= 1
    d /= len(y)
    found: list[tuple[Floats, Floats]] = []
    for i in range(len(net.weights) - 1, -1, -1):
        found.insert(0, (d.T @ values[i], d.sum(axis=0)))
        if i > 0:
            d = d @ net.weights[i]
            if net.relus[i - 1]:
                d *= values[i] > 0
    return found


def step(net: FloatNet, x: Floats, y: NDArray[np.integer], lr: float) -> None:
    """One step of gradient descent, in place; lr of the mean gradient."""
    for i, (g, g_bias) in enumerate(gradients(net, x, y)):
        net.weights[i] -= lr * g
        net.biases[i] -= lr * g_bias


def labels(net: FloatNet, x: Floats) -> NDArray[np.integer]:
    """The predicted class of each example."""
    best: NDArray[np.integer] = layer_outputs(net, x)[-1].argmax(axis=1)
    return best


def normalise(windows: NDArray[np.integer], like: NDArray[np.integer]) -> NDArray[np.float32]:
    """windows [n][T][C] to float32 [n][T * C], by mean and deviation a channel of `like`."""
    flat = like.reshape(-1, like.shape[-1]).astype(np.float64)
    mean, deviation = flat.mean(axis=0), flat.std(axis=0)
    scaled: Floats = (windows - mean) / np.where(deviation > 0, deviation, np.inf)
    return scaled.reshape(len(windows), -1).astype(np.float32)


def mean(parts: Sequence[Floats], shares: Sequence[int]) -> Floats:
    """The weighted mean of arrays of one shape, in float64."""
    total: Floats = np.zeros(parts[0].shape)
    for part, share in zip(parts, shares, strict=True):
        total += part.astype(np.float64) * share
    return total / sum(shares)
