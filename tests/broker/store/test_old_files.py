"""The files of an old release become those of this one, whenever a crash comes between."""

from pathlib import Path

import pytest

from fedling_broker import verify
from fedling_broker.store.database import FILE
from fedling_broker.store.store import Store
from fedling_protocol.disk import durable
from fedling_protocol.wire import digest
from tests.support.old_state import build
from tests.support.rounds_on_disk import SEED, TASK, fold_round

OLD = Path(__file__).parent / "tables_2"
WRITES = ("keep_draft", "write_file", "commit", "remove_files")


class Crash(BaseException):
    """The process is gone."""


def crash_at(patched: pytest.MonkeyPatch, stop: int) -> list[str]:
    """The stop-th durable write and all after it never happen; the list tells which did."""
    done: list[str] = []
    for name in WRITES:
        real = getattr(durable, name)

        def counted(*words: object, real: object = real, name: str = name) -> None:
            if len(done) + 1 >= stop:
                raise Crash
            done.append(name)
            assert callable(real)
            real(*words)

        patched.setattr(durable, name, counted)
    return done


def check(store: Store) -> None:
    """All that the old files told is there, and the next round can be folded."""
    for plan in store.rounds.plans("tiny"):
        for member in store.rounds.members("tiny", plan.plan_id):
            message = store.rounds.update(plan.plan_id, member)
            assert digest.message_hash(message) == member.update_hash
    assert [(c.updates, c.fault) for c in checks(store)] == [(False, ""), (True, "")]
    store.tidy()
    names = {path.name for path in store.rounds.directory.iterdir()}
    assert names == {plan.plan_id.hex() for plan in store.rounds.plans("tiny")}
    assert len(list(store.models.states.directory.iterdir())) == 1
    open_plan = store.rounds.unfolded("tiny")
    assert open_plan is not None
    store.rounds.close("tiny", open_plan.plan_id, TASK.clip_q8)
    fold_round(store, open_plan)
    assert [c.fault for c in checks(store)] == ["", "", ""]


def checks(store: Store) -> list[verify.Check]:
    return list(verify.verify(store, TASK, SEED))


def test_files_are_converted_when_the_store_is_opened(tmp_path: Path) -> None:
    build(OLD, tmp_path, FILE)
    store = Store(tmp_path)
    assert store.ledger.meta("old_files") == 0
    check(store)
    store.close()


@pytest.mark.parametrize("stop", range(1, 9))
def test_a_crash_in_the_middle_costs_nothing(
    tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(OLD, tmp_path, FILE)
    with monkeypatch.context() as patched:
        done = crash_at(patched, stop)
        try:
            store = Store(tmp_path)
            store.tidy()
        except Crash:
            assert len(done) == stop - 1
        else:
            assert stop > 6, done
            store.close()
    store = Store(tmp_path)
    check(store)
    store.close()


def test_a_lost_update_costs_no_other(tmp_path: Path) -> None:
    build(OLD, tmp_path, FILE)
    lost = next(iter((tmp_path / "updates").iterdir()))
    lost.unlink()
    store = Store(tmp_path)
    found = []
    for plan in store.rounds.plans("tiny"):
        for member in store.rounds.members("tiny", plan.plan_id):
            try:
                store.rounds.update(plan.plan_id, member)
            except Exception:  # noqa: BLE001 (whatever it is, it is of this update)
                found.append(member.update_hash.hex())
    assert found == [lost.name]
    store.close()


def test_a_damaged_state_is_left_for_verify_to_find(tmp_path: Path) -> None:
    build(OLD, tmp_path, FILE)
    (state,) = (tmp_path / "states").iterdir()
    state.write_bytes(b"rubbish")
    store = Store(tmp_path)
    assert checks(store)[-1].fault != ""
    store.close()
