"""Freezing: durable, bounded, the same again."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.data import windows
from fedling_agent.data.recording import Recording
from fedling_agent.data.windows import Example
from fedling_agent.store.plans import Moved, PlanState
from fedling_agent.store.recordings import Bounds, Recordings
from fedling_agent.training import freeze
from fedling_native import Normaliser, dense
from fedling_protocol.disk.errors import BadInput, Missing
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.messages import PlanKind, TaskSpec, Training
from tests.support import naive_windows
from tests.support.device import (
    AUTOENCODER,
    MEASURED,
    SECRET,
    SPEC,
    TRAINING,
    UNMEASURED,
    Device,
    csv_lines,
    freeze_now,
    make_device,
    make_plan,
)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return make_device(tmp_path)


def test_frozen_set_and_normaliser(device: Device) -> None:
    job = device.freeze()
    record = device.store.plans.find(device.plan.plan_id)
    assert record is not None
    assert record.plan == device.plan
    assert record.state is PlanState.FROZEN
    examples = list(finish(device.store.plans.examples(record)))
    assert len(examples) == record.examples == job.recipe.count == 4 * 2 * 11
    assert examples[0].recording == "r0"
    assert [e.first for e in examples[:3]] == [0, 5, 10]
    with job.examples() as data:
        windows = bytes(data[: len(examples) * 40])
    assert record.normaliser == Normaliser.fit([windows], 2)
    assert device.store.models.normaliser("watch") == record.normaliser
    assert record.frozen_hash == job.recipe.frozen_hash


def test_same_plan_gives_the_same_job_whatever_was_ingested_since(device: Device) -> None:
    recipe = device.freeze().recipe
    device.ingest(csv_lines(2, prefix="n"))
    device.store.recordings.relabel("wrist", "r0", 0, 60, None)
    assert device.freeze().recipe == recipe
    after = device.reopen()
    assert after.freeze().recipe == recipe
    job = after.mend()
    assert job is not None
    assert job.recipe == recipe


def test_hash_of_the_frozen_set_tells_ids_revisions_labels_and_samples(device: Device) -> None:
    hashes = {device.freeze().recipe.frozen_hash}
    plan = replace(device.plan, plan_id=b"b" * 16)
    assert freeze_now(device.freezer, plan).recipe.frozen_hash in hashes
    device.store.recordings.relabel(
        "wrist", "r0", 0, 59, "down"
    )  # the same label, another revision
    plan = replace(device.plan, plan_id=b"c" * 16)
    hashes.add(freeze_now(device.freezer, plan).recipe.frozen_hash)
    device.store.recordings.relabel("wrist", "r0", 0, 59, "up")
    plan = replace(device.plan, plan_id=b"d" * 16)
    hashes.add(freeze_now(device.freezer, plan).recipe.frozen_hash)
    assert len(hashes) == 3


def test_unchanged_set_is_not_written_twice(device: Device) -> None:
    first = device.freeze()
    second = freeze_now(device.freezer, replace(device.plan, plan_id=b"b" * 16))
    names = [job.directory / "examples" for job in (first, second)]
    assert names[0].samefile(names[1])


def test_weights_of_the_base_are_not_written_twice(device: Device) -> None:
    job = device.freeze()
    weights = device.store.files.models / device.plan.base_hash.hex()
    assert (job.directory / "base").samefile(weights)
    weights.unlink()  # evicted
    assert job.base() == device.model.weights


def test_two_devices_draw_other_batches(tmp_path: Path) -> None:
    device = make_device(tmp_path)
    other = freeze.Freezer(device.store, "test", b"another secret".ljust(32))
    seeds = {
        freeze_now(device.freezer, make_plan(device.model, 1)).recipe.seed,
        freeze_now(device.freezer, make_plan(device.model, 2)).recipe.seed,
        freeze_now(other, make_plan(device.model, 3)).recipe.seed,
    }
    assert len(seeds) == 3


def test_the_newest_examples_are_taken(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "MAX_EXAMPLES", 30)
    device.freeze()
    record = device.store.plans.find(device.plan.plan_id)
    assert record is not None
    names = [e.recording for e in finish(device.store.plans.examples(record))]
    assert names == ["r2"] * 8 + ["r3"] * 22


@pytest.mark.parametrize(
    ("spec", "training"),
    [
        (SPEC, TRAINING),
        (replace(SPEC, stride=1), TRAINING),
        (replace(SPEC, stride=1), replace(TRAINING, holdout=300, holdout_block=7)),
        (replace(SPEC, stride=37), replace(TRAINING, holdout=100, holdout_block=50)),
        (replace(AUTOENCODER, stride=37), TRAINING),
        (replace(SPEC, window=1, stride=1, layers=(dense(2, 2),)), TRAINING),
    ],
    ids=["half over", "stride 1", "hold-out", "far apart", "no labels", "single samples"],
)
@pytest.mark.parametrize("most", [65_536, 700], ids=["all", "newest"])
def test_frozen_set_is_that_of_the_plainest_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: TaskSpec, training: Training, most: int
) -> None:
    monkeypatch.setattr(windows, "MAX_EXAMPLES", most)
    monkeypatch.setattr(freeze, "STRETCH_BYTES", 1000)
    monkeypatch.setattr(freeze, "PIECE_WINDOWS", 50)
    device = make_device(tmp_path, spec=spec, training=training, samples=1100)
    recordings = device.store.recordings
    recordings.relabel("wrist", "r1", 50, 900, "down")
    stored = [(r, recordings.spans(r)[::-1]) for r in recordings.newest("wrist")][::-1]
    examples = naive_windows.choose(spec, training, SECRET, stored, most)
    by_id = {r.id: r for r, _ in stored}
    data = b"".join(
        recordings.samples(by_id[e.recording], e.first, spec.window) for e in examples
    ) + bytes(e.label for e in examples)
    job = device.freeze()
    assert job.recipe.count == len(examples)
    assert (job.directory / "examples").read_bytes() == data
    assert job.recipe.frozen_hash == naive_windows.hash_frozen(examples, data)
    assert job.recipe.normaliser == naive_windows.fit(spec, data, len(examples))
    (job.directory / "job").unlink()
    again = device.mend()
    assert again is not None
    assert again.recipe == replace(job.recipe, tests=0, tests_sum=b"")
    assert (again.directory / "examples").read_bytes() == data


def test_a_slice_reads_a_bounded_stretch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeze, "STRETCH_BYTES", 400)
    monkeypatch.setattr(freeze, "PIECE_BYTES", 2000)
    device = make_device(tmp_path, spec=replace(SPEC, stride=1), recordings=1, samples=2000)
    stretches: list[int] = []
    read = Recordings.samples

    def watched(self: Recordings, recording: Recording, first: int, count: int) -> bytes:
        stretches.append(count)
        return read(self, recording, first, count)

    monkeypatch.setattr(Recordings, "samples", watched)
    slices = device.freezer.freeze(device.plan)
    most, done = 0, 0
    for _ in slices:
        most, done = max(most, len(stretches) - done), len(stretches)
    assert most == 1
    assert stretches[0] == 2000 // 40 - 1 + 10  # samples of 50 windows
    monkeypatch.setattr(freeze, "PIECE_BYTES", 10**6)
    del stretches[:]
    finish(device.freezer.freeze(replace(device.plan, plan_id=b"b" * 16)))
    assert max(stretches) == 400 // 4


def test_broken_off_it_leaves_nothing(device: Device) -> None:
    for slices in range(1, 100):
        freezing = device.freezer.freeze(device.plan)
        if [next(freezing, "ready") for _ in range(slices)][-1] == "ready":
            break
        freezing.close()
        assert device.store.plans.find(device.plan.plan_id) is None
        for folder in (device.store.files.frozen, device.store.files.jobs):
            assert list(folder.iterdir()) == []
    assert slices > 5


def test_evicted_between_two_slices_it_begins_anew(tmp_path: Path) -> None:
    device = make_device(tmp_path, bounds=Bounds(bytes=4 * 776))
    freezing = device.freezer.freeze(device.plan)
    for _ in range(13):  # r0 was cut, too
        next(freezing)
    assert device.ingest(csv_lines(1, prefix="n")).evicted == 1
    assert finish(freezing)().recipe.count == 4 * 22
    record = device.store.plans.find(device.plan.plan_id)
    assert record is not None
    examples = list(finish(device.store.plans.examples(record)))
    assert list(dict.fromkeys(e.recording for e in examples)) == ["r1", "r2", "r3", "n0"]


def test_relabelled_between_two_slices_it_begins_anew(device: Device) -> None:
    freezing = device.freezer.freeze(device.plan)
    for _ in range(3):
        next(freezing)
    device.store.recordings.relabel("wrist", "r3", 0, 119, None)
    assert finish(freezing)().recipe.count == 3 * 22


def test_evicted_again_and_again_it_gives_up(tmp_path: Path) -> None:
    device = make_device(tmp_path, bounds=Bounds(bytes=4 * 776))

    def freeze_while_all_goes() -> None:
        for number, _ in enumerate(device.freezer.freeze(device.plan)):
            if number % 3 == 0:
                device.ingest(csv_lines(4, prefix=f"n{number}-"))

    with pytest.raises(Moved):
        freeze_while_all_goes()
    assert device.store.plans.in_work() == []


@pytest.mark.parametrize("evicted", [True, False], ids=["evicted", "relabelled"])
def test_changed_before_the_write_nothing_is_frozen(tmp_path: Path, evicted: bool) -> None:
    device = make_device(tmp_path, bounds=Bounds(bytes=4 * 776))
    write = finish(device.freezer.freeze(device.plan))
    if evicted:
        device.ingest(csv_lines(1, prefix="n"))
    else:
        device.store.recordings.relabel("wrist", "r0", 0, 3, "up")
    with pytest.raises(Moved, match="recording r0 was evicted or relabelled meanwhile"):
        write()
    assert device.store.plans.find(device.plan.plan_id) is None
    for folder in (device.store.files.frozen, device.store.files.jobs):
        assert list(folder.iterdir()) == []
    device.freeze()


def test_more_samples_meanwhile_do_not_matter(device: Device) -> None:
    expected = device.freeze().recipe
    freezing = device.freezer.freeze(replace(device.plan, plan_id=b"b" * 16))
    next(freezing)
    device.ingest(["recording,label,x,y\n", *["r3,up,1,1\n"] * 50])
    write = finish(freezing)
    device.ingest(csv_lines(1, prefix="n"))
    assert write().recipe.frozen_hash == expected.frozen_hash


def test_model_that_went_before_the_write_is_missed(device: Device) -> None:
    write = finish(device.freezer.freeze(device.plan))
    (device.store.files.models / device.plan.base_hash.hex()).unlink()
    with pytest.raises(Missing, match="model 1 of watch"):
        write()
    assert list(device.store.files.frozen.iterdir()) == []


def test_what_cannot_be_frozen(device: Device, tmp_path: Path) -> None:
    unknown = replace(device.plan, base_hash=bytes(32))
    with pytest.raises(Missing, match="model 1 of watch is not here"):
        freeze_now(device.freezer, unknown)
    assert device.store.plans.find(unknown.plan_id) is None
    for spec in (replace(SPEC, stream="other"), replace(SPEC, labels=("left", "right"))):
        with pytest.raises(Missing, match="0 examples for watch, at least"):
            freeze_now(device.freezer, replace(device.plan, spec=spec))
    wide = replace(SPEC, channels=4, window=5)
    with pytest.raises(BadInput, match="has 2 channels, task watch wants 4"):
        freeze_now(device.freezer, replace(device.plan, spec=wide))


def test_nothing_is_frozen_below_the_floor_whatever_the_plan_says(device: Device) -> None:
    """Between the count and the freeze examples may go."""
    count = device.freeze().recipe.count
    plan = replace(device.plan, plan_id=b"f" * 16)
    enough = freeze.Freezer(device.store, "test", SECRET, min_examples=count)
    assert freeze_now(enough, plan).recipe.count == count
    more = freeze.Freezer(device.store, "test", SECRET, min_examples=count + 1)
    with pytest.raises(Missing, match=f"{count} examples for watch, at least {count + 1}"):
        freeze_now(more, replace(plan, plan_id=b"g" * 16))
    asks = replace(plan.training, min_examples=count + 1)
    with pytest.raises(Missing, match="are needed"):
        freeze_now(enough, replace(plan, plan_id=b"h" * 16, training=asks))


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
    device.store.recordings.forget("wrist")
    device.ingest(csv_lines(seed=9))  # other samples under the same names
    assert device.mend() is None
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


HELD = replace(TRAINING, holdout=400, holdout_block=40)


def held_out(device: Device, training: Training, most: int = 10**9) -> list[Example]:
    """Said in the plainest way."""
    recordings = device.store.recordings
    stored = [(r, recordings.spans(r)[::-1]) for r in recordings.newest("wrist")][::-1]
    return naive_windows.choose(device.plan.spec, training, SECRET, stored, most, tests=True)


def test_what_is_held_out_is_frozen_for_a_test(tmp_path: Path) -> None:
    device = make_device(tmp_path, training=HELD, recordings=12)
    job = device.freeze()
    expected = held_out(device, HELD)
    by_id = {r.id: r for r in device.store.recordings.newest("wrist")}
    samples = [
        bytes(device.store.recordings.samples(by_id[e.recording], e.first, SPEC.window))
        for e in expected
    ]
    assert job.tests() == b"".join(samples) + bytes(e.label for e in expected)
    assert job.recipe.tests == len(expected) > 0
    again = device.reopen().freeze()
    assert (again.recipe, again.tests()) == (job.recipe, job.tests())


def test_the_newest_are_tested_no_more_than_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = replace(HELD, holdout=800)
    device = make_device(tmp_path, training=training, recordings=12)
    job = device.freeze()
    assert job.recipe.tests == job.recipe.count < len(held_out(device, training))
    monkeypatch.setattr(windows, "MAX_TESTED", 5)
    few = freeze_now(device.freezer, make_plan(device.model, 2, training))
    newest = held_out(device, training, 5)
    assert few.tests()[-5:] == bytes(e.label for e in newest)


def test_tests_that_did_not_change_are_not_written_twice(tmp_path: Path) -> None:
    device = make_device(tmp_path, training=HELD, recordings=12)
    first = device.freeze()
    second = freeze_now(device.freezer, make_plan(device.model, 2, HELD))
    names = [job.directory / "tests" for job in (first, second)]
    assert names[0].samefile(names[1])
    device.store.files.tidy()
    assert first.tests() == second.tests() != b""
    assert any(path.suffix == ".tests" for path in device.store.files.frozen.iterdir())
    for job in (first, second):
        device.store.spool.end("watch", job.plan_id, None, None, "given up", 0)
    assert list(device.store.files.frozen.iterdir()) == []


@pytest.mark.parametrize(
    ("training", "samples"),
    [
        (replace(HELD, min_examples=264), 120),  # all that there are
        (replace(HELD, holdout=900, holdout_block=10**6), 120),  # whole recordings
        (replace(HELD, holdout=500, holdout_block=15), 30),  # short spans: a label would be lost
    ],
    ids=["fewest examples", "large blocks", "a label"],
)
def test_nothing_is_held_out_that_a_device_needs(
    tmp_path: Path, training: Training, samples: int
) -> None:
    """It trained on less than min_examples, or never on a label that it had."""
    for number in range(8):
        secret = bytes([number]) * 32
        device = make_device(
            tmp_path / str(number), training=training, recordings=12, samples=samples
        )
        freezer = freeze.Freezer(device.store, "test", secret)
        job = freeze_now(freezer, device.plan)
        every = 12 * 2 * ((samples // 2 - SPEC.window) // SPEC.stride + 1)
        with job.examples() as data:
            labels = bytes(data[-job.recipe.count :])
        assert set(labels) == {0, 1}
        assert job.recipe.count >= training.min_examples
        assert job.recipe.tests > 0 or job.recipe.count == every


@pytest.mark.parametrize(
    ("spec", "kind", "tested"),
    [
        (SPEC, PlanKind.TRAIN, True),
        (MEASURED, PlanKind.TRAIN, True),
        (AUTOENCODER, PlanKind.TRAIN, False),
        (UNMEASURED, PlanKind.STATISTICS, False),
    ],
    ids=["classes", "the fleet's scale", "reconstruction", "statistics"],
)
def test_only_training_of_classes_is_tested(
    tmp_path: Path, spec: TaskSpec, kind: PlanKind, tested: bool
) -> None:
    device = make_device(tmp_path, spec=spec, recordings=12)
    plan = make_plan(device.model, 1, HELD, kind)
    assert (freeze_now(device.freezer, plan).recipe.tests > 0) == tested


@pytest.mark.parametrize("floor", [1, 20, 50, 100])
@pytest.mark.parametrize("block", [15, 20, 40, 1000])
def test_a_scale_stands_on_the_windows_that_a_training_would_have(
    tmp_path: Path, block: int, floor: int
) -> None:
    """What is held out is so for both kinds of a round, or for neither."""
    training = replace(HELD, holdout_block=block)
    counts = []
    for kind in PlanKind:
        spec = UNMEASURED if kind is PlanKind.STATISTICS else MEASURED
        device = make_device(tmp_path / kind.name, spec=spec, recordings=12)
        freezer = freeze.Freezer(device.store, "test", SECRET, floor)
        counts.append(freeze_now(freezer, make_plan(device.model, 1, training, kind)).recipe.count)
    assert counts[0] == counts[1]


def test_a_recording_that_tests_may_be_evicted_its_windows_are_in_the_job(
    tmp_path: Path,
) -> None:
    device = make_device(tmp_path, training=replace(HELD, holdout_block=1000), recordings=12)
    job = device.freeze()
    before = job.tests()
    names = {e.recording for e in held_out(device, device.plan.training)}
    pinned = {r.recording for r in device.store.recordings.listing() if r.in_training}
    assert names
    assert not names & pinned
    device.store.recordings.forget("wrist", sorted(names))
    assert device.reopen().freeze().tests() == before


def test_a_set_whose_test_was_forgotten_before_it_was_written_is_not_begun(
    tmp_path: Path,
) -> None:
    device = make_device(tmp_path, training=replace(HELD, holdout_block=1000), recordings=12)
    write = finish(device.freezer.freeze(device.plan))
    (name, *_) = {e.recording for e in held_out(device, device.plan.training)}
    device.store.recordings.forget("wrist", [name])
    with pytest.raises(Moved, match=name):
        write()
    for folder in (device.store.files.frozen, device.store.files.jobs):
        assert list(folder.iterdir()) == []
    assert device.freeze().recipe.tests > 0


@pytest.mark.parametrize("least", ["as many as there are", "one more"])
def test_no_model_is_tested_on_fewer_windows_than_the_owner_s_floor(
    tmp_path: Path, least: str
) -> None:
    device = make_device(tmp_path, training=HELD, recordings=12)
    count = len(held_out(device, HELD))
    floor = count + (least == "one more")
    freezer = freeze.Freezer(device.store, "test", SECRET, floor)
    job = freeze_now(freezer, device.plan)
    assert job.recipe.count >= floor
    every = 12 * 2 * 11
    if least == "one more":  # then nothing is kept out for nothing
        assert (job.recipe.count, job.recipe.tests) == (every, 0)
    else:
        assert job.recipe.tests == count
        assert job.recipe.count + count < every  # what lies across a border does neither


def test_an_owner_who_wants_no_test_keeps_nothing_out(tmp_path: Path) -> None:
    device = make_device(tmp_path, training=HELD, recordings=12)
    job = freeze_now(freeze.Freezer(device.store, "test", SECRET, tests=False), device.plan)
    assert (job.recipe.count, job.recipe.tests) == (12 * 2 * 11, 0)


def test_a_job_that_is_mended_tests_nothing(tmp_path: Path) -> None:
    device = make_device(tmp_path, training=HELD, recordings=12)
    job = device.freeze()
    (job.directory / "job").write_bytes(b"")
    mended = device.mend()
    assert mended is not None
    assert mended.recipe == replace(job.recipe, tests=0, tests_sum=b"")
    assert mended.tests() == b""


def test_a_job_without_its_tests_is_whole(tmp_path: Path) -> None:
    device = make_device(tmp_path, training=HELD, recordings=12)
    job = device.freeze()
    (job.directory / "tests").unlink()
    mended = device.mend()
    assert mended is not None
    assert mended.recipe == job.recipe


def test_held_out_recordings_that_are_evicted_meanwhile_are_chosen_anew(tmp_path: Path) -> None:
    device = make_device(tmp_path, training=replace(HELD, holdout_block=10**6), recordings=12)
    slices = device.freezer.freeze(device.plan)
    next(slices)
    held = {e.recording for e in held_out(device, device.plan.training)}
    assert held
    for name in held:
        device.store.recordings.relabel("wrist", name, 0, 119, None)
    job = finish(slices)()
    assert job.recipe.tests == 0
