"""Facts on a real disk: what a restart finds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.aggregation.state import state_from_bytes
from fedling_broker.rounds.events import Decision
from fedling_broker.store import rounds as rounds_module
from fedling_broker.store.rounds import DecisionRow
from fedling_broker.store.store import Store
from fedling_broker.store.tasks import TaskExists
from fedling_broker.tasks.task_file import parse_task
from fedling_protocol.wire.messages import Verdict
from tests.support.rounds_on_disk import (
    SEED,
    TASK,
    TEXT,
    accept,
    make_store,
    open_round,
    run_round,
)

A, B = "a" * 16, "b" * 16


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = make_store(tmp_path)
    yield store
    store.close()


def names(store: Store) -> dict[str, set[str]]:
    models = store.models
    shelves = (store.rounds, models.sums, models.states, models.weights)
    return {s.directory.name: {p.name for p in s.directory.iterdir()} for s in shelves}


def late(device: str) -> DecisionRow:
    return DecisionRow(device, Verdict.LATE, "", b"h" * 32, 0, 500, 0, 0)


def test_add_task_makes_its_first_model(store: Store) -> None:
    assert [(row.name, row.text, row.paused) for row in store.tasks.rows()] == [
        ("tiny", TEXT, False)
    ]
    row = store.models.newest("tiny")
    assert row.version == 1
    assert len(store.models.bytes_of(row, TASK.spec)) == 2 * 50 + 4 * 7
    state = store.models.states.get(store.models.newest_state("tiny"))
    assert state_from_bytes(TASK.spec.layers, state).exponents == row.exponents


def test_add_task_twice_says_so(store: Store) -> None:
    with pytest.raises(TaskExists, match="task remove tiny"):
        store.add_task(TASK, TEXT, SEED)


def test_a_task_that_is_added_again_gets_other_plan_ids(store: Store) -> None:
    """Devices never train again for a plan that they have finished."""
    plan = run_round(store, 1)
    assert store.tasks.remove("tiny")
    assert not store.tasks.remove("tiny")
    assert (store.tasks.rows(), store.tasks.find("tiny")) == ([], None)
    store.add_task(TASK, TEXT, SEED)
    again = open_round(store, 1)
    assert again.base_hash == plan.base_hash
    assert again.plan_id != plan.plan_id
    assert store.rounds.decisions("tiny", plan.plan_id) == []


def test_a_fleet_has_no_more_tasks_than_its_list_may_name(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedling_broker.store.tasks.MAX_TASKS", 1)
    other = parse_task(TEXT.replace('"tiny"', '"other"'), "other.toml")
    with pytest.raises(TaskExists, match="the most of a fleet"):
        store.add_task(other, TEXT, SEED)
    assert [row.name for row in store.tasks.rows()] == ["tiny"]


def test_remove_task_leaves_no_file_after_tidy(store: Store) -> None:
    run_round(store, 1, keep=True)
    store.tasks.remove("tiny")
    store.tidy()
    assert names(store) == {"updates": set(), "sums": set(), "states": set(), "models": set()}


def test_tidy_erases_only_what_a_crash_left(store: Store) -> None:
    run_round(store, 1)
    plan = open_round(store, 2)
    accept(store, plan, 0, 5, 7)
    before = names(store)
    assert len(before["models"]) == 2
    (store.rounds.directory / ("0" * 32)).write_bytes(b"never committed")
    (store.rounds.directory / ".half.1.tmp").write_bytes(b"half")
    store.models.sums.put(b"never committed")
    store.models.weights.put(b"never committed")
    store.models.states.put(b"never committed")
    store.tidy()
    assert names(store) == before


def test_open_round_twice_is_one_plan(store: Store) -> None:
    first = open_round(store, 1)
    assert open_round(store, 1) == first
    assert store.rounds.plans("tiny") == [first]


def test_unfolded_is_what_the_rounds_go_on_from(store: Store) -> None:
    assert store.rounds.unfolded("tiny") is None
    plan = open_round(store, 1)
    accepted = accept(store, plan, 0, 5, 7)
    store.rounds.grant("tiny", plan.plan_id, A, 9000, None)
    store.rounds.grant("tiny", plan.plan_id, B, 9500, None)
    store.rounds.decide("tiny", plan.plan_id, late(B))
    found = store.rounds.unfolded("tiny")
    assert found is not None
    assert (found.plan_id, found.closed) == (plan.plan_id, False)
    assert store.rounds.places("tiny", plan.plan_id) == {A: 9000}
    verdicts = {row.device: row.decision for row in store.rounds.decisions("tiny", plan.plan_id)}
    assert verdicts == {
        accepted.device: Decision(accepted.update_hash, Verdict.ACCEPTED, ""),
        B: late(B).decision,
    }
    store.rounds.close("tiny", plan.plan_id, TASK.clip_q8)
    closed = store.rounds.unfolded("tiny")
    assert closed is not None
    assert closed.closed


def test_grant_takes_an_expired_place_in_the_same_transaction(store: Store) -> None:
    plan = open_round(store, 1)
    store.rounds.grant("tiny", plan.plan_id, A, 1000, None)
    store.rounds.grant("tiny", plan.plan_id, B, 2000, A)
    store.rounds.grant("tiny", plan.plan_id, B, 3000, None)  # prolonged
    assert store.rounds.places("tiny", plan.plan_id) == {B: 3000}


def test_the_age_of_a_round_goes_on_in_the_same_boot_only(store: Store) -> None:
    plan = open_round(store, 1)
    store.rounds.grow("tiny", plan.plan_id, 5000)
    store.rounds.grow("tiny", plan.plan_id, 4000)
    assert store.rounds.boot == rounds_module.boot_id() != ""
    assert age(store, plan.opened_ms + 77_000) == 77_000
    found = store.rounds.unfolded("tiny")
    assert found is not None
    assert found.age_at(99, "another boot") == 5000
    assert found.age_at(99, "") == 5000


def age(store: Store, now_ms: int) -> int:
    found = store.rounds.unfolded("tiny")
    assert found is not None
    return found.age_at(now_ms, store.rounds.boot)


def test_a_hidden_boot_id_is_no_boot_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds_module, "BOOT_ID", tmp_path / "hidden")
    store = make_store(tmp_path)
    plan = open_round(store, 1)
    assert plan.boot == ""
    assert age(store, plan.opened_ms + 1) == 0
    store.close()


def test_decide_keeps_the_first_verdict(store: Store) -> None:
    plan = open_round(store, 1)
    store.rounds.decide("tiny", plan.plan_id, late(A))
    store.rounds.decide(
        "tiny", plan.plan_id, DecisionRow(A, "refused", "base", b"x" * 32, 0, 1, 0, 0)
    )
    assert store.rounds.decision("tiny", plan.plan_id, A) == Decision(b"h" * 32, Verdict.LATE, "")
    assert store.rounds.decision("tiny", plan.plan_id, B) is None


def test_everything_is_there_after_a_restart(store: Store, tmp_path: Path) -> None:
    run_round(store, 1)
    plan = open_round(store, 2)
    row = accept(store, plan, 1, 5, 7)
    store.tasks.pause("tiny", "firmware week")
    other = Store(tmp_path)
    try:
        assert other.models.folded("tiny") == 1
        assert other.models.newest("tiny") == store.models.newest("tiny")
        assert other.rounds.decisions("tiny", plan.plan_id) == [row]
        assert other.tasks.rows()[0].paused
        assert other.tasks.rows()[0].why_paused == "firmware week"
        assert other.models.folds("tiny") == store.models.folds("tiny")
    finally:
        other.close()


def test_models_that_the_mqtt_broker_may_hold(store: Store) -> None:
    run_round(store, 1)
    assert store.models.retained("tiny") == [1, 2]
    store.models.not_retained("tiny", 1)
    assert store.models.retained("tiny") == [2]
