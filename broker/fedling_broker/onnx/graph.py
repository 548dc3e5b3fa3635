"""An ONNX graph in the making. Tensors are channels last, as the kernel's, [N, height, width, ...].

ONNX wants channels first in convolutions and pools: `channels_first` stands before them and
`channels_last` after; runtimes cancel what meets. Opset 17 is the first with all that the exact
graph needs; runtimes of 2022 read it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fedling_native import Kind, Layer, Shape, version

OPSET, IR_VERSION = 17, 8
BATCH = "N"

Operand = str | int | np.generic | NDArray[np.generic]  # a tensor's name, or a constant (an int64)


class Graph:
    """Nodes in order. Each is named after the part of the model that it belongs to."""

    def __init__(self) -> None:
        self.part = ""
        self._nodes: list[NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], TensorProto] = {}

    def op(self, operator: str, *operands: Operand, **attributes: Any) -> str:
        """Add a node and return the name of its result."""
        name = f"{self.part}/{operator}_{len(self._nodes)}"
        inputs = [x if isinstance(x, str) else self._constant(np.asarray(x)) for x in operands]
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, values: NDArray[np.generic]) -> str:
        """The name of a constant; equal ones are stored once."""
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._constants:
            name = f"{self.part}/constant_{len(self._constants)}"
            self._constants[key] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return self._constants[key].name

    def cast(self, x: Operand, dtype: type[np.generic]) -> str:
        return self.op("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """Bring each example into another shape."""
        return self.op("Reshape", x, np.array([0, *shape], np.int64))

    def channels_first(self, x: str) -> str:
        return self.op("Transpose", x, perm=[0, 3, 1, 2])

    def channels_last(self, x: str) -> str:
        return self.op("Transpose", x, perm=[0, 2, 3, 1])

    def output(self, x: str, name: str) -> None:
        """Give a result the name that callers know."""
        self._nodes.append(helper.make_node("Identity", [x], [name], name=name))

    def model(
        self,
        inputs: Mapping[str, tuple[type[np.generic], Sequence[int]]],
        outputs: Mapping[str, tuple[type[np.generic], Sequence[int]]],
        metadata: Mapping[str, str],
        about: str,
    ) -> ModelProto:
        """Finish the model and check it. Tensors are given as dtype and shape of one example."""
        graph = helper.make_graph(
            self._nodes, metadata["task"], _values(inputs), _values(outputs),
            list(self._constants.values()), doc_string=about,
        )  # fmt: skip
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
            producer_name="fedling", producer_version=version(), doc_string=about,
        )  # fmt: skip
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model


def _values(
    tensors: Mapping[str, tuple[type[np.generic], Sequence[int]]],
) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), [BATCH, *shape]
        )
        for name, (dtype, shape) in tensors.items()
    ]


def part_name(number: int, layer: Layer) -> str:
    """Name the nodes of a layer: layer1_conv, ..."""
    return f"layer{number}_{layer.kind.name.lower()}"


def input_shape(layer: Layer) -> Shape:
    return layer.height, layer.width, layer.channels


def window(layer: Layer) -> dict[str, list[int]]:
    """Make the attributes of a convolution or max pool."""
    top, bottom, left, right = layer.pad
    return {
        "kernel_shape": list(layer.kernel),
        "strides": list(layer.stride),
        "pads": [top, left, bottom, right],
    }


def groups(layer: Layer) -> int:
    return layer.channels if layer.kind is Kind.DEPTHWISE else 1
