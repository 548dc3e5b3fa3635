"""A whole federation of real processes, small: its accounts, its audit, its end by Ctrl-C."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedling_protocol.exits import Exit
from fedling_sim import accounts, record, run
from fedling_sim.federation import Federation
from fedling_sim.process import ChildDied
from fedling_sim.progress import Silence
from fedling_sim.record import Record
from tests.support import small_task
from tests.support.tools import need
from tests.support.waiting import PATIENCE_S, line_of

pytestmark = pytest.mark.first

DEVICES, ROUNDS, GOAL = 5, 3, 4


WAYS = [
    pytest.param((small_task.DENSE, "", "fleet"), id="dense"),
    pytest.param(
        (small_task.CNN, small_task.EVERYTHING, "device"), id="cnn", marks=pytest.mark.long
    ),
]


@pytest.fixture(scope="module", params=WAYS)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """The record of a run in which devices are cut off again and again."""
    need("mosquitto")
    directory = tmp_path_factory.mktemp("demo")
    layers, training, normalise = request.param
    task = small_task.write(
        directory,
        devices=DEVICES,
        rounds=ROUNDS,
        goal=GOAL,
        layers=layers,
        training=training,
        normalise=normalise,
    )
    scenario, data = run.prepare(task, 7, None, None)
    return run.run(scenario, data, directory / "run", Silence())


def test_every_round_has_its_updates(finished: Record) -> None:
    assert [r.number for r in finished.rounds] == list(range(1, ROUNDS + 1))
    assert [len(r.accepted) for r in finished.rounds] == [GOAL] * ROUNDS


def test_verify_recomputes_every_model(finished: Record) -> None:
    assert finished.verified_well, finished.verified
    last = finished.rounds[-1].version  # one more where the fleet was measured first
    assert last - ROUNDS in (1, 2)
    assert finished.verified.startswith(f"{last} models recomputed bit for bit, {last - 1} of them")


def test_journal_receipts_and_bytes_agree(finished: Record) -> None:
    assert finished.faults == []


def test_bytes_at_the_socket_are_those_of_the_proxy(finished: Record) -> None:
    assert len(finished.bytes) == DEVICES
    for row in finished.bytes:
        assert abs(row.agent_up - row.proxy_up) <= accounts.MOST_OFF * row.proxy_up
        assert abs(row.agent_down - row.proxy_down) <= accounts.MOST_OFF * row.proxy_down


def test_devices_predict_what_they_have_learned(finished: Record) -> None:
    tests = small_task.SAMPLES // 5  # samples of each recording that were never ingested
    windows = (tests - 10) // 5 + 1
    assert finished.test_windows == DEVICES * len(small_task.LABELS) * windows
    assert finished.accuracy == finished.rounds[-1].accuracy  # `predict` and the simulator's own
    assert finished.accuracy is not None
    assert finished.accuracy > 0.6


@pytest.mark.long
def test_devices_of_one_label_each_learn_all_labels_by_default(tmp_path: Path) -> None:
    """A task with its required keys only: with a scale of each device's own it learns nothing."""
    need("mosquitto")
    found = {}
    for normalise in ("fleet", "device"):
        directory = tmp_path / normalise
        task = small_task.write(
            directory, devices=6, rounds=10, goal=6, normalise=normalise, one_label=True
        )
        text = task.read_text()
        task.write_text(text.replace('normalise = "fleet"\n', ""))
        scenario, data = run.prepare(task, 7, None, None)
        record = run.run(scenario, data, directory / "run", Silence())
        assert record.accuracy is not None
        assert record.faults == []
        found[normalise] = record.accuracy
    assert found["fleet"] > 0.9 > 0.7 > found["device"]


# --- Ctrl-C ----------------------------------------------------------------------------------


def descendants(pid: int) -> set[int]:
    """Of a process, all that live."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    found, new = set[int](), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def living(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


@dataclass(frozen=True, slots=True)
class Interrupted:
    """What was left of a run that was interrupted."""

    code: int
    said: str  # afterwards
    family: set[int]  # processes that lived at that moment


def interrupt(folder: Path, task: Path, when: str) -> Interrupted:
    """Press Ctrl-C as soon as a run has said a word. Temporary files lie in folder/scratch."""
    (folder / "scratch").mkdir()
    # As in a terminal: what a shell starts in the background inherits an ignored SIGINT.
    heard = ["env", "--default-signal=INT"]
    process = subprocess.Popen(
        [*heard, sys.executable, "-m", "fedling_sim.cli", "run", str(task)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder / "scratch"), "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        line_of(process, lambda line: when in line)
        family = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert "everything is stopped" in rest
    assert living(family) == set()
    assert list((folder / "scratch").iterdir()) == []
    return Interrupted(process.returncode, rest, family)


def test_interrupt_in_the_first_round_leaves_nothing_behind(tmp_path: Path) -> None:
    need("mosquitto")
    task = small_task.write(tmp_path / "task", rounds=100, training_s=60)
    left = interrupt(tmp_path, task, "round  1/100")
    assert left.code == Exit.INTERRUPTED
    assert len(left.family) >= 2 + 5  # mosquitto, aggregator, devices
    assert list((tmp_path / "runs").iterdir()) == []


def test_interrupt_keeps_the_rounds_that_were_done(tmp_path: Path) -> None:
    need("mosquitto")
    task = small_task.write(tmp_path / "task", rounds=100, training_s=0.5)
    left = interrupt(tmp_path, task, "round  2/100")
    assert left.code == Exit.INTERRUPTED
    assert f"report: {tmp_path}/runs/tiny-1/report.html" in left.said
    kept = record.load(tmp_path / "runs" / "tiny-1")
    assert kept.interrupted
    assert len(kept.rounds[0].accepted) == GOAL


def test_death_of_a_child_is_told(tmp_path: Path) -> None:
    need("mosquitto")
    task = small_task.write(tmp_path / "task", rounds=100, training_s=3.0)
    scenario, data = run.prepare(task, 7, None, None)
    with Federation(scenario, data, tmp_path / "run") as federation:
        federation.start()
        federation.check()
        victim = federation.devices[2].process
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        os.waitid(os.P_PID, victim.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ChildDied, match=r"device watch-2 was ended by signal 9") as died:
            federation.check()
        assert "connected to 127.0.0.1" in str(died.value)  # the end of its log
