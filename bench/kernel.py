"""One training step: the kernel beside plain C in float32, numpy and PyTorch, one thread each.

The kernel is called from C, with the inner loops that it chooses when it runs. CPU time, medians of
runs that take turns, so that what else the machine does falls on all. A run is whole epochs of 64
batches, each from the same first weights. Beside the plain C the same unrolled by hand: compilers
differ in what they make of the plain one. Fails when the faster of both is slower than 0.9 times
numpy at 784-200-10, batch 16: it would be no measure.

ratio_c_, ratio_unrolled_c_, ratio_numpy_, ratio_torch_NET_bBATCH    their time by the kernel's
peak_share_784_b16    products that the kernel adds, of the most that the core can in int8
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import ctypes
import importlib.util
import statistics
import sys

from bench.report import Report
from bench.support.compiled import kernel, library
from bench.support.contestants import Contestant, Course, Fedling, Numpy, PlainC, UnrolledC, course
from fedling_native import Kind, average_pool, conv, dense

WATCH_CNN = (
    conv((1, 100, 6), 16, (1, 9), (1, 2), relu=True),
    conv((1, 46, 16), 32, (1, 5), (1, 2), relu=True),
    average_pool((1, 21, 32)),
    dense(32, 7),
)
MNIST = (dense(784, 200, relu=True), dense(200, 10))
WATCH_MLP = (dense(600, 64, relu=True), dense(64, 7))
DIGITS = (dense(64, 32, relu=True), dense(32, 10))
NETS = [
    ("784", MNIST, 16),
    ("784", MNIST, 1),
    ("600", WATCH_MLP, 10),
    ("64", DIGITS, 16),
    ("64", DIGITS, 1),
    ("watch", WATCH_CNN, 16),
]
BATCHES = 64  # different ones, so that no run learns a single one by heart
ROUNDS = 31
ROUND_SECONDS = 0.02  # of each contestant
SLOWEST_C = 0.9  # of numpy's speed


def contestants(of: Course) -> list[Contestant]:
    """Numpy has no convolution, and PyTorch may not be installed."""
    found: list[Contestant] = [Fedling(of), PlainC(of), UnrolledC(of)]
    if all(layer.kind is Kind.DENSE for layer in of.layers):
        found.append(Numpy(of))
    if has_torch():
        from bench.support.torch_contestant import Torch

        found.append(Torch(of))
    return found


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def step_seconds(contestant: Contestant) -> float:
    """Of whole epochs that take about ROUND_SECONDS."""
    total, epochs = 0.0, 0
    while total < ROUND_SECONDS:
        total += contestant.epoch()
        epochs += 1
    return total / (epochs * BATCHES)


def compare(of: Course) -> tuple[dict[str, float], float]:
    """Median seconds of a step of each contestant, and the core's operations a second meanwhile."""
    running, peak = contestants(of), library("peak.c").peak_rate
    peak.restype = ctypes.c_double
    for contestant in running:
        contestant.epoch()
    rounds = [([step_seconds(c) for c in running], peak()) for _ in range(ROUNDS)]
    times = zip(*(times for times, _ in rounds), strict=True)
    medians = (statistics.median(column) for column in times)
    names = [contestant.name for contestant in running]
    return dict(zip(names, medians, strict=True)), statistics.median(rate for _, rate in rounds)


def operations(of: Course) -> int:
    """Of a step of dense layers, two for a product: forward, gradient, error of hidden layers."""
    products = [layer.weight_count for layer in of.layers]
    return 2 * of.batch * (3 * sum(products) - products[0])


def tell(report: Report, key: str, of: Course) -> dict[str, float]:
    """A row and the ratios of one net."""
    times, peak = compare(of)
    ratios = {f"ratio_{k}": times[k] / times["fedling"] for k in times if k != "fedling"}
    microseconds = {f"{k}_us": times[k] * 1e6 for k in times}
    report.row(net=of.name, batch=of.batch, loops=loops(), **microseconds, **ratios)
    for name, ratio in ratios.items():
        report.figure(f"{name}_{key}_b{of.batch}", round(ratio, 2))
    if (key, of.batch) == ("784", 16) and peak:
        report.figure("peak_share_784_b16", round(operations(of) / times["fedling"] / peak, 3))
    return times


def loops() -> str:
    """The table of inner loops that the kernel under test chooses here."""
    name = kernel().fdl_isa
    name.restype = ctypes.c_char_p
    return str(name().decode())


def describe_machine() -> None:
    """What runs, and what does not."""
    name = library("peak.c").peak_name
    name.restype = ctypes.c_char_p
    print(f"kernel: {loops()}; peak of int8: {name().decode() or 'no loop for this processor'}")
    if not has_torch():
        print("SKIPPED: PyTorch is not installed (extra `bench`); no ratio_torch_", file=sys.stderr)


def main() -> None:
    describe_machine()
    report = Report("kernel")
    times = {
        (key, batch): tell(report, key, course(layers, batch, BATCHES))
        for key, layers, batch in NETS
    }
    of = times["784", 16]
    speeds = {name: of["numpy"] / of[name] for name in ("c", "unrolled_c")}
    for name, speed in speeds.items():
        report.figure(f"{name}_of_numpy_784_b16", round(speed, 2))
    report.finish()
    if max(speeds.values()) < SLOWEST_C:
        raise SystemExit(f"C reaches {max(speeds.values()):.2f} of numpy's speed: no measure")


if __name__ == "__main__":
    main()
