"""The simulator's devices read from the written folder the very pictures that were dealt out."""

from pathlib import Path

import numpy as np

from bench.support import pictures
from bench.support.datasets import Examples
from fedling_sim import run

DEVICES, EACH, BITS = 3, 20, 0.25


def examples() -> Examples:
    """Each with another first pixel; of two classes."""
    x = np.random.default_rng(1).integers(0, 128, (DEVICES * EACH, 784)).astype(np.int8)
    x[:, 0] = 4 * (np.arange(len(x)) % 32)
    return Examples(x, x.astype(np.float32), (np.arange(len(x)) % 2).astype(np.uint8))


def test_write_deals_out_every_picture_once(tmp_path: Path) -> None:
    given = examples()
    task = pictures.write(tmp_path, given, devices=DEVICES, goal=2, rounds=5, bits=BITS)
    scenario, data = run.prepare(task, None, None, None)
    assert [device.windows + len(device.tests) for device in data] == [EACH] * DEVICES
    tests = [(test.label, bytes(test.counts)) for device in data for test in device.tests]
    trained = [
        (part.rows[0].label, b"".join(np.array(row.counts, "<i2").tobytes() for row in part.rows))
        for device in data
        for part in device.training
    ]
    wanted = [
        (str(label), (x >> 2).astype("<i2").tobytes())  # from 2^-7 to 2^-5
        for x, label in zip(given.x, given.y, strict=True)
    ]
    assert sorted(tests + trained) == sorted(wanted)
    assert scenario.task.target == -(-BITS * (784 * 200 + 200 + 200 * 10 + 10) // 8)
