"""What devices hold of a model, and what of it changed, in few bytes (NUMERICS.md section 11)."""

from collections.abc import Sequence

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
from fedling_broker.aggregation.state import read_vector, spans
from fedling_native import Layer, parameter_counts
from fedling_native.integers import write_integers

MOST_STEPS = 1 << 14  # of a value


def whole(layers: Sequence[Layer], view: bytes) -> bytes | None:
    """Write a view; None: it does not lie on the grid, or is too far from 0."""
    values, grid = _values(layers, view), _grid(layers)
    return None if (values & ((1 << grid) - 1)).any() else _written(values >> grid)


def change(
    layers: Sequence[Layer], held: bytes, shifts: Sequence[int], view: bytes
) -> bytes | None:
    """Write what a held view must change by to become another; None as in whole().

    shifts: by how much the exponent of each layer grew between them
    """
    values, grid = _values(layers, view), _grid(layers)
    if (values & ((1 << grid) - 1)).any():
        return None
    before = _values(layers, held)
    for span in spans(layers):
        part = slice(span.start, span.stop)
        if span.layer is None:
            before[part] = on_bias_grid(before[part])
        else:
            before[part] = on_weight_grid(scaled(before[part], shifts[span.layer]))
    return _written((values - before) >> grid)


def _values(layers: Sequence[Layer], view: bytes) -> Int64:
    values = read_vector(view, layers)
    values[: parameter_counts(layers)[0]] -= STORED_OFFSET
    return values


def _grid(layers: Sequence[Layer]) -> Int64:
    weights, biases = parameter_counts(layers)
    return np.repeat(np.array([WEIGHT_GRID, BIAS_GRID]), [weights, biases])


def _written(steps: Int64) -> bytes | None:
    if np.abs(steps).max() >= MOST_STEPS:
        return None
    return write_integers(steps.astype(np.int32).data)
