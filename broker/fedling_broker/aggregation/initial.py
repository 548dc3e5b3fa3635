"""The first model of a task, from a seed alone (NUMERICS.md section 9).

numpy promises no stream of random numbers that never changes, and a first model must be the same
for ever: the words come from SHA-256, the limit of each layer from an integer square root.
"""

import hashlib
from collections.abc import Callable
from math import isqrt

import numpy as np

from fedling_broker.aggregation.aggregate import Made, Steps, make
from fedling_broker.aggregation.fixed import (
    FRACTION,
    MASTER_LIMIT,
    MIN_EXPONENT,
    Int64,
    on_first_grid,
    on_weight_grid,
)
from fedling_broker.aggregation.state import SPAN, Block, Memory, ServerState, Sink, Span, finish
from fedling_native import Layer, Loss

WORDS_IN_BLOCK = 8
Grid = Callable[[Int64], Int64]  # masters without a fraction -> those that a model may have

QUIET_BITS = 3  # outputs that are values begin at an eighth of what the other layers give


def exactly(masters: Int64) -> Int64:
    """Every master: a model on no grid."""
    return masters


GRIDS = on_first_grid, on_weight_grid, exactly  # of this release; of those before, the latest first


def initial_state(
    layers: tuple[Layer, ...], seed: bytes, loss: Loss = Loss.SOFTMAX, grid: Grid = exactly
) -> ServerState:
    """Draw weights uniform in +-sqrt(6 / span) (He 2015, for ReLU), biases 0. seed: 32 bytes.

    With a loss of values the last layer's weights are worth an eighth of that.
    grid: on_first_grid, if devices hold the model on a grid: that is said in a quarter of the bytes
    """
    memory = Memory(layers)
    finish(draw(layers, seed, loss, memory, grid=grid))
    return memory.state


def draw(
    layers: tuple[Layer, ...],
    seed: bytes,
    loss: Loss,
    sink: Sink,
    size: int = SPAN,
    grid: Grid = exactly,
) -> Steps:
    """Draw a first model in steps, into a sink."""
    ranges = [range_of(layer.span) if layer.span else (0, 0) for layer in layers]
    exponents = [exponent for exponent, _ in ranges]
    if loss in (Loss.SQUARED, Loss.RECONSTRUCTION) and layers[-1].span:
        exponents[-1] = max(exponents[-1] - QUIET_BITS, MIN_EXPONENT)

    def block(span: Span) -> Block:
        if span.layer is None:
            return Block(np.zeros(span.count, np.int64), {})
        _, limit = ranges[span.layer]
        drawn = ((words(seed, span.start, span.stop) * (2 * limit + 1)) >> 32) - limit
        return Block(grid(drawn) << FRACTION, {})

    return make(Made(layers, tuple(exponents), {}, block), sink, size)


def range_of(span: int) -> tuple[int, int]:
    """(w_exp, limit of |master|) of sqrt(6 / span): the finest exponent that 14 bits hold."""
    scale = 8 - MIN_EXPONENT
    while isqrt((6 << 2 * scale) // span) > MASTER_LIMIT:
        scale -= 1
    return 8 - scale, isqrt((6 << 2 * scale) // span)


def words(seed: bytes, start: int, stop: int) -> Int64:
    """Draw the words [start, stop) of a seed, each 0 to 2^32 - 1.

    Big-endian uint32 of SHA-256(seed || uint32be block), block = 0, 1, ...
    """
    first, last = start // WORDS_IN_BLOCK, -(-stop // WORDS_IN_BLOCK)
    data = b"".join(
        hashlib.sha256(seed + block.to_bytes(4, "big")).digest() for block in range(first, last)
    )
    skipped = start - first * WORDS_IN_BLOCK
    return np.frombuffer(data, ">u4").astype(np.int64)[skipped : skipped + stop - start]
