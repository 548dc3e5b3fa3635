"""What the training that a plan asks for costs a device, from the plan's fields alone."""

from collections.abc import Sequence
from typing import Final

from fedling_native import Layer

PASSES: Final = 3  # over the layers: activations up, errors down, gradients


def of_batch(layers: Sequence[Layer], batch: int) -> int:
    """Count the multiply-accumulates of a step on so many examples, and a pass over the weights."""
    example = PASSES * sum(layer.products for layer in layers)
    return batch * example + sum(layer.weight_count for layer in layers)
