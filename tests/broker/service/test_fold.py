from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.aggregation import sums
from fedling_broker.aggregation.aggregate import aggregate
from fedling_broker.aggregation.initial import initial_state
from fedling_broker.service import fold
from fedling_broker.store.shelf import Damaged
from fedling_broker.store.store import Store
from fedling_protocol.disk import durable
from fedling_protocol.wire.codecs import Codec
from tests.support.rounds_on_disk import (
    SEED,
    TASK,
    accept,
    make_store,
    open_round,
    run_round,
    vector,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = make_store(tmp_path)
    yield store
    store.close()


def updates(store: Store) -> int:
    return len(list(store.updates.directory.iterdir()))


def test_fold_is_the_mean_of_the_updates(store: Store) -> None:
    plan = run_round(store, 1)
    layers = TASK.spec.layers
    total = sums.Sum(layers)
    for k in range(3):
        total.add(Codec.RAW_INT16, vector(100 + k), 10 + k)
    expected = aggregate(initial_state(layers, SEED), [total.group()], TASK.optimiser)
    (row,) = store.folds("tiny")
    assert (row.round, row.version, row.weight, row.momentum) == (1, 2, 33, 128)
    newest = store.newest("tiny")
    assert newest.model_hash == row.model_hash
    assert store.weights(newest, TASK.spec) == expected.view
    assert store.sums.get(row.sum_hash) == sums.to_bytes(total.total)
    folded = store.plan("tiny", plan.plan_id)
    assert folded is not None
    assert folded.folded
    assert store.unfolded("tiny") is None


def test_fold_erases_the_updates_unless_they_are_kept(store: Store) -> None:
    run_round(store, 1)
    assert updates(store) == 0
    plan = run_round(store, 2, keep=True)
    assert updates(store) == 3
    assert len(store.kept_updates("tiny", plan.plan_id)) == 3
    store.tidy()
    assert updates(store) == 3


def test_fold_does_not_depend_on_the_order_of_arrival(tmp_path: Path) -> None:
    hashes = set()
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        store = make_store(tmp_path / "".join(map(str, order)))
        plan = open_round(store, 1)
        for device in order:
            accept(store, plan, device, 7 * device, 1 + device)
        store.close_round("tiny", plan.plan_id)
        fold.fold(store, TASK, plan, keep=False)
        (row,) = store.folds("tiny")
        hashes.add((row.sum_hash, row.model_hash, row.state_hash))
        store.close()
    assert len(hashes) == 1


@pytest.mark.parametrize("stop", range(1, 8))
def test_fold_after_a_crash_gives_the_same_model(
    tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop-th durable write never happens; then the fold is done again, as after a start."""
    undisturbed = make_store(tmp_path / "undisturbed")
    run_round(undisturbed, 1)
    store = make_store(tmp_path / "crashed")
    plan = open_round(store, 1)
    for device in range(3):
        accept(store, plan, device, 100 + device, 10 + device)
    store.close_round("tiny", plan.plan_id)
    with monkeypatch.context() as patched:
        crash_at(patched, stop)
        try:
            fold.fold(store, TASK, plan, keep=False)
        except Crash:
            pass
        else:
            assert stop > 6
    store.close()
    store = Store(tmp_path / "crashed")
    store.tidy()
    found = store.plan("tiny", plan.plan_id)
    assert found is not None
    if not found.folded:
        fold.fold(store, TASK, plan, keep=False)
    assert store.folds("tiny") == undisturbed.folds("tiny")
    assert updates(store) == 0
    store.close()
    undisturbed.close()


class Crash(BaseException):
    """The process is gone."""


def crash_at(patched: pytest.MonkeyPatch, stop: int) -> None:
    done = [0]
    for name in ("write_file", "commit", "remove_file"):
        real = getattr(durable, name)

        def counted(*args: object, real: object = real) -> None:
            done[0] += 1
            if done[0] >= stop:
                raise Crash
            assert callable(real)
            real(*args)

        patched.setattr(durable, name, counted)


def test_fold_of_a_damaged_update_changes_nothing(store: Store) -> None:
    plan = open_round(store, 1)
    row = accept(store, plan, 0, 5, 7)
    store.updates.path(row.update_hash).write_bytes(b"rubbish")
    store.close_round("tiny", plan.plan_id)
    with pytest.raises(Damaged, match="another hash"):
        fold.fold(store, TASK, plan, keep=False)
    assert store.folds("tiny") == []
    assert store.newest("tiny").version == 1
