"""What devices hold of a model, and what of it changed, in few bytes (NUMERICS.md section 11)."""

from collections.abc import Callable, Sequence

import numpy as np

from fedling_broker.aggregation.fixed import (
    BIAS_GRID,
    STORED_OFFSET,
    WEIGHT_GRID,
    Int64,
    on_bias_grid,
    on_weight_grid,
    scaled,
)
from fedling_broker.aggregation.state import Span, spans
from fedling_native import Layer, parameter_counts, weights_size
from fedling_native.integers import write_integers

MOST_STEPS = 1 << 14  # of a value


def whole(layers: Sequence[Layer], view: bytes) -> bytes | None:
    """Write a view; None: it does not lie on the grid, or is too far from 0."""
    return _written(layers, view, lambda span: np.zeros(span.count, np.int64))


def change(
    layers: Sequence[Layer], held: bytes, shifts: Sequence[int], view: bytes
) -> bytes | None:
    """Write what a held view must change by to become another; None as in whole().

    shifts: by how much the exponent of each layer grew between them
    """

    def before(span: Span) -> Int64:
        values = _values(layers, held, span)
        if span.layer is None:
            return on_bias_grid(values)
        return on_weight_grid(scaled(values, shifts[span.layer]))

    return _written(layers, view, before)


def _written(layers: Sequence[Layer], view: bytes, before: Callable[[Span], Int64]) -> bytes | None:
    """Write the steps from what was before, span by span: a large model is there once."""
    if len(view) != weights_size(layers):
        raise ValueError(f"{len(view)} bytes, this model has {weights_size(layers)}")
    steps = np.empty(sum(parameter_counts(layers)), np.int32)
    for span in spans(layers):
        grid = BIAS_GRID if span.layer is None else WEIGHT_GRID
        values = _values(layers, view, span)
        gone = (values - before(span)) >> grid
        if (values & ((1 << grid) - 1)).any() or np.abs(gone).max() >= MOST_STEPS:
            return None
        steps[span.start : span.stop] = gone
    return write_integers(steps.data)


def _values(layers: Sequence[Layer], view: bytes, span: Span) -> Int64:
    """Masters or biases without a fraction."""
    weights, _ = parameter_counts(layers)
    if span.layer is None:
        place = 2 * weights + 4 * (span.start - weights)
        return np.frombuffer(view, "<i4", span.count, place).astype(np.int64)
    return np.frombuffer(view, "<i2", span.count, 2 * span.start).astype(np.int64) - STORED_OFFSET
