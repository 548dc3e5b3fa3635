"""Freezing: durable, bounded, the same again."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.store.plans import PlanState
from fedling_agent.store.recordings import Bounds
from fedling_agent.training import freeze
from fedling_native import Normaliser
from fedling_protocol.disk.errors import BadInput, Missing
from tests.support.device import SPEC, TRAINING, Device, csv_lines, make_device, make_plan


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return make_device(tmp_path)


def test_frozen_set_and_normaliser(device: Device) -> None:
    job = device.freeze()
    record = device.store.plans.find(device.plan.plan_id)
    assert record is not None
    assert record.plan == device.plan
    assert record.state is PlanState.FROZEN
    examples = device.store.plans.examples(record)
    assert len(examples) == record.examples == job.recipe.count == 4 * 2 * 11
    assert examples[0].recording == "r0"
    assert [e.first for e in examples[:3]] == [0, 5, 10]
    with job.examples() as data:
        windows = bytes(data[: len(examples) * 40])
    assert record.normaliser == Normaliser.fit(lambda: [windows], 2)
    assert device.store.models.normaliser("watch") == record.normaliser
    assert device.freezer.count(SPEC, TRAINING) == len(examples)


def test_same_plan_gives_the_same_job_whatever_was_ingested_since(device: Device) -> None:
    recipe = device.freeze().recipe
    device.ingest(csv_lines(2, prefix="n"))
    device.store.recordings.relabel("wrist", "r0", 0, 60, None)
    assert device.freeze().recipe == recipe
    after = device.reopen()
    assert after.freeze().recipe == recipe
    job = after.freezer.job(device.plan.plan_id)
    assert job is not None
    assert job.recipe == recipe


def test_hash_of_the_frozen_set_tells_ids_revisions_labels_and_samples(device: Device) -> None:
    hashes = {device.freeze().recipe.frozen_hash}
    plan = replace(device.plan, plan_id=b"b" * 16)
    assert device.freezer.freeze(plan).recipe.frozen_hash in hashes
    device.store.recordings.relabel(
        "wrist", "r0", 0, 59, "down"
    )  # the same label, another revision
    hashes.add(device.freezer.freeze(replace(device.plan, plan_id=b"c" * 16)).recipe.frozen_hash)
    device.store.recordings.relabel("wrist", "r0", 0, 59, "up")
    hashes.add(device.freezer.freeze(replace(device.plan, plan_id=b"d" * 16)).recipe.frozen_hash)
    assert len(hashes) == 3


def test_unchanged_set_is_not_written_twice(device: Device) -> None:
    first = device.freeze()
    second = device.freezer.freeze(replace(device.plan, plan_id=b"b" * 16))
    names = [job.directory / "examples" for job in (first, second)]
    assert names[0].samefile(names[1])


def test_two_devices_draw_other_batches(tmp_path: Path) -> None:
    device = make_device(tmp_path)
    other = freeze.Freezer(device.store, "test", b"another secret".ljust(32))
    seeds = {
        device.freezer.freeze(make_plan(device.model, 1)).recipe.seed,
        device.freezer.freeze(make_plan(device.model, 2)).recipe.seed,
        other.freeze(make_plan(device.model, 3)).recipe.seed,
    }
    assert len(seeds) == 3


def test_the_newest_examples_are_taken(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeze, "MAX_EXAMPLES", 30)
    assert device.freezer.count(SPEC, TRAINING) == 30
    device.freeze()
    record = device.store.plans.find(device.plan.plan_id)
    assert record is not None
    names = [e.recording for e in device.store.plans.examples(record)]
    assert names == ["r2"] * 8 + ["r3"] * 22


def test_hold_out_leaves_windows_out(device: Device) -> None:
    training = replace(TRAINING, holdout=500, holdout_block=20)
    count = device.freezer.count(SPEC, training)
    assert 0 < count < 60
    assert device.freezer.freeze(make_plan(device.model, training=training)).recipe.count == count


def test_what_cannot_be_frozen(device: Device, tmp_path: Path) -> None:
    unknown = replace(device.plan, base_hash=bytes(32))
    with pytest.raises(Missing, match="model 1 of watch is not here"):
        device.freezer.freeze(unknown)
    assert device.store.plans.find(unknown.plan_id) is None
    for spec in (replace(SPEC, stream="other"), replace(SPEC, labels=("left", "right"))):
        with pytest.raises(Missing, match="no examples"):
            device.freezer.freeze(replace(device.plan, spec=spec))
        assert device.freezer.count(spec, TRAINING) == 0
    wide = replace(SPEC, channels=4, window=5)
    with pytest.raises(BadInput, match="has 2 channels, task watch wants 4"):
        device.freezer.freeze(replace(device.plan, spec=wide))
    assert device.freezer.count(wide, TRAINING) == 0


def test_task_without_normalisation(tmp_path: Path) -> None:
    spec = replace(SPEC, normalise="none")
    device = make_device(tmp_path, spec=spec)
    normaliser = device.freeze().recipe.normaliser
    counts = memoryview(bytearray(8)).cast("h")
    counts[:] = memoryview(bytes(8)).cast("h")
    for at, count in enumerate([0, -5, 127, 3000]):
        counts[at] = count
    assert normaliser.apply(counts) == bytes([0, 251, 127, 127])


def test_what_is_beyond_repair(tmp_path: Path) -> None:
    device = make_device(tmp_path, bounds=Bounds())
    job = device.freeze()
    (job.directory / "examples").unlink()
    device.store.recordings.erase()
    device.ingest(csv_lines(seed=9))  # other samples under the same names
    assert device.freezer.job(job.plan_id) is None
    with pytest.raises(Missing, match="beyond repair"):
        device.freeze()


def test_folders_of_plans_that_are_not_in_work_go(device: Device) -> None:
    job = device.freeze()
    leftover = device.store.files.jobs / ("ab" * 16)
    leftover.mkdir()
    (leftover / "checkpoint").write_bytes(b"1")
    (device.store.files.frozen / ".x.7.tmp").write_bytes(b"1")
    after = device.reopen()
    assert [path.name for path in after.store.files.jobs.iterdir()] == [job.plan_id.hex()]
    assert [path.name for path in after.store.files.frozen.iterdir()] == [
        job.recipe.frozen_hash.hex()
    ]
