"""training.json: whole trainings on generated data."""

import zlib
from dataclasses import dataclass
from itertools import accumulate, cycle, islice

import numpy as np

from tests.native import reference as ref
from tests.native.generated import Generator
from tests.native.make_golden.common import Json, dense_shapes, describe
from tests.native.reference import Loss, Shape, conv, dense, depthwise, max_pool

TOLD = (0, 1, 2, 5, 10, 20, 50, 100, 200)  # steps
ANSWERS = 8  # examples after the last step


@dataclass(frozen=True)
class Task:
    """A training: `sizes` of batches come again and again, the smaller one ends an epoch."""

    name: str
    shapes: list[Shape]
    sizes: list[int]
    sgd: ref.Sgd
    classes: int
    loss: Loss = Loss.SOFTMAX
    run: int = 1
    x_exp: int = ref.NORMALISED_EXP
    pull: tuple[int, int] = (0, 0)  # every so many steps, by so much
    steps: int = 200
    small: bool = False


def task_json(task: Task) -> Json:
    seed = zlib.crc32(task.name.encode())
    generator = Generator(seed, task.shapes, task.loss, task.classes, task.run)
    ranges = [(0, 0) if s.pools else ref.first_range(s.span) for s in task.shapes]
    limits = [limit for _, limit in ranges]
    model = generator.model([w_exp for w_exp, _ in ranges], limits)
    return {
        "name": task.name,
        "small": task.small,
        "seed": seed,
        **describe(model),
        "limits": limits,
        "x_exp": task.x_exp,
        "classes": task.classes,
        "run": task.run,
        "sizes": task.sizes,
        "lr": task.sgd.lr,
        "clip": task.sgd.clip,
        "momentum": task.sgd.momentum,
        "frozen": task.sgd.frozen,
        "pull": task.pull,
        "checksums": train(task, generator, model),
        **answers(task, generator, model),
    }


def starts(task: Task) -> list[int]:
    """Number of the first example of each step, and of the answers."""
    return list(accumulate(islice(cycle(task.sizes), task.steps), initial=0))


def train(task: Task, generator: Generator, model: ref.Model) -> list[tuple[int, int]]:
    """(steps done, checksum) for all of TOLD."""
    begin, every = model.copy(), task.pull[0]
    told = [(0, ref.checksum(model))]
    for done, (first, n) in enumerate(zip(starts(task), cycle(task.sizes), strict=False), 1):
        if done > task.steps:
            break
        x, targets = generator.batch(first, n)
        ref.step(model, ref.Tensor(x, task.x_exp), targets, task.sgd)
        if every and done % every == 0:
            ref.pull(model, begin, task.pull[1])
        if done in TOLD:
            told.append((done, ref.checksum(model)))
    return told


def answers(task: Task, generator: Generator, model: ref.Model) -> Json:
    """What the trained model says of the next examples."""
    x, _ = generator.batch(starts(task)[-1], ANSWERS)
    said = [ref.predict(model, one, task.x_exp) for one in x]
    outputs = np.stack([values for values, _ in said]).astype("<i4")
    return {"labels": [label for _, label in said], "outputs": zlib.crc32(outputs.tobytes())}


CONV1D = [
    conv((1, 40, 3), 8, (1, 5), (1, 2), relu=True),
    depthwise((1, 18, 8), (1, 3), pad=(0, 0, 1, 1), relu=True),
    max_pool((1, 18, 8), (1, 3), (1, 2), pad=(0, 0, 1, 0)),
    conv((1, 9, 8), 12, (1, 3), relu=True),
    ref.average_pool((1, 7, 12)),
    dense(12, 5),
]
CONV2D = [
    conv((8, 8, 2), 4, (3, 3), pad=(1, 1, 1, 1), relu=True),
    max_pool((8, 8, 4), (2, 2), (2, 2)),
    depthwise((4, 4, 4), (3, 3), pad=(1, 1, 1, 1), relu=True),
    conv((4, 4, 4), 10, (3, 2), (2, 1), pad=(1, 0, 0, 1), relu=True),
    dense(80, 4),
]
AUTOENCODER = [dense(48, 20, relu=True), dense(20, 8), dense(8, 20, relu=True), dense(20, 48)]
WATCH_CNN = [
    conv((1, 100, 6), 16, (1, 9), (1, 2), relu=True),
    conv((1, 46, 16), 32, (1, 5), (1, 2), relu=True),
    ref.average_pool((1, 21, 32)),
    dense(32, 7),
]
VALUES = [
    depthwise((6, 7, 3), (2, 3), (2, 1), pad=(0, 1, 2, 0), relu=True),
    conv((3, 7, 3), 9, (2, 2), (1, 2)),
    dense(54, 3),
]

SMALL = [
    Task("dense", dense_shapes([64, 32, 10]), [4, 4, 4, 3], ref.Sgd(2**20), 10, small=True),
    Task("conv1d", CONV1D, [4, 4, 4, 2], ref.Sgd(2**16, momentum=230), 5, run=12, small=True),
    Task(
        "conv2d",
        CONV2D,
        [3, 3, 1],
        ref.Sgd(2**22, clip=2**15),
        16,
        Loss.SIGMOID,
        run=4,
        pull=(25, 2**13),
        small=True,
    ),
    Task(
        "autoencoder",
        AUTOENCODER,
        [4, 4, 3],
        ref.Sgd(2**16),
        6,
        Loss.RECONSTRUCTION,
        run=4,
        x_exp=-6,
        small=True,
    ),
]
LARGE = [
    Task("64-32-10 batch 16", dense_shapes([64, 32, 10]), [16, 16, 9], ref.Sgd(2**20), 10),
    Task("64-32-10 batch 1", dense_shapes([64, 32, 10]), [1], ref.Sgd(2**20), 10),
    Task("65-33-17-5", dense_shapes([65, 33, 17, 5]), [7, 7, 2], ref.Sgd(2**19), 5),
    Task("600-64-7", dense_shapes([600, 64, 7]), [10, 10, 4], ref.Sgd(838861), 7),
    Task("784-200-10", dense_shapes([784, 200, 10]), [16], ref.Sgd(2**20), 10, steps=20),
    Task("watch CNN", WATCH_CNN, [10, 10, 3], ref.Sgd(3355443), 7, run=30, steps=100),
    Task("watch CNN, frozen", WATCH_CNN, [10, 3], ref.Sgd(2**21, frozen=1), 7, run=30, steps=20),
    Task(
        "values",
        VALUES,
        [5, 5, 2],
        ref.Sgd(2**19, clip=2**16, momentum=128),
        6,
        Loss.SQUARED,
        run=3,
        pull=(10, 2000),
    ),
]


def all_training() -> list[Json]:
    return [task_json(task) for task in SMALL + LARGE]
