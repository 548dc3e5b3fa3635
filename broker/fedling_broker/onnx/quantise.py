"""From a float model to the first model of a task, and what that changed."""

from collections.abc import Sequence

import numpy as np

from fedling_broker.aggregation.fixed import (
    FRACTION,
    MASTER_LIMIT,
    MAX_EXPONENT,
    MIN_EXPONENT,
    STORED_OFFSET,
    Int64,
)
from fedling_broker.aggregation.initial import range_of
from fedling_broker.aggregation.state import ServerState, state_of_masters
from fedling_broker.onnx import OnnxError
from fedling_broker.onnx.walk import Float64, FloatLayer
from fedling_native import Kind
from fedling_protocol.classes import dataclass

MASTER_BITS = 8  # a master is worth 2^(w_exp - 8)
BIAS_EXP = -16
BIAS_LIMIT = 2**31 - 1
FAR = 2.0**40  # beyond every limit, and an int64


@dataclass(frozen=True, slots=True)
class Change:
    """What quantisation made of one layer with weights, in the float model's own units."""

    layer: int  # 1 is the first of the task
    kind: str
    node: str
    w_exp: int  # an int8 weight w is worth w * 2^w_exp
    largest: float  # |weight|
    rms: float  # of the weights
    rms_error: float  # of the int8 weights, which multiply
    rms_error_master: float  # of the 16-bit masters, which learn
    bias_error: float  # the largest
    saturated: int  # weights and biases that are larger than any exponent allows


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """A layer in integers, not limited yet; weights [out][span] in 2^(w_exp - 8)."""

    w_exp: int
    weights: Int64
    biases: Int64

    @property
    def masters(self) -> Int64:
        return np.clip(self.weights, -MASTER_LIMIT, MASTER_LIMIT)

    @property
    def limited_biases(self) -> Int64:
        return np.clip(self.biases, -BIAS_LIMIT, BIAS_LIMIT)


@np.errstate(over="ignore")  # a double beyond every exponent saturates
def quantise(found: Sequence[FloatLayer]) -> tuple[ServerState, list[Change]]:
    """Masters to nearest, at the exponent at which the largest has 14 bits. Raises OnnxError."""
    rounded = [round_layer(floats) for floats in found]
    masters = [canonical(f.layer.kind, r.masters) for f, r in zip(found, rounded, strict=True)]
    values = np.concatenate([*masters, *(r.limited_biases for r in rounded)]) << FRACTION
    layers, exponents = tuple(f.layer for f in found), tuple(r.w_exp for r in rounded)
    changes = [
        change(number, floats, integers)
        for number, (floats, integers) in enumerate(zip(found, rounded, strict=True), start=1)
        if floats.layer.weight_count
    ]
    return state_of_masters(layers, exponents, values), changes


def round_layer(floats: FloatLayer) -> Rounded:
    if not (np.isfinite(floats.weights).all() and np.isfinite(floats.biases).all()):
        raise OnnxError(f"node {floats.node!r} has weights that are no numbers")
    w_exp = exponent_of(floats)
    weights = nearest(floats.weights, w_exp - MASTER_BITS)
    return Rounded(w_exp, weights, nearest(floats.biases, BIAS_EXP))


def exponent_of(floats: FloatLayer) -> int:
    """The finest w_exp at which the largest master is within its limit; else the coarsest."""
    largest = np.abs(floats.weights).max(initial=0)
    if largest == 0:  # any would do: that of a first model leaves room to learn
        return range_of(floats.layer.span)[0] if floats.layer.span else 0
    fitting = (
        w_exp
        for w_exp in range(MIN_EXPONENT, MAX_EXPONENT)
        if nearest(largest, w_exp - MASTER_BITS) <= MASTER_LIMIT
    )
    return next(fitting, MAX_EXPONENT)


def nearest(values: Float64 | np.float64, exponent: int) -> Int64:
    """Round to units of 2^exponent, halves up."""
    scaled = np.floor(np.ldexp(values, -exponent) + 0.5)
    return np.clip(scaled, -FAR, FAR).astype(np.int64)


def canonical(kind: Kind, weights: Int64) -> Int64:
    """Order [out][span] as NUMERICS.md section 2 does."""
    return (weights.T if kind is Kind.DEPTHWISE else weights).ravel()


def change(number: int, floats: FloatLayer, rounded: Rounded) -> Change:
    masters, biases = rounded.masters, rounded.limited_biases
    multiplied = np.ldexp((masters + STORED_OFFSET) >> MASTER_BITS, rounded.w_exp)
    learned = np.ldexp(masters, rounded.w_exp - MASTER_BITS)
    return Change(
        layer=number,
        kind=floats.layer.kind.name.lower(),
        node=floats.node,
        w_exp=rounded.w_exp,
        largest=float(np.abs(floats.weights).max()),
        rms=rms(floats.weights),
        rms_error=rms(multiplied - floats.weights),
        rms_error_master=rms(learned - floats.weights),
        bias_error=float(np.abs(np.ldexp(biases, BIAS_EXP) - floats.biases).max()),
        saturated=int((masters != rounded.weights).sum() + (biases != rounded.biases).sum()),
    )


def rms(values: Float64) -> float:
    """Compute the root of the mean square, scaled first: the square of a double may be none."""
    largest = float(np.abs(values).max()) or 1.0
    return largest * float(np.sqrt(np.mean(np.square(values / largest))))
