"""The same nets in floating point: what the integers are compared with.

A twin starts from the dequantised weights of an integer model and takes the same steps in plain
float arithmetic. Its gradient is checked by finite differences in test_float_twin.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tests.native import reference as ref
from tests.native.reference import Kind, Loss
from tests.native.reference.layers import first_largest, spread, windows

Floats = NDArray[np.floating]
Targets = Floats | NDArray[np.integer]


@dataclass
class FloatNet:
    """Weights in the shapes of the reference and biases [out] of each layer, float32 or float64."""

    shapes: list[ref.Shape]
    weights: list[Floats]
    biases: list[Floats]
    loss: Loss = Loss.SOFTMAX
    velocities: list[Floats] = field(init=False)  # of weights, then of biases

    def __post_init__(self) -> None:
        self.velocities = [np.zeros_like(values) for values in self.parameters]

    @property
    def parameters(self) -> list[Floats]:
        return [*self.weights, *self.biases]

    def copy(self) -> "FloatNet":
        """With velocities of zero."""
        weights, biases = ([x.copy() for x in part] for part in (self.weights, self.biases))
        return FloatNet(self.shapes, weights, biases, self.loss)


def dequantise(model: ref.Model, dtype: type[np.floating] = np.float32) -> FloatNet:
    """The master weights and biases of an integer model, exactly (float32 holds 24 bits)."""
    return FloatNet(
        model.shapes,
        [
            ((x.stored.astype(np.int64) - 128) * 2.0 ** (x.w_exp - 8)).astype(dtype)
            for x in model.layers
        ],
        [(x.bias * 2.0**-16).astype(dtype) for x in model.layers],
        model.loss,
    )


# --- forward --------------------------------------------------------------------------------------


def layer_output(shape: ref.Shape, w: Floats, b: Floats, x: Floats) -> Floats:
    """What a layer makes of x [n][inputs]: [n][outputs], after the ReLU."""
    if shape.kind == Kind.AVERAGE_POOL:
        average: Floats = x.reshape(len(x), -1, shape.channels).mean(axis=1)
        return average
    if shape.kind == Kind.MAX_POOL:
        best: Floats = windows(shape, x, -np.inf).max(axis=(3, 4))
        return best.reshape(len(x), -1)
    seen = windows(shape, x)
    if shape.kind == Kind.DEPTHWISE:
        z = np.einsum("nyxijc,ijc->nyxc", seen, w) + b
    else:
        z = seen.reshape(-1, shape.span) @ w.reshape(shape.out, -1).T + b
    z = z.reshape(len(x), -1)
    given: Floats = np.maximum(z, 0) if shape.relu else z
    return given


def layer_outputs(net: FloatNet, x: Floats) -> list[Floats]:
    """x [n][inputs] and what each layer makes of it, the logits last."""
    values = [x]
    for layer in zip(net.shapes, net.weights, net.biases, strict=True):
        values.append(layer_output(*layer, values[-1]))
    return values


def labels(net: FloatNet, x: Floats) -> NDArray[np.integer]:
    """The predicted class of each example."""
    best: NDArray[np.integer] = layer_outputs(net, x)[-1].argmax(axis=1)
    return best


# --- losses ---------------------------------------------------------------------------------------


def softmax(z: Floats) -> Floats:
    p: Floats = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return p


def loss(net: FloatNet, x: Floats, targets: Targets) -> float:
    """Mean over the examples; targets: classes [n], bits or values [n][outputs], ignored by a
    reconstruction."""
    z = layer_outputs(net, x)[-1]
    if net.loss == Loss.SOFTMAX:
        return float(-np.log(softmax(z)[np.arange(len(z)), targets.astype(int)]).mean())
    if net.loss == Loss.SIGMOID:
        return float((np.logaddexp(0, z) - targets * z).sum() / len(z))
    wanted = x if net.loss == Loss.RECONSTRUCTION else targets
    return float(((z - wanted) ** 2).sum() / (2 * len(z)))


def output_error(net: FloatNet, z: Floats, x: Floats, targets: Targets) -> Floats:
    """The slope of each example's loss by the logits z."""
    if net.loss == Loss.SOFTMAX:
        slope: Floats = softmax(z)
        slope[np.arange(len(z)), targets.astype(int)] -= 1
        return slope
    if net.loss == Loss.SIGMOID:
        return 1 / (1 + np.exp(-z)) - targets
    return z - (x if net.loss == Loss.RECONSTRUCTION else targets)


# --- backward -------------------------------------------------------------------------------------


def layer_gradient(shape: ref.Shape, x: Floats, d: Floats) -> tuple[Floats, Floats]:
    """Of the loss, by weights and biases, from its slope d [n][outputs] at the layer's output."""
    if shape.pools:
        return np.zeros(0, d.dtype), np.zeros(0, d.dtype)
    seen, errors = windows(shape, x), d.reshape(-1, *shape.out_shape)
    if shape.kind == Kind.DEPTHWISE:
        g = np.einsum("nyxijc,nyxc->ijc", seen, errors)
    else:
        g = errors.reshape(-1, shape.out).T @ seen.reshape(-1, shape.span)
    return g.reshape(shape.weights_shape), errors.sum(axis=(0, 1, 2))


def input_slope(shape: ref.Shape, w: Floats, x: Floats, d: Floats) -> Floats:
    """Of the loss, by the input x of a layer."""
    if shape.kind == Kind.AVERAGE_POOL:
        size = shape.height * shape.width
        return np.tile(d / size, (1, size))
    errors = d.reshape(-1, *shape.out_shape)[:, :, :, None, None]
    if shape.kind == Kind.MAX_POOL:
        return spread(shape, errors * first_largest(windows(shape, x, -np.inf)))
    if shape.kind == Kind.DEPTHWISE:
        return spread(shape, errors * w)
    shares = d.reshape(-1, shape.out) @ w.reshape(shape.out, -1)
    oh, ow, _ = shape.out_shape
    return spread(shape, shares.reshape(-1, oh, ow, *shape.window, shape.channels))


def gradients(net: FloatNet, x: Floats, targets: Targets) -> list[tuple[Floats, Floats]]:
    """Of the loss, by weights and biases of each layer, first layer first."""
    values = layer_outputs(net, x)
    d: Floats = (output_error(net, values[-1], x, targets) / len(x)).astype(x.dtype)
    found: list[tuple[Floats, Floats]] = []
    for i in range(len(net.shapes) - 1, -1, -1):
        found.insert(0, layer_gradient(net.shapes[i], values[i], d))
        if i > 0:
            d = input_slope(net.shapes[i], net.weights[i], values[i], d)
            if net.shapes[i - 1].relu:
                d = d * (values[i] > 0)
    return found


def step(
    net: FloatNet,
    x: Floats,
    targets: Targets,
    lr: float,
    momentum: float = 0,
) -> None:
    """One step of gradient descent, in place; lr of the mean gradient."""
    found = gradients(net, x, targets)
    slopes = [g for g, _ in found] + [g for _, g in found]
    for values, velocity, slope in zip(net.parameters, net.velocities, slopes, strict=True):
        velocity[:] = momentum * velocity + lr * slope
        values[:] = values - velocity


# --- data and averages ----------------------------------------------------------------------------


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
