"""Accuracy of the integers minus that of float32, in points: are the kernel's roundings felt?

    python -m bench.parity [--only NAME ...] [--seeds 5]

Both learn side by side from the same weights, batches and devices (bench/support/pairs.py), over
one grid of learning rates; the best of each side counts. The last fifth of the epochs runs at a
quarter of the rate, and the accuracy is the mean over the last epochs or rounds, so that what a
single step moves does not hide a difference. Ends with an error when float learned worse than it
should.

points_NAME    integer minus float, mean of the seeds
float_NAME     float, in percent
auroc_float, auroc_delta    of an autoencoder that tells faults of sensors, mean of four faults
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.report import Report
from bench.support.datasets import Examples, Split, digits, mnist
from bench.support.faults import FAULTS, aurocs
from bench.support.pairs import (
    Pair,
    Way,
    accuracies,
    first_pair,
    play_round,
    train_epoch,
)
from bench.support.watch import own_windows, skewed_windows, test_windows, watch
from fedling_native import Layer, Loss, average_pool, conv, dense

WATCH_MLP = (dense(600, 64, relu=True), dense(64, 7))
WATCH_CNN = (
    conv((1, 100, 6), 16, (1, 9), (1, 2), relu=True),
    conv((1, 46, 16), 32, (1, 5), (1, 2), relu=True),
    average_pool((1, 21, 32)),
    dense(32, 7),
)
AUTOENCODER = (
    dense(600, 64, relu=True), dense(64, 16, relu=True), dense(16, 64, relu=True), dense(64, 600),
)  # fmt: skip

TOLD = 3  # epochs or rounds at the end whose accuracies are averaged
SLACK = 0.3  # points that float may stay below what it is known to reach


@dataclass(frozen=True, slots=True)
class Task:
    """A net and what it learns, all data in one place."""

    name: str
    layers: tuple[Layer, ...]
    data: Callable[[], Split]
    rates: tuple[float, ...]
    epochs: int
    known: float  # percent that float reaches
    batch: int = 16
    momentum: int = 0  # in 1/256


@dataclass(frozen=True, slots=True)
class Fleet:
    """The watch's CNN, learned by devices that keep their windows."""

    name: str
    deal: Callable[[int], list[Examples]]  # by seed
    rate: float = 0.2
    batch: int = 10
    epochs: int = 3
    rounds: int = 60
    share: float = 0.7  # of the devices, in each round


DENSE_DIGITS = (dense(64, 32, relu=True), dense(32, 10))
DENSE_MNIST = (dense(784, 100, relu=True), dense(100, 10))
TASKS = (
    Task("digits", DENSE_DIGITS, digits, (1 / 2, 1 / 4, 1 / 8), 30, 98.44),
    Task("mnist", DENSE_MNIST, mnist, (1 / 2, 1 / 4, 1 / 8), 10, 95.74),
    Task("watch_cnn", WATCH_CNN, watch, (0.4, 0.2, 0.1), 25, 95.99),
    Task("watch_mlp", WATCH_MLP, watch, (0.1, 0.05, 0.025), 25, 91.0),
    Task("momentum", WATCH_CNN, watch, (0.02,), 25, 95.99, momentum=230),
    Task("batch_1", WATCH_CNN, watch, (0.0125,), 25, 95.99, batch=1),
)
FLEETS = (Fleet("fed_watch_cnn", own_windows), Fleet("fed_watch_skew", skewed_windows))


# --- all data in one place ------------------------------------------------------------------------


def learn(task: Task, rate: float, seed: int) -> tuple[float, float]:
    """Accuracies of integers and float after training, in percent."""
    data, pair, dice = task.data(), first_pair(task.layers, seed), np.random.default_rng(seed)
    told = []
    for epoch in range(task.epochs):
        late = epoch >= task.epochs * 4 // 5
        way = Way(rate / 4 if late else rate, task.batch, task.momentum, data.x_exp)
        pair = train_epoch(pair, data.train, way, dice)
        if epoch >= task.epochs - TOLD:
            told.append(accuracies(pair, data.test, data.x_exp))
    ours, theirs = np.mean(told, axis=0)
    return float(ours), float(theirs)


def compare(report: Report, task: Task, seeds: int) -> str | None:
    """Rows and figures of one task; what is wrong with the float side, if anything is."""
    best = np.zeros(2)
    for rate in task.rates:
        runs = np.array([learn(task, rate, seed) for seed in range(seeds)])
        tell(report, task.name, runs, lr=rate, batch=task.batch)
        best = np.maximum(best, runs.mean(axis=0))
    ours, theirs = map(float, best)
    report.figure(f"points_{task.name}", round(ours - theirs, 2))
    report.figure(f"float_{task.name}", round(theirs, 2))
    if theirs < task.known - SLACK:
        return f"{task.name}: float reached {theirs:.2f} %, {task.known} % is known"
    return None


def tell(report: Report, name: str, runs: NDArray[np.float64], **columns: float) -> None:
    """One row; the standard error is that of the seeds' differences."""
    differences = runs[:, 0] - runs[:, 1]
    error = differences.std(ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else None
    ours, theirs = runs.mean(axis=0)
    print(f"parity: {name}: {ours:.2f} in integers, {theirs:.2f} in float32", flush=True)
    report.row(
        task=name, **columns, integers=float(ours), floats=float(theirs),
        points=float(differences.mean()), standard_error=error, seeds=len(runs),
    )  # fmt: skip


# --- devices --------------------------------------------------------------------------------------


def federate(fleet: Fleet, seed: int) -> tuple[float, float]:
    """Accuracies of the global models of integers and float, in percent."""
    parts, test = fleet.deal(seed), watch().test
    pair, dice = first_pair(WATCH_CNN, seed), np.random.default_rng(seed)
    way, told = Way(fleet.rate, fleet.batch), []
    for number in range(fleet.rounds):
        chosen = dice.choice(len(parts), round(fleet.share * len(parts)), replace=False)
        pair = play_round(pair, [parts[i] for i in chosen], way, fleet.epochs, dice)
        if number >= fleet.rounds - TOLD:
            told.append(accuracies(pair, test))
    ours, theirs = np.mean(told, axis=0)
    return float(ours), float(theirs)


def compare_fleet(report: Report, fleet: Fleet, seeds: int) -> None:
    runs = np.array([federate(fleet, seed) for seed in range(seeds)])
    tell(report, fleet.name, runs, lr=fleet.rate, batch=fleet.batch)
    ours, theirs = runs.mean(axis=0)
    report.figure(f"points_{fleet.name}", round(float(ours - theirs), 2))
    report.figure(f"float_{fleet.name}", round(float(theirs), 2))


# --- faults ---------------------------------------------------------------------------------------


def compare_detection(report: Report, seeds: int) -> None:
    """How well the autoencoder of integers and that of float tell each fault."""
    cases = {name: test_windows(fault) for name, fault in FAULTS.items()}
    training, normal = watch().train, test_windows(None)
    runs = [
        aurocs(train_autoencoder(seed), training, normal, cases.values()) for seed in range(seeds)
    ]
    means = np.mean(runs, axis=0)
    for name, (ours, theirs) in zip(cases, means, strict=True):
        report.row(
            task=f"auroc, {name}", integers=float(ours), floats=float(theirs), seeds=seeds
        )  # fmt: skip
    ours, theirs = means.mean(axis=0)
    report.figure("auroc_float", round(float(theirs), 4))
    report.figure("auroc_delta", round(float(ours - theirs), 4))


def train_autoencoder(seed: int, epochs: int = 30) -> Pair:
    pair, dice = first_pair(AUTOENCODER, seed, Loss.RECONSTRUCTION), np.random.default_rng(seed)
    for _ in range(epochs):
        pair = train_epoch(pair, watch().train, Way(0.001), dice)
    return pair


# --- all of it ------------------------------------------------------------------------------------


def main() -> None:
    names = [*(t.name for t in TASKS), *(f.name for f in FLEETS), "autoencoder"]
    parser = argparse.ArgumentParser(description="Accuracy of integers minus float.")
    parser.add_argument("--seeds", type=int, default=5, help="runs (default %(default)s)")
    parser.add_argument("--only", nargs="*", choices=names, default=names, metavar="NAME")
    args = parser.parse_args()
    whole = args.only == names and args.seeds == parser.get_default("seeds")
    report = Report("parity" if whole else "parity_part")
    weak = [compare(report, t, args.seeds) for t in TASKS if t.name in args.only]
    for fleet in FLEETS:
        if fleet.name in args.only:
            compare_fleet(report, fleet, args.seeds)
    if "autoencoder" in args.only:
        compare_detection(report, args.seeds)
    report.finish()
    if any(weak):
        raise SystemExit("\n".join(filter(None, weak)))


if __name__ == "__main__":
    main()
