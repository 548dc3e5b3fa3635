"""Sections 3, 5 and 7: forward, one training step with its options, the update that leaves."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.native.reference.fixed import (
    MAX_EXP,
    MIN_EXP,
    Int8,
    Int16,
    Int32,
    Int64,
    largest,
    ratio,
    rshift,
    rshift_wide,
    sat,
    sat16,
    sat32,
)
from tests.native.reference.layers import accumulate, gradient, input_sums
from tests.native.reference.losses import output_error, outputs
from tests.native.reference.model import Layer, Model, Tensor

Targets = NDArray[np.integer]
NO_TARGETS: Targets = np.zeros(0, np.int64)  # of a reconstruction


# --- 3 Forward ------------------------------------------------------------------------------------


@dataclass
class Forward:
    """inputs[l]: what layer l read; z int64 [n][outputs] at exponent z_exp: the logits."""

    inputs: list[Tensor]
    z: Int64
    z_exp: int


def requantise(acc: Int64, exp: int) -> Tensor:
    """Drop as many bits as the largest magnitude of the whole array needs."""
    s = max(0, largest(acc).bit_length() - 7)
    return Tensor(sat(rshift(acc, s), 127).astype(np.int8), exp + s)


def forward(model: Model, x: Tensor) -> Forward:
    """Section 3 over a batch; x.q int8 [n][inputs]. One example's logits: a batch of one."""
    assert x.q.min() >= -127
    assert MIN_EXP <= x.exp <= MAX_EXP
    inputs = [x]
    for layer in model.layers[:-1]:
        inputs.append(requantise(*accumulate(layer, inputs[-1])))
    return Forward(inputs, *accumulate(model.layers[-1], inputs[-1]))


def predict(model: Model, x: Int8, x_exp: int) -> tuple[Int64, int]:
    """Probabilities or values [outputs] and the label of one example x int8 [inputs]."""
    end = forward(model, Tensor(x[None, :], x_exp))
    return outputs(model.loss, end.z, end.z_exp)[0], int(end.z[0].argmax())


# --- 5 One training step --------------------------------------------------------------------------


@dataclass(frozen=True)
class Sgd:
    lr: int  # of the mean gradient, in 2^-24
    clip: int = 0  # longest mean gradient of a layer, in 2^-16; 0: no limit
    momentum: int = 0  # in 1/256; 0: none
    frozen: int = 0  # so many of the first layers do not change


def step(model: Model, x: Tensor, targets: Targets, sgd: Sgd) -> None:
    """One step in place: x.q int8 [n][inputs]; targets as losses.output_error takes them."""
    n = len(x.q)
    assert 1 <= n <= 256
    assert 1 <= sgd.lr <= 2**28
    assert 0 <= sgd.frozen < len(model.layers)
    mant, k = ratio(sgd.lr, n << 24)
    end = forward(model, x)
    err, err_exp = output_error(model.loss, end.z, end.z_exp, targets, x)
    d = requantise((err * mant + 64) >> 7, err_exp)
    errors = all_errors(model, end, d, sgd.frozen)
    for layer, x_l, d_l in zip(model.layers, end.inputs, errors, strict=True):
        if d_l is not None and not layer.shape.pools:
            update(layer, x_l, d_l, k, sgd)


def all_errors(model: Model, end: Forward, last: Tensor, frozen: int) -> list[Tensor | None]:
    """The errors of all layers, first layer first, all from the weights before the step."""
    errors: list[Tensor | None] = [last]
    d = last
    for i in range(len(model.layers) - 1, frozen, -1):
        h = end.inputs[i]
        a, exp = input_sums(model.layers[i], h, d)
        if model.layers[i - 1].shape.relu:
            a[h.q <= 0] = 0
        d = requantise(a, exp)
        errors.insert(0, d)
    return [None] * frozen + errors


def update(layer: Layer, x: Tensor, d: Tensor, k: int, sgd: Sgd) -> None:
    """Section 5.4, in place."""
    if sgd.clip:
        d = clipped(layer, x, d, k, sgd)
    g, gb = gradient(layer, x, d)
    u, ub = layer.w_exp - 8 - x.exp - d.exp - k, -16 - d.exp - k
    if sgd.momentum:
        layer.velocity[:] = accelerated(layer.velocity, g, u, sgd.momentum)
        layer.bias_velocity[:] = accelerated(layer.bias_velocity, gb, ub, sgd.momentum)
        g, u = layer.velocity.astype(np.int64), 8
        gb, ub = layer.bias_velocity.astype(np.int64), 8
    layer.stored[:] = sat16(layer.stored - sat16(rshift(g, u)))
    layer.bias[:] = sat32(layer.bias - sat32(rshift(gb, ub)))


def clipped(layer: Layer, x: Tensor, d: Tensor, k: int, sgd: Sgd) -> Tensor:
    """The error d, shortened so that the gradient of the weights is no longer than the clip."""
    g, _ = gradient(layer, x, d)
    low, high = (g * g) & 0xFFFFFFFF, (g * g) >> 32
    norm = math.isqrt(min(2**62, (int(high.sum()) << 32) + int(low.sum())))
    limit = min(2**62, rshift_wide(sgd.lr * sgd.clip, 40 + x.exp + d.exp + k))
    if norm <= limit:
        return d
    if limit == 0:
        return Tensor(np.zeros_like(d.q), d.exp)
    m, k_clip = ratio(limit, norm)
    q = rshift(d.q.astype(np.int64) * m, 8)
    return Tensor(q.astype(np.int8), d.exp + k_clip + 1)


def accelerated(velocity: Int32, g: Int64, u: int, momentum: int) -> Int64:
    """The velocity after a gradient g, which alone would be rshift(g, u)."""
    kept = rshift(velocity.astype(np.int64) * momentum, 8)
    return sat32(kept + sat32(rshift(g, u - 8)))


def pull(model: Model, start: Model, q: int) -> None:
    """The proximal term: towards `start`, by q / 2^16 of the difference, in place."""
    assert 1 <= q <= 65535
    for layer, old in zip(model.layers, start.layers, strict=True):
        layer.stored[:] = layer.stored - pulled(layer.stored, old.stored, q)
        layer.bias[:] = sat32(layer.bias - pulled(layer.bias, old.bias, q))


def pulled(now: NDArray[np.signedinteger], start: NDArray[np.signedinteger], q: int) -> Int64:
    return rshift((now.astype(np.int64) - start) * q, 16)


# --- 7 The update that leaves the device ----------------------------------------------------------


@dataclass(frozen=True)
class Delta:
    stored: Int16  # all weights, in the order of weight_bytes
    bias: Int32
    saturated: int  # how many values of both did not fit


def unit_shifts(model: Model) -> Int64:
    """By how much each weight's delta, then each bias's, is shifted left as a value."""
    own = [layer.w_exp - 8 for layer in model.layers if not layer.shape.pools]
    u = min([-16, *own])
    weights = [np.full(layer.stored.size, min(15, layer.w_exp - 8 - u)) for layer in model.layers]
    biases = [np.full(layer.bias.size, min(15, -16 - u)) for layer in model.layers]
    return np.concatenate(weights + biases)


def delta_values(model: Model, change: Delta) -> Int64:
    """The update of this model as values in one unit, int32."""
    both = np.concatenate([change.stored, change.bias]).astype(np.int64)
    return sat32(both << unit_shifts(model))


def own_units(model: Model, estimate: Int64) -> Int64:
    """An estimate in 1/256 of the one unit, in 1/256 of each weight's and bias's own."""
    shifts = unit_shifts(model)
    return (estimate + (1 << shifts >> 1)) >> shifts


def delta(before: Model, after: Model) -> Delta:
    """after - before, saturated and counted."""
    pairs = list(zip(before.layers, after.layers, strict=True))
    stored = np.concatenate([(a.stored.astype(np.int64) - b.stored).ravel() for b, a in pairs])
    bias = np.concatenate([a.bias.astype(np.int64) - b.bias for b, a in pairs])
    fitting, bias_fitting = sat16(stored), sat32(bias)
    saturated = int(np.count_nonzero(fitting != stored) + np.count_nonzero(bias_fitting != bias))
    return Delta(fitting.astype(np.int16), bias_fitting.astype(np.int32), saturated)
