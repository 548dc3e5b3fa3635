"""Bytes of RAM on a 32-bit target: the formulas of native/src/step/step.c and net/shape.c."""

from fedling_native import Kind, Layer
from fedling_protocol.classes import dataclass
from fedling_sim.sizing.workload import Job

ALIGN = 8  # FDL_ARENA_ALIGN


@dataclass(frozen=True, slots=True)
class Arena:
    """What a step takes of its arena, in bytes."""

    shapes: int  # struct fdl_part of each layer
    accumulators: int  # int32, of the widest layer
    errors: int  # int8, of the last layer
    inputs: int  # int8, of every layer; errors take their place
    total: int  # with rounding


@dataclass(frozen=True, slots=True)
class Ram:
    """What is in use, in bytes. Training, update and prediction take turns in the same memory."""

    state: int  # weights and biases
    velocity: int
    arena: Arena
    batch: int  # inputs and targets of a step
    update: int  # packed weights
    prediction: int  # arena, inputs and outputs of an example
    stack: int  # without the stacks of interrupts

    @property
    def training(self) -> int:
        """The bytes that training takes beside state and stack."""
        return self.velocity + self.arena.total + self.batch

    @property
    def total(self) -> int:
        """The most bytes that are in use at once."""
        return self.state + max(self.training, self.update, self.prediction) + self.stack


def ram(job: Job, part_bytes: int, stack: int) -> Ram:
    """Count the RAM of a job. part_bytes: size of struct fdl_part; stack: bytes."""
    state = packed_bytes(job.layers)
    return Ram(
        state,
        4 * (job.weight_count + job.bias_count) if job.momentum else 0,
        arena(job, part_bytes),
        job.batch * (job.inputs + job.target_bytes),
        state,
        prediction(job, part_bytes),
        stack,
    )


def packed_bytes(layers: tuple[Layer, ...]) -> int:
    """Count weights as int16, biases as int32: in RAM and as canonical bytes."""
    return sum(2 * layer.weight_count + 4 * layer.bias_count for layer in layers)


def arena(job: Job, part_bytes: int) -> Arena:
    """Count the arena as fdl_step_arena_size() does; part_bytes: size of struct fdl_part."""
    n, layers, widest = job.batch, job.layers, widest_of(job.layers)
    shapes = round_up(len(layers) * part_bytes)
    accumulators = round_up(4 * (n * widest + (widest + 3) // 4))
    errors = round_up(n * layers[-1].outputs)
    held = sum(stored(layer) for layer in layers[1:])
    if stored(layers[0]) != layers[0].inputs:  # else the caller's are read
        held += stored(layers[0])
    inputs = n * held
    total = shapes + accumulators + errors + inputs + len(layers) * ALIGN
    return Arena(shapes, accumulators, errors, inputs, total // ALIGN * ALIGN)


def prediction(job: Job, part_bytes: int) -> int:
    """Count fdl_predict_arena_size(), int8 inputs and int32 outputs."""
    widest = widest_of(job.layers)
    arena = round_up(len(job.layers) * part_bytes) + round_up(4 * widest) + round_up(widest)
    return arena + job.inputs + 4 * job.layers[-1].outputs


def widest_of(layers: tuple[Layer, ...]) -> int:
    """Find the most values of one example that some layer stores or gives."""
    return max(max(stored(layer), layer.outputs) for layer in layers)


def stored(layer: Layer) -> int:
    """Count one example's inputs as they lie in memory; max pools pass over their padding."""
    return layer.inputs if layer.kind is Kind.MAX_POOL else layer.padded_inputs


def round_up(size: int) -> int:
    return -(-size // ALIGN) * ALIGN
