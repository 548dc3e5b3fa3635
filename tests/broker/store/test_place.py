"""A state that was copied is known, whatever program did it; one that stayed is no copy."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fedling_broker.store import place
from fedling_broker.store.store import Epoch, Store
from fedling_broker.store.tasks import TaskRow
from fedling_protocol.wire.digest import message_hash
from tests.support.rounds_on_disk import TASK, accept, make_store, open_round, run_round


def another_id(_task: TaskRow, plan: object, epoch: int) -> bytes:
    return message_hash(f"{plan} {epoch}".encode())[:16]


def begin(directory: Path) -> Epoch:
    """As each start of the aggregator does."""
    store = Store(directory)
    epoch = store.begin_epoch(another_id)
    store.close()
    return epoch


def cp(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", source, target], check=True)


def cp_over(source: Path, target: Path) -> None:
    """Into the directory that is there: no file gets another inode."""
    if target.exists():
        subprocess.run(["cp", "-a", f"{source}/.", target], check=True)
    else:
        cp(source, target)


def tar(source: Path, target: Path) -> None:
    archive = source.with_suffix(".tar")
    subprocess.run(["tar", "-C", source, "-cf", archive, "."], check=True)
    target.mkdir(exist_ok=True)
    subprocess.run(["tar", "-C", target, "-xf", archive], check=True)


def rsync_like(source: Path, target: Path) -> None:
    """What is the same by size and time stays; what is not is made anew and renamed."""
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        there = target / path.name
        if path.is_dir():
            rsync_like(path, there)
        elif not there.exists() or there.stat().st_mtime_ns != path.stat().st_mtime_ns:
            shutil.copy2(path, target / ".new")
            (target / ".new").rename(there)


@pytest.mark.parametrize("copy", [cp, cp_over, tar, rsync_like])
def test_a_copy_that_is_put_back_is_known(
    tmp_path: Path, copy: Callable[[Path, Path], None]
) -> None:
    state, kept = tmp_path / "state", tmp_path / "kept"
    make_store(state).close()
    begin(state)
    copy(state, kept)
    store = Store(state)
    run_round(store, 1)
    store.close()
    assert not begin(state).copied
    if copy is cp:
        shutil.rmtree(state)
    copy(kept, state)
    assert begin(state).copied
    assert not begin(state).copied


def test_a_state_that_stays_is_no_copy(tmp_path: Path) -> None:
    state = tmp_path / "state"
    make_store(state).close()
    for _ in range(3):
        assert not begin(state).copied
    state.rename(tmp_path / "elsewhere")  # mv within a file system
    assert not begin(tmp_path / "elsewhere").copied


def test_a_change_of_owner_or_mode_looks_like_a_copy(tmp_path: Path) -> None:
    """It costs the trainings of one round."""
    state = tmp_path / "state"
    make_store(state).close()
    begin(state)
    (state / place.MARK).chmod(0o640)
    assert begin(state).copied


def test_each_start_is_a_later_epoch_whatever_the_clock_says(tmp_path: Path) -> None:
    make_store(tmp_path / "state").close()
    numbers = []
    for now in (100.0, 50.0, 51.0, 1000.0):
        store = Store(tmp_path / "state", wall=lambda now=now: now)  # type: ignore[misc]
        numbers.append(store.begin_epoch(another_id).number)
        store.close()
    assert numbers == [100, 101, 102, 1000]


def test_a_copy_gives_its_open_plan_another_id_and_keeps_what_was_accepted(tmp_path: Path) -> None:
    state = tmp_path / "state"
    store = make_store(state)
    run_round(store, 1)
    plan = open_round(store, 2)
    accepted = accept(store, plan, 0, 5, 7)
    store.rounds.grant("tiny", plan.plan_id, "b" * 16, 9000, None)
    store.begin_epoch(another_id)
    store.close()
    cp(state, tmp_path / "copy")
    epoch = begin(tmp_path / "copy")
    assert (epoch.copied, epoch.reopened) == (True, 1)
    store = Store(tmp_path / "copy")
    again = store.rounds.unfolded("tiny")
    assert again is not None
    assert again.plan_id != plan.plan_id
    assert (again.round, again.base_hash) == (plan.round, plan.base_hash)
    assert store.rounds.decisions("tiny", again.plan_id) == [accepted]
    assert dict(store.rounds.places("tiny", again.plan_id)) == {"b" * 16: 9000}
    assert store.rounds.decisions("tiny", plan.plan_id) == []
    store.tidy()
    (log,) = (tmp_path / "copy" / "updates").iterdir()
    assert log == store.rounds.log(again.plan_id)
    assert message_hash(store.rounds.update(again.plan_id, accepted)) == accepted.update_hash
    assert len(store.rounds.plans("tiny")) == 2
    store.close()


def test_a_copy_of_a_closed_round_keeps_its_id(tmp_path: Path) -> None:
    """Nobody trains for it any more, and it is folded to the same model."""
    store = make_store(tmp_path / "state")
    plan = open_round(store, 1)
    accept(store, plan, 0, 5, 7)
    store.rounds.close("tiny", plan.plan_id, TASK.clip_q8)
    store.begin_epoch(another_id)
    store.close()
    cp(tmp_path / "state", tmp_path / "copy")
    assert begin(tmp_path / "copy").reopened == 0


def test_a_copy_begins_later_than_a_life_that_began_in_the_same_second(tmp_path: Path) -> None:
    make_store(tmp_path / "state").close()
    begin(tmp_path / "state")
    cp(tmp_path / "state", tmp_path / "copy")
    lives = [begin(tmp_path / "state").number for _ in range(3)]
    assert begin(tmp_path / "copy").number > max(lives)
