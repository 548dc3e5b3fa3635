"""Run by tests/agent/test_store.py in a mount namespace where DIRECTORY is a tmpfs of 2 MB.

python -m tests.support.small_disk DIRECTORY
"""

import sys
from pathlib import Path

import pytest

from fedling_agent.training.freeze import Freezer
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.exits import Exit
from tests.support.child import ONE_BATCH, Child
from tests.support.device import (
    FLEET,
    SECRET,
    Device,
    csv_lines,
    freeze_now,
    make_device,
    make_plan,
)


def main(directory: Path) -> None:
    device = make_device(directory / "state", recordings=2)
    ballast = directory / "ballast"
    ingest_until_full(device, ballast)
    spool_when_full(device, ballast)
    train_when_full(device, ballast)


def fill(ballast: Path) -> None:
    """Leave no page free."""
    with ballast.open("ab", buffering=0) as file:
        for size in (65_536, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue


def ingest_until_full(device: Device, ballast: Path) -> None:
    """What was counted as stored is there, to the row; afterwards it goes on."""
    fill(ballast)
    done: list[int] = []
    stored = device.store.recordings.summary()["wrist"].samples
    with pytest.raises(CannotWrite, match="examples: the disk is full"):
        ingest_forever(device, done)
    assert device.store.recordings.summary()["wrist"].samples == stored + sum(done)
    ballast.unlink()
    again = device.reopen()
    assert again.store.recordings.summary()["wrist"].samples == stored + sum(done)
    assert again.ingest(csv_lines(1, 200, prefix="after")).stored == 200
    device.store, device.freezer = again.store, Freezer(again.store, FLEET, SECRET)


def ingest_forever(device: Device, done: list[int]) -> None:
    for number in range(10_000):
        done.append(device.ingest(csv_lines(1, 200, prefix=f"full{number}-")).stored)


def spool_when_full(device: Device, ballast: Path) -> None:
    """Nothing half-written is counted; the plan stays in work until it can be spooled."""
    device.freeze()
    fill(ballast)
    before = sorted(device.store.files.spool.iterdir())
    plan_id = device.plan.plan_id
    with pytest.raises(CannotWrite, match="the update: the disk is full"):
        device.store.spool.put(plan_id, bytes(100_000), bytes(32))
    assert sorted(device.store.files.spool.iterdir()) == before
    assert device.store.spool.entries() == []
    assert device.mend() is not None
    other = make_plan(device.model, 2)
    with pytest.raises(CannotWrite, match="the disk is full"):
        freeze_now(device.freezer, other)
    assert device.store.plans.find(other.plan_id) is None
    ballast.unlink()
    entry = device.store.spool.put(plan_id, bytes(100_000), bytes(32))
    assert device.store.spool.envelope(entry) == bytes(100_000)


def train_when_full(device: Device, ballast: Path) -> None:
    """The child says so; with room it ends as if nothing had been."""
    job = freeze_now(device.freezer, make_plan(device.model, 3))
    fill(ballast)
    child = Child(job, duty=ONE_BATCH)
    child.until_step(1)
    child.process.stop()
    assert child.exit_code() == 0, child.events
    assert child.notes == ["checkpoint not written: No space left on device"], child.notes
    child = Child(job)
    assert child.exit_code() == Exit.CANNOT_WRITE
    assert "No space left" in child.notes[0], child.notes
    assert job.result() is None
    ballast.unlink()
    assert Child(job).exit_code() == 0
    assert job.result() is not None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    print("all was said and nothing was lost")
