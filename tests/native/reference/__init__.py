"""The arithmetic of native/NUMERICS.md in numpy, written from that page and from nothing else.

Names and section numbers are the page's. Everything is exact: integers are int64 inside and are
asserted to fit what the page promises.

    fixed           1, notation
    model           2, the model
    layers          3 and 5, the sums of every kind of layer
    losses          4 and 5.2, softmax, sigmoid, values and their errors
    training        3, 5 and 7, forward, one training step, the update
    normalisation   6
    server          8 and 9, averages, exponents that move, the first model
    tables          10, the codec's tables, as their C text says them
    rotation        10, what is done to values before they are quantised
    quantisers      10, values to integers
    rans            10, integers to bytes
    codec           10, whole messages
"""

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
    sat,
    sat16,
    sat32,
)
from tests.native.reference.layers import accumulate, gradient, input_sums, windows
from tests.native.reference.losses import VALUE_EXP, outputs, sigmoid, softmax
from tests.native.reference.model import (
    VALID,
    Kind,
    Layer,
    Loss,
    Model,
    Pad,
    Shape,
    Tensor,
    average_pool,
    checksum,
    conv,
    dense,
    depthwise,
    load,
    max_pool,
    same,
    velocity_bytes,
    weight_bytes,
)
from tests.native.reference.normalisation import NORMALISED_EXP, Channel, normalise, statistics
from tests.native.reference.server import (
    accelerate,
    bias_view,
    exponent_move,
    first_masters,
    first_range,
    mean_change,
    moved,
    stored_view,
)
from tests.native.reference.training import (
    NO_TARGETS,
    Delta,
    Forward,
    Sgd,
    Targets,
    delta,
    delta_values,
    forward,
    own_units,
    predict,
    pull,
    step,
)

__all__ = [
    "MAX_EXP",
    "MIN_EXP",
    "NORMALISED_EXP",
    "NO_TARGETS",
    "VALID",
    "VALUE_EXP",
    "Channel",
    "Delta",
    "Forward",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "Kind",
    "Layer",
    "Loss",
    "Model",
    "Pad",
    "Sgd",
    "Shape",
    "Targets",
    "Tensor",
    "accelerate",
    "accumulate",
    "average_pool",
    "bias_view",
    "checksum",
    "conv",
    "delta",
    "delta_values",
    "dense",
    "depthwise",
    "exponent_move",
    "first_masters",
    "first_range",
    "forward",
    "gradient",
    "input_sums",
    "largest",
    "load",
    "max_pool",
    "mean_change",
    "moved",
    "normalise",
    "outputs",
    "own_units",
    "predict",
    "pull",
    "ratio",
    "rshift",
    "same",
    "sat",
    "sat16",
    "sat32",
    "sigmoid",
    "softmax",
    "statistics",
    "step",
    "stored_view",
    "velocity_bytes",
    "weight_bytes",
    "windows",
]
