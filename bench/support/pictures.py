"""MNIST as `fedling-sim run` plays it: a recording of a device is a picture, a sample one row."""

from pathlib import Path

import numpy as np

from bench.support.datasets import PIXEL_EXP, Examples
from fedling_native import INPUT_EXP

SIDE = 28
COLUMNS = [f"c{i}" for i in range(SIDE)]  # of a picture
UNIT = 2.0**INPUT_EXP  # a pixel's count is the int8 value that the model reads
CHANNEL = """
[[channel]]
name = "{name}"
unit = "1"
resolution = {unit}
"""
TASK = """
[task]
name = "pictures"
stream = "pictures"
window = 28
stride = 28
channels = 28
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
normalise = "none"
rounds = {rounds}
[model]
layers = [{hidden}, 10]
[training]
epochs = 5
batch = 10
learning_rate = 0.1
holdout = 0                 # the simulator has kept a fifth for its test
[cohort]
goal = {goal}
wait_s = 1
{compression}
[simulation]
data = "data"
stream = "stream.toml"
training_s = 0.3
[simulation.climate]        # no link is cut, nothing is unplugged or hot
plugged_s = [1e6, 1e6]
connected_s = [1e6, 1e6]
cool_s = [1e6, 1e6]
"""


def write(
    directory: Path,
    examples: Examples,
    *,
    devices: int,
    goal: int,
    rounds: int,
    bits: float | None = None,
    hidden: int = 200,
) -> Path:
    """Deal out all examples, at random, and write data, stream and task; the task's path.

    bits: of an update, a parameter; None: the default
    """
    data, task = directory / "data", directory / "task.toml"
    data.mkdir(parents=True)
    order = np.random.default_rng(1).permutation(len(examples))
    for number, chosen in enumerate(np.array_split(order, devices)):
        (data / f"device-{number:02}.csv").write_text(table(examples[chosen]))
    channels = [CHANNEL.format(name=name, unit=UNIT) for name in COLUMNS]
    (directory / "stream.toml").write_text("".join(['name = "pictures"\n', *channels]))
    compression = "" if bits is None else f"[compression]\nbits = {bits}\n"
    task.write_text(TASK.format(rounds=rounds, goal=goal, compression=compression, hidden=hidden))
    return task


def table(examples: Examples) -> str:
    """As `fedling-agent ingest` reads it."""
    lines = [",".join(["recording", "label", *COLUMNS])]
    counts = (examples.x >> (INPUT_EXP - PIXEL_EXP)).reshape(-1, SIDE, SIDE)
    for number, (picture, label) in enumerate(zip(counts, examples.y, strict=True)):
        for row in picture:
            lines.append(",".join([f"p{number}", str(label), *(f"{UNIT * c:g}" for c in row)]))
    return "\n".join(lines) + "\n"
