"""Models drawn at random, of every kind of layer, loss and option, that fit a board."""

from collections.abc import Iterator
from random import Random

from fedling_native import (
    MAX_TERMS,
    VALID,
    Layer,
    Loss,
    Shape,
    average_pool,
    conv,
    dense,
    depthwise,
    max_pool,
    same,
)
from fedling_sim.sizing import memory
from fedling_sim.sizing.workload import Job

PART_BYTES = 80  # of struct fdl_part, about: only to see what is too large
STACK_BYTES = 2048  # likewise
MOST_PRODUCTS = 1_500_000  # of the forward pass of a step, so that a job takes seconds


def jobs(seed: int, count: int, most_ram: int) -> list[Job]:
    """`count` jobs that need at most `most_ram` bytes each."""
    random = Random(seed)
    found: list[Job] = []
    while len(found) < count:
        job = draw(random)
        if fits(job, most_ram):
            found.append(job)
    return found


def fits(job: Job, most_ram: int) -> bool:
    """Whether a board can measure it."""
    products = sum(layer.positions * layer.weight_count for layer in job.layers)
    terms = max(layer.positions for layer in job.layers) * job.batch
    ram = memory.ram(job, PART_BYTES, STACK_BYTES).total
    return ram <= most_ram and terms <= MAX_TERMS and products * job.batch <= MOST_PRODUCTS


def draw(random: Random) -> Job:
    """A model and a way to train it."""
    loss = random.choices(list(Loss), (6, 2, 2, 2))[0]
    shape = draw_shape(random)
    layers = list(body(random, shape))
    inputs = layers[-1].outputs if layers else prod(shape)
    outputs = prod(shape) if loss is Loss.RECONSTRUCTION else random.randint(2, 12)
    layers.append(dense(inputs, outputs))
    return Job(
        tuple(layers),
        loss,
        random.choice((1, 1, 2, 4, 5, 8, 10, 16)),
        random.randrange(len(layers)) if random.random() < 0.2 else 0,
        momentum=random.random() < 0.25,
        clip=random.random() < 0.2,
        pull=random.random() < 0.2,
        normaliser=random.random() < 0.5,
    )


def prod(shape: Shape) -> int:
    height, width, channels = shape
    return height * width * channels


def draw_shape(random: Random) -> Shape:
    """Of an example: values, a window of a recording, or an image."""
    kind = random.randrange(3)
    if kind == 0:
        return 1, 1, random.randint(8, 160)
    if kind == 1:
        return 1, random.randint(12, 100), random.choice((1, 3, 6))
    return random.randint(5, 14), random.randint(5, 14), random.choice((1, 2, 3))


def body(random: Random, shape: Shape) -> Iterator[Layer]:
    """All layers but the last."""
    for _ in range(random.randint(0, 3)):
        if shape[0] * shape[1] == 1:
            layer = dense(shape[2], random.randint(4, 72), relu=random.random() < 0.9)
        else:
            layer = draw_window(random, shape)
        yield layer
        shape = layer.out_shape
    if shape[0] * shape[1] > 1 and random.random() < 0.4:
        yield average_pool(shape)


def draw_window(random: Random, shape: Shape) -> Layer:
    """A layer that slides over its input."""
    tall, wide = shape[0] > 1, shape[1]
    kernel = (random.randint(1, min(3, shape[0])) if tall else 1, random.randint(1, min(5, wide)))
    stride = (random.randint(1, 2) if tall else 1, random.randint(1, 2))
    pad = same(shape, kernel, stride) if random.random() < 0.4 else VALID
    relu = random.random() < 0.9
    kind = random.choices(("conv", "depthwise", "max_pool"), (5, 2, 2))[0]
    if kind == "conv":
        return conv(shape, random.randint(2, 20), kernel, stride, pad=pad, relu=relu)
    if kind == "depthwise":
        return depthwise(shape, kernel, stride, pad=pad, relu=relu)
    return max_pool(shape, kernel, kernel)
