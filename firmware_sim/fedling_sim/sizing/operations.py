"""What a training step does, counted: the terms that the instructions of a core are fitted to.

The terms follow the loops of native/src: how often each runs in a step. Many loops pass over a
zero, so that it matters how many values are 0: of inputs none is taken to be, of a ReLU's outputs
a bit more than half, as in the first steps of a training. Later more errors are 0, and a step takes
less.
"""

from collections import defaultdict
from collections.abc import Iterator
from enum import StrEnum
from math import prod

from fedling_native import Kind, Layer, Loss
from fedling_protocol.classes import dataclass
from fedling_sim.sizing.memory import stored
from fedling_sim.sizing.workload import Job, run_length

ACTIVE = 0.45  # part of a ReLU's outputs that is not 0; a small one becomes 0 in int8
ROWS = 4  # rows of weights that a loop takes at once
WINDOWS = 32  # FDL_WINDOWS: with more of them gradients are summed before weights change
PIECE = 64  # FDL_PIECE: weights of a row whose gradient is summed at once

LOSSES = {
    Loss.SOFTMAX: "softmax_outputs",
    Loss.SIGMOID: "sigmoid_outputs",
    Loss.SQUARED: "value_outputs",
    Loss.RECONSTRUCTION: "value_outputs",
}


class Update(StrEnum):
    """How weights change; each way has its own depth of stack."""

    ONE = "one"  # window: no gradient in memory
    FEW = "few"  # windows: the gradient of a piece of a row at a time
    SUMMED = "summed"  # over many windows, four rows at a time
    DEPTHWISE = "depthwise"
    ROLLED = "rolled"  # with momentum
    CLIPPED = "clipped"  # before one of the others


Term = tuple[str, float]  # its name, and how often


@dataclass(frozen=True, slots=True)
class Flow:
    """A layer in a step."""

    layer: Layer
    batch: int
    active: float  # part of its inputs that is not 0
    erring: float  # part of its outputs' errors that is not 0
    masked: bool  # a ReLU lies below
    passes_down: bool  # the layer below gets its error
    learns: bool

    @property
    def windows(self) -> int:
        """How many windows all examples have."""
        return self.batch * self.layer.positions

    @property
    def runs(self) -> int:
        """How many runs of memory a window consists of."""
        return self.layer.span // run_length(self.layer)

    @property
    def pieces(self) -> int:
        """How many parts of a row of weights have their gradients summed one by one."""
        return self.runs * -(-run_length(self.layer) // PIECE)


def terms(job: Job) -> dict[str, float]:
    """Count how often each part of a step runs, by its name."""
    found: defaultdict[str, float] = defaultdict(float)
    for name, count in parts(job):
        found[name] += count
    return dict(found)


def parts(job: Job) -> Iterator[Term]:
    """Count part by part of a step; names come again."""
    yield "steps", 1
    yield "layers", len(job.layers)
    yield "examples", job.batch
    yield "inputs", job.batch * job.inputs
    for flow in flows(job):
        yield from forward(flow)
        if flow.passes_down:
            yield from backward(flow)
        if flow.learns and flow.layer.weight_count:
            yield from update(flow, job)
    yield LOSSES[job.loss], job.batch * job.layers[-1].outputs


def updates(job: Job) -> frozenset[Update]:
    """List all ways in which weights change."""
    learning = [flow for flow in flows(job) if flow.learns and flow.layer.weight_count]
    found = {update_of(flow, job) for flow in learning}
    return frozenset(found | ({Update.CLIPPED} if job.clip else set()))


# --- zeros ----------------------------------------------------------------------------------------


def flows(job: Job) -> Iterator[Flow]:
    """List all layers in a step, the first one first."""
    for number, (layer, active) in enumerate(zip(job.layers, actives(job.layers), strict=True)):
        yield Flow(
            layer,
            job.batch,
            active,
            erring(job.layers, number),
            masked=number > 0 and job.layers[number - 1].relu,
            passes_down=number > job.frozen,
            learns=number >= job.frozen,
        )


def actives(layers: tuple[Layer, ...]) -> Iterator[float]:
    """Estimate the part of each layer's inputs that is not 0."""
    share = 1.0
    for layer in layers:
        yield share
        if layer.kind is Kind.MAX_POOL:
            share = 1 - (1 - share) ** prod(layer.kernel)
        else:
            share = ACTIVE if layer.relu else 1.0


def erring(layers: tuple[Layer, ...], number: int) -> float:
    """Estimate the part of the errors of a layer's outputs that is not 0."""
    share = ACTIVE if layers[number].relu else 1.0
    if number + 1 == len(layers):
        return share
    above = layers[number + 1]
    if above.kind is Kind.MAX_POOL:  # the error of a window goes to its largest value alone
        return min(share, above.outputs / above.inputs * erring(layers, number + 1))
    reading = windows_reading(above)
    if above.kind is Kind.DEPTHWISE:  # errors stay in their channel
        share *= 1 - (1 - erring(layers, number + 1)) ** max(1.0, reading)
    return share * min(1.0, reading)


def windows_reading(layer: Layer) -> float:
    """Count how many windows read an input, on average."""
    if layer.kind not in (Kind.CONV, Kind.DEPTHWISE):
        return 1.0
    return layer.positions * prod(layer.kernel) / (layer.height * layer.width)


# --- the passes -----------------------------------------------------------------------------------


def forward(flow: Flow) -> Iterator[Term]:
    """Count the forward pass: accumulators, and their int8."""
    layer = flow.layer
    yield "outputs", flow.batch * layer.outputs
    match layer.kind:
        case Kind.MAX_POOL:
            yield from maxima(flow)
        case Kind.AVERAGE_POOL:
            yield "averaged_pixels", flow.batch * layer.height * layer.width
            yield "averaged", flow.batch * layer.inputs
        case Kind.DEPTHWISE:
            yield "filled", flow.windows  # with biases
            yield from places(flow)
        case _:
            yield "filled", flow.windows
            yield from dot(flow)


def dot(flow: Flow) -> Iterator[Term]:
    """Count windows times rows of weights, four rows at a time."""
    layer, calls, products = flow.layer, flow.windows * flow.runs, flow.windows * flow.layer.span
    groups, rest = divmod(layer.out, ROWS)
    yield "windows", flow.windows
    yield "dot_calls", calls
    yield "dot_groups", calls * groups
    yield "dot_columns", products * groups
    yield "dot_live_columns", products * groups * flow.active
    yield "dot_tails", calls * groups * (run_length(layer) % ROWS)
    yield "dot_rest_rows", calls * rest
    yield "dot_rest_products", products * rest


def backward(flow: Flow) -> Iterator[Term]:
    """Count the backward pass: errors of the layer below, and their int8."""
    below = flow.batch * stored(flow.layer)
    yield "below", below
    yield "masked", below if flow.masked else 0
    match flow.layer.kind:
        case Kind.MAX_POOL:
            yield from maxima(flow)
        case Kind.AVERAGE_POOL:
            yield "spread_averages", below
        case Kind.DEPTHWISE:
            yield from places(flow)
        case _:
            yield from spread(flow)


def spread(flow: Flow) -> Iterator[Term]:
    """Count errors times rows of weights, four rows at a time unless all four errors are 0."""
    layer, calls, products = flow.layer, flow.windows * flow.runs, flow.windows * flow.layer.span
    groups, rest = divmod(layer.out, ROWS)
    yield "windows", flow.windows
    yield "spread_quads", calls * (run_length(layer) // ROWS)
    yield "spread_columns", products * groups * (1 - (1 - flow.erring) ** ROWS)
    yield "spread_rest_rows", calls * rest
    yield "spread_rest_products", products * rest


def update(flow: Flow, job: Job) -> Iterator[Term]:
    """Count what makes new weights and biases."""
    layer, weights = flow.layer, flow.layer.weight_count
    yield "bias_errors", flow.windows * layer.bias_count
    if job.clip:
        yield from summed(flow)
        yield "squared", weights
        yield "clipped", flow.batch * layer.outputs
        yield "clipped_layers", 1
    match update_of(flow, job):
        case Update.ROLLED:
            yield from summed(flow)
            yield "rolled", weights
        case Update.DEPTHWISE | Update.SUMMED:
            yield from summed(flow)
            yield "applied", weights
        case Update.FEW:
            yield from multiplied(flow)
            yield "few_rows", layer.out * flow.pieces
            yield "few_applied", weights
        case Update.ONE:
            yield "one_products", weights * flow.erring
            yield "one_live_products", weights * flow.erring * flow.active


def update_of(flow: Flow, job: Job) -> Update:
    """Find the way that native/src/step/update.c takes."""
    if job.momentum:
        return Update.ROLLED
    if flow.layer.kind is Kind.DEPTHWISE:
        return Update.DEPTHWISE
    if flow.windows > WINDOWS:
        return Update.SUMMED
    return Update.FEW if flow.windows > 1 else Update.ONE


def summed(flow: Flow) -> Iterator[Term]:
    """Count gradients of any number of windows, four rows at a time."""
    layer = flow.layer
    if layer.kind is Kind.DEPTHWISE:
        pieces = layer.span * -(-layer.channels // PIECE)
        yield "depthwise_pieces", pieces
        yield "depthwise_places", pieces * flow.windows
        yield "depthwise_products", layer.weight_count * flow.windows
        return
    pieces = -(-layer.out // ROWS) * flow.pieces
    yield "summed_pieces", pieces
    yield "windows", pieces * flow.windows
    yield from multiplied(flow)


def multiplied(flow: Flow) -> Iterator[Term]:
    """Count errors times inputs, row by row and window by window."""
    rows = flow.layer.out * flow.pieces * flow.windows
    yield "gradient_rows", rows
    yield "gradient_live_rows", rows * flow.erring
    yield "gradient_products", flow.layer.weight_count * flow.windows * flow.erring


def maxima(flow: Flow) -> Iterator[Term]:
    """Count the search for the largest value of each window, again in the backward pass."""
    outputs = flow.batch * flow.layer.outputs
    yield "pool_windows", flow.windows
    yield "pool_values", outputs
    yield "pool_compared", outputs * prod(flow.layer.kernel)


def places(flow: Flow) -> Iterator[Term]:
    """Count each place of a depthwise kernel at each window, all channels."""
    yield "places", flow.windows * flow.layer.span
    yield "place_products", flow.windows * flow.layer.weight_count
