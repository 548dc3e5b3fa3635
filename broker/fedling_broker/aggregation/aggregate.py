"""Federated averaging in integers: sums of updates become the next model (NUMERICS.md section 8).

`aggregate(state, groups, setup) -> state` is the whole of it. `fold` is the same in steps of a few
milliseconds, from any source to any sink, so that a large model is never in memory.
"""

from collections.abc import Callable, Generator, Mapping, Sequence

from fedling_broker.aggregation import fixed
from fedling_broker.aggregation.fixed import MAX_TOTAL_WEIGHT, Int64
from fedling_broker.aggregation.leaps import Leaps
from fedling_broker.aggregation.optimisers import Setup
from fedling_broker.aggregation.state import (
    HELD,
    SPAN,
    Block,
    Memory,
    ServerState,
    Sink,
    Source,
    Span,
    finish,
    follow,
    held_of,
    spans,
)
from fedling_broker.aggregation.sums import GroupSum
from fedling_native import Layer
from fedling_protocol.classes import dataclass

Steps = Generator[None, None, tuple[int, ...]]  # at its end the exponents of what was made


def aggregate(
    state: ServerState, groups: Sequence[GroupSum], setup: Setup, steps: int | None = None
) -> ServerState:
    """Make the state after a round. Raises ValueError on a total weight that no round has."""
    memory = Memory(state.layers)
    finish(fold(state, groups, setup, memory, steps=steps))
    return memory.state


def fold(
    before: Source,
    groups: Sequence[GroupSum],
    setup: Setup,
    sink: Sink,
    size: int = SPAN,
    steps: int | None = None,
) -> Steps:
    """Make the state after a round. Raises ValueError at once on impossible groups.

    steps: as in make()
    """
    weight = sum(group.weight for group in groups)
    if not 1 <= weight <= MAX_TOTAL_WEIGHT:
        raise ValueError(f"a total weight of {weight}: allowed is 1 to {MAX_TOTAL_WEIGHT}")
    optimiser, fraction = setup.optimiser, fraction_of(groups)

    def after(span: Span) -> Block:
        block = before.read(span)
        arrays = {**optimiser.init(span.count), **block.optimiser}
        mean = fixed.mean(total_of(groups, span), weight, fraction)
        change, arrays = optimiser.apply(setup.parameters, arrays, mean)
        if setup.on_grid:
            arrays[HELD] = held_of(span, block)
        return Block(block.master + change, arrays)

    made = Made(before.layers, before.exponents, setup.units, after, setup.leaps)
    return make(made, sink, size, steps)


def fraction_of(groups: Sequence[GroupSum]) -> int:
    """Tell how many fractional bits the sums have. Raises ValueError unless it is one number."""
    (first, *others) = {group.fraction for group in groups}
    if others:
        raise ValueError("sums of vectors in several units")
    return first


def total_of(groups: Sequence[GroupSum], span: Span) -> Int64:
    """Add up the groups' sums in a span."""
    first, *others = (group.vector[span.start : span.stop] for group in groups)
    return sum(others, first)


@dataclass(frozen=True, slots=True)
class Made:
    """Values that a state will have, at exponents that do not fit them yet."""

    layers: tuple[Layer, ...]
    exponents: tuple[int, ...]
    units: Mapping[str, int]  # as in Optimiser
    block: Callable[[Span], Block]  # the same whenever it is asked for
    leaps: Leaps = Leaps()  # of what devices hold


def make(made: Made, sink: Sink, size: int = SPAN, steps: int | None = None) -> Steps:
    """Go over all layers to see how large they have become, and again to write them.

    So a layer's exponent and its leap are known before the first of its values is written; nothing
    is kept.

    steps: by how many an exponent may move; None: as far as the values want
    """
    largest, totals = [0] * len(made.layers), [0] * len(made.layers)
    for span in spans(made.layers, size):
        if span.layer is not None:
            masters = made.block(span).master
            largest[span.layer] = max(largest[span.layer], fixed.largest_view(masters))
            totals[span.layer] += fixed.sum_of_sizes(masters)
            yield
    shifts = [fixed.exponent_shift(*of) for of in zip(largest, made.exponents, strict=True)]
    if steps is not None:
        shifts = [max(-steps, min(shift, steps)) for shift in shifts]
    exponents = tuple(e + s for e, s in zip(made.exponents, shifts, strict=True))
    leaps = made.leaps.of_layers(totals, [layer.weight_count for layer in made.layers], shifts)
    sink.begin(exponents, tuple(made.units))
    for span in spans(made.layers, size):
        shift, leap = 0, made.leaps.of_biases
        if span.layer is not None:
            shift, leap = shifts[span.layer], leaps[span.layer]
        block = moved(made.block(span), shift, made.units)
        sink.write(span, follow(span, block, leap, nearest=made.leaps.nearest))
        yield
    return exponents


def moved(block: Block, shift: int, units: Mapping[str, int]) -> Block:
    """Bring values to an exponent that is larger by `shift`."""
    arrays = {
        name: fixed.scaled(values, shift * units[name]) for name, values in block.optimiser.items()
    }
    return Block(fixed.scaled(block.master, shift), arrays)


def move_exponents(state: ServerState) -> ServerState:
    """Bring a first model to the exponents that fit it."""
    memory = Memory(state.layers)
    finish(make(Made(state.layers, state.exponents, {}, state.read), memory))
    return memory.state
