"""steps.json: few steps each, into every corner."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from tests.native import reference as ref
from tests.native.make_golden.common import (
    TARGET_TYPES,
    Json,
    Rng,
    b64,
    dense_model,
    describe,
    model_bytes,
)


@dataclass(frozen=True)
class Batch:
    """x [n][inputs], how to learn, and the pull after it in 2^-16 (0: none)."""

    x: ref.Int64
    sgd: ref.Sgd
    pull: int = 0


def run_steps(name: str, model: ref.Model, x_exp: int, batches: list[Batch], rng: Rng) -> Json:
    """One case: train on batches with random targets."""
    begin, outputs = model.copy(), model.shapes[-1].outputs
    steps: list[Json] = []
    for batch in batches:
        targets = rng.targets(model.loss, len(batch.x), outputs)
        ref.step(model, ref.Tensor(batch.x.astype(np.int8), x_exp), targets, batch.sgd)
        if batch.pull:
            ref.pull(model, begin, batch.pull)
        steps.append(
            {
                "n": len(batch.x),
                **asdict(batch.sgd),
                "pull": batch.pull,
                "x": b64(batch.x, "<i1"),
                "targets": b64(targets, TARGET_TYPES[model.loss]),
                "checksum": ref.checksum(model),
            }
        )
    return {
        "name": name,
        **describe(model),
        "x_exp": x_exp,
        "before": model_bytes(begin),
        "steps": steps,
        "after": model_bytes(model),
    }


def plain(batches: list[tuple[ref.Int64, int]]) -> list[Batch]:
    """(x, lr) without options."""
    return [Batch(x, ref.Sgd(lr)) for x, lr in batches]


def plain_steps(rng: Rng) -> Iterator[Json]:
    """1, 2 and 3 layers, odd sizes, batch 1, 16 and partial, ordinary weights."""
    for sizes in ([1, 2], [5, 3], [9, 5, 4], [33, 17, 2], [13, 7, 11, 3], [64, 16, 10]):
        model = dense_model(
            sizes, [-5] * 3, lambda: (rng.int16() >> 2) + 128, lambda: rng.int16() >> 2
        )
        batches = [
            (rng.inputs(n, sizes[0]), lr)
            for n, lr in ((1, 2**20), (16, 2**21), (7, 2**20 + 12345), (1, 1677721), (10, 2**24))
        ]
        yield run_steps("plain " + "-".join(map(str, sizes)), model, -5, plain(batches), rng)


def input_steps(rng: Rng) -> Iterator[Json]:
    """Inputs all zero, all at a limit, alternating."""
    size = 21
    signs = np.where(np.arange(size) % 2 == 0, 127, -127)
    for name, row in (
        ("zero", np.zeros(size, np.int64)),
        ("127", np.full(size, 127)),
        ("-127", np.full(size, -127)),
        ("alternating", signs),
    ):
        model = dense_model([size, 9, 3], [-4, -6], lambda: rng.int16() >> 1, rng.int16)
        batches = [(np.tile(row, (n, 1)), 2**21) for n in (1, 16, 3)]
        yield run_steps(f"inputs {name}", model, -5, plain(batches), rng)


def saturated_steps(rng: Rng) -> Iterator[Json]:
    """Weights and biases at and beside their limits."""

    def limit() -> int:
        return 32767 if rng.below(2) else -32768

    def bias_limit() -> int:
        return (2**31 - 1, -(2**31), 2**30, -(2**30), 0)[rng.below(5)]

    for name, stored, bias in (
        ("corner weights", rng.corner, rng.int16),
        ("weights at the limits", limit, rng.int16),
        ("all weights 32767", lambda: 32767, rng.int16),
        ("all weights -32768", lambda: -32768, rng.int16),
        ("biases at the limits", rng.corner, bias_limit),
    ):
        for exps, x_exp in (([-5, -5, -5], -5), ([-2, -1, -3], 0)):
            model = dense_model([15, 6, 7, 4], exps, stored, bias)
            batches = [(rng.inputs(n, 15), lr) for n, lr in ((1, 2**24), (16, 2**28), (5, 2**22))]
            yield run_steps(f"{name}, w_exp {exps}", model, x_exp, plain(batches), rng)


def rate_steps(rng: Rng) -> Iterator[Json]:
    """Learning rates from the smallest to the largest."""
    for lr in (1, 3, 2**8, 2**16 - 1, 2**24 - 1, 2**24 + 1, 2**28 - 1, 2**28):
        model = dense_model([11, 8, 5], [-5, -5], lambda: rng.int16() >> 2, rng.int16)
        batches = [(rng.inputs(n, 11), lr) for n in (1, 16, 13)]
        yield run_steps(f"lr {lr}", model, -5, plain(batches), rng)


def exponent_steps(rng: Rng) -> Iterator[Json]:
    """Weight and input exponents at their limits, alone and mixed."""
    for exps, x_exp in (
        ([-24, -24, -24], -24),
        ([7, 7, 7], 7),
        ([-24, 7, -24], 7),
        ([7, -24, 7], -24),
        ([-5, -24, -5], -5),
        ([-12, -12, -12], -5),
        ([-16, -2, 3], -24),
    ):
        model = dense_model([10, 7, 6, 3], exps, lambda: rng.int16() >> 1, rng.int16)
        batches = [(rng.inputs(n, 10), lr) for n, lr in ((1, 2**20), (16, 2**24), (9, 2**28))]
        yield run_steps(f"w_exp {exps}, x_exp {x_exp}", model, x_exp, plain(batches), rng)


def shape_steps(rng: Rng) -> Iterator[Json]:
    """8 layers, no ReLU, 256 classes, 256 examples, widths around the lanes of vector units."""

    def small() -> int:
        return rng.int16() >> 1

    def case(name: str, sizes: list[int], ns: tuple[int, ...], linear: bool = False) -> Json:
        model = dense_model(sizes, [-5] * 8, small, small, linear=linear)
        batches = [(rng.inputs(n, sizes[0]), 2**21) for n in ns]
        return run_steps(name, model, -5, plain(batches), rng)

    yield case("8 layers", [6, 5, 7, 4, 8, 3, 9, 5, 3], (1, 16, 3))
    yield case("linear", [9, 8, 7, 3], (1, 16, 3), linear=True)
    yield case("256 classes", [3, 5, 256], (1, 16))
    yield case("256 examples", [4, 3, 2], (256, 255))
    for width in (15, 16, 17, 31, 32, 33, 63, 65):
        yield case(f"width {width}", [width, width, 2], (1, 4))


def dense_steps() -> list[Json]:
    rng = Rng(1)
    makers = (plain_steps, input_steps, saturated_steps, rate_steps, exponent_steps, shape_steps)
    return [case for make in makers for case in make(rng)]
