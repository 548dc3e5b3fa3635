"""The arithmetic of native/NUMERICS.md in numpy, written from that page and from nothing else.

Names and section numbers are the page's. Everything is exact: integers are int64 inside and are
asserted to fit what the page promises; matrix products go through float64, which holds every
integer below 2^53 (the largest accumulator has 31 bits), because numpy has no fast integer one.
"""

import hashlib
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

BIAS_LIMIT = 2**30 - 1
MIN_EXP, MAX_EXP = -24, 7
EXP2 = np.array([round(32768 * 2 ** (-i / 64)) for i in range(64)], np.int64)


# --- 1 Notation -----------------------------------------------------------------------------------


def rshift(x: Int64, s: int) -> Int64:
    """x * 2^-s, to nearest, halves up; int64 of any shape, |x| < 2^61 (|x| <= 2^31 for s < 0).

    A left shift stops at 31 bits: from there on every result of the page is saturated.
    """
    if s <= 0:
        assert int(np.abs(x).max(initial=0)) <= 2**31
        return x << min(-s, 31)
    s = min(s, 62)
    return (x + (1 << (s - 1))) >> s


def sat(x: Int64, limit: int) -> Int64:
    """x limited to [-limit, limit]."""
    return np.clip(x, -limit, limit)


def sat16(x: Int64) -> Int64:
    return np.clip(x, -(2**15), 2**15 - 1)


def sat32(x: Int64) -> Int64:
    return np.clip(x, -(2**31), 2**31 - 1)


def ratio(a: int, b: int) -> tuple[int, int]:
    """(m, k), m in 128..255, a/b ~ m * 2^-7 * 2^k; m to nearest, halves up, exactly."""
    assert a > 0
    assert b > 0
    k = a.bit_length() - b.bit_length()
    if a << max(0, -k) < b << max(0, k):
        k -= 1
    num, den = a << max(0, -k), b << max(0, k)
    m = (256 * num + den) // (2 * den)
    return (128, k + 1) if m == 256 else (m, k)


def dot(a: NDArray[np.signedinteger], b: NDArray[np.signedinteger]) -> Int64:
    """a @ b, exact."""
    out = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
    assert int(np.abs(out).max(initial=0)) < 2**30
    return out


# --- 2 The model ----------------------------------------------------------------------------------


@dataclass
class Tensor:
    """real = q * 2^exp; q int8 [n][values]."""

    q: Int8
    exp: int


@dataclass
class Layer:
    """stored int16 [out][in] = master + 128, master in 2^(w_exp - 8); bias int32 [out] in 2^-16."""

    stored: Int16
    bias: Int32
    w_exp: int
    relu: bool

    def __post_init__(self) -> None:
        out, inputs = self.stored.shape
        assert self.stored.dtype == np.int16
        assert self.bias.dtype == np.int32
        assert self.bias.shape == (out,)
        assert 1 <= inputs <= 65535
        assert 1 <= out <= 65535
        assert max(inputs, out) * 127 * 128 < 2**30
        assert MIN_EXP <= self.w_exp <= MAX_EXP

    @property
    def w(self) -> Int8:
        """The int8 weight that multiplies, [out][in], worth w * 2^w_exp."""
        return (self.stored >> 8).astype(np.int8)

    def copy(self) -> "Layer":
        return Layer(self.stored.copy(), self.bias.copy(), self.w_exp, self.relu)


Model = Sequence[Layer]


def copy_model(model: Model) -> list[Layer]:
    return [layer.copy() for layer in model]


def weight_bytes(model: Model) -> bytes:
    """All stored weights, then all biases, little-endian."""
    stored = [layer.stored.astype("<i2").tobytes() for layer in model]
    return b"".join(stored + [layer.bias.astype("<i4").tobytes() for layer in model])


def checksum(model: Model) -> int:
    return zlib.crc32(weight_bytes(model))


# --- 3 Forward ------------------------------------------------------------------------------------


@dataclass
class Forward:
    """inputs[l]: what layer l multiplied; z int64 [n][classes] at exponent z_exp: the logits."""

    inputs: list[Tensor]
    z: Int64
    z_exp: int


def requantise(acc: Int64, exp: int) -> Tensor:
    """Drop as many bits as the largest magnitude of the whole array needs."""
    s = max(0, int(np.abs(acc).max()).bit_length() - 7)
    return Tensor(sat(rshift(acc, s), 127).astype(np.int8), exp + s)


def layer_forward(layer: Layer, x: Tensor) -> tuple[Int64, int]:
    """Accumulators int64 [n][out] before the ReLU, and their exponent."""
    exp = x.exp + layer.w_exp
    bias_acc = sat(rshift(layer.bias.astype(np.int64), exp + 16), BIAS_LIMIT)
    acc = bias_acc + dot(x.q, layer.w.T)
    assert int(np.abs(acc).max()) < 2**31
    return acc, exp


def forward(model: Model, x: Tensor) -> Forward:
    """Section 3 over a batch; x.q int8 [n][in]. One example's logits: a batch of one."""
    assert x.q.min() >= -127
    assert MIN_EXP <= x.exp <= MAX_EXP
    inputs = [x]
    for layer in model[:-1]:
        acc, exp = layer_forward(layer, inputs[-1])
        inputs.append(requantise(np.maximum(acc, 0) if layer.relu else acc, exp))
    return Forward(inputs, *layer_forward(model[-1], inputs[-1]))


# --- 4 Softmax ------------------------------------------------------------------------------------


def softmax(z: Int64, z_exp: int) -> Int64:
    """Q15 probabilities 0..32767, int64 [n][classes], of logits z [n][classes]."""
    d = z.max(axis=1, keepdims=True) - z
    assert int(d.max()) < 2**32
    pre = max(0, -z_exp - 12)
    d = np.minimum(d >> min(pre, 32), 2**17 - 1)
    t = np.minimum((d * 5909) >> max(0, 6 - z_exp - pre), 1023)
    p = EXP2[t % 64] >> (t // 64)
    r = (2**31 - 1) // p.sum(axis=1, keepdims=True)
    q: Int64 = (p * r) >> 16
    assert 0 <= int(q.min()) <= int(q.max()) <= 32767
    return q


def predict(model: Model, x: Int8, x_exp: int) -> tuple[Int64, int]:
    """Q15 probabilities [classes] and the label of one example x int8 [in]."""
    end = forward(model, Tensor(x[None, :], x_exp))
    return softmax(end.z, end.z_exp)[0], int(end.z[0].argmax())


# --- 5 One training step --------------------------------------------------------------------------


def output_error(end: Forward, y: Int64, mant: int) -> Tensor:
    """Probability minus target, times the mantissa of the learning rate."""
    err = softmax(end.z, end.z_exp)
    err[np.arange(len(y)), y] -= 32768
    return requantise((err * mant + 64) >> 7, -15)


def input_error(layer: Layer, d: Tensor, h: Tensor, relu_before: bool) -> Tensor:
    """The error at the input h of a layer, from the error d at its output."""
    a = dot(d.q, layer.w)
    if relu_before:
        a[h.q <= 0] = 0
    return requantise(a, d.exp + layer.w_exp)


def all_errors(model: Model, end: Forward, y: Int64, mant: int) -> list[Tensor]:
    """The errors of all layers, first layer first, all from the weights before the step."""
    errors = [output_error(end, y, mant)]
    for i in range(len(model) - 1, 0, -1):
        errors.insert(0, input_error(model[i], errors[0], end.inputs[i], model[i - 1].relu))
    return errors


def update(layer: Layer, x: Tensor, d: Tensor, k: int) -> None:
    """Section 5.4, in place."""
    g = dot(d.q.T, x.q)
    change = sat16(rshift(g, layer.w_exp - 8 - x.exp - d.exp - k))
    layer.stored[:] = sat16(layer.stored - change)
    change = sat32(rshift(d.q.sum(axis=0, dtype=np.int64), -16 - d.exp - k))
    layer.bias[:] = sat32(layer.bias - change)


def step(model: Model, x: Tensor, y: Int64, lr: int) -> None:
    """One SGD step in place: x.q int8 [n][in], y [n] classes, lr in 2^-24, 1 <= lr <= 2^28."""
    n = len(y)
    assert 1 <= n <= 256
    assert 1 <= lr <= 2**28
    mant, k = ratio(lr, n << 24)
    end = forward(model, x)
    for layer, x_l, d in zip(model, end.inputs, all_errors(model, end, y, mant), strict=True):
        update(layer, x_l, d, k)


# --- 6 Normalisation on the device ----------------------------------------------------------------


@dataclass(frozen=True)
class Channel:
    """q = sat(rshift((count - mean) * mantissa, shift), 127), exponent -5."""

    mean: int  # counts
    mantissa: int  # 0 for a constant channel, else 128..255
    shift: int


NORMALISED_EXP = -5


def channel_statistics(counts: Int64) -> Channel:
    """counts [N]: every sample of one channel in the training windows, int16 values."""
    n = len(counts)
    assert 1 <= n < 2**24
    mean = (2 * int(counts.sum()) + n) // (2 * n)
    v = int(((counts - mean) ** 2).sum())
    assert v < 2**56
    sd = math.isqrt((v // n << 16) + ((v % n << 16) // n))
    if sd == 0:
        return Channel(mean, 0, 0)
    mantissa, k = ratio(2**13, sd)
    return Channel(mean, mantissa, 7 - k)


def statistics(windows: Int16) -> list[Channel]:
    """One Channel a channel of windows int16 [windows][T][C]."""
    flat = windows.reshape(-1, windows.shape[-1]).astype(np.int64)
    return [channel_statistics(flat[:, c]) for c in range(flat.shape[1])]


def normalise(windows: Int16, channels: Sequence[Channel]) -> Int8:
    """Examples int8 [windows][T * C], channels last, exponent NORMALISED_EXP."""
    out = np.empty(windows.shape, np.int8)
    for c, ch in enumerate(channels):
        scaled = (windows[..., c].astype(np.int64) - ch.mean) * ch.mantissa
        assert int(np.abs(scaled).max(initial=0)) < 2**25
        out[..., c] = sat(rshift(scaled, ch.shift), 127)
    return out.reshape(len(windows), -1)


# --- 7 The update that leaves the device ----------------------------------------------------------


@dataclass(frozen=True)
class Delta:
    stored: Int16  # all weights, in the order of weight_bytes
    bias: Int32
    saturated: int  # how many values of both did not fit


def delta(before: Model, after: Model) -> Delta:
    """after - before, saturated and counted."""
    pairs = list(zip(before, after, strict=True))
    stored = np.concatenate([(a.stored.astype(np.int64) - b.stored).ravel() for b, a in pairs])
    bias = np.concatenate([a.bias.astype(np.int64) - b.bias for b, a in pairs])
    clipped, bias_clipped = sat16(stored), sat32(bias)
    saturated = int(np.count_nonzero(clipped != stored) + np.count_nonzero(bias_clipped != bias))
    return Delta(clipped.astype(np.int16), bias_clipped.astype(np.int32), saturated)


# --- 8 The server: averages, momentum, exponents --------------------------------------------------

SERVER_LIMIT = 2**47


def mean_change(total: Int64, weight: int) -> Int64:
    """total / weight with 16 fractional bits, to nearest, halves up; total = sum weight * delta."""
    whole, rest = total // weight, total % weight
    return (whole << 16) + ((rest << 17) + weight) // (2 * weight)


def accelerate(velocity: Int64, mean: Int64, m: int) -> Int64:
    """The velocity after a round of mean change `mean`, at momentum m / 256."""
    assert 0 <= m <= 255
    return sat(rshift(velocity * m, 8) + mean, SERVER_LIMIT)


def exponent_move(server: Int64, w_exp: int) -> int:
    """By how much the exponent of a layer grows, from its server masters (16 fractional bits)."""
    n = int(np.abs(rshift(server, 16)).max()).bit_length()
    if n > 14:
        return min(n - 14, MAX_EXP - w_exp)
    if 0 < n < 13:
        return -min(13 - n, w_exp - MIN_EXP)
    return 0


def moved(values: Int64, s: int) -> Int64:
    """Server masters or velocities after their exponent grew by s (fell, if s < 0)."""
    return sat(rshift(values, s) if s > 0 else values << -s, SERVER_LIMIT)


def stored_view(server: Int64) -> Int16:
    """What devices get of server masters, of any shape."""
    return (sat(rshift(server, 16), 2**14 - 1) + 128).astype(np.int16)


def bias_view(server: Int64) -> Int32:
    return sat32(rshift(server, 16)).astype(np.int32)


# --- 9 The first model ----------------------------------------------------------------------------


def first_words(seed: bytes, n: int) -> Int64:
    """The first n words of a seed, uint32 values."""
    blocks = [hashlib.sha256(seed + i.to_bytes(4, "big")).digest() for i in range(-(-n // 8))]
    return np.frombuffer(b"".join(blocks), ">u4")[:n].astype(np.int64)


def first_range(inputs: int) -> tuple[int, int]:
    """(w_exp, M) of a layer: masters are uniform in -M..M, worth up to sqrt(6 / in)."""
    k = next(k for k in range(32, -1, -1) if math.isqrt((6 << 2 * k) // inputs) <= 2**14 - 1)
    return 8 - k, math.isqrt((6 << 2 * k) // inputs)


def first_masters(seed: bytes, sizes: Sequence[int]) -> tuple[list[Int64], list[int]]:
    """Server masters [out][in] of every layer before exponents move, and their w_exp."""
    shapes = [(n_out, n_in) for n_in, n_out in pairwise(sizes)]
    words = first_words(seed, sum(n_out * n_in for n_out, n_in in shapes))
    masters, exps, start = [], [], 0
    for n_out, n_in in shapes:
        w_exp, limit = first_range(n_in)
        drawn = words[start : start + n_out * n_in] * (2 * limit + 1) >> 32
        masters.append((drawn - limit << 16).reshape(n_out, n_in))
        exps.append(w_exp)
        start += n_out * n_in
    return masters, exps
