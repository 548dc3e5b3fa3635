"""What each supported ONNX operator does to a walk."""

from collections.abc import Callable
from math import prod

import numpy as np
from onnx import TensorProto

from fedling_broker.onnx.reader import MAX_RANK, Array, Node
from fedling_broker.onnx.walk import Float64, Walk, channels_first, described, shown
from fedling_native import VALID, Kind, Layer, Pad, Shape, dense, same

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


def advance(walk: Walk, node: Node) -> None:
    """Take one node into the walk. Raises OnnxError, which names it."""
    if node.operator not in OPERATORS:
        node.refuse(f"is not supported; supported are {', '.join(sorted(OPERATORS))}")
    for name in filter(None, node.inputs):
        if name != walk.newest and name not in walk.constants:
            node.refuse(f"reads {name!r}, which the node before it does not give: no branches")
    if walk.newest not in node.inputs:
        node.refuse("does not read what the node before it gives")
    OPERATORS[node.operator](walk, node)
    walk.go_on(node.output)


# --- layers with weights -------------------------------------------------------------------------


def conv(walk: Walk, node: Node) -> None:
    shape, kernels = walk.image(node), walk.required(node, 1)
    if kernels.ndim != walk.places.ndim + 1 or kernels.size == 0:
        node.refuse(f"has weights of shape {list(kernels.shape)} for {shown(walk.places)}")
    if kernels.shape[2:] != node.integers("kernel_shape", kernels.shape[2:]):
        node.refuse("its kernel_shape is not that of its weights")
    if kernels.ndim == 3:
        kernels = kernels[:, :, np.newaxis]
    out, depth, *kernel = kernels.shape
    kind = conv_kind(walk, node, shape[2], out, depth)
    walk.match(node, windowed(walk, node, kind, shape, out, (kernel[0], kernel[1])))
    walk.add_weighted(node, kernels.transpose(0, 2, 3, 1).reshape(out, -1), walk.constant(node, 2))
    give_image(walk)


def conv_kind(walk: Walk, node: Node, channels: int, out: int, depth: int) -> Kind:
    """depth: channels that one filter reads."""
    group = node.integer("group", 1)
    if depth * group != channels:
        node.refuse(f"its filters read {depth} of {channels} channels in {group} groups")
    one_each = group == channels == out and depth == 1
    if one_each and (channels > 1 or walk.expected(node).kind is Kind.DEPTHWISE):
        return Kind.DEPTHWISE
    if group != 1:
        node.refuse(f"{group} groups: allowed: 1, or a filter for each of the {channels} channels")
    return Kind.CONV


def gemm(walk: Walk, node: Node) -> None:
    matrix = walk.required(node, 1)
    if node.integer("transA", 0):
        node.refuse("transA is not supported")
    if node.integer("transB", 0):
        matrix = matrix.T
    if walk.places.ndim != 1:
        node.refuse(f"reads the shape {shown(walk.places)}: allowed: [N, values]")
    biases = walk.constant(node, 2)
    add_dense(walk, node, matrix * node.number("alpha", 1.0))
    if biases is not None:
        offsets = walk.per_channel(node, biases * node.number("beta", 1.0))
        walk.scale(np.ones_like(offsets), offsets)


def matmul(walk: Walk, node: Node) -> None:
    if node.inputs[0] != walk.newest:
        node.refuse("has its constant before the tensor: allowed: after it")
    add_dense(walk, node, walk.required(node, 1))


def add_dense(walk: Walk, node: Node, matrix: Array) -> None:
    """Take in a dense layer. matrix: [inputs][out]"""
    *leading, inputs = walk.places.shape
    if matrix.ndim != 2 or matrix.shape[0] != inputs or prod(leading) != 1:
        node.refuse(f"has weights of shape {list(matrix.shape)} for {shown(walk.places)}")
    out = matrix.shape[1]
    walk.match(node, dense(inputs, out))
    weights = np.empty((out, inputs))
    weights[:, walk.places.ravel()] = matrix.T
    walk.add_weighted(node, weights, None)
    walk.places = np.arange(out).reshape(*leading, out)


# --- what becomes part of a layer with weights ---------------------------------------------------


def add(walk: Walk, node: Node) -> None:
    offsets = walk.per_channel(node, walk.operand(node))
    walk.scale(np.ones_like(offsets), offsets)


def subtract(walk: Walk, node: Node) -> None:
    offsets = -walk.per_channel(node, walk.required(node, 1))
    walk.scale(np.ones_like(offsets), offsets)


def multiply(walk: Walk, node: Node) -> None:
    factors = walk.per_channel(node, walk.operand(node))
    walk.scale(factors, np.zeros_like(factors))


def divide(walk: Walk, node: Node) -> None:
    factors = 1 / walk.per_channel(node, walk.required(node, 1))
    walk.scale(factors, np.zeros_like(factors))


def batch_normalization(walk: Walk, node: Node) -> None:
    """Scale by what it learned; its mean and variance stand still from here on."""
    # Before opset 14 training mode shows in the further outputs alone.
    if node.integer("training_mode", 0) or any(node.outputs[1:]):
        node.refuse("is in training mode: export the model after model.eval()")
    gain, offset, mean, variance = (by_channel(walk, node, number) for number in range(1, 5))
    spread = variance + node.number("epsilon", 1e-5)
    if (spread <= 0).any():
        node.refuse("has a variance that is not positive")
    factors = gain / np.sqrt(spread)
    walk.scale(factors, offset - mean * factors)


def by_channel(walk: Walk, node: Node, number: int) -> Float64:
    """Lay a constant along the first dimension after the batch."""
    values = walk.required(node, number)
    if values.shape != walk.places.shape[:1]:
        node.refuse(f"its input {number} has the shape {list(values.shape)}: allowed: [channels]")
    return walk.per_channel(node, values.reshape(-1, *[1] * (walk.places.ndim - 1)))


# --- pools ---------------------------------------------------------------------------------------


def max_pool(walk: Walk, node: Node) -> None:
    shape = walk.image(node)
    kernel = sizes(walk, node, "kernel_shape", None)
    layer = windowed(walk, node, Kind.MAX_POOL, shape, shape[2], kernel)
    top, bottom, left, right = layer.pad
    rest = (shape[0] + top + bottom - kernel[0]) % layer.stride[0]
    rest += (shape[1] + left + right - kernel[1]) % layer.stride[1]
    if node.integer("ceil_mode", 0) and rest:
        node.refuse("ceil_mode is not supported where windows leave a rest")
    walk.match(node, layer)
    walk.add_pool(node)
    give_image(walk)


def average_pool(walk: Walk, node: Node) -> None:
    height, width, _ = walk.image(node)
    if (
        sizes(walk, node, "kernel_shape", None) != (height, width)
        or padding(walk, node, (height, width, 1), (height, width), (1, 1)) != VALID
    ):
        node.refuse("is not over all positions: a task has global average pools alone")
    global_average_pool(walk, node)


def global_average_pool(walk: Walk, node: Node) -> None:
    average(walk, node, tuple(range(1, walk.places.ndim)), keep=True)


def reduce_mean(walk: Walk, node: Node) -> None:
    average(walk, node, axes(walk, node, walk.places.ndim), keep=bool(node.integer("keepdims", 1)))


def average(walk: Walk, node: Node, over: tuple[int, ...], *, keep: bool) -> None:
    """Take in a mean. over: axes of the places."""
    layer, places = walk.expected(node), walk.places
    others = [axis for axis in range(places.ndim) if axis not in over]
    rows = places.transpose(*others, *over).reshape(prod(places.shape[i] for i in others), -1)
    if layer.kind is not Kind.AVERAGE_POOL:
        node.refuse(f"is a mean; layer {len(walk.found) + 1} of the task is {described(layer)}")
    channels = rows % layer.channels
    if len(rows) != layer.channels or (channels != channels[:, :1]).any():
        node.refuse("is not the mean of each channel over all its positions")
    walk.add_pool(node)
    left = [1 if axis in over else size for axis, size in enumerate(places.shape)]
    walk.places = channels[:, 0].reshape(left if keep else [places.shape[i] for i in others])


# --- windows -------------------------------------------------------------------------------------


def windowed(
    walk: Walk, node: Node, kind: Kind, shape: Shape, out: int, kernel: tuple[int, int]
) -> Layer:
    """The layer that a node with these windows is; its ReLU is not known yet."""
    stride = sizes(walk, node, "strides", 1)
    if any(size != 1 for size in node.integers("dilations", ())):
        node.refuse("dilations are not supported")
    pad = padding(walk, node, shape, kernel, stride)
    return Layer(kind, *shape, out, False, kernel, stride, pad)


def sizes(walk: Walk, node: Node, name: str, default: int | None) -> tuple[int, int]:
    """Height and width of an attribute, which has only the width if there is no height."""
    count = walk.places.ndim - 1
    values = node.integers(name, () if default is None else [default] * count)
    if len(values) != count or min(values) < 1:
        node.refuse(f"{name} = {list(values)}: allowed: {count} numbers of 1 and more")
    return (values[0], values[1]) if count == 2 else (1, values[0])


def padding(
    walk: Walk, node: Node, shape: Shape, kernel: tuple[int, int], stride: tuple[int, int]
) -> Pad:
    count = walk.places.ndim - 1
    pads = node.integers("pads", [0] * 2 * count)
    if len(pads) != 2 * count or min(pads) < 0:
        node.refuse(f"pads = {list(pads)}: allowed: {2 * count} numbers of 0 and more")
    top, bottom, left, right = same(shape, kernel, stride)
    match node.text("auto_pad", "NOTSET"):
        case "SAME_UPPER":
            return top, bottom, left, right
        case "SAME_LOWER":
            return bottom, top, right, left
        case "VALID":
            return VALID
    return (pads[0], pads[2], pads[1], pads[3]) if count == 2 else (0, 0, pads[0], pads[1])


def give_image(walk: Walk) -> None:
    """The newest layer's output, in as many dimensions as its input."""
    image = channels_first(walk.found[-1].layer.out_shape)
    walk.places = image if walk.places.ndim == 3 else image[:, 0]


# --- other shapes --------------------------------------------------------------------------------


def reshape(walk: Walk, node: Node) -> None:
    wanted = [int(size) for size in walk.required(node, 1).ravel()[: MAX_RANK + 1]]
    sizes = list(walk.places.shape)
    if not node.integer("allowzero", 0):
        wanted = [
            sizes[i - 1] if size == 0 and 0 < i <= len(sizes) else size
            for i, size in enumerate(wanted)
        ]
    rest = wanted[1:]
    if rest.count(-1) == 1:
        known = -prod(rest)
        rest[rest.index(-1)] = walk.places.size // known if known > 0 else 0
    if not rest or min(rest) < 1 or prod(rest) != walk.places.size:
        node.refuse(f"makes {wanted} of {shown(walk.places)}: allowed: each example for itself")
    walk.places = walk.places.reshape(rest)


def flatten(walk: Walk, node: Node) -> None:
    if node.integer("axis", 1) not in (1, -walk.places.ndim):
        node.refuse("flattens the batch too: allowed: axis = 1")
    walk.places = walk.places.ravel()


def squeeze(walk: Walk, node: Node) -> None:
    gone = axes(walk, node, walk.places.ndim)
    if any(walk.places.shape[axis] != 1 for axis in gone):
        node.refuse(f"{shown(walk.places)} is not 1 there")
    walk.places = walk.places.squeeze(gone)


def unsqueeze(walk: Walk, node: Node) -> None:
    dimensions = walk.places.ndim + len(listed_axes(walk, node))
    if dimensions > MAX_RANK:
        node.refuse(f"gives more than {MAX_RANK} dimensions")
    walk.places = np.expand_dims(walk.places, axes(walk, node, dimensions))


def axes(walk: Walk, node: Node, dimensions: int) -> tuple[int, ...]:
    """Read axes of places, without the batch, which no node may touch."""
    listed = listed_axes(walk, node)
    found = {axis - 1 if axis >= 0 else axis + dimensions for axis in listed}
    if not found or len(found) != len(listed) or min(found) < 0 or max(found) >= dimensions:
        node.refuse(f"axes {list(listed)}: allowed: some of 1 to {dimensions}, not the batch")
    return tuple(sorted(found))


def listed_axes(walk: Walk, node: Node) -> tuple[int, ...]:
    """Find axes as they stand in the file: an attribute in old ones, an input in new ones."""
    if len(node.inputs) > 1:
        return tuple(int(axis) for axis in walk.required(node, 1).ravel()[: MAX_RANK + 1])
    return node.integers("axes", ())


def transpose(walk: Walk, node: Node) -> None:
    order = node.integers("perm", range(walk.places.ndim, -1, -1))
    if sorted(order) != list(range(walk.places.ndim + 1)) or order[0] != 0:
        node.refuse(f"perm = {list(order)}: allowed: an order with 0, the batch, first")
    walk.places = walk.places.transpose([axis - 1 for axis in order[1:]])


def cast(walk: Walk, node: Node) -> None:
    if node.integer("to", 0) not in FLOATS:
        node.refuse("makes integers of numbers with a fraction")


def dropout(walk: Walk, node: Node) -> None:
    """Pass over it, unless it drops values when a model predicts, too."""
    mode = walk.constant(node, 2)
    if mode is not None and mode.any():
        node.refuse("is in training mode: export the model after model.eval()")


def nothing(walk: Walk, node: Node) -> None:
    """Pass over a node that changes no number when a model predicts."""


OPERATORS: dict[str, Callable[[Walk, Node], None]] = {
    "Add": add,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Cast": cast,
    "Conv": conv,
    "Div": divide,
    "Dropout": dropout,
    "Flatten": flatten,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "Identity": nothing,
    "LogSoftmax": Walk.end,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "Mul": multiply,
    "ReduceMean": reduce_mean,
    "Relu": Walk.relu,
    "Reshape": reshape,
    "Sigmoid": Walk.end,
    "Softmax": Walk.end,
    "Squeeze": squeeze,
    "Sub": subtract,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
