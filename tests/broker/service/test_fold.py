from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.aggregation import sums
from fedling_broker.aggregation.aggregate import aggregate
from fedling_broker.aggregation.initial import initial_state
from fedling_broker.aggregation.vectors import decode
from fedling_broker.store.shelf import Damaged
from fedling_broker.store.store import Store
from fedling_protocol.disk import durable
from fedling_protocol.wire.codecs import Codec
from tests.support.rounds_on_disk import (
    SEED,
    TASK,
    accept,
    accept_three,
    fold_round,
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
    return len(list(store.rounds.directory.iterdir()))


def test_fold_is_the_mean_of_the_updates(store: Store) -> None:
    plan = run_round(store, 1)
    layers = TASK.spec.layers
    total = sums.Sum(layers)
    for step, weight in ((500, 10), (-500, 11), (500, 11)):  # the third one's 12 are cut
        total.add(decode(Codec.RAW_INT16, vector(step), layers), weight)
    expected = aggregate(initial_state(layers, SEED), [total.group()], TASK.optimiser, steps=1)
    (row,) = store.models.folds("tiny")
    assert (row.round, row.version, row.weight) == (1, 2, 32)
    assert (row.optimiser, row.parameters) == ("fedavgm", '{"momentum_q8":128}')
    newest = store.models.newest("tiny")
    assert newest.model_hash == row.model_hash
    assert store.models.bytes_of(newest, TASK.spec) == expected.view
    assert store.models.sums.get(row.sum_hash) == sums.to_bytes(total.total)
    folded = store.rounds.plan("tiny", plan.plan_id)
    assert folded is not None
    assert folded.folded
    assert store.rounds.unfolded("tiny") is None


def test_fold_erases_the_updates_unless_they_are_kept(store: Store) -> None:
    run_round(store, 1)
    assert updates(store) == 0
    plan = run_round(store, 2, keep=True)
    store.tidy()
    assert updates(store) == 1
    members = store.rounds.members("tiny", plan.plan_id)
    assert len(members) == 3
    for member in members:
        store.rounds.update(plan.plan_id, member)


def test_fold_does_not_depend_on_the_order_of_arrival(tmp_path: Path) -> None:
    hashes = set()
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        store = make_store(tmp_path / "".join(map(str, order)))
        plan = open_round(store, 1)
        for device in order:
            accept(store, plan, device, 7 * device, 1 + device)
        store.rounds.close("tiny", plan.plan_id, TASK.clip_q8)
        fold_round(store, plan)
        (row,) = store.models.folds("tiny")
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
    accept_three(store, plan)
    store.rounds.close("tiny", plan.plan_id, TASK.clip_q8)
    with monkeypatch.context() as patched:
        crash_at(patched, stop)
        try:
            fold_round(store, plan)
        except Crash:
            pass
        else:
            assert stop > 6
    store.close()
    store = Store(tmp_path / "crashed")
    store.tidy()
    found = store.rounds.plan("tiny", plan.plan_id)
    assert found is not None
    if not found.folded:
        fold_round(store, plan)
    assert store.models.folds("tiny") == undisturbed.models.folds("tiny")
    assert updates(store) == 0
    store.close()
    undisturbed.close()


class Crash(BaseException):
    """The process is gone."""


def crash_at(patched: pytest.MonkeyPatch, stop: int) -> None:
    done = [0]
    for name in ("write_file", "keep_draft", "commit", "remove_file", "remove_files"):
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
    assert row.first == 0
    store.rounds.log(plan.plan_id).write_bytes(b"rubbish")
    store.rounds.close("tiny", plan.plan_id, TASK.clip_q8)
    with pytest.raises(Damaged, match="not the update that was accepted"):
        fold_round(store, plan)
    assert store.models.folds("tiny") == []
    assert store.models.newest("tiny").version == 1
