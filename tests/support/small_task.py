"""A task and recordings that a small federation learns in seconds."""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

LABELS = ("rest", "wave", "turn")
SAMPLES = 200  # of a recording; one for each label

DENSE = "[16, 3]"
CNN = """[
  { conv = 8, kernel = 3 },
  { depthwise = 3, padding = "same" },
  { max_pool = 2 },
  "average_pool",
  3,
]"""
EVERYTHING = """
momentum = 0.5
clip_norm = 4
proximal = 0.01
"""

STREAM = """
name = "wrist"
[[channel]]
name = "x"
unit = "m/s2"
resolution = 0.01
[[channel]]
name = "y"
unit = "m/s2"
resolution = 0.01
"""

TASK = """
[task]
name = "tiny"
stream = "wrist"
window = 10
stride = 5
channels = 2
labels = ["rest", "wave", "turn"]
normalise = "{normalise}"
rounds = {rounds}
[model]
layers = {layers}
[training]
epochs = 2
batch = 10
learning_rate = 0.1
holdout = {holdout}
holdout_block = 20
{training}
[server]
momentum = 0.5
[cohort]
goal = {goal}
wait_s = 1
[conditions]
[simulation]
data = "data"
stream = "stream.toml"
training_s = {training_s}
[simulation.climate]
plugged_s = [3, 6]
unplugged_s = [1, 2]
connected_s = [2, 5]
cut_s = [0.5, 1.5]
first_battery = [50, 70]
"""


def write(
    directory: Path,
    *,
    devices: int = 5,
    rounds: int = 3,
    goal: int = 4,
    training_s: float = 1.0,
    layers: str = DENSE,
    training: str = "",
    normalise: str = "device",
    one_label: bool = False,
    holdout: float = 0.0,
) -> Path:
    """Task file, stream and data; the path of the task file. training: more lines of it.

    one_label: each device sees one label only
    """
    data = directory / "data"
    data.mkdir(parents=True)
    (directory / "stream.toml").write_text(STREAM)
    task = directory / "task.toml"
    task.write_text(
        TASK.format(
            rounds=rounds,
            goal=goal,
            training_s=training_s,
            layers=layers,
            training=training,
            normalise=normalise,
            holdout=holdout,
        )
    )
    names = [f"watch-{number}" for number in range(devices)]
    for number, name in enumerate(names):
        labels = LABELS[number % len(LABELS) :][:1] if one_label else LABELS
        lines = recordings(number, labels)
        (data / f"{name}.csv").write_text("".join(f"{line}\n" for line in lines))
    index = {"devices": [{"name": name, "file": f"{name}.csv"} for name in names]}
    (data / "devices.json").write_text(json.dumps(index))
    return task


def recordings(seed: int, labels: Sequence[str] = LABELS) -> Iterator[str]:
    """CSV lines; a label can be told from the values."""
    dice = random.Random(seed)
    yield "recording,label,x,y"
    for label in labels:
        kind = LABELS.index(label)
        for _ in range(SAMPLES):
            x, y = dice.gauss(3 * kind, 1), dice.gauss(-2 * kind, 1)
            yield f"{label}-1,{label},{x:.2f},{y:.2f}"
