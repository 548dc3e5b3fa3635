"""What the aggregator knows of a model: more than devices get, by 16 bits a value.

A state is read and written in spans, so that a model of 16 MB needs no copy of it in memory:
ServerState holds all of it, StateFile reads one from disk, StateWriter puts one there. On disk a
state is two files: the tagged arrays `master` and `optimiser.<name>`, and the view.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from io import BytesIO
from typing import BinaryIO, Protocol, TypeVar

import numpy as np

from fedling_broker.aggregation import fixed, tagged
from fedling_broker.aggregation.fixed import FRACTION, STORED_OFFSET, Int64
from fedling_native import Layer, parameter_counts, weights_size
from fedling_protocol.classes import dataclass

T = TypeVar("T")

SPAN = 1 << 16  # values: half a megabyte, a few milliseconds of a fold
MASTER, OPTIMISER = "master", "optimiser."  # arrays on disk
HELD = "held"  # beside an optimiser's arrays: what devices hold, without a fraction; see follow()
FORMAT = "fedling server state 1"


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the master's order: every layer's weights, then every layer's biases."""

    start: int
    stop: int
    layer: int | None  # whose weights these are; None: biases

    @property
    def count(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A state's values in a span."""

    master: Int64  # 16 fractional bits
    optimiser: Mapping[str, Int64]  # its arrays by name; empty: a first model, whatever it will be


class Source(Protocol):
    """A state that is read."""

    @property
    def layers(self) -> tuple[Layer, ...]: ...

    @property
    def exponents(self) -> tuple[int, ...]: ...

    def read(self, span: Span) -> Block: ...


class Sink(Protocol):
    """A state that is made: `begin`, then each span once, in order."""

    def begin(self, exponents: tuple[int, ...], optimiser: Sequence[str]) -> None:
        """Begin a state. optimiser: the names of its arrays."""

    def write(self, span: Span, block: Block) -> None: ...


def spans(layers: Sequence[Layer], size: int = SPAN) -> Iterator[Span]:
    """Part all values, in order; no span has values of two layers, or weights and biases."""
    start = 0
    for number, layer in enumerate(layers):
        yield from _cut(start, start + layer.weight_count, number, size)
        start += layer.weight_count
    yield from _cut(start, sum(parameter_counts(layers)), None, size)


def _cut(start: int, stop: int, layer: int | None, size: int) -> Iterator[Span]:
    for first in range(start, stop, size):
        yield Span(first, min(first + size, stop), layer)


def view_of(span: Span, block: Block) -> bytes:
    """Write a span as devices get it."""
    values = held_of(span, block)
    return fixed.view_of_biases(values) if span.layer is None else fixed.view_of_masters(values)


def held_of(span: Span, block: Block) -> Int64:
    """What devices hold of a span: on a grid if the state says so, else the server's, rounded."""
    held = block.optimiser.get(HELD)
    if held is not None:
        return held
    exact = fixed.exact_biases if span.layer is None else fixed.exact_masters
    return exact(block.master)


def follow(span: Span, block: Block, leap: int, *, nearest: bool) -> Block:
    """Bring what devices hold to the master, on its grid; a state without a grid stays as it is.

    The master keeps what devices do not hold yet, and nothing is lost (error feedback).

    leap: of a value that changes, in steps of the grid
    nearest: as in fixed.held_masters()
    """
    held = block.optimiser.get(HELD)
    if held is None:
        return block
    hold = fixed.held_biases if span.layer is None else fixed.held_masters
    return Block(
        block.master, {**block.optimiser, HELD: hold(block.master, held, leap, nearest=nearest)}
    )


def finish(steps: Generator[None, None, T]) -> T:
    """Take all steps at once and return their result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


# --- in memory -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ServerState:
    """All of a server's state, in memory."""

    layers: tuple[Layer, ...]
    exponents: tuple[int, ...]  # w_exp of each layer, 0 of those without weights
    master: Int64  # every layer's masters, then every layer's biases; 16 fractional bits
    view: bytes  # what devices hold: weights as bytes (NUMERICS.md section 2)
    optimiser: Mapping[str, Int64]  # its arrays by name, in the master's order

    def read(self, span: Span) -> Block:
        part = slice(span.start, span.stop)
        arrays = {name: values[part] for name, values in self.optimiser.items()}
        return Block(self.master[part], arrays)


class Memory:
    """A sink that makes a ServerState."""

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        self._layers = layers
        self._exponents: tuple[int, ...] = ()
        self._master = np.empty(sum(parameter_counts(layers)), np.int64)
        self._optimiser: dict[str, Int64] = {}
        self._view = bytearray()

    def begin(self, exponents: tuple[int, ...], optimiser: Sequence[str]) -> None:
        self._exponents = exponents
        self._optimiser = {name: np.empty_like(self._master) for name in optimiser}

    def write(self, span: Span, block: Block) -> None:
        self._master[span.start : span.stop] = block.master
        for name, values in self._optimiser.items():
            values[span.start : span.stop] = block.optimiser[name]
        self._view += view_of(span, block)

    @property
    def state(self) -> ServerState:
        """Give the state, when everything is written."""
        return ServerState(
            self._layers, self._exponents, self._master, bytes(self._view), self._optimiser
        )


def state_of_masters(
    layers: tuple[Layer, ...], exponents: tuple[int, ...], master: Int64
) -> ServerState:
    """Make the state of a first model."""
    view = b"".join(
        view_of(span, Block(master[span.start : span.stop], {})) for span in spans(layers)
    )
    return ServerState(layers, exponents, master, view, {})


def state_of_weights(
    layers: tuple[Layer, ...], exponents: tuple[int, ...], weights: bytes
) -> ServerState:
    """Make the state of a first model that devices hold so: no fraction yet."""
    values = read_vector(weights, layers)
    weight_count, _ = parameter_counts(layers)
    values[:weight_count] -= STORED_OFFSET
    return ServerState(layers, exponents, values << FRACTION, weights, {})


def read_vector(data: bytes, layers: Sequence[Layer]) -> Int64:
    """Read stored weights or a raw update. Raises ValueError on another length."""
    if len(data) != weights_size(layers):
        raise ValueError(f"{len(data)} bytes, a vector of this model has {weights_size(layers)}")
    weights, biases = parameter_counts(layers)
    values = np.empty(weights + biases, np.int64)
    values[:weights] = np.frombuffer(data, "<i2", weights)
    values[weights:] = np.frombuffer(data, "<i4", offset=2 * weights)
    return values


# --- on disk -------------------------------------------------------------------------------------


class StateWriter:
    """A sink that makes the two files of a state."""

    def __init__(self, layers: tuple[Layer, ...], state: BinaryIO, view: BinaryIO) -> None:
        """Write to two empty files; the view from its beginning to its end."""
        self._count = sum(parameter_counts(layers))
        self._state, self._view = state, view
        self._arrays: tagged.Writer | None = None

    def begin(self, exponents: tuple[int, ...], optimiser: Sequence[str]) -> None:
        counts = dict.fromkeys([MASTER, *(OPTIMISER + name for name in optimiser)], self._count)
        metadata = {"format": FORMAT, "exponents": " ".join(map(str, exponents))}
        self._arrays = tagged.Writer(self._state, counts, metadata)

    def write(self, span: Span, block: Block) -> None:
        assert self._arrays is not None
        self._arrays.write(MASTER, span.start, block.master)
        for name, values in block.optimiser.items():
            self._arrays.write(OPTIMISER + name, span.start, values)
        self._view.write(view_of(span, block))


class StateFile:
    """A source that reads the arrays of a state from its file."""

    def __init__(self, layers: tuple[Layer, ...], file: BinaryIO) -> None:
        """Read a file. Raises ValueError when it is not a state of such a model."""
        self.layers = layers
        self._arrays = tagged.Reader(file)
        metadata, counts = self._arrays.metadata, self._arrays.counts
        if metadata.get("format") != FORMAT:
            raise ValueError(f"not a {FORMAT}")
        self.exponents = tuple(map(int, metadata.get("exponents", "").split()))
        if len(self.exponents) != len(layers) or not all(
            fixed.MIN_EXPONENT <= e <= fixed.MAX_EXPONENT for e in self.exponents
        ):
            raise ValueError("the exponents are not those of such a model")
        if set(counts.values()) != {sum(parameter_counts(layers))} or MASTER not in counts:
            raise ValueError("the arrays are not those of such a model")
        self._names = [name for name in counts if name.startswith(OPTIMISER)]

    def read(self, span: Span) -> Block:
        """Read a span. Raises ValueError: the file was cut in the meantime."""
        arrays = {
            name.removeprefix(OPTIMISER): self._arrays.read(name, span.start, span.stop)
            for name in self._names
        }
        return Block(self._arrays.read(MASTER, span.start, span.stop), arrays)


def copy(source: Source, sink: Sink) -> Generator[None, None, None]:
    """Read a source and make a sink of it; a step for each span."""
    names: Sequence[str] = ()
    for number, span in enumerate(spans(source.layers)):
        block = source.read(span)
        if number == 0:
            names = tuple(block.optimiser)
            sink.begin(source.exponents, names)
        sink.write(span, block)
        yield


def state_to_bytes(state: ServerState) -> bytes:
    """Write the arrays as they lie on disk; the view is a file of its own."""
    file = BytesIO()
    finish(copy(state, StateWriter(state.layers, file, BytesIO())))
    return file.getvalue()


def state_from_bytes(layers: tuple[Layer, ...], data: bytes) -> ServerState:
    """Read what state_to_bytes() wrote. Raises ValueError."""
    memory = Memory(layers)
    finish(copy(StateFile(layers, BytesIO(data)), memory))
    return memory.state


# --- as schema 2 of the database had it ----------------------------------------------------------


def from_values_and_velocity(
    layers: tuple[Layer, ...], exponents: tuple[int, ...], data: bytes, optimiser: Sequence[str]
) -> ServerState:
    """A state of schema 2: two int64 arrays without a header, exponents elsewhere.

    optimiser: the names of the arrays that go on: "velocity" with momentum, else none.
    Raises ValueError on another length.
    """
    count = sum(parameter_counts(layers))
    if len(data) != 16 * count:
        raise ValueError(f"{len(data)} bytes, this model's state has {16 * count}")
    master, velocity = np.frombuffer(data, "<i8").astype(np.int64).reshape(2, count)
    kept = dict.fromkeys(optimiser, velocity)
    return ServerState(
        layers, exponents, master, state_of_masters(layers, exponents, master).view, kept
    )


def to_values_and_velocity(state: ServerState) -> bytes:
    """What schema 2 named by its hash: journals of that time hold such hashes."""
    velocity = state.optimiser.get("velocity", np.zeros_like(state.master))
    return b"".join(values.astype("<i8").tobytes() for values in (state.master, velocity))
