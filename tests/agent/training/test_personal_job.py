"""The job of a personal model: what is in it, and that it is the same again."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.data.windows import HoldOut
from fedling_agent.store.models import StoredModel
from fedling_agent.training.job import Job
from fedling_agent.training.personal_job import Maker
from fedling_native import Normaliser
from fedling_protocol.disk.errors import BadInput, Missing
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.messages import Training
from tests.support.device import (
    FLEET,
    SECRET,
    SPEC,
    TRAINING,
    Device,
    csv_lines,
    make_device,
    make_model,
)

WIDTH = 40  # bytes of a window


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return make_device(tmp_path)


def newest(device: Device) -> StoredModel:
    model = device.store.models.newest("watch")
    assert model is not None
    return model


def make(device: Device, training: Training = TRAINING, *, tests: bool = True) -> Job:
    maker = Maker(device.store, FLEET, SECRET, tests)
    return finish(maker.gather(newest(device), training))()


def windows(job: Job) -> tuple[bytes, bytes]:
    """Samples that train, and samples that choose."""
    recipe = job.recipe
    with job.examples() as view:
        train = bytes(view[: recipe.count * WIDTH])
    return train, job.tests()[: recipe.tests * WIDTH]


def test_the_newest_windows_choose_and_both_parts_normalise(device: Device) -> None:
    job = make(device)
    train, choose = windows(job)
    last = device.store.recordings.by_id("wrist", "r3")
    assert last is not None
    samples = device.store.recordings.samples(last, 0, 120)
    every = [samples[4 * at : 4 * at + WIDTH] for at in (*range(0, 51, 5), *range(60, 111, 5))]
    assert [choose[at : at + WIDTH] for at in range(0, len(choose), WIDTH)] == every
    assert job.recipe.normaliser == Normaliser.fit([train, choose], 2)
    assert (job.recipe.training.epochs, job.recipe.personal) == (20, True)
    assert job.base() == device.model.weights


def test_again_it_is_the_same_job_and_it_goes_on_with_it(device: Device) -> None:
    job = make(device)
    device = device.reopen()
    assert make(device).recipe == job.recipe
    inode = (job.directory / "job").stat().st_ino
    device.ingest(csv_lines(1, prefix="n"))
    assert (make(device).directory / "job").stat().st_ino == inode
    (job.directory / "examples").write_bytes(b"damaged")
    assert make(device).recipe.count > job.recipe.count  # gathered anew


def test_of_another_model_it_is_another_job(device: Device) -> None:
    job = make(device)
    device.store.models.put(make_model(2, seed=5))
    other = make(device)
    assert other.directory == job.directory
    assert other.plan_id != job.plan_id
    assert other.recipe.seed != job.recipe.seed
    assert other.recipe.examples_sum == job.recipe.examples_sum


def test_what_is_held_out_of_rounds_is_in_neither_part(device: Device) -> None:
    held = replace(TRAINING, holdout=300, holdout_block=20)
    blocks = HoldOut(SECRET, "wrist", held)
    kept = set()
    for name in ("r0", "r1", "r2", "r3"):
        recording = device.store.recordings.by_id("wrist", name)
        assert recording is not None
        samples = device.store.recordings.samples(recording, 0, 120)
        kept |= {
            samples[4 * at : 4 * at + WIDTH]
            for at in range(0, 111, 5)
            if not any(blocks.held(name, block) for block in {at // 20, (at + 9) // 20})
        }
    for part in windows(make(device, held)):
        assert {part[at : at + WIDTH] for at in range(0, len(part), WIDTH)} <= kept
    assert make(device, replace(held, holdout=0)).recipe.count > len(kept) // 2


def test_where_a_label_has_no_others_held_out_windows_train(device: Device) -> None:
    held = replace(TRAINING, holdout=999, holdout_block=1000)
    assert make(device, held).recipe == make(device).recipe


def test_where_the_owner_tests_nothing_nothing_is_held_out(device: Device) -> None:
    held = replace(TRAINING, holdout=300, holdout_block=20)
    assert make(device, held, tests=False).recipe == make(device).recipe


def test_too_few_windows_of_a_label_are_told(tmp_path: Path) -> None:
    device = make_device(tmp_path, recordings=1, samples=40)  # three windows a label
    with pytest.raises(Missing, match="too few windows of a label of watch"):
        make(device)


def test_a_model_that_is_gone_is_told(device: Device) -> None:
    write = finish(Maker(device.store, FLEET, SECRET, True).gather(newest(device), TRAINING))
    newest(device).path.unlink()
    with pytest.raises(Missing, match="not here any more"):
        write()


def test_a_stream_that_does_not_fit_is_told(device: Device) -> None:
    device.store.models.put(make_model(2, spec=replace(SPEC, channels=1, window=20)))
    with pytest.raises(BadInput, match="2 channels, task watch wants 1"):
        make(device)
