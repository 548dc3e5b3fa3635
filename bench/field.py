"""What the field does to a fleet: a hostile device in every round, devices of one class each.

Twenty devices, 13 of them in a round, 40 rounds; the task of examples/watch. Devices train with the
kernel in C, the server is fedling_broker.aggregation with the limits of its default. The hostile
device answers first, so it is in every round, and claims as many examples as it may.

    poison_none     accuracy when nobody is hostile
    poison_max      the largest values there are, in every weight and bias
    poison_flip     its honest update turned round, ten times as long
    poison_random   random values, as large as they can be

Accuracy of the watch task, mean of three seeds. The same without limits is told in rows only.

    skew_iris_points     label-sorted devices by default, less float averaging with one scale for
    skew_wine_points     all, in points of accuracy, mean of three seeds; beside it in rows the same
    skew_digits_points   with a scale of each device's own
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import numpy as np

from bench.report import Report
from bench.support import skew
from bench.support.kernel_fleet import CLIP_Q8, Attack, Fleet
from bench.watch_federation import MLP, Way, devices
from fedling_broker.aggregation.initial import initial_state
from fedling_broker.aggregation.vectors import Vector
from tests.native import kernel

SEEDS, ROUNDS, COHORT = 3, 40, 13
LAYERS = tuple(kernel.layer(shape) for shape in MLP)
WAY = Way("watch", momentum=192)


def largest(honest: Vector, _dice: np.random.Generator) -> Vector:
    return Vector(np.full_like(honest.weights, 2**15 - 1), np.full_like(honest.biases, 2**31 - 1))


def turned(honest: Vector, _dice: np.random.Generator) -> Vector:
    weights, biases = (-10 * v.astype(np.int64) for v in (honest.weights, honest.biases))
    return Vector(np.clip(weights, -(2**15), 2**15 - 1), np.clip(biases, -(2**31), 2**31 - 1))


def random(honest: Vector, dice: np.random.Generator) -> Vector:
    weights, biases = honest.weights, honest.biases
    return Vector(
        dice.integers(-(2**15), 2**15, weights.shape), dice.integers(-(2**31), 2**31, biases.shape)
    )


ATTACKS: dict[str, Attack | None] = {
    "none": None, "max": largest, "flip": turned, "random": random,
}  # fmt: skip


def play(attack: Attack | None, clip_q8: int, seed: int) -> float:
    state, dice = initial_state(LAYERS, seed.to_bytes(32, "big")), np.random.default_rng(seed)
    fleet = Fleet(devices(), LAYERS, WAY, COHORT, dice, state, attack, clip_q8)
    for _ in range(ROUNDS):
        fleet.round()
    return fleet.accuracy()


def main() -> None:
    report = Report("field")
    for name, attack in ATTACKS.items():
        for clip_q8 in (CLIP_Q8, 0):
            runs = [play(attack, clip_q8, seed) for seed in range(1, SEEDS + 1)]
            found = float(np.mean(runs))
            seeds = " ".join(f"{run:.3f}" for run in runs)
            report.row(hostile=name, clip=clip_q8 / 256, accuracy=found, seeds=seeds)
            if clip_q8:
                report.figure(f"poison_{name}", round(found, 4))
    for data in skew.ALL:
        played = [skew.play(data, seed) for seed in range(1, SEEDS + 1)]
        means = {name: float(np.mean([one[name] for one in played])) for name in played[0]}
        report.row(data=data.name, devices=data.devices, **means)
        points = 100 * (means["fleet"] - means["floats"])
        report.figure(f"skew_{data.name}_points", round(points, 2))
    report.finish()


if __name__ == "__main__":
    main()
