"""Follows a float graph from input to output and finds the task's layers in it.

Where a value lies is told by `places`: an array in the shape that the file gives a tensor, without
the batch, whose entries are the indices of the kernel's flat, channels-last order. Reshape and
Transpose move the entries; a dense layer after them reads from there which input each of its
columns meant. So channels first becomes channels last without a rule of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from fedling_broker.onnx import OnnxError
from fedling_broker.onnx.reader import Array, FloatGraph, Node
from fedling_native import Kind, Layer, Loss, Shape
from fedling_protocol.classes import dataclass

Float64 = NDArray[np.float64]
Places = NDArray[np.int64]


class Order(StrEnum):
    """In which order a file wants the values of an example."""

    CHANNELS_FIRST = "channels-first"  # PyTorch's: all samples of a channel, then the next channel
    CHANNELS_LAST = "channels-last"  # ours: all channels of a sample, then the next sample


WEIGHTED = (Kind.DENSE, Kind.CONV, Kind.DEPTHWISE)
LAST_WORDS = {"Softmax": Loss.SOFTMAX, "LogSoftmax": Loss.SOFTMAX, "Sigmoid": Loss.SIGMOID}


@dataclass(slots=True, eq=False)
class FloatLayer:
    """A layer of the task with the weights of the file."""

    layer: Layer
    node: str
    weights: Float64  # [out][span], each row in canonical order; [0][0] for pools
    biases: Float64  # [out]; [0] for pools
    relu: bool = False


@dataclass(slots=True, eq=False)
class Walk:
    """How far the graph was followed. There are no branches: one tensor is the newest."""

    layers: Sequence[Layer]  # of the task
    loss: Loss
    constants: dict[str, Array]
    newest: str  # the tensor that the next node must read
    places: Places
    input: Places
    order: Order  # of the input's values
    shapes: dict[str, tuple[int, ...]]  # of each tensor that was passed, without the batch
    found: list[FloatLayer] = field(default_factory=list)
    sums: bool = False  # the newest tensor is the sums of a layer with weights: scale them freely
    ended: str = ""  # the node that turned logits into probabilities

    def go_on(self, output: str) -> None:
        """Come to the tensor that a node gives."""
        self.newest = output
        self.shapes[output] = self.places.shape

    # --- what nodes read ---

    def constant(self, node: Node, number: int) -> Array | None:
        """The constant at an input; None if it is left out."""
        name = node.inputs[number] if number < len(node.inputs) else ""
        if not name:
            return None
        if name not in self.constants:
            node.refuse(f"its input {name!r} is not a constant")
        return self.constants[name]

    def required(self, node: Node, number: int) -> Array:
        value = self.constant(node, number)
        return node.refuse(f"has no input {number}") if value is None else value

    def operand(self, node: Node) -> Array:
        """The constant of an operator with two inputs, in any order."""
        return self.required(node, 0 if node.inputs[1:2] == (self.newest,) else 1)

    def image(self, node: Node) -> Shape:
        """Height, width and channels of the newest tensor, which must be a picture or a window."""
        places = self.places[:, np.newaxis] if self.places.ndim == 2 else self.places
        if places.ndim != 3:
            node.refuse(f"reads the shape {shown(self.places)}: allowed: [N, channels, ...]")
        channels, height, width = places.shape
        if not np.array_equal(places, channels_first((height, width, channels))):
            node.refuse("reads values in another order than [N, channels, height, width]")
        return height, width, channels

    # --- what they give ---

    def expected(self, node: Node) -> Layer:
        """The task's layer that must come next."""
        if self.ended:
            node.refuse(f"comes after {self.ended!r}, which ends a model")
        if len(self.found) == len(self.layers):
            node.refuse(f"is a layer more than the {len(self.layers)} of the task")
        return self.layers[len(self.found)]

    def match(self, node: Node, layer: Layer) -> None:
        """Refuse a layer that is not the task's next one. Its ReLU comes later."""
        expected = self.expected(node)
        if _comparable(layer) != _comparable(expected):
            node.refuse(
                f"is {described(layer)}; layer {len(self.found) + 1} of the task is"
                f" {described(expected)}"
            )

    def add_weighted(self, node: Node, weights: Float64, biases: Array | None) -> None:
        """A layer that matched; weights [out][span]."""
        layer = self.expected(node)
        values = np.zeros(layer.out) if biases is None else biases
        if values.shape != (layer.out,):
            node.refuse(f"has biases of shape {list(values.shape)}: allowed: [{layer.out}]")
        self.found.append(FloatLayer(layer, node.name, weights, values.astype(np.float64)))
        self.sums = True

    def add_pool(self, node: Node) -> None:
        """A layer that matched."""
        nothing = np.zeros(0)
        layer = self.expected(node)
        self.found.append(FloatLayer(layer, node.name, nothing.reshape(0, 0), nothing))
        self.sums = False

    def per_channel(self, node: Node, values: Array) -> Float64:
        """One number for each output channel of the newest layer, from what is broadcast to it."""
        if not self.sums:
            node.refuse("does not follow the sums of a layer: it cannot become part of one")
        layer = self.found[-1].layer
        try:
            everywhere = np.broadcast_to(values, (1, *self.places.shape))
        except ValueError:
            node.refuse(f"its constant of shape {list(values.shape)} does not fit the layer")
        by_place = np.empty(layer.outputs)
        by_place[self.places.ravel()] = everywhere.ravel()
        rows: Float64 = by_place.reshape(-1, layer.out)
        if (rows != rows[0]).any():
            node.refuse("its constant differs from position to position: allowed: by channel")
        channels: Float64 = rows[0]
        return channels

    def scale(self, factors: Float64, offsets: Float64) -> None:
        """Sums become sums * factor + offset, by channel."""
        newest = self.found[-1]
        newest.weights = newest.weights * factors[:, np.newaxis]
        newest.biases = newest.biases * factors + offsets

    def relu(self, node: Node) -> None:
        """Give the newest layer with weights a ReLU, which may change places with a max pool."""
        layers = [x for x in self.found if x.layer.kind is not Kind.MAX_POOL]
        if not layers or layers[-1].layer.kind not in WEIGHTED:
            node.refuse("does not follow a layer with weights")
        layers[-1].relu = True
        self.sums = False

    def end(self, node: Node) -> None:
        """Logits become probabilities, as the loss does anyway."""
        if LAST_WORDS[node.operator] is not self.loss:
            node.refuse(f"the task's loss is {self.loss.name.lower()}")
        if self.places.ndim != 1:
            node.refuse(f"reads the shape {shown(self.places)}: allowed: [N, outputs]")
        self.ended = node.name
        self.sums = False


def begin(graph: FloatGraph, layers: Sequence[Layer], loss: Loss, example: Shape) -> list[Walk]:
    """One walk for each order that the input's values may have, the likeliest first.

    Where there are as many samples as channels, or all in a row, the shape does not tell which
    come first. example: the task's, height, width, channels. Raises OnnxError.
    """
    allowed = list(_orders(example))
    walks = [
        Walk(
            layers, loss, dict(graph.constants), graph.input, places, places, order,
            {graph.input: places.shape},
        )
        for order, places in allowed
        if places.shape == graph.shape
    ]  # fmt: skip
    if walks:
        return walks
    shapes = " or ".join(dict.fromkeys(shown(places) for _, places in allowed))
    raise OnnxError(
        f"its input {graph.input!r} has the shape [N, {', '.join(map(str, graph.shape))}]: allowed"
        f" by the task: {shapes}"
    )


def _orders(example: Shape) -> Iterator[tuple[Order, Places]]:
    height, width, channels = example
    first = channels_first(example)
    last = np.arange(height * width * channels).reshape(example)
    if height == 1:
        yield Order.CHANNELS_FIRST, first[:, 0]
        yield Order.CHANNELS_LAST, last[0]
    yield Order.CHANNELS_FIRST, first
    yield Order.CHANNELS_LAST, last
    yield Order.CHANNELS_LAST, last.ravel()
    if channels > 1 and height * width > 1:
        yield Order.CHANNELS_FIRST, first.ravel()


def finish(walk: Walk, graph: FloatGraph) -> list[FloatLayer]:
    """All layers, if they are the task's. Raises OnnxError."""
    if len(walk.found) < len(walk.layers):
        missing = walk.layers[len(walk.found)]
        raise OnnxError(
            f"ends after {len(walk.found)} layers; layer {len(walk.found) + 1} of the task is"
            f" {described(missing)}"
        )
    if graph.output != walk.newest:
        raise OnnxError(f"its output {graph.output!r} is not what its last node gives")
    for number, found in enumerate(walk.found, start=1):
        if found.relu != found.layer.relu:
            has, wants = ("a", "has none") if found.relu else ("no", "has one")
            raise OnnxError(
                f"node {found.node!r} has {has} ReLU after it; layer {number} of the task {wants}"
            )
    _order_outputs(walk)
    return walk.found


def _order_outputs(walk: Walk) -> None:
    """Outputs in the order of the task's: of its labels or, if they repeat the input, of that."""
    last = walk.found[-1]
    repeats = walk.loss is Loss.RECONSTRUCTION
    wanted = walk.input.ravel() if repeats else np.arange(last.layer.outputs)
    given = walk.places.ravel()
    if np.array_equal(given, wanted):
        return
    if last.layer.kind is not Kind.DENSE:
        raise OnnxError(f"node {last.node!r} gives the outputs in another order than the task")
    order = np.empty_like(given)
    order[wanted] = given
    last.weights, last.biases = last.weights[order], last.biases[order]


def channels_first(shape: Shape) -> Places:
    """Where the values of [channels][height][width] lie; shape: height, width, channels."""
    height, width, channels = shape
    return np.arange(height * width * channels).reshape(shape).transpose(2, 0, 1)


def shown(places: Places) -> str:
    return f"[N, {', '.join(map(str, places.shape))}]"


def described(layer: Layer) -> str:
    """A layer in a sentence, without its ReLU."""
    height, width, channels = layer.height, layer.width, layer.channels
    if layer.kind is Kind.DENSE:
        return f"dense {channels} -> {layer.out}"
    kind = layer.kind.name.lower()
    words = f"{kind} {height}x{width}x{channels} -> {layer.out} channels"
    if layer.kind is Kind.AVERAGE_POOL:
        return words
    (kh, kw), (sh, sw) = layer.kernel, layer.stride
    return f"{words}, kernel {kh}x{kw}, stride {sh}x{sw}, pad {layer.pad}"


def _comparable(layer: Layer) -> Layer:
    """Leave out the ReLU, and the stride in a direction that has one position only."""
    height, width, _ = layer.out_shape
    sh, sw = layer.stride
    stride = (1 if height == 1 else sh, 1 if width == 1 else sw)
    return replace(layer, relu=False, stride=stride)
