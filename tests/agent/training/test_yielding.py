"""A training child beside programs that want its processor, for real."""

import ctypes
import logging
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from fedling_agent.training import process as process_module
from fedling_agent.training import slot, speed, yielding
from fedling_agent.training.job import Job, Result
from fedling_agent.training.process import Asked, ChildProcess, Tell
from fedling_agent.training.slot import Slot
from fedling_protocol.runtime.loop import Loop
from tests.support.child import Child
from tests.support.device import make_device
from tests.support.waiting import until

IOPRIO_GET = {"x86_64": 252, "aarch64": 31}


@contextmanager
def hogs(core: int, count: int) -> Iterator[None]:
    """Have so many programs want one core, each in a session of its own, without an end."""
    with ExitStack() as stack:
        for _ in range(count):
            hog = subprocess.Popen(["sh", "-c", "while :; do :; done"], start_new_session=True)
            stack.callback(hog.wait)
            stack.callback(hog.kill)
            os.sched_setaffinity(hog.pid, {core})
        yield


@pytest.fixture
def core() -> int:
    return min(os.sched_getaffinity(0))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make_device(tmp_path / "state").freeze()


class Pinned(ChildProcess):
    """A child that may run on one core only."""

    core = 0

    def start(self, tell: Tell) -> None:
        super().start(tell)
        assert self.pid is not None
        os.sched_setaffinity(self.pid, {self.core})


class Spins(Pinned):
    """A child that computes for ever and says nothing."""

    def start(self, tell: Tell) -> None:
        self._command = [sys.executable, "-c", "while True: pass"]
        super().start(tell)


class Trainee:
    """A Trainee who allows everything."""

    def __init__(self) -> None:
        self.ended: list[object] = []

    def lease(self, grant: Callable[[float], None]) -> None:
        grant(3600.0)

    def trained(self, _job: Job, result: Result) -> None:
        self.ended.append(result)

    def training_failed(self, _plan_id: bytes, reason: str) -> None:
        self.ended.append(reason)

    def disk_refused(self, reason: str) -> None:
        self.ended.append(reason)


class Watched(Slot):
    """A slot that counts how often a child was late."""

    late = 0

    def _on_late(self, *arguments: object) -> None:
        self.late += 1
        super()._on_late(*arguments)  # type: ignore[arg-type]


def train(job: Job, core: int, kind: type[Pinned]) -> tuple[list[object], int]:
    """Train beside hogs; returns how it ended, and how often a child was late."""
    loop, trainee = Loop(), Trainee()
    kind.core = core
    make = partial(kind, loop, duty=1.0, checkpoint_s=300.0, only_idle=False, children=set())
    held = Watched(loop, make)
    held.start(job, trainee)
    until(lambda: trainee.ended, loop.turn)
    loop.close()
    return trainee.ended, held.late


def test_child_that_is_kept_waiting_for_a_processor_is_not_taken_for_hung(
    job: Job, core: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets a small part of a core, so that its start alone lasts longer than it may."""
    monkeypatch.setattr(speed, "LEAST_S", 1.0)
    monkeypatch.setattr(slot, "MOST_TRIES", 1)
    monkeypatch.setattr(slot, "WAITED_S", 0.1)
    with hogs(core, 24):
        ended, late = train(job, core, Pinned)
    assert ended == [job.result()]
    assert late > 0


def test_child_that_computes_for_ever_is_killed_though_others_keep_it_waiting(
    job: Job, core: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "LEAST_S", 1.0)
    monkeypatch.setattr(slot, "MOST_TRIES", 1)
    monkeypatch.setattr(slot, "WAITED_S", 0.1)
    with hogs(core, 4):
        ended, late = train(job, core, Spins)
    assert ended == [f"batch 1 of {job.total_steps} did not end within 1 s"]
    assert late > 1


def test_child_that_waits_for_its_parent_waits_for_no_processor(job: Job, core: int) -> None:
    child = Child(job, lease_s=None)
    child.until(lambda event: isinstance(event, Asked))
    before = child.process.waited_s()
    assert child.process.pid is not None
    os.sched_setaffinity(child.process.pid, {core})
    with hogs(core, 2):
        child.loop.turn(0.5)
    assert child.process.waited_s() - before < slot.WAITED_S
    child.process.stop()
    assert child.exit_code() == 0
    assert child.process.waited_s() >= before  # also when it is gone


def test_training_alone_is_idle_and_gives_the_same_bits(job: Job) -> None:
    own = scheduled(os.getpid())
    child = Child(job, only_idle=True, lease_s=None)
    pid = child.process.pid
    assert pid is not None
    assert scheduled(pid) == (os.SCHED_IDLE, yielding.NICEST)
    assert io_class(pid) in (yielding.IOPRIO_IDLE, None)
    assert scheduled(os.getpid()) == own
    child.process.stop()
    child.exit_code()


def test_training_has_a_session_of_its_own_which_alone_is_the_nicest(job: Job) -> None:
    own = nice_of_session(os.getpid())

    def is_the_nicest() -> bool:
        child = Child(job, only_idle=True, lease_s=None)
        pid = child.process.pid
        assert pid is not None
        assert os.getsid(pid) == pid
        found = nice_of_session(pid)
        child.process.stop()
        child.exit_code()
        return found in (yielding.NICEST, None)

    until(is_the_nicest)  # of all who are not root the kernel takes one such wish in 0.1 s
    assert nice_of_session(os.getpid()) == own


def test_session_that_is_others_too_is_left_as_it_is() -> None:
    words = ["sh", "-c", "sleep 600 & echo $!; wait"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as sh:
        assert sh.stdout is not None
        pid = int(sh.stdout.readline())
        refused = yielding.yield_to_others(pid)
        assert "autogroup: its session is not its own" in refused
        assert nice_of_session(sh.pid) in (0, None)
        os.killpg(sh.pid, signal.SIGKILL)


def test_process_of_no_sessions_group_has_nothing_to_be_the_nicest_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel starts, and in a container all of it, may have an empty /proc/PID/autogroup,
    which refuses what is written with EINVAL."""
    monkeypatch.setattr(yielding, "AUTOGROUP", f"{tmp_path}/{{}}")
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as leader:
        (tmp_path / str(leader.pid)).touch()
        refused = yielding.yield_to_others(leader.pid)
        assert not [text for text in refused if "autogroup" in text]
        assert (tmp_path / str(leader.pid)).read_bytes() == b""
        leader.kill()


def test_ordinary_training_has_a_session_of_its_own_with_an_ordinary_share(job: Job) -> None:
    child = Child(job, lease_s=None)
    pid = child.process.pid
    assert pid is not None
    assert os.getsid(pid) == pid
    assert nice_of_session(pid) in (0, None)
    child.process.stop()
    child.exit_code()


def nice_of_session(pid: int) -> int | None:
    """None: the kernel shares its processors by process, as it does for what it started itself."""
    path = Path(f"/proc/{pid}/autogroup")
    words = path.read_text().split() if path.exists() else []
    return int(words[-1]) if words else None


def scheduled(pid: int) -> tuple[int, int]:
    return os.sched_getscheduler(pid), os.getpriority(os.PRIO_PROCESS, pid)


def io_class(pid: int) -> int | None:
    """Ask the kernel; None: its number is not known here."""
    number = IOPRIO_GET.get(platform.machine())
    if number is None or sys.maxsize < 2**32:
        return None
    found: int = ctypes.CDLL(None).syscall(ctypes.c_long(number), yielding.IOPRIO_WHO_PROCESS, pid)
    return found


def test_where_a_call_is_refused_it_is_said_once_and_the_others_are_made(
    job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(yielding, "_number", lambda _machine: 0)
    monkeypatch.setattr(yielding, "AUTOGROUP", "/proc/{}")
    process_module._note_refusal.cache_clear()
    with caplog.at_level(logging.DEBUG, "fedling_agent"):
        for _ in range(2):
            child = Child(job, only_idle=True)
            assert child.process.pid is not None
            assert scheduled(child.process.pid) == (os.SCHED_OTHER, yielding.NICEST)
            assert child.exit_code() == 0
    assert [(r.levelname, r.getMessage().partition(": ")[2]) for r in caplog.records] == [
        ("DEBUG", "SCHED_IDLE: Operation not permitted"),
        ("DEBUG", "autogroup: Is a directory"),
        ("DEBUG", "ioprio_set: Function not implemented"),
    ]


def test_kernel_that_shares_processors_by_process_refuses_nothing(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yielding, "AUTOGROUP", "/proc/{}/none")
    child = Child(job, only_idle=True, lease_s=None)
    assert child.process.pid is not None
    assert yielding.yield_to_others(child.process.pid) == []
    child.process.stop()
    child.exit_code()


@pytest.mark.parametrize(
    ("machine", "maxsize", "number"),
    [
        ("x86_64", 2**63 - 1, 251),
        ("x86_64", 2**31 - 1, 289),
        ("aarch64", 2**63 - 1, 30),
        ("aarch64", 2**31 - 1, 314),  # Raspberry Pi OS of 32 bits on a kernel of 64
        ("armv6l", 2**31 - 1, 314),
        ("armv7l", 2**31 - 1, 314),
        ("riscv64", 2**63 - 1, 30),
        ("s390x", 2**63 - 1, 0),
    ],
)
def test_number_of_a_system_call_is_the_program_s(
    monkeypatch: pytest.MonkeyPatch, machine: str, maxsize: int, number: int
) -> None:
    monkeypatch.setattr(sys, "maxsize", maxsize)
    assert yielding._number(machine) == number


def test_kernel_that_does_not_tell() -> None:
    assert yielding.waited_s(2**30) is None
