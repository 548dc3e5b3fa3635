"""What to shrink where a job does not fit: the parts that are largest, and by how much."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from fedling_native import Kind, Layer
from fedling_protocol.classes import dataclass
from fedling_sim.sizing.estimate import Plan
from fedling_sim.sizing.memory import Ram, packed_bytes
from fedling_sim.sizing.workload import Job


@dataclass(frozen=True, slots=True)
class Limits:
    """What a board has left for training, in bytes."""

    flash: int
    ram: int


def advice(job: Job, plan: Plan, limits: Limits, ram_of: Callable[[Job], Ram]) -> Iterator[str]:
    """Say a sentence for each memory that is too small: none if all fits.

    ram_of: the RAM of a job on the same core
    """
    over = plan.flash.total - limits.flash
    if over > 0:
        yield f"flash: {over:,} bytes too many; {flash_advice(job, plan)}"
    over = plan.ram.total - limits.ram
    if over > 0:
        yield f"RAM: {over:,} bytes too many; {ram_advice(job, limits.ram, ram_of)}"


def flash_advice(job: Job, plan: Plan) -> str:
    """Say which part of the flash is the largest."""
    if plan.flash.code > plan.flash.weights:
        return f"the largest part is code, {plan.flash.code:,} bytes"
    return largest_layer(job, lambda layer: packed_bytes((layer,)))


def ram_advice(job: Job, limit: int, ram_of: Callable[[Job], Ram]) -> str:
    """Advise the largest batch that fits, else no momentum, else name the largest layer."""
    batches = range(job.batch - 1, 0, -1)
    if batch := next((n for n in batches if fits(replace(job, batch=n), limit, ram_of)), None):
        return f"a batch of {batch} instead of {job.batch} fits"
    least = replace(job, batch=1)
    if job.momentum and fits(replace(least, momentum=False), limit, ram_of):
        return "without momentum it fits" + (" with a batch of 1" if job.batch > 1 else "")
    largest = largest_layer(job, lambda layer: layer_ram(job, layer))
    if job.batch == 1:
        return largest
    return f"{ram_of(least).total - limit:,} with a batch of 1; {largest}"


def fits(job: Job, limit: int, ram_of: Callable[[Job], Ram]) -> bool:
    return ram_of(job).total <= limit


def layer_ram(job: Job, layer: Layer) -> int:
    """Count what a layer needs whatever the batch: weights, biases, velocity."""
    velocity = 4 * (layer.weight_count + layer.bias_count) if job.momentum else 0
    return packed_bytes((layer,)) + velocity


def largest_layer(job: Job, size: Callable[[Layer], int]) -> str:
    """Name the layer that takes the most."""
    number = max(range(len(job.layers)), key=lambda n: size(job.layers[n]))
    layer = job.layers[number]
    return f"the largest layer is number {number}, {in_words(layer)}, with {size(layer):,} bytes"


def in_words(layer: Layer) -> str:
    """Write a layer in short: its kind and its size."""
    kind, (height, width) = layer.kind.name.lower(), layer.kernel
    if layer.kind is Kind.DENSE:
        return f"{kind} {layer.channels} to {layer.out}"
    if layer.kind is Kind.AVERAGE_POOL:
        return kind
    window = f"{width}" if layer.height == 1 else f"{height} x {width}"
    return f"{kind} {layer.out} of {window}" if layer.kind is Kind.CONV else f"{kind} {window}"
