"""One child at a time, whatever becomes of it. The child says what the test has it say."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest

from fedling_agent.training import slot as slot_module
from fedling_agent.training.process import Asked, ChildEvent, Exited, Note, Piece, Step, Tell
from fedling_agent.training.slot import Slot
from fedling_agent.training.speed import LEAST_S, MARGIN, PATIENCE, PAUSE_S, Speed
from tests.support.ports import HandClock
from tests.support.waiting import until


@dataclass(frozen=True, slots=True)
class FakeRecipe:
    """What the slot asks of a recipe."""

    total_tests: int = 0
    personal: bool = False


class FakeJob:
    """What the slot asks of a job."""

    total_steps = 10
    batch_work = 1_000_000
    recipe = FakeRecipe()

    def __init__(self, name: bytes) -> None:
        self.plan_id = name * 16
        self.finished = False
        self.given = object()

    def done_steps(self) -> int:
        return 0

    def result(self) -> object | None:
        return self.given if self.finished else None


class FakeProcess:
    """Says what the test has it say."""

    all: ClassVar[list["FakeProcess"]] = []
    pid = 1

    def __init__(self, job: FakeJob) -> None:
        self.job = job
        self.did: list[object] = []
        self.waited = 0.0
        FakeProcess.all.append(self)

    def waited_s(self) -> float:
        return self.waited

    def start(self, tell: Tell) -> None:
        self.did.append("start")
        self.tell = tell

    def grant(self, seconds: float) -> None:
        self.did.append(seconds)

    def stop(self) -> None:
        self.did.append("stop")

    def kill(self) -> None:
        self.did.append("kill")

    def say(self, *events: ChildEvent) -> None:
        for event in events:
            self.tell(event)


class FakeTrainee:
    """Allows what the test allows, and remembers."""

    def __init__(self) -> None:
        self.lasts: float | None = 7
        self.later: list[Callable[[float], None]] | None = None
        self.heard: list[object] = []

    def lease(self, grant: Callable[[float], None]) -> None:
        if self.later is not None:
            self.later.append(grant)
        elif self.lasts is not None:
            grant(self.lasts)

    def trained(self, job: FakeJob, result: object) -> None:
        self.heard += [job.plan_id, result]

    def training_failed(self, plan_id: bytes, reason: str) -> None:
        self.heard.append(reason)

    def disk_refused(self, reason: str) -> None:
        self.heard.append(f"disk: {reason}")


class Bench:
    """A slot with fakes on all sides."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.worked: list[float] = []
        speed = Speed(duty=0.5)
        self.slot = Slot(self.clock, FakeProcess, speed, self.worked.append)  # type: ignore[arg-type]
        self.trainee = FakeTrainee()

    def start(self, name: bytes) -> FakeJob:
        job = FakeJob(name)
        self.slot.start(job, self.trainee)  # type: ignore[arg-type]
        return job

    def say(self, *events: ChildEvent) -> None:
        """By the newest child."""
        FakeProcess.all[-1].say(*events)
        self.clock.settle()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(slot_module, "RETRY_S", 0.0)
    FakeProcess.all = []
    return Bench()


def test_asked_grants_what_the_trainee_allows(bench: Bench) -> None:
    bench.start(b"a")
    bench.say(Step(0, 10), Asked())
    bench.trainee.lasts = None
    bench.say(Step(1, 10), Asked())
    assert FakeProcess.all[0].did == ["start", 7]


def test_lease_that_comes_later_is_for_the_child_that_asked(bench: Bench) -> None:
    bench.trainee.later = []
    job = bench.start(b"a")
    bench.say(Asked())
    bench.trainee.later[0](3)
    assert FakeProcess.all[0].did == ["start", 3]
    bench.say(Asked())
    bench.slot.pause(job.plan_id)
    bench.trainee.later[1](4)  # not while it pauses
    bench.slot.start(job, bench.trainee)  # type: ignore[arg-type]
    bench.say(Exited(0))
    bench.trainee.later[1](5)  # not to the next child
    assert FakeProcess.all[0].did == ["start", 3, "stop"]
    assert FakeProcess.all[1].did == ["start"]


def test_done_tells_the_trainee(bench: Bench) -> None:
    job = bench.start(b"a")
    job.finished = True
    bench.say(Step(10, 10), Exited(0))
    assert bench.trainee.heard == [job.plan_id, job.given]
    assert bench.slot.find(job.plan_id) is None


def test_second_job_waits_for_the_first(bench: Bench) -> None:
    first, second = bench.start(b"a"), bench.start(b"b")
    assert len(FakeProcess.all) == 1
    first.finished = True
    bench.say(Exited(0))
    assert FakeProcess.all[1].job is second


def test_pause_stops_and_lets_the_next_in(bench: Bench) -> None:
    first, second = bench.start(b"a"), bench.start(b"b")
    bench.slot.pause(first.plan_id)
    assert FakeProcess.all[0].did == ["start", "stop"]
    bench.say(Step(1, 10), Exited(0))
    assert FakeProcess.all[1].job is second
    progress = bench.slot.progress(first.plan_id)
    assert progress is not None
    assert progress.done == 1


def test_a_personal_model_makes_room_for_a_round(bench: Bench) -> None:
    personal = FakeJob(b"p")
    personal.recipe = FakeRecipe(personal=True)
    bench.slot.start(personal, bench.trainee)  # type: ignore[arg-type]
    assert not bench.slot.free
    bench.say(Step(1, 10))
    round_ = bench.start(b"a")
    assert FakeProcess.all[0].did == ["start", "stop"]
    bench.say(Exited(0))
    assert FakeProcess.all[-1].job is round_
    bench.slot.start(personal, bench.trainee)  # type: ignore[arg-type]
    assert FakeProcess.all[-1].did == ["start"]  # a round makes room for none
    round_.finished = True
    bench.say(Exited(0))
    assert FakeProcess.all[-1].job is personal


def test_start_while_pausing_starts_again_after_the_exit(bench: Bench) -> None:
    job = bench.start(b"a")
    bench.slot.pause(job.plan_id)
    bench.slot.start(job, bench.trainee)  # type: ignore[arg-type]
    assert len(FakeProcess.all) == 1
    bench.say(Exited(0))
    assert FakeProcess.all[1].did == ["start"]


def test_pause_while_waiting_for_the_slot_forgets_it(bench: Bench) -> None:
    first, second = bench.start(b"a"), bench.start(b"b")
    bench.slot.pause(second.plan_id)
    first.finished = True
    bench.say(Exited(0))
    assert len(FakeProcess.all) == 1


def test_pause_of_a_child_that_was_just_done_is_trained(bench: Bench) -> None:
    job = bench.start(b"a")
    bench.slot.pause(job.plan_id)
    job.finished = True
    bench.say(Exited(0))
    assert bench.trainee.heard == [job.plan_id, job.given]


def test_child_that_dies_again_and_again_fails_with_its_last_word(bench: Bench) -> None:
    bench.start(b"a")
    for _ in range(slot_module.MOST_TRIES):
        bench.say(Note("no memory"), Exited(-9))
        bench.clock.settle()  # the retry is due
    assert bench.trainee.heard == ["no memory"]
    assert len(FakeProcess.all) == slot_module.MOST_TRIES


def test_child_that_cannot_write_is_not_a_failed_training(bench: Bench) -> None:
    job = bench.start(b"a")
    bench.say(Note("the disk is full"), Exited(73))
    assert bench.trainee.heard == ["disk: the disk is full"]
    assert bench.slot.find(job.plan_id) is None


def test_child_that_dies_but_gets_on_never_fails(bench: Bench) -> None:
    bench.start(b"a")
    for done in range(1, 3 * slot_module.MOST_TRIES):
        bench.say(Step(done, 10), Exited(-9))
        bench.clock.settle()
    assert bench.trainee.heard == []


def test_child_that_dies_while_pausing_is_paused(bench: Bench) -> None:
    job = bench.start(b"a")
    bench.slot.pause(job.plan_id)
    bench.say(Exited(-9))
    assert bench.slot.find(job.plan_id) is None
    assert bench.trainee.heard == []


@pytest.mark.parametrize("end", ["pause", "cancel"])
def test_child_that_died_is_not_tried_again_when_it_is_not_wanted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(slot_module, "RETRY_S", 5.0)
    job = bench.start(b"a")
    bench.say(Exited(-9))
    getattr(bench.slot, end)(job.plan_id)
    bench.clock.move(60)
    assert len(FakeProcess.all) == 1
    assert bench.slot.pid is None


def test_retry_comes_after_a_while_that_doubles(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_module, "RETRY_S", 5.0)
    bench.start(b"a")
    bench.say(Exited(-9))
    bench.clock.move(4.9)
    assert len(FakeProcess.all) == 1
    bench.clock.move(0.2)
    assert len(FakeProcess.all) == 2
    bench.say(Exited(-9))
    bench.clock.move(9.9)
    assert len(FakeProcess.all) == 2
    bench.clock.move(0.2)
    assert len(FakeProcess.all) == 3


def test_cancel_kills_and_is_silent(bench: Bench) -> None:
    job, second = bench.start(b"a"), bench.start(b"b")
    bench.slot.cancel(job.plan_id)
    assert FakeProcess.all[0].did == ["start", "kill"]
    assert FakeProcess.all[1].job is second
    assert bench.trainee.heard == []


def test_cancel_by_what_the_child_has_just_said(bench: Bench) -> None:
    job = bench.start(b"a")

    def lease(_grant: Callable[[float], None]) -> None:
        bench.slot.cancel(job.plan_id)

    bench.trainee.lease = lease  # type: ignore[method-assign, assignment]
    bench.say(Asked(), Step(1, 10), Asked())
    assert FakeProcess.all[0].did == ["start", "kill"]


def test_close_waits_for_the_child_and_starts_no_other(bench: Bench) -> None:
    bench.start(b"a")
    bench.start(b"b")
    closed: list[bool] = []
    bench.slot.close(lambda: closed.append(True))
    assert not closed
    bench.say(Exited(0))
    assert closed == [True]
    assert len(FakeProcess.all) == 1


def test_close_kills_a_child_that_does_not_end(bench: Bench) -> None:
    bench.start(b"a")
    closed: list[bool] = []
    bench.slot.close(lambda: closed.append(True))
    bench.clock.move(slot_module.FAREWELL_S - 0.1)
    assert closed == []
    bench.clock.move(0.2)
    assert closed == [True]
    assert FakeProcess.all[0].did == ["start", "stop", "kill"]


def test_close_that_waits_is_told_when_all_is_cleared(bench: Bench) -> None:
    bench.start(b"a")
    closed: list[bool] = []
    bench.slot.close(lambda: closed.append(True))
    bench.slot.clear()
    assert closed == [True]
    bench.clock.move(2 * slot_module.FAREWELL_S)
    assert closed == [True]


def test_close_of_an_empty_slot(bench: Bench) -> None:
    closed: list[bool] = []
    bench.slot.close(lambda: closed.append(True))
    bench.clock.settle()
    assert closed == [True]


def test_system_without_room_for_a_process(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: FakeProcess, _tell: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(FakeProcess, "start", fail)
    bench.start(b"a")
    until(lambda: bench.trainee.heard, lambda _: bench.clock.settle())
    assert bench.trainee.heard == ["Cannot allocate memory"]


# --- a child that does not end its batch ---------------------------------------------------------


def test_batch_that_does_not_end_is_killed_and_goes_on_from_the_checkpoint(bench: Bench) -> None:
    bench.start(b"a")
    bench.say(Step(0, 10), Asked(), Step(1, 10))
    bench.clock.move(LEAST_S - 0.1)
    assert FakeProcess.all[0].did == ["start", 7]
    bench.clock.move(0.2)
    bench.clock.settle()
    assert FakeProcess.all[0].did == ["start", 7, "kill"]
    assert FakeProcess.all[1].did == ["start"]
    bench.say(Step(1, 10), Asked())
    assert FakeProcess.all[1].did == ["start", 7]


def test_time_without_a_lease_is_not_the_child_s(bench: Bench) -> None:
    bench.start(b"a")
    bench.trainee.lasts = None
    bench.say(Step(1, 10), Asked())
    bench.clock.move(100 * LEAST_S)
    assert FakeProcess.all[0].did == ["start"]


def test_child_that_never_begins_is_killed(bench: Bench) -> None:
    """The child before it may hang in the kernel and hold the job's lock."""
    bench.start(b"a")
    until(lambda: bench.trainee.heard, lambda _: bench.clock.move(PATIENCE * LEAST_S))
    assert [process.did for process in FakeProcess.all] == [["start", "kill"]] * 3
    assert bench.trainee.heard == ["batch 1 of 10 did not end within 1920 s"]


def test_batch_that_hangs_at_each_try_ends_the_plan_though_others_are_trained_again(
    bench: Bench,
) -> None:
    bench.start(b"a")
    for tries in range(slot_module.MOST_TRIES):
        bench.say(*(Step(done, 10) for done in range(2, 8)))  # 2 is the checkpoint
        assert bench.trainee.heard == []
        bench.clock.move(PATIENCE**tries * LEAST_S + 0.1)
    assert bench.trainee.heard == ["batch 8 of 10 did not end within 1920 s"]
    assert len(FakeProcess.all) == slot_module.MOST_TRIES


def test_machine_that_trains_slowly_has_more_time(bench: Bench) -> None:
    bench.start(b"a")
    bench.say(Step(1, 10, spent_s=60.0))
    bench.clock.move(MARGIN * 60.0 / 0.5 - 1)
    assert FakeProcess.all[0].did == ["start"]
    bench.clock.move(2)
    assert "kill" in FakeProcess.all[0].did


def test_machine_that_slept_kills_nobody(bench: Bench) -> None:
    bench.start(b"a")
    bench.say(Step(1, 10))
    bench.clock.stall(3 * LEAST_S)
    bench.clock.settle()
    assert FakeProcess.all[0].did == ["start"]
    bench.clock.move(LEAST_S + 1)
    assert "kill" in FakeProcess.all[0].did


def test_child_that_others_keep_waiting_has_that_time_too(bench: Bench) -> None:
    bench.start(b"a")
    bench.say(Step(1, 10))
    child = FakeProcess.all[0]
    child.waited = LEAST_S - 10
    bench.clock.move(LEAST_S + 0.1)
    child.waited += LEAST_S - 20  # others had most of the time that it was given, too
    bench.clock.move(LEAST_S - 10)
    assert child.did == ["start"]
    bench.clock.move(LEAST_S - 20)
    assert child.did == ["start", "kill"]


def test_wait_before_a_batch_is_not_counted_for_it(bench: Bench) -> None:
    bench.start(b"a")
    FakeProcess.all[0].waited = LEAST_S / 2
    bench.say(Step(1, 10))
    bench.clock.move(LEAST_S + 0.1)
    assert FakeProcess.all[0].did == ["start", "kill"]


def test_child_that_others_keep_waiting_may_end_its_pause(bench: Bench) -> None:
    job = bench.start(b"a")
    bench.slot.pause(job.plan_id)
    FakeProcess.all[0].waited = PAUSE_S - 5
    bench.clock.move(2 * PAUSE_S - 6)
    assert FakeProcess.all[0].did == ["start", "stop"]
    bench.say(Step(1, 10), Exited(0))
    assert bench.slot.find(job.plan_id) is None


def test_wait_for_a_processor_is_no_work(bench: Bench) -> None:
    job = bench.start(b"a")
    bench.say(Step(1, 10))
    FakeProcess.all[0].waited = 30.0
    bench.clock.move(40.0)
    bench.slot.cancel(job.plan_id)
    assert bench.worked == [10.0]


def test_child_tells_of_a_wait_for_processors_that_is_most_of_its_life(bench: Bench) -> None:
    job = bench.start(b"a")
    run, child = bench.slot.find(job.plan_id), FakeProcess.all[0]
    assert run is not None
    bench.clock.move(8.0)
    child.waited = 8.0
    assert run.lacked_s(bench.clock.now()) == 0.0  # a moment
    bench.clock.move(12.0)
    child.waited = 12.0
    assert run.lacked_s(bench.clock.now()) == 12.0
    bench.clock.move(20.0)
    assert run.lacked_s(bench.clock.now()) == 0.0  # it has had its share since


def test_child_that_does_not_pause_is_killed_and_another_goes_on_when_it_is_wanted(
    bench: Bench,
) -> None:
    job = bench.start(b"a")
    bench.say(Step(1, 10))
    bench.slot.pause(job.plan_id)
    bench.clock.move(PAUSE_S + 0.1)
    assert FakeProcess.all[0].did == ["start", "stop", "kill"]
    assert bench.slot.find(job.plan_id) is None
    assert bench.trainee.heard == []
    bench.slot.start(job, bench.trainee)  # type: ignore[arg-type]
    assert FakeProcess.all[1].did == ["start"]


def test_what_batches_took_is_told_and_so_is_what_a_killed_one_may_have(bench: Bench) -> None:
    bench.start(b"a")
    bench.say(Step(1, 10, spent_s=0.25), Step(2, 10, spent_s=0.5))
    bench.clock.move(LEAST_S + 0.1)
    assert bench.worked == [0.25, 0.5, pytest.approx(LEAST_S - 0.5)]  # of which it slept


@pytest.mark.parametrize("pausing", [False, True])
@pytest.mark.parametrize(
    ("told", "passed_s", "charged_s"),
    [
        (Step(1, 10, spent_s=8.0), 5.0, 0.0),  # it sleeps
        (Step(1, 10, spent_s=8.0), 12.0, 4.0),
        (Piece(4, 20, spent_s=8.0), 5.0, 0.0),
        (Piece(4, 20, spent_s=8.0), 12.0, 4.0),
        (Step(10, 10, spent_s=8.0), 5.0, 5.0),  # it does not sleep after the last one
        (Piece(20, 20, spent_s=8.0), 5.0, 5.0),
    ],
)
def test_sleep_of_a_child_is_no_work(
    bench: Bench, told: Step | Piece, passed_s: float, charged_s: float, pausing: bool
) -> None:
    """It may use half of a core: after 8 s of work it sleeps for 8 s."""
    job = bench.start(b"a")
    if pausing:
        bench.slot.pause(job.plan_id)
    bench.say(told)
    bench.clock.move(passed_s)
    bench.slot.cancel(job.plan_id)
    assert bench.worked == [8.0, charged_s]


def test_work_since_leave_was_given_is_told(bench: Bench) -> None:
    job = bench.start(b"a")
    bench.say(Step(1, 10, spent_s=8.0))
    bench.clock.move(8.0)
    bench.say(Asked())
    bench.clock.move(3.0)
    bench.slot.cancel(job.plan_id)
    assert bench.worked == [8.0, 3.0]


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ([Step(9, 10)], "batch 10 of 10"),
        ([Step(10, 10)], "a piece of the test of 20 answers"),
        ([Step(10, 10), Piece(8, 20)], "a piece of the test of 20 answers"),
        ([Step(10, 10), Piece(20, 20)], "the writing of the result"),
    ],
)
def test_what_a_child_was_at_that_hung_is_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, told: list[ChildEvent], what: str
) -> None:
    monkeypatch.setattr(FakeJob, "recipe", FakeRecipe(total_tests=20))
    bench.start(b"a")

    def turn(_: float) -> None:
        bench.say(*told)
        bench.clock.move(PATIENCE**slot_module.MOST_TRIES * LEAST_S)

    until(lambda: bench.trainee.heard, turn)
    assert bench.trainee.heard == [f"{what} did not end within 1920 s"]


@pytest.mark.parametrize("end", ["cancel", "clear", "killed by the system"])
def test_work_of_a_child_that_is_killed_between_steps_is_told(bench: Bench, end: str) -> None:
    """A plan that is withdrawn before each batch ends must not train for nothing all day."""
    job = bench.start(b"a")
    bench.say(Step(1, 10, spent_s=0.25))
    bench.clock.move(3.0)
    match end:
        case "cancel":
            bench.slot.cancel(job.plan_id)
        case "clear":
            bench.slot.clear()
        case _:
            bench.say(Exited(-9))
    assert bench.worked == [0.25, 2.75]  # it slept first


def test_child_that_waits_for_leave_works_nothing(bench: Bench) -> None:
    bench.trainee.lasts = None
    job = bench.start(b"a")
    bench.say(Step(1, 10, spent_s=0.25), Asked())
    bench.clock.move(100.0)
    bench.slot.cancel(job.plan_id)
    assert bench.worked == [0.25]


def test_child_that_pauses_is_charged_once(bench: Bench) -> None:
    job = bench.start(b"a")
    bench.clock.move(1.0)
    bench.slot.pause(job.plan_id)
    bench.clock.move(1.0)
    bench.say(Step(1, 10, spent_s=2.0), Exited(0))
    assert bench.worked == [2.0]


def test_pieces_of_a_test_are_work_and_no_batches(bench: Bench) -> None:
    """How fast batches are is not learned from them; each has a deadline of its own."""
    bench.start(b"a")
    bench.say(Step(10, 10, spent_s=0.5))
    for done in (8, 16, 24):
        bench.clock.move(LEAST_S - 1)
        bench.say(Piece(done, 24, spent_s=0.25))
    assert bench.worked == [0.5, 0.25, 0.25, 0.25]
    assert FakeProcess.all[0].did == ["start"]
    bench.clock.move(LEAST_S + 0.1)
    assert FakeProcess.all[0].did == ["start", "kill"]


def test_child_that_dies_in_a_test_but_gets_on_never_fails(bench: Bench) -> None:
    bench.start(b"a")
    for done in range(1, 10):
        bench.say(Step(10, 10), Piece(done, 24), Exited(-9))
    assert bench.trainee.heard == []
    assert len(FakeProcess.all) == 10
