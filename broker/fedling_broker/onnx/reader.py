"""Reads an ONNX file that anybody may have made; what comes out are bounded, plain values.

Neither onnx's checker nor its shape inference sees the file. Names are quoted in errors with their
control characters escaped.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from fedling_broker.onnx import OnnxError
from fedling_protocol.classes import dataclass

Array = NDArray[Any]  # float64 or int64

ROOM = 4 * 2**20  # bytes of a file beside its weights: names, and what exporters note
MAX_NODES = 1000
MAX_RANK = 8
DOMAINS = ("", "ai.onnx")

RAW: Mapping[int, str] = {
    TensorProto.FLOAT: "<f4",
    TensorProto.DOUBLE: "<f8",
    TensorProto.FLOAT16: "<f2",
    TensorProto.INT64: "<i8",
    TensorProto.INT32: "<i4",
    TensorProto.BOOL: "|b1",
}
TYPED: Mapping[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.FLOAT16: "int32_data",  # the bits of a value in each
    TensorProto.INT64: "int64_data",
    TensorProto.INT32: "int32_data",
    TensorProto.BOOL: "int32_data",
}


@dataclass(frozen=True, slots=True)
class Node:
    """An operator with its attributes; an input that is left out is an empty string."""

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, object]

    @property
    def output(self) -> str:
        """The tensor that later nodes read."""
        return self.outputs[0] if self.outputs else ""

    def refuse(self, why: str) -> NoReturn:
        raise OnnxError(f"node {self.name!r} ({self.operator}): {why}")

    def integer(self, name: str, default: int) -> int:
        value = self.attributes.get(name, default)
        return value if isinstance(value, int) else self._wrong(name)

    def number(self, name: str, default: float) -> float:
        value = self.attributes.get(name, default)
        return value if isinstance(value, float) else self._wrong(name)

    def text(self, name: str, default: str) -> str:
        value = self.attributes.get(name, default)
        return value if isinstance(value, str) else self._wrong(name)

    def integers(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        value = self.attributes.get(name, tuple(default))
        if isinstance(value, tuple) and all(isinstance(x, int) for x in value):
            return value
        return self._wrong(name)

    def _wrong(self, name: str) -> NoReturn:
        self.refuse(f"its attribute {name} is of another type than ONNX gives it")


@dataclass(frozen=True, slots=True)
class FloatGraph:
    """The input, the first output and the operators between them, in order."""

    input: str
    shape: tuple[int, ...]  # of the input, without the batch
    output: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]


def read_graph(path: Path, parameters: int) -> FloatGraph:
    """parameters: how many weights and biases are expected. Raises OnnxError."""
    limit = ROOM + 16 * parameters  # float64, and as much again
    model = ModelProto()
    try:
        model.ParseFromString(_read_file(path, limit))
        return _Reader(path.parent, limit).graph(model)
    except DecodeError as error:
        raise OnnxError("is not an ONNX file, or it is damaged") from error


def _read_file(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise OnnxError(f"cannot be read: {error.strerror}") from error
    if not data:
        raise OnnxError("is empty")
    if len(data) > limit:
        raise OnnxError(f"is larger than the {limit:,} bytes that a model of this task may have")
    return data


class _Reader:
    """Takes a message apart; all tensors together have at most `limit` bytes."""

    def __init__(self, directory: Path, limit: int) -> None:
        self._directory = directory
        self._left = limit

    def graph(self, model: ModelProto) -> FloatGraph:
        graph = model.graph
        if not model.opset_import:
            raise OnnxError("does not say whose operators it uses (opset_import): it is cut off")
        if graph.sparse_initializer:
            raise OnnxError("has sparse weights (sparse_initializer): store them as tensors")
        if len(graph.node) > MAX_NODES:
            raise OnnxError(f"has {len(graph.node)} nodes: allowed: {MAX_NODES}")
        known = {_text(tensor.name) for tensor in graph.initializer}
        inputs = [value for value in graph.input if _text(value.name) not in known]
        if len(inputs) != 1 or not graph.output:
            raise OnnxError(
                f"has {len(inputs)} inputs and {len(graph.output)} outputs: allowed: one input, and"
                " outputs of which the first counts"
            )
        shape, output = _example_shape(inputs[0]), _text(graph.output[0].name)
        constants = {tensor.name: self.tensor(tensor) for tensor in graph.initializer}
        nodes = _needed([self.node(node) for node in graph.node], output)
        return FloatGraph(inputs[0].name, shape, output, nodes, constants)

    def node(self, node: NodeProto) -> Node:
        operator, domain = _text(node.op_type), _text(node.domain)
        inputs, outputs = map(_text, node.input), tuple(map(_text, node.output))
        return Node(
            repr(operator if domain in DOMAINS else f"{domain}::{operator}")[1:-1],
            _text(node.name) or next(iter(outputs), ""),
            tuple(inputs),
            outputs,
            {_text(a.name): self.attribute(a) for a in node.attribute},
        )

    def attribute(self, attribute: AttributeProto) -> object:
        """Read an attribute; None: of a type that no supported operator has."""
        match attribute.type:
            case AttributeProto.INT:
                return attribute.i
            case AttributeProto.FLOAT:
                return attribute.f
            case AttributeProto.STRING:
                return attribute.s.decode(errors="replace")
            case AttributeProto.INTS:
                return tuple(attribute.ints)
            case AttributeProto.FLOATS:
                return tuple(attribute.floats)
            case AttributeProto.TENSOR:
                return self.tensor(attribute.t)
        return None

    def tensor(self, tensor: TensorProto) -> Array:
        """Read a tensor as float64 or int64."""
        kind = tensor.data_type
        if kind not in RAW:
            self.refuse(
                tensor, f"its type {kind} is none of float, double, float16, int32, int64, bool"
            )
        shape, dtype = tuple(tensor.dims), np.dtype(RAW[kind])
        if len(shape) > MAX_RANK or min(shape, default=1) < 1:
            self.refuse(tensor, f"its shape {list(shape)}: allowed: {MAX_RANK} sizes above 0")
        size = prod(shape) * dtype.itemsize
        if size > self._left:
            self.refuse(tensor, f"{size:,} bytes are more than a model of this task may have")
        self._left -= size
        values = self.values(tensor, dtype, size)
        if values.nbytes != size:
            self.refuse(tensor, f"its data have not the {prod(shape)} values of its shape")
        wide = np.float64 if dtype.kind == "f" else np.int64
        return values.astype(wide).reshape(shape)

    def values(self, tensor: TensorProto, dtype: np.dtype[Any], size: int) -> Array:
        if tensor.data_location == TensorProto.EXTERNAL:
            data = self.external(tensor, size)
        elif tensor.data_type in TYPED and not tensor.HasField("raw_data"):
            listed = np.array(getattr(tensor, TYPED[tensor.data_type]))
            bits = tensor.data_type == TensorProto.FLOAT16
            return listed.astype(np.uint16).view(dtype) if bits else listed.astype(dtype)
        else:
            data = tensor.raw_data
        return np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)

    def external(self, tensor: TensorProto, size: int) -> bytes:
        """Weights in a file of their own, as PyTorch writes them; only beside this file."""
        facts = {_text(entry.key): _text(entry.value) for entry in tensor.external_data}
        location, offset = facts.get("location", ""), facts.get("offset", "0")
        if location != Path(location).name or location in ("", ".."):
            self.refuse(tensor, f"its data are in {location!r}: allowed: a file beside this one")
        if not (offset.isascii() and offset.isdigit() and len(offset) < 16):
            self.refuse(tensor, f"its data begin at {offset!r}, which is no number of bytes")
        try:
            return _read_part(self._directory / location, int(offset), size)
        except (OSError, ValueError) as error:
            self.refuse(tensor, f"its data in {location!r} cannot be read: {error}")

    def refuse(self, tensor: TensorProto, why: str) -> NoReturn:
        raise OnnxError(f"tensor {tensor.name!r}: {why}")


def _read_part(path: Path, offset: int, size: int) -> bytes:
    """Of a regular file, no link: a name inside a file may not lead anywhere. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("it is no file")
        return os.pread(handle, size, offset)
    finally:
        os.close(handle)


def _text(value: str | bytes) -> str:
    """A name; protobuf gives bytes where they are not UTF-8. Raises OnnxError."""
    if isinstance(value, bytes):
        raise OnnxError(f"has a name that is not UTF-8: {value!r}")
    return value


def _needed(nodes: Sequence[Node], output: str) -> tuple[Node, ...]:
    """Find the nodes that an output comes from."""
    wanted, found = {output}, []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.outputs):
            wanted.update(node.inputs)
            found.append(node)
    return tuple(reversed(found))


def _example_shape(value: ValueInfoProto) -> tuple[int, ...]:
    """The shape without the batch. Raises OnnxError."""
    tensor = value.type.tensor_type
    if tensor.elem_type not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        raise OnnxError(f"its input {value.name!r} is not of type float or double")
    if not tensor.HasField("shape"):
        raise OnnxError(f"its input {value.name!r} has no shape: allowed: [batch, sizes ...]")
    shape = tuple(d.dim_value for d in tensor.shape.dim)[1:]
    if not shape:
        raise OnnxError(
            f"its input {value.name!r} has {len(tensor.shape.dim)} dimensions: allowed: the batch,"
            " and those of an example"
        )
    if min(shape) < 1 or len(shape) > MAX_RANK:
        raise OnnxError(
            f"its input {value.name!r} has an open shape: allowed: open in the first dimension"
            " alone, the batch"
        )
    return shape
