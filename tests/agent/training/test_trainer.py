"""The training child: the same bits, however it is interrupted."""

import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

import fedling_native
from fedling_agent import config as configuration
from fedling_agent.commands import run
from fedling_agent.training import slot, speed
from fedling_agent.training.job import Checkpoint, Job, Result, Tally
from fedling_agent.training.local_sgd import LocalSgd
from fedling_agent.training.personal_job import Maker
from fedling_agent.training.process import Asked, ChildEvent, ChildProcess, Exited, Piece
from fedling_agent.training.slot import Slot
from fedling_native import Net
from fedling_protocol.exits import Exit
from fedling_protocol.net import credentials
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.slices import finish
from fedling_protocol.runtime.worker import ThreadWorker
from fedling_protocol.wire.messages import Hits
from tests.support.agent import Agent
from tests.support.child import ONE_BATCH, Child
from tests.support.device import (
    CNN,
    FLEET,
    SECRET,
    TRAINING,
    Device,
    freeze_now,
    make_device,
)
from tests.support.waiting import PATIENCE_S, line_of, until

EVERYTHING = replace(
    TRAINING, epochs=6, momentum=200, clip_q16=1 << 15, frozen=1, proximal_q16=1 << 15
)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return make_device(tmp_path / "state", training=replace(TRAINING, epochs=6))


@pytest.fixture
def job(device: Device) -> Job:
    return device.freeze()


def expected(job: Job) -> Result:
    """Trained in this process without a pause."""
    with job.examples() as examples:
        run = LocalSgd(job.recipe, job.base(), examples)
        while not run.finished:
            run.step()
        vector, saturated = run.update()
        run.close()
    return Result(vector, sha256(vector).digest(), saturated, job.recipe.count)


def test_result_is_that_of_an_uninterrupted_training(job: Job) -> None:
    child = Child(job)
    assert child.exit_code() == 0
    assert child.steps == list(range(job.total_steps + 1))
    assert job.result() == expected(job)
    assert any(job.result().vector)  # type: ignore[union-attr]  # it has learned something


def test_finished_job_is_done_at_once(job: Job) -> None:
    Child(job).exit_code()
    again = Child(job)
    assert again.exit_code() == 0
    assert again.steps == []


def test_paused_again_and_again(job: Job) -> None:
    dice, done = random.Random(3), 0
    while job.result() is None:
        child = Child(job)
        child.until_step(min(done + dice.randint(1, 10), job.total_steps))
        child.process.stop()
        code = child.exit_code()
        assert code == 0 or job.result() is not None  # a stop may hit a child that has just ended
        assert child.steps[0] == done
        done = child.steps[-1]
        assert job.result() is not None or job.done_steps() == done
    assert job.result() == expected(job)


@pytest.mark.parametrize("checkpoint_s", [0.0, 300.0], ids=["each batch", "no checkpoint"])
def test_killed_at_random_batches(job: Job, checkpoint_s: float) -> None:
    dice = random.Random(4)
    for _ in range(6):
        child = Child(job, checkpoint_s=checkpoint_s)
        child.until_step(dice.randint(2, job.total_steps // 2))  # so that one checkpoint is whole
        child.process.kill()
        if job.result() is not None:  # batches are short: the kill came too late
            break
        assert (job.done_steps() > 0) == (checkpoint_s == 0)
    assert Child(job, checkpoint_s=checkpoint_s).exit_code() == 0
    assert job.result() == expected(job)


@pytest.mark.parametrize("damage", ["zeroed", "truncated", "empty", "of another job"])
def test_damaged_checkpoint_costs_its_batches_only(device: Device, job: Job, damage: str) -> None:
    child = Child(job, duty=ONE_BATCH)
    child.until_step(1)
    child.process.stop()
    assert child.exit_code() == 0
    path = job.directory / "checkpoint"
    data = path.read_bytes()
    if damage == "of another job":
        other = freeze_now(device.freezer, replace(device.plan, plan_id=b"o" * 16))
        other.write_checkpoint(Checkpoint(5, other.base(), b""))
        data = (other.directory / "checkpoint").read_bytes()
    broken = {"zeroed": bytes(len(data)), "truncated": data[:-1], "empty": b""}
    path.write_bytes(broken.get(damage, data))
    again = Child(job)
    assert again.exit_code() == 0
    assert again.steps[0] == 0
    assert "training starts again" in again.notes[0]
    assert job.result() == expected(job)


def test_checkpoint_survives_an_upgrade_and_another_processor(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is in it is canonical; what is in memory need not be."""
    job = device.freeze()
    child = Child(job, duty=ONE_BATCH)
    child.until_step(1)
    child.process.stop()
    assert child.exit_code() == 0
    for name in ("version", "isa"):
        monkeypatch.setattr(fedling_native, name, lambda: "another")
    again = Job.open(job.directory)
    kept = again.checkpoint()
    assert kept is not None
    assert kept.steps == 1
    assert len(kept.weights) == len(job.base())
    assert Child(again).exit_code() == 0
    assert again.result() == expected(job)


def test_a_cnn_with_all_that_training_can(tmp_path: Path) -> None:
    """Velocity and the place in the epoch go on where they were."""
    training = replace(EVERYTHING, batch=40)  # three batches an epoch
    job = make_device(tmp_path / "state", spec=CNN, training=training).freeze()
    for step in range(1, 6):
        child = Child(job, duty=ONE_BATCH)
        child.until_step(step)
        child.process.stop()
        assert child.exit_code() == 0
        assert job.done_steps() == step
    assert Child(job).exit_code() == 0
    assert job.result() == expected(job)
    plain = replace(job.recipe, training=replace(TRAINING, epochs=6))
    assert Job.write(job.directory, plain).result() is None
    assert expected(Job.open(job.directory)) != expected(job)


def test_without_a_lease_nothing_is_trained(job: Job) -> None:
    child = Child(job, lease_s=None)
    child.until(lambda event: isinstance(event, Asked))
    child.process.stop()
    assert child.exit_code() == 0
    assert child.steps == [0]
    assert not (job.directory / "checkpoint").exists()


def test_lease_that_has_run_out_is_asked_for_again(job: Job) -> None:
    child = Child(job, lease_s=-1e-9)
    for _ in range(3):
        child.until(lambda event: isinstance(event, Asked))
    assert child.steps == [0]
    pid, said = child.process.pid, len(child.events)
    assert pid is not None
    child.process.kill()
    until(lambda: not Path(f"/proc/{pid}").exists(), child.loop.turn)  # reaped, the loop not held
    assert len(child.events) == said  # and nothing is told any more


@pytest.mark.parametrize("duty", [ONE_BATCH, 1e-15], ids=["long", "longer than poll() counts"])
def test_duty_sleeps_and_a_stop_wakes(job: Job, duty: float) -> None:
    child = Child(job, duty=duty)
    child.until_step(1)
    child.process.stop()
    assert child.exit_code() == 0
    assert child.steps == [0, 1]
    assert job.done_steps() == 1


def test_second_child_waits_for_the_first(job: Job) -> None:
    first = Child(job, lease_s=None)
    first.until(lambda event: isinstance(event, Asked))
    second = Child(job)
    first.lease_s = 1000.0
    first.process.stop()
    assert second.exit_code() == 0
    assert first.exit_code() == 0
    assert job.result() == expected(job)


def start_by_hand(job: Job) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "fedling_agent.training.trainer",
        str(job.directory),
        "1",
        "300",
    ]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_end_of_input_is_a_pause(job: Job) -> None:
    with start_by_hand(job) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"what is this\nlease many\nlease 9999999999999999999\n")
        child.stdin.flush()
        line_of(child, lambda line: line.startswith(b"step 3 %d " % job.total_steps))
        child.stdin.close()
        child.stdout.read()
        assert child.wait(PATIENCE_S) == 0
    assert Child(job).exit_code() == 0
    assert job.result() == expected(job)


def test_it_dies_with_its_parent(job: Job) -> None:
    """The parent's end of both pipes stays open here: only the kernel can tell the child."""
    script = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'fedling_agent.training.trainer', "
        "sys.argv[1], '1', '300'])\n"
        "print(child.pid, file=sys.stderr, flush=True)\n"
        "os.wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(job.directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as parent:
        assert parent.stderr is not None
        assert parent.stdout is not None
        handle = os.pidfd_open(int(parent.stderr.readline()))
        line_of(parent, lambda line: line == b"ask\n")
        parent.send_signal(signal.SIGKILL)
        ready, _, _ = select.select([handle], [], [], PATIENCE_S)
        os.close(handle)
    assert ready


@pytest.mark.parametrize("name", ["examples", "base", "job"])
def test_damaged_job_is_refused_and_made_again(device: Device, job: Job, name: str) -> None:
    undamaged = expected(job)
    path = job.directory / name
    data = path.read_bytes()
    path.unlink()  # "examples" has a second name
    path.write_bytes(bytes(len(data)))
    child = Child(job)
    assert child.exit_code() == Exit.FAILED
    assert child.notes == [f"{name}: wrong checksum"]
    again = device.mend()
    assert again is not None
    assert Child(again).exit_code() == 0
    assert again.result() == undamaged


def test_killed_child_is_told(job: Job) -> None:
    child = Child(job, lease_s=None)
    child.until(lambda event: isinstance(event, Asked))
    assert child.process.pid is not None
    os.kill(child.process.pid, signal.SIGKILL)
    assert child.exit_code() == -signal.SIGKILL
    assert child.events[-1] == Exited(-signal.SIGKILL)
    child.process.stop()  # nobody there: no harm
    child.process.kill()


@pytest.mark.parametrize("hurt", [signal.SIGKILL, signal.SIGTERM])
def test_child_is_among_those_that_live_while_it_does(job: Job, hurt: signal.Signals) -> None:
    child = Child(job)
    child.until(lambda event: isinstance(event, Asked))
    assert child.process.pid is not None
    assert child.living == {child.process.pid}
    os.kill(child.process.pid, hurt)
    child.exit_code()
    assert child.living == set()


def test_child_is_told_nothing_of_how_the_service_spares_memory(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    child = Child(job, lease_s=None)
    told = Path(f"/proc/{child.process.pid}/environ").read_bytes().split(b"\0")
    child.process.stop()
    child.exit_code()
    names = {word.partition(b"=")[0].decode() for word in told if word}
    assert names == set(os.environ) - {"MALLOC_MMAP_THRESHOLD_"}


def test_child_that_hangs_after_its_last_word_can_be_killed(job: Job) -> None:
    """It has closed its output and does not end: it ended the whole service when it was killed."""
    loop, told = Loop(), list[object]()
    process = ChildProcess(loop, job, duty=1.0, checkpoint_s=300.0, only_idle=False, children=set())
    process._command = [sys.executable, "-c", "import os, time; os.close(1); time.sleep(600)"]
    process.start(told.append)
    child = process._child
    assert child is not None
    output = child.stdout
    assert output is not None
    until(lambda: output.closed, loop.turn)
    process.kill()
    until(lambda: child.returncode is not None, loop.turn)
    loop.close()
    assert told == []


def test_service_takes_its_child_off_the_load(loop: Loop, job: Job, tmp_path: Path) -> None:
    config = configuration.load(Agent(tmp_path / "agent", 1).config)
    with closing(ThreadWorker(loop, "disk")) as disk:
        ports = run._ports(loop, disk, config, credentials.load(config.mqtt), lambda _: None)
        process = ports.make_process(job)
        assert isinstance(process, ChildProcess)
        process._command = [sys.executable, "-c", "import time; time.sleep(600)"]
        process.start(lambda _: None)
        own = ports.watcher._roots.processors.children
        assert own == {process.pid}
        process.kill()
        until(lambda: not own, loop.turn)


def test_child_that_reads_nothing_holds_no_lease_up(job: Job) -> None:
    loop = Loop()
    process = ChildProcess(loop, job, duty=1.0, checkpoint_s=300.0, only_idle=False, children=set())
    process._command = [sys.executable, "-c", "import time; time.sleep(600)"]
    process.start(lambda _: None)
    for _ in range(10_000):  # more than a pipe holds
        process.grant(1.0)
    child = process._child
    assert child is not None
    process.kill()
    until(lambda: child.returncode is not None, loop.turn)
    loop.close()


class Impatient:
    """A Trainee whose child hangs after some batches, until it is killed."""

    def __init__(self, slot: Slot, hangs: int) -> None:
        self._slot = slot
        self._hangs = hangs
        self._hung: set[int | None] = set()
        self.ended: list[object] = []

    def least_s(self) -> float:
        """How long the child may be silent: one that does not hang, as long as a machine takes."""
        return 1.0 if self._slot.pid in self._hung else PATIENCE_S

    def lease(self, grant: Callable[[float], None]) -> None:
        pid = self._slot.pid
        if self._hangs and pid is not None:
            self._hangs -= 1
            self._hung.add(pid)
            os.kill(pid, signal.SIGSTOP)
        grant(60.0)

    def trained(self, _job: Job, result: Result) -> None:
        self.ended.append(result)

    def training_failed(self, _plan_id: bytes, reason: str) -> None:
        self.ended.append(reason)

    def disk_refused(self, reason: str) -> None:
        self.ended.append(reason)


@pytest.mark.parametrize("hangs", [1, 3])
def test_child_that_hangs_is_killed_and_its_training_ends_in_the_same_bits_or_a_sentence(
    job: Job, monkeypatch: pytest.MonkeyPatch, hangs: int
) -> None:
    monkeypatch.setattr(speed, "PATIENCE", 1)
    monkeypatch.setattr(slot, "RETRY_S", 0.0)
    monkeypatch.setattr(slot, "STALLED_S", 60.0)
    loop = Loop()
    make = partial(ChildProcess, loop, duty=1.0, checkpoint_s=1.0, only_idle=False, children=set())
    held = Slot(loop, make)
    trainee = Impatient(held, hangs)
    deadline_s = speed.Speed.deadline_s

    def deadline_now_s(of: speed.Speed, work: int, tries: int) -> float:
        monkeypatch.setattr(speed, "LEAST_S", trainee.least_s())
        return deadline_s(of, work, tries)

    monkeypatch.setattr(speed.Speed, "deadline_s", deadline_now_s)
    held.start(job, trainee)
    until(lambda: trainee.ended, loop.turn)
    first = f"batch 1 of {job.total_steps} did not end within 1 s"
    assert trainee.ended == [first if hangs == 3 else expected(job)]


HELD = replace(TRAINING, holdout=400, holdout_block=40)


@pytest.fixture
def tested(tmp_path: Path) -> Job:
    """A job with windows that were held out, in some pieces of a batch's windows each."""
    job = make_device(tmp_path / "tested", training=HELD, recordings=12).freeze()
    assert job.recipe.tests > 3 * HELD.batch
    return job


def by_hand(job: Job, weights: bytes | None = None) -> tuple[Hits, ...]:
    """What the base, or other weights, say of each window that was held out."""
    recipe, data = job.recipe, job.tests()
    net = Net(recipe.layers, recipe.exponents, weights or job.base(), recipe.loss)
    counts = [[0, 0] for _ in range(recipe.layers[-1].outputs)]
    for at in range(recipe.tests):
        label = data[recipe.tests * 2 * recipe.values + at]
        window = data[at * 2 * recipe.values : (at + 1) * 2 * recipe.values]
        counts[label][0] += 1
        counts[label][1] += net.predict(recipe.normaliser.apply(window)).label == label
    return tuple(Hits(*one) for one in counts)


def with_test(job: Job) -> Result:
    return replace(expected(job), tested=by_hand(job))


def is_piece(event: ChildEvent) -> bool:
    return isinstance(event, Piece)


def test_the_base_is_tested_on_what_was_held_out(tested: Job) -> None:
    child = Child(tested)
    assert child.exit_code() == 0
    assert tested.result() == with_test(tested)
    pieces = [event.done for event in child.events if isinstance(event, Piece)]
    assert pieces == [*range(HELD.batch, tested.recipe.tests, HELD.batch), tested.recipe.tests]
    windows = [one.windows for one in by_hand(tested)]
    assert sum(windows) == tested.recipe.tests
    assert all(windows)


def test_paused_after_each_piece_of_a_test(tested: Job) -> None:
    pieces: list[int] = []
    while tested.result() is None:
        child = Child(tested, duty=ONE_BATCH if tested.tally() or pieces else 1.0)
        child.until(lambda event: isinstance(event, Piece | Exited))
        child.process.stop()
        child.exit_code()
        pieces += [event.done for event in child.events if isinstance(event, Piece)]
    assert pieces == sorted(set(pieces))  # nothing is done twice
    assert tested.result() == with_test(tested)


@pytest.mark.parametrize("checkpoint_s", [0.0, 300.0], ids=["each piece", "no tally"])
def test_killed_between_pieces_of_a_test(tested: Job, checkpoint_s: float) -> None:
    for _ in range(3):
        child = Child(tested, checkpoint_s=checkpoint_s)
        child.until(is_piece)
        child.process.kill()
        tally = tested.tally()
        if tested.result() or (tally and tally.done == tested.recipe.total_tests):
            break  # pieces are short: the kill came too late
    assert Child(tested, checkpoint_s=checkpoint_s).exit_code() == 0
    assert tested.result() == with_test(tested)


def test_a_test_waits_for_its_lease(tested: Job) -> None:
    job = tested
    with job.examples() as examples:
        run = LocalSgd(job.recipe, job.base(), examples)
        while not run.finished:
            run.step()
        job.write_checkpoint(run.checkpoint())
        run.close()
    idle = Child(job, lease_s=None)
    idle.until(lambda event: isinstance(event, Asked))
    assert not any(map(is_piece, idle.events))
    idle.process.stop()
    assert idle.exit_code() == 0
    assert job.result() is None


@pytest.fixture
def personal(tmp_path: Path) -> Job:
    """A job that makes a personal model, with windows that choose in some pieces."""
    device = make_device(tmp_path / "personal", recordings=12)
    model = device.store.models.newest("watch")
    assert model is not None
    job = finish(Maker(device.store, FLEET, SECRET, True).gather(model, TRAINING))()
    assert job.recipe.tests > 3 * TRAINING.batch
    return job


def made_at_once(job: Job) -> Result:
    """The personal model that comes of a job, and what both models say of what chooses."""
    with job.examples() as examples:
        run = LocalSgd(job.recipe, job.base(), examples)
        while not run.finished:
            run.step()
        own = run.weights()
        run.close()
    assert own != job.base()
    tested = (*by_hand(job), *by_hand(job, own))
    return Result(own, sha256(own).digest(), 0, job.recipe.count, tested)


def test_a_personal_model_comes_with_what_it_and_the_fleet_s_told_right(personal: Job) -> None:
    assert Child(personal).exit_code() == 0
    assert personal.result() == made_at_once(personal)


def test_a_personal_model_is_the_same_however_it_is_paused(personal: Job) -> None:
    pieces: list[int] = []
    first = Child(personal)
    first.until_step(personal.total_steps // 2)
    first.process.stop()
    first.exit_code()
    while personal.result() is None:
        child = Child(personal, duty=ONE_BATCH if pieces else 1.0)
        child.until(lambda event: isinstance(event, Piece | Exited))
        child.process.stop()
        child.exit_code()
        pieces += [event.done for event in child.events if isinstance(event, Piece)]
    assert pieces == sorted(set(pieces))  # nothing is done twice
    assert pieces[-1] == personal.recipe.total_tests == 2 * personal.recipe.tests
    assert personal.result() == made_at_once(personal)


def test_a_personal_model_is_the_same_though_its_child_is_killed(personal: Job) -> None:
    for step in (3, personal.total_steps // 2):
        child = Child(personal, checkpoint_s=0.0)
        child.until_step(step)
        child.process.kill()
    child = Child(personal, checkpoint_s=0.0)
    child.until(is_piece)
    child.process.kill()
    assert Child(personal).exit_code() == 0
    assert personal.result() == made_at_once(personal)


@pytest.mark.parametrize("damage", ["zeroed", "truncated", "gone"])
def test_damaged_tests_are_dropped_and_the_update_says_none(tested: Job, damage: str) -> None:
    undamaged = expected(tested)
    path = tested.directory / "tests"
    data = path.read_bytes()
    path.unlink()  # it has a second name
    if damage != "gone":
        path.write_bytes(bytes(len(data)) if damage == "zeroed" else data[:-1])
    child = Child(tested)
    assert child.exit_code() == 0
    assert "nothing is tested" in child.notes[0]
    assert tested.result() == undamaged


@pytest.mark.parametrize("damage", ["zeroed", "empty", "of another job"])
def test_damaged_tally_costs_its_pieces_only(tested: Job, damage: str) -> None:
    tested.write_tally(Tally(1, (Hits(9, 9),) * 2))
    path = tested.directory / "tally"
    data = path.read_bytes()
    path.write_bytes({"zeroed": bytes(len(data)), "empty": b""}.get(damage, data))
    if damage == "of another job":
        other = Job.write(tested.directory, replace(tested.recipe, seed=b"other"))
        other.write_tally(Tally(1, (Hits(9, 9),) * 2))
        tested = Job.write(tested.directory, tested.recipe)
    assert Child(tested).exit_code() == 0
    assert tested.result() == with_test(tested)
