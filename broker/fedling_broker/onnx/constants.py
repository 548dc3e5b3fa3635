"""Constants that a file computes: shapes, mostly, and weights that are turned.

Weights are only turned, never copied; all else is small, so that no file can make memory grow.
"""

from collections.abc import Callable
from math import prod

import numpy as np
from onnx import TensorProto

from fedling_broker.onnx.reader import Array, Node
from fedling_broker.onnx.walk import Walk

BATCH = -(2**40)  # stands for the batch in shapes; no file means this number
SMALL = 64  # values
LARGEST = 2**31  # of a size that is multiplied
SAME_KIND = {
    "f": (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16),
    "i": (TensorProto.INT64, TensorProto.INT32),
}


def fold(walk: Walk, node: Node) -> bool:
    """Whether the node computes a constant; the walk has it then. Raises OnnxError."""
    operands = [walk.constants.get(name) for name in node.inputs if name]
    known = [operand for operand in operands if operand is not None]
    if node.operator == "Shape" and node.inputs[:1] and node.inputs[0] in walk.shapes:
        sizes = [BATCH, *walk.shapes[node.inputs[0]]]
        last = node.integer("end", len(sizes))
        walk.constants[node.output] = np.array(sizes[node.integer("start", 0) : last])
    elif node.operator in FOLDED and len(known) == len(operands):
        walk.constants[node.output] = FOLDED[node.operator](node, known)
    else:
        return False
    return True


def constant(node: Node, operands: list[Array]) -> Array:
    for name in ("value", "value_int", "value_ints", "value_float", "value_floats"):
        if node.attributes.get(name) is not None:
            value = np.array(node.attributes[name])
            if value.dtype.kind in "fi":
                return value
    return node.refuse("has no value that is a number")


def turned(node: Node, operands: list[Array]) -> Array:
    (values,) = exactly(node, operands, 1)
    order = node.integers("perm", range(values.ndim - 1, -1, -1))
    if sorted(order) != list(range(values.ndim)):
        node.refuse(f"perm = {list(order)} is no order of {values.ndim} dimensions")
    return values.transpose(order)


def unchanged(node: Node, operands: list[Array]) -> Array:
    return exactly(node, operands, 1)[0]


def cast(node: Node, operands: list[Array]) -> Array:
    (values,) = exactly(node, operands, 1)
    if node.integer("to", 0) not in SAME_KIND[values.dtype.kind]:
        node.refuse("makes integers of numbers with a fraction, or the reverse")
    return values


def unsqueeze(node: Node, operands: list[Array]) -> Array:
    values = small(node, operands)[0]
    if values.ndim:
        node.refuse(f"of a constant of shape {list(values.shape)}: allowed: of a single number")
    return values.reshape(1)


def concat(node: Node, operands: list[Array]) -> Array:
    parts = small(node, operands)
    if any(part.ndim != 1 for part in parts) or sum(map(len, parts)) > SMALL:
        node.refuse(f"of constants: allowed: lists of at most {SMALL} numbers")
    return np.concatenate(parts)


def gather(node: Node, operands: list[Array]) -> Array:
    values, indices = exactly(node, small(node, operands), 2)
    wrong = values.ndim != 1 or indices.dtype.kind != "i"
    if wrong or (np.abs(indices + 0.5) > len(values)).any():
        node.refuse("of constants: allowed: indices of a list")
    return np.asarray(values[indices])


def sliced(node: Node, operands: list[Array]) -> Array:
    """Cut a list; where and how are inputs, in old files attributes."""
    values, *bounds = small(node, operands)
    if not bounds:
        bounds = [
            np.array(node.integers(name, default))
            for name, default in (("starts", ()), ("ends", ()), ("axes", (0,)))
        ]
    one_each = all(bound.size == 1 and bound.dtype.kind == "i" for bound in bounds)
    if values.ndim != 1 or len(bounds) not in (2, 3, 4) or not one_each:
        node.refuse("of constants: allowed: of a list, with one start and one end")
    start, end, axis, step = [int(bound.item()) for bound in bounds] + [0, 1][len(bounds) - 2 :]
    if axis not in (0, -1) or step == 0:
        node.refuse(f"of constants: axis {axis}, step {step}: allowed: axis 0, another step than 0")
    return values[start:end:step]


def squeezed(node: Node, operands: list[Array]) -> Array:
    values = small(node, operands)[0]
    if values.size != 1:
        node.refuse(f"of a constant of shape {list(values.shape)}: allowed: of a single number")
    return values.reshape(())


def multiplied(node: Node, operands: list[Array]) -> Array:
    one, other = exactly(node, sizes_of(node, operands), 2)
    if one.ndim and other.ndim and one.shape != other.shape:
        node.refuse("of constants: allowed: of lists of the same length")
    return sizes_of(node, [np.asarray(one * other)])[0]


def product(node: Node, operands: list[Array]) -> Array:
    """Multiply all of a list: how many values a part of a shape has."""
    values = sizes_of(node, operands[:1])[0]
    if values.ndim != 1:
        node.refuse("of constants: allowed: of a list")
    total = np.array(min(prod(map(int, values)), LARGEST))
    return sizes_of(node, [total.reshape(1) if node.integer("keepdims", 1) else total])[0]


def sizes_of(node: Node, operands: list[Array]) -> list[Array]:
    """Whether all are small whole numbers, of which none is the batch."""
    for values in small(node, operands):
        if values.dtype.kind != "i" or (values < 0).any() or (values >= LARGEST).any():
            node.refuse("of constants: allowed: of sizes that are known; the batch is not")
    return operands


def exactly(node: Node, operands: list[Array], count: int) -> list[Array]:
    if len(operands) != count:
        node.refuse(f"has {len(operands)} inputs: allowed: {count}")
    return operands


def small(node: Node, operands: list[Array]) -> list[Array]:
    """Whether there is at least one operand, and none of them is large."""
    if not operands or any(operand.size > SMALL for operand in operands):
        node.refuse(f"of constants: allowed: of at most {SMALL} numbers")
    return operands


FOLDED: dict[str, Callable[[Node, list[Array]], Array]] = {
    "Cast": cast,
    "Concat": concat,
    "Constant": constant,
    "Gather": gather,
    "Identity": unchanged,
    "Mul": multiplied,
    "ReduceProd": product,
    "Slice": sliced,
    "Squeeze": squeezed,
    "Transpose": turned,
    "Unsqueeze": unsqueeze,
}
