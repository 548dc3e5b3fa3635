"""Old rounds are erased while the aggregator runs; what is kept can be made again, bit for bit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker import backup
from fedling_broker.store.store import Store
from fedling_broker.verify import verify
from fedling_protocol.disk.errors import Missing
from tests.support.rounds_on_disk import SEED, TASK, make_store, run_round

KEEP, ROUNDS = 3, 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = make_store(tmp_path / "state")
    yield store
    store.close()


def files(store: Store) -> dict[str, int]:
    folders = {"sums": store.models.sums, "models": store.models.weights}
    return {name: len(list(shelf.directory.iterdir())) for name, shelf in folders.items()}


def faults(store: Store) -> list[str]:
    return [check.fault for check in verify(store, TASK, SEED) if check.fault]


def retained_nowhere(store: Store) -> None:
    """The MQTT broker holds the newest model only."""
    for version in store.models.retained("tiny")[:-1]:
        store.models.not_retained("tiny", version)


def rounds(store: Store, first: int, last: int, *, keep: bool = False) -> None:
    for number in range(first, last + 1):
        run_round(store, number, keep=keep, keep_rounds=KEEP)
        retained_nowhere(store)


def test_what_is_kept_is_bounded_and_sound_after_every_round(store: Store) -> None:
    for number in range(1, ROUNDS + 1):
        rounds(store, number, number, keep=True)
        found = files(store)
        assert found["sums"] < 2 * KEEP + 1
        assert found["models"] <= 2 * KEEP + 1
        assert len(list(store.models.states.directory.iterdir())) <= 3
        logs = [path for path in store.rounds.directory.iterdir() if path.is_file()]
        assert len(logs) < 2 * KEEP + 1
        assert min(number, KEEP) <= len(store.models.folds("tiny"))
        assert store.models.folded("tiny") == number
        assert faults(store) == []
    checks = list(verify(store, TASK, SEED))
    assert checks[0].source == "state"
    assert all(check.updates for check in checks[1:])


def test_models_are_those_of_a_store_that_keeps_all(store: Store, tmp_path: Path) -> None:
    whole = make_store(tmp_path / "whole")
    rounds(store, 1, ROUNDS)
    for number in range(1, ROUNDS + 1):
        run_round(whole, number)
    assert store.models.newest("tiny") == whole.models.newest("tiny")
    assert len(whole.models.rows("tiny")) == ROUNDS + 1
    whole.close()


def test_a_start_erases_what_a_crash_left_and_nothing_else(store: Store) -> None:
    """The rows are gone with the transaction of the round; its files go after it."""
    for number in range(1, ROUNDS + 1):
        run_round(store, number)
    with store.database.transaction("a fold that was cut"):
        for version in (10, 15, 20):
            state = store.models.newest_state("tiny")
            store.models.horizon.move("tiny", version, state, KEEP)
    before = files(store)
    store.tidy()
    assert files(store)["sums"] == ROUNDS - 14 < before["sums"]
    assert store.models.horizon.beginning("tiny") is not None


def test_a_version_that_another_has_again_stays(store: Store) -> None:
    rounds(store, 1, 8)
    old = store.models.rows("tiny")[1]
    with store.database.transaction("a rollback"):
        store.models.roll_back("tiny", TASK.spec, old)
    rounds(store, 10, 11)
    assert old.version in {row.version for row in store.models.rows("tiny")}
    assert faults(store) == []
    rounds(store, 12, 30)
    assert old.version not in {row.version for row in store.models.rows("tiny")}
    assert faults(store) == []


def test_a_damaged_state_of_the_beginning_is_named(store: Store) -> None:
    rounds(store, 1, 8)
    begins = store.models.horizon.beginning("tiny")
    assert begins is not None
    path = store.models.states.path(begins.state_hash)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert all("older rounds were erased" in fault for fault in faults(store))
    assert len(faults(store)) == len(store.models.rows("tiny"))


def test_a_backup_has_what_the_history_begins_with(store: Store) -> None:
    rounds(store, 1, 8)
    begins = store.models.horizon.beginning("tiny")
    assert begins is not None
    named = [item.name for item in backup.named(store)]
    assert f"states/{begins.state_hash.hex()}" in named
    assert {name for name in named if name.startswith("states/")} == {
        f"states/{path.name}" for path in store.models.states.directory.iterdir()
    }


def test_what_was_erased_cannot_be_gone_back_to(store: Store) -> None:
    rounds(store, 1, 8)
    newest = store.models.newest("tiny")
    with pytest.raises(Missing, match="task tiny has no model 1"):
        store.roll_back(TASK.spec, 1)
    assert store.models.newest("tiny") == newest


def test_what_is_verified_is_of_one_instant(store: Store) -> None:
    """But its files: whoever verifies beside a running aggregator looks at the horizon again."""
    rounds(store, 1, 4)
    found = verify(store, TASK, SEED)
    checks = [next(found)]
    rounds(store, 5, 5)
    checks += found
    assert [check.version for check in checks] == [1, 2, 3, 4, 5]
    assert [check.fault for check in checks] == [""] * 5
