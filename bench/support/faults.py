"""Faults of sensors, put into recorded windows, and how well autoencoders tell them.

A fault takes counts int16 [n][T][channels] of windows and gives them with the fault in each window;
channels 0 to 2 are one sensor's axes x, y, z, channels 3 to 5 another's.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.support.datasets import Examples
from bench.support.float_net import Float
from bench.support.pairs import Pair, integer_values
from fedling_native import INPUT_EXP

Counts = NDArray[np.int16]
Fault = Callable[[Counts, np.random.Generator], Counts]

AXES, CHANNELS = 3, 6  # of a sensor, of a window
SPIKES = 3  # in a window
QUIET = (
    0.05  # variance in (standard deviations)^2 that a channel has at least, when it scales errors
)


def stuck_channel(windows: Counts, dice: np.random.Generator) -> Counts:
    """One channel keeps its first value."""
    faulty = windows.copy()
    for window in faulty:
        channel = dice.integers(window.shape[1])
        window[:, channel] = window[0, channel]
    return faulty


def doubled_gain(windows: Counts, dice: np.random.Generator) -> Counts:
    """One sensor gives twice the counts, up to the limits of int16."""
    faulty = windows.copy()
    for window in faulty:
        axes = sensor_axes(window, dice)
        window[:, axes] = np.clip(window[:, axes].astype(np.int32) * 2, -32768, 32767)
    return faulty


def spikes(windows: Counts, dice: np.random.Generator) -> Counts:
    """A few samples of one channel jump to its largest magnitude in all of the windows."""
    faulty, largest = windows.copy(), np.abs(windows.astype(np.int32)).max(axis=(0, 1))
    for window in faulty:
        channel = dice.integers(window.shape[1])
        times = dice.choice(len(window), SPIKES, replace=False)
        window[times, channel] = np.clip(
            dice.choice([-1, 1], SPIKES) * largest[channel], -32768, 32767
        )
    return faulty


def swapped_axes(windows: Counts, dice: np.random.Generator) -> Counts:
    """Two axes of one sensor are exchanged."""
    faulty = windows.copy()
    for window in faulty:
        first, second = dice.permutation(sensor_axes(window, dice))[:2]
        window[:, [first, second]] = window[:, [second, first]]
    return faulty


FAULTS: dict[str, Fault] = {
    "stuck": stuck_channel,
    "gain": doubled_gain,
    "spikes": spikes,
    "swapped": swapped_axes,
}


def sensor_axes(window: Counts, dice: np.random.Generator) -> list[int]:
    """The channels of one of the sensors."""
    first = AXES * int(dice.integers(window.shape[1] // AXES))
    return list(range(first, first + AXES))


# --- scores ---------------------------------------------------------------------------------------


def statistics(x: Float, outputs: Float) -> Float:
    """Of each window x [n][T * 6], by its logarithm: mean square error, largest square error, and
    the largest mean square error of a channel over the channel's variance. [n][3]"""
    shape = (len(x), -1, CHANNELS)
    errors = ((outputs - x) ** 2).reshape(shape)
    by_channel = errors.mean(axis=1) / (x.reshape(shape).var(axis=1) + QUIET)
    columns = (errors.mean(axis=(1, 2)), errors.max(axis=(1, 2)), by_channel.max(axis=1))
    found: Float = np.log(np.stack(columns, axis=1))
    return found


@dataclass(frozen=True, slots=True)
class Detector:
    """How unusual a window's most unusual statistic is, in deviations of the training windows."""

    mean: Float
    deviation: Float

    @classmethod
    def fitted(cls, training: Float) -> "Detector":
        """To statistics [n][3] of training windows."""
        return cls(training.mean(axis=0), training.std(axis=0))

    def scores(self, windows: Float) -> Float:
        """Of statistics [n][3]: [n], larger is stranger."""
        found: Float = ((windows - self.mean) / self.deviation).max(axis=1)
        return found


def auroc(normal: Float, faulty: Float) -> float:
    """The chance that a faulty window scores above a normal one; equal scores count half."""
    ranked = np.sort(normal)
    below, not_above = (np.searchsorted(ranked, faulty, side) for side in ("left", "right"))
    return float((below + not_above).mean() / (2 * len(normal)))


def both_statistics(pair: Pair, examples: Examples) -> tuple[Float, Float]:
    """Of an autoencoder in integers, which see int8 inputs, and of its twin."""
    x = examples.x * np.float32(2.0**INPUT_EXP)
    outputs = integer_values(pair.net, examples.x), pair.floats.outputs(examples.floats)
    return statistics(x, outputs[0]), statistics(examples.floats, outputs[1])


def aurocs(
    pair: Pair, training: Examples, normal: Examples, faulty: Iterable[Examples]
) -> list[tuple[float, float]]:
    """Of integers and twin, for each kind of fault."""
    detectors = [Detector.fitted(side) for side in both_statistics(pair, training)]

    def scores(examples: Examples) -> list[Float]:
        sides = both_statistics(pair, examples)
        return [d.scores(side) for d, side in zip(detectors, sides, strict=True)]

    clean = scores(normal)
    strange = [scores(examples) for examples in faulty]
    return [(auroc(clean[0], ours), auroc(clean[1], theirs)) for ours, theirs in strange]
