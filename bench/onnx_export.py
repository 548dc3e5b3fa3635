"""Exported models of the watch task beside the kernel that trained them, in onnxruntime.

    python -m bench.onnx_export [--seeds 3]

For the MLP and the CNN of the watch data, all devices' windows together, on the 706 test windows:

float_agreement_NET   share of the test labels on which float32 and the kernel agree, the least
float_margin_NET      where they differ, by how much of the logits' range one label leads, the most
exact_differences     examples whose integers differ from the kernel's: tests and 10,000 random ones
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import argparse
from collections.abc import Sequence

import numpy as np

from bench.report import Report
from bench.watch_federation import CNN, MLP, devices
from examples.watch import fetch
from fedling_broker.aggregation import initial
from fedling_broker.aggregation.aggregate import move_exponents
from fedling_broker.aggregation.state import state_of_weights
from fedling_broker.onnx import compare, exact, floating
from fedling_broker.onnx.snapshot import Snapshot
from fedling_native import Loss, Net
from fedling_protocol.wire.messages import TaskSpec
from tests.native import kernel
from tests.native import reference as ref

NETS = {"mlp": (MLP, 838_861), "cnn": (CNN, 3_355_443)}  # layers, learning rate in 2^-24
EPOCHS, BATCH = 8, 10
RANDOM = 10_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    report = Report("onnx_export")
    differences = sum(measure(report, name, seeds) for name in NETS)
    report.figure("exact_differences", differences)
    report.finish()


def measure(report: Report, name: str, seeds: int) -> int:
    """Rows and figures of one net; examples that its exact file computed otherwise."""
    agreement, margin, differences = 1.0, 0.0, 0
    for seed in range(1, seeds + 1):
        snapshot = train(*NETS[name], seed)
        x = np.concatenate([d.test_x for d in devices()]).reshape(-1, *snapshot.shape)
        found = compare.compare_float(floating.float_model(snapshot), snapshot, x)
        both = np.concatenate([x, compare.random_examples(snapshot, RANDOM, seed)])
        same = compare.compare_exact(exact.exact_model(snapshot), snapshot, both)
        report.row(
            net=name, seed=seed, accuracy=accuracy(snapshot, x), float_labels=found.labels,
            tests=found.examples, margin=found.margin, exact=same.exact, of=same.examples,
        )  # fmt: skip
        agreement = min(agreement, found.labels / found.examples)
        margin = max(margin, found.margin)
        differences += same.examples - same.exact
    report.figure(f"float_agreement_{name}", round(agreement, 4))
    report.figure(f"float_margin_{name}", round(margin, 4))
    return differences


def train(shapes: Sequence[ref.Shape], lr_q24: int, seed: int) -> Snapshot:
    """With the kernel, on the training windows of all devices; exponents move after each epoch."""
    layers = tuple(kernel.layer(shape) for shape in shapes)
    state = initial.initial_state(layers, seed.to_bytes(32, "big"))
    x = np.concatenate([d.train_x for d in devices()])
    y = np.concatenate([d.train_y for d in devices()]).astype(np.uint8)
    dice = np.random.default_rng(seed)
    for order in (dice.permutation(len(y)) for _ in range(EPOCHS)):
        net = Net(layers, state.exponents, state.view)
        for batch in np.split(order, range(BATCH, len(y), BATCH)):
            net.step(x[batch].data, y[batch].data, lr_q24)
        trained = state_of_weights(layers, state.exponents, net.weights())
        state = move_exponents(trained)
    spec = TaskSpec("watch", "watch", 100, 50, 6, "device", fetch.LABELS, layers, Loss.SOFTMAX)
    return Snapshot(spec, 1, bytes(32), state.exponents, state.view)


def accuracy(snapshot: Snapshot, x: compare.Int8) -> float:
    classes = np.concatenate([d.test_y for d in devices()])
    return float(np.mean(compare.kernel_answers(snapshot, x).labels == classes))


if __name__ == "__main__":
    main()
