"""The watches' windows as examples: all in one place, by device, dealt unevenly, with faults."""

import json
from functools import cache

import numpy as np

from bench.support.datasets import Examples, Split
from bench.support.faults import Fault
from bench.support.pairs import deal_by_label
from bench.watch_federation import WATCH, Device, devices, split
from fedling_native import INPUT_EXP
from tests.native import float_twin as twin
from tests.native import reference as ref

SKEW = 0.5  # concentration: half of a device's windows are of one or two of the seven classes


def training_windows(device: Device) -> Examples:
    return Examples(device.train_x, device.train_floats, device.train_y.astype(np.uint8))


def together(parts: list[Examples]) -> Examples:
    x, floats, y = (np.concatenate([getattr(p, k) for p in parts]) for k in ("x", "floats", "y"))
    return Examples(x, floats, y)


@cache
def watch() -> Split:
    """All devices' windows; the last fifth of each recording is test."""
    test = [Examples(d.test_x, d.test_floats, d.test_y.astype(np.uint8)) for d in devices()]
    return Split(together(own_windows(0)), together(test), INPUT_EXP)


def own_windows(_seed: int) -> list[Examples]:
    """Each device has what its watch recorded."""
    return [training_windows(device) for device in devices()]


def skewed_windows(seed: int) -> list[Examples]:
    """The same windows, dealt so that a device knows some classes well and others hardly."""
    return deal_by_label(watch().train, len(devices()), SKEW, np.random.default_rng(seed))


def test_windows(fault: Fault | None) -> Examples:
    """The test windows of all devices with a fault in each, normalised as their device does."""
    parts, dice = [], np.random.default_rng(0)
    index = json.loads((WATCH / "data" / "devices.json").read_text())
    for device in index["devices"]:
        train, test = split(WATCH / "data" / device["file"])
        counts = test.counts if fault is None else fault(test.counts, dice)
        x = ref.normalise(counts, ref.statistics(train.counts))
        floats = twin.normalise(counts, train.counts)
        parts.append(Examples(x, floats, test.classes.astype(np.uint8)))
    return together(parts)
