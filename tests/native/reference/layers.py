"""The sums of sections 3 and 5, of every kind of layer: forward, error at the input, gradient.

Every kind but average_pool reads windows [n][oh][ow][kh][kw][channels] of the padded input.
"""

from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tests.native.reference.fixed import Int8, Int64, dot, largest, ratio, rshift, sat
from tests.native.reference.model import Kind, Layer, Shape, Tensor

Number = TypeVar("Number", bound=np.number)  # floats too: float_twin reads the same windows
BIAS_LIMIT = 2**30 - 1
NO_DATA = -128  # padding of a max_pool: below every input


def windows(shape: Shape, q: NDArray[Number], padding: float = 0) -> NDArray[Number]:
    """What each position reads, of q [n][inputs]."""
    image = q.reshape(-1, shape.height, shape.width, shape.channels)
    top, bottom, left, right = shape.pad
    padded = np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=padding)
    view = sliding_window_view(padded, shape.window, (1, 2))
    sh, sw = shape.steps
    return view[:, ::sh, ::sw].transpose(0, 1, 2, 4, 5, 3)


def spread(shape: Shape, shares: NDArray[Number]) -> NDArray[Number]:
    """The sum, for each input value [n][inputs], of what the windows that hold it give to it."""
    n, oh, ow, kh, kw, channels = shares.shape
    (sh, sw), (top, bottom, left, right) = shape.steps, shape.pad
    height, width = shape.height + top + bottom, shape.width + left + right
    padded = np.zeros((n, height, width, channels), shares.dtype)
    for ky, kx in np.ndindex(kh, kw):
        rows = slice(ky, ky + (oh - 1) * sh + 1, sh)
        columns = slice(kx, kx + (ow - 1) * sw + 1, sw)
        padded[:, rows, columns] += shares[:, :, :, ky, kx]
    image = padded[:, top : top + shape.height, left : left + shape.width]
    return image.reshape(n, -1)


def average_scale(shape: Shape) -> tuple[int, int]:
    """1 / T as a mantissa and an exponent."""
    return ratio(1, shape.height * shape.width)


# --- 3 Forward ------------------------------------------------------------------------------------


def accumulate(layer: Layer, x: Tensor) -> tuple[Int64, int]:
    """Accumulators int64 [n][outputs] after the ReLU, and their exponent."""
    shape = layer.shape
    if shape.kind == Kind.AVERAGE_POOL:
        m, k = average_scale(shape)
        sums = x.q.reshape(len(x.q), -1, shape.channels).sum(axis=1, dtype=np.int64)
        return (m * sums + 64) >> 7, x.exp + k
    if shape.kind == Kind.MAX_POOL:
        best = windows(shape, x.q, NO_DATA).max(axis=(3, 4)).astype(np.int64)
        return best.reshape(len(x.q), -1), x.exp
    exp = x.exp + layer.w_exp
    bias_acc = sat(rshift(layer.bias.astype(np.int64), exp + 16), BIAS_LIMIT)
    acc = products(layer, windows(shape, x.q)) + bias_acc
    assert largest(acc) < 2**31
    acc = acc.reshape(len(x.q), -1)
    return np.maximum(acc, 0) if shape.relu else acc, exp


def products(layer: Layer, seen: Int8) -> Int64:
    """Windows times weights, [n][oh][ow][out]."""
    if layer.shape.kind == Kind.DEPTHWISE:
        acc: Int64 = np.einsum("nyxijc,ijc->nyxc", seen, layer.w, dtype=np.int64)
        return acc
    rows = seen.reshape(-1, layer.shape.span)
    acc = dot(rows, layer.w.reshape(layer.shape.out, -1).T)
    return acc.reshape(*seen.shape[:3], -1)


# --- 5.3 The error at the input -------------------------------------------------------------------


def input_sums(layer: Layer, x: Tensor, d: Tensor) -> tuple[Int64, int]:
    """The error int64 [n][inputs] at the input x, before the ReLU's mask, and its exponent."""
    shape = layer.shape
    if shape.kind == Kind.AVERAGE_POOL:
        m, k = average_scale(shape)
        a = (d.q.astype(np.int64) * m + 64) >> 7
        return np.tile(a, (1, shape.height * shape.width)), d.exp + k
    errors = d.q.reshape(-1, *shape.out_shape)
    if shape.kind == Kind.MAX_POOL:
        first = first_largest(windows(shape, x.q, NO_DATA))
        return spread(shape, errors[:, :, :, None, None].astype(np.int64) * first), d.exp
    a = spread(shape, window_errors(layer, errors))
    assert largest(a) < 2**30
    return a, d.exp + layer.w_exp


def first_largest(seen: NDArray[Number]) -> NDArray[np.bool_]:
    """Of each window and channel: where its first largest value is, row by row."""
    n, oh, ow, kh, kw, channels = seen.shape
    flat = seen.reshape(n, oh, ow, kh * kw, channels)
    places = np.arange(kh * kw)[:, None]
    first: NDArray[np.bool_] = places == flat.argmax(axis=3)[:, :, :, None]
    return first.reshape(seen.shape)


def window_errors(layer: Layer, errors: Int8) -> Int64:
    """The error of each position [n][oh][ow][out] times its weights."""
    if layer.shape.kind == Kind.DEPTHWISE:
        return errors[:, :, :, None, None].astype(np.int64) * layer.w
    out = layer.shape.out
    shares = dot(errors.reshape(-1, out), layer.w.reshape(out, -1))
    return shares.reshape(*errors.shape[:3], *layer.shape.window, -1)


# --- 5.4 The gradient -----------------------------------------------------------------------------


def gradient(layer: Layer, x: Tensor, d: Tensor) -> tuple[Int64, Int64]:
    """g in the shape of the weights, and gb [out]; exponents x.exp + d.exp and d.exp."""
    shape = layer.shape
    seen, errors = windows(shape, x.q), d.q.reshape(-1, *shape.out_shape)
    assert errors.size // shape.out <= 65536
    gb = errors.sum(axis=(0, 1, 2), dtype=np.int64)
    if shape.kind == Kind.DEPTHWISE:
        return np.einsum("nyxijc,nyxc->ijc", seen, errors, dtype=np.int64), gb
    g = dot(errors.reshape(-1, shape.out).T, seen.reshape(-1, shape.span))
    return g.reshape(shape.weights_shape), gb
