"""steps.json, second part: every kind of layer, every loss, every option."""

from collections.abc import Iterator, Sequence

import numpy as np

from tests.native import reference as ref
from tests.native.make_golden.common import Draw, Json, Rng, make_model
from tests.native.make_golden.steps import Batch, run_steps
from tests.native.reference import (
    Loss,
    Sgd,
    Shape,
    average_pool,
    conv,
    dense,
    depthwise,
    max_pool,
    same,
)

RATE = Sgd(2**20)
MIXED = [  # every kind, paddings on all sides
    conv((4, 5, 2), 3, (2, 3), (1, 1), pad=(1, 0, 1, 1), relu=True),
    depthwise((4, 5, 3), (3, 2), (1, 2), pad=(2, 1, 0, 1), relu=True),
    max_pool((5, 3, 3), (2, 2), (2, 1), pad=(1, 0, 0, 1)),
    conv((3, 3, 3), 4, (2, 2), relu=True),
    average_pool((2, 2, 4)),
    dense(4, 3),
]

RECONSTRUCTING = [
    conv((1, 6, 2), 3, (1, 3), pad=(0, 0, 1, 1), relu=True),
    max_pool((1, 6, 3), (1, 2), (1, 2)),
    dense(9, 12),
]


def exponents(shapes: Sequence[Shape], w_exp: int) -> list[int]:
    return [0 if shape.pools else w_exp for shape in shapes]


def ordinary(rng: Rng, shapes: Sequence[Shape], loss: Loss = Loss.SOFTMAX) -> ref.Model:
    """Weights of up to half their range."""
    w_exps = exponents(shapes, -6)
    return make_model(shapes, w_exps, lambda: (rng.int16() >> 1) + 128, rng.int16, loss)


def run(rng: Rng, name: str, model: ref.Model, options: Sequence[Sgd], *pulls: int) -> Json:
    """Batches of 3, 1 and 2 examples with each of the options, a pull after each."""
    size = model.shapes[0].inputs
    batches = [
        Batch(rng.inputs(n, size), sgd, pull)
        for sgd in options
        for n, pull in zip((3, 1, 2), pulls or (0, 0, 0), strict=True)
    ]
    return run_steps(name, model, -5, batches, rng)


# --- kinds ----------------------------------------------------------------------------------------


def windowed() -> list[tuple[str, Shape]]:
    """One layer each: kernels, strides, paddings, lengths that no window ends with."""
    return [
        ("conv1d", conv((1, 11, 3), 4, (1, 3), (1, 2), relu=True)),
        ("conv1d with a rest", conv((1, 12, 3), 4, (1, 3), (1, 2), relu=True)),
        ("conv1d same", conv((1, 10, 2), 3, (1, 4), (1, 3), pad=same(1, 10, (1, 4), (1, 3)))),
        ("conv1d of one row of padding", conv((1, 3, 2), 2, (1, 5), pad=(0, 0, 4, 3), relu=True)),
        ("conv 1x1", conv((3, 2, 5), 4, (1, 1), relu=True)),
        ("conv over all", conv((3, 4, 2), 5, (3, 4), relu=True)),
        ("conv with gaps", conv((7, 8, 2), 3, (2, 2), (4, 3), relu=True)),
        ("conv2d", conv((5, 6, 2), 3, (3, 2), (2, 1), relu=True)),
        ("conv2d same", conv((5, 4, 3), 4, (3, 3), (2, 2), pad=same(5, 4, (3, 3), (2, 2)))),
        ("conv2d padded", conv((4, 5, 2), 3, (3, 4), (2, 3), pad=(2, 0, 1, 3), relu=True)),
        ("conv2d, 17 to 19 channels", conv((2, 3, 17), 19, (2, 2), relu=True)),
        ("depthwise 1d", depthwise((1, 13, 3), (1, 4), (1, 3), relu=True)),
        ("depthwise 1d padded", depthwise((1, 9, 5), (1, 3), pad=(0, 0, 2, 1))),
        ("depthwise 2d", depthwise((5, 6, 3), (2, 3), (2, 1), pad=(1, 0, 0, 2), relu=True)),
        ("depthwise, 33 channels", depthwise((1, 4, 33), (1, 2), relu=True)),
        ("max_pool", max_pool((4, 6, 3), (2, 2), (2, 2))),
        ("max_pool, overlapping, odd", max_pool((1, 11, 3), (1, 4), (1, 3))),
        ("max_pool padded", max_pool((5, 3, 2), (3, 2), (2, 1), pad=(1, 2, 1, 1))),
        ("max_pool with gaps", max_pool((1, 12, 2), (1, 2), (1, 5))),
        *[(f"average_pool of {n}", average_pool((1, n, 3))) for n in (1, 2, 3, 5, 23, 64, 85)],
        ("average_pool 2d", average_pool((3, 5, 4))),
    ]


def kind_steps(rng: Rng) -> Iterator[Json]:
    """Each layer as the second of three, and as the last, where its outputs are the logits."""
    for name, shape in windowed():
        height, width, channels = shape.height, shape.width, shape.channels
        first = conv((height, width, 2), channels, (1, 1), relu=True)
        net = [first, shape, dense(shape.outputs, 3)]
        yield run(rng, name, ordinary(rng, net), [RATE])
        last = Shape(**{**vars(shape), "relu": False})
        yield run(rng, f"{name}, last", ordinary(rng, [first, last], Loss.SQUARED), [RATE])


# --- losses ---------------------------------------------------------------------------------------


def loss_steps(rng: Rng) -> Iterator[Json]:
    """Each loss on dense layers, on windows and without a hidden layer."""
    for loss in (Loss.SIGMOID, Loss.SQUARED):
        for name, net in (
            ("dense", [dense(9, 6, relu=True), dense(6, 4)]),
            ("mixed", MIXED),
            ("one layer", [dense(5, 1)]),
        ):
            yield run(rng, f"{loss.name.lower()}, {name}", ordinary(rng, net, loss), [RATE])
    for name, net in (
        ("dense", [dense(12, 5, relu=True), dense(5, 3), dense(3, 5, relu=True), dense(5, 12)]),
        ("windows", RECONSTRUCTING),
    ):
        model = ordinary(rng, net, Loss.RECONSTRUCTION)
        yield run(rng, f"reconstruction, {name}", model, [Sgd(2**17)])


def far_loss_steps(rng: Rng) -> Iterator[Json]:
    """Logits and inputs so large or so small that values, probabilities and errors saturate."""
    for loss in Loss:
        for w_exp, x_exp in ((7, 7), (-24, -24), (3, -24), (-24, 7), (-10, -5)):
            net = [dense(6, 4, relu=True), dense(4, 6)]
            model = make_model(net, [w_exp, w_exp], rng.corner, rng.int16, loss)
            batches = [Batch(rng.inputs(n, 6), RATE) for n in (4, 1)]
            name = f"{loss.name.lower()}, w_exp {w_exp}, x_exp {x_exp}"
            yield run_steps(name, model, x_exp, batches, rng)


# --- options --------------------------------------------------------------------------------------


def option_steps(rng: Rng) -> Iterator[Json]:
    """On a net of every kind of layer."""
    for momentum in (1, 128, 230, 255):
        options = [Sgd(lr, momentum=momentum) for lr in (2**20, 2**22, 2**26)]
        yield run(rng, f"momentum {momentum}", ordinary(rng, MIXED), options)
    for clip in (1, 2**10, 2**15, 2**16, 2**31, 2**32 - 1):
        yield run(rng, f"clip {clip}", ordinary(rng, MIXED), [Sgd(2**21, clip=clip)])
    tiny = [Sgd(1, clip=1), Sgd(2**28, clip=1), Sgd(1, clip=2**32 - 1)]
    yield run(rng, "clip at the ends of the learning rate", ordinary(rng, MIXED), tiny)
    for frozen in range(1, len(MIXED)):
        yield run(rng, f"frozen {frozen}", ordinary(rng, MIXED), [Sgd(2**20, frozen=frozen)])
    yield run(rng, "pull", ordinary(rng, MIXED), [Sgd(2**24)], 1, 2**15, 65535)
    everything = [Sgd(2**21, 2**15, 200, 1), Sgd(2**22, 2**14, 200, 3), Sgd(2**20)]
    for loss in (Loss.SOFTMAX, Loss.SIGMOID, Loss.SQUARED):
        name = f"all options, {loss.name.lower()}"
        yield run(rng, name, ordinary(rng, MIXED, loss), everything, 300, 0, 9000)


# --- extremes -------------------------------------------------------------------------------------


def extreme_steps(rng: Rng) -> Iterator[Json]:
    """Inputs all zero, at their limits, with an outlier; weights at theirs; distant exponents."""
    size = MIXED[0].inputs
    outlier = np.eye(1, size, size // 2, dtype=np.int64) * 127
    for name, row in (
        ("zero", np.zeros((1, size), np.int64)),
        ("127", np.full((1, size), 127)),
        ("-127", np.full((1, size), -127)),
        ("an outlier", outlier + rng.array(lambda: rng.below(3) - 1, 1, size) * (outlier == 0)),
    ):
        batches = [Batch(np.tile(row, (n, 1)), Sgd(2**22, 2**14, 100)) for n in (4, 1, 3)]
        yield run_steps(f"mixed, inputs {name}", ordinary(rng, MIXED), -5, batches, rng)
    draws: list[tuple[str, Draw]] = [
        ("corners", rng.corner),
        ("32767", lambda: 32767),
        ("-32768", lambda: -32768),
        ("zero", lambda: 0),
    ]
    for name, stored in draws:
        for w_exp in (-6, -24, 7):
            model = make_model(MIXED, exponents(MIXED, w_exp), stored, rng.corner)
            options = [Sgd(2**24), Sgd(2**28, momentum=255)]
            yield run(rng, f"mixed, weights {name}, w_exp {w_exp}", model, options)


def layer_steps() -> list[Json]:
    rng = Rng(8)
    makers = (kind_steps, loss_steps, far_loss_steps, option_steps, extreme_steps)
    return [case for make in makers for case in make(rng)]
