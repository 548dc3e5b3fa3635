"""Personal models on disk: two slots, one switch."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.store.models import StoredModel
from fedling_agent.store.personal import Made, is_same
from fedling_agent.store.store import Store
from fedling_native import Normaliser, dense
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import CannotWrite, Missing
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.messages import Hits, Scale
from tests.support.device import SPEC, make_model

NORMALISER = Normaliser.from_tuples([(1, 200, 9), (-3, 128, 7)])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def made_of(model: StoredModel) -> Made:
    return Made(
        model.spec, model.version, model.hash, model.exponents, NORMALISER, None, Hits(20, 11),
        Hits(20, 18), 60, 900,
    )  # fmt: skip


def fleets(store: Store, version: int = 1) -> StoredModel:
    return store.models.put(make_model(version, seed=version))


def weights(seed: int) -> bytes:
    return make_model(1, seed=seed).weights


def files(store: Store) -> set[str]:
    return {path.name for path in store.personal.directory.iterdir()}


def test_put_and_find(store: Store) -> None:
    model = fleets(store)
    made = store.personal.put(made_of(model), weights(7))
    assert made.hash is not None
    for reader in (store, Store(store.directory, read_only=True)):
        assert reader.personal.in_use(model) == reader.personal.last("watch") == made
        assert finish(reader.personal.weights(made)) == weights(7)
    assert replace(made, hash=None) == made_of(model)


def test_put_takes_the_place_of_the_one_before(store: Store) -> None:
    first = store.personal.put(made_of(fleets(store)), weights(7))
    second = store.personal.put(made_of(fleets(store, 2)), weights(8))
    assert store.personal.last("watch") == second != first
    assert len(files(store)) == 1
    assert finish(store.personal.weights(second)) == weights(8)


def test_put_one_that_is_no_better_leaves_the_fleet_s(store: Store) -> None:
    model = fleets(store)
    store.personal.put(made_of(model), weights(7))
    made = store.personal.put(made_of(model), None)
    assert store.personal.last("watch") == made
    assert store.personal.in_use(model) is None
    assert files(store) == set()


def test_put_ends_the_job_of_its_task_alone(store: Store) -> None:
    for task in ("watch", "watch-cnn"):
        store.personal.job(task, "wrist").mkdir()
    store.personal.put(made_of(fleets(store)), None)
    assert files(store) == {"watch-cnn@wrist"}


def test_until_the_row_says_so_the_one_before_answers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut between file and row: the file goes at the next start."""
    model = fleets(store)
    first = store.personal.put(made_of(model), weights(7))
    with monkeypatch.context() as patch:
        patch.setattr(store.database, "transaction", lambda _what: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.personal.put(made_of(model), weights(8))
    assert len(files(store)) == 2
    store.close()
    again = Store(store.directory)
    assert again.personal.in_use(model) == first
    assert finish(again.personal.weights(first)) == weights(7)
    assert len(files(again)) == 1


def test_put_of_a_file_that_the_disk_garbles_changes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fleets(store)
    first = store.personal.put(made_of(model), weights(7))
    write_file = durable.write_file
    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_file", lambda path, data: write_file(path, data[:-1] + b"x"))
        with pytest.raises(CannotWrite, match="holds something else"):
            store.personal.put(made_of(model), weights(8))
    assert store.personal.in_use(model) == first


def test_a_damaged_one_is_removed(store: Store) -> None:
    model = fleets(store)
    made = store.personal.put(made_of(model), weights(7))
    (path,) = store.personal.directory.iterdir()
    path.write_bytes(weights(8))
    with pytest.raises(Missing, match="the personal model of watch: damaged"):
        finish(store.personal.weights(made))
    assert store.personal.in_use(model) is None
    assert store.personal.last("watch") is None
    with pytest.raises(Missing, match="No such file"):
        finish(store.personal.weights(made))


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (replace(SPEC, stride=9), True),
        (replace(SPEC, scale=(Scale(0, 128, 7),) * 2), True),
        (replace(SPEC, labels=("up", "down")), False),
        (replace(SPEC, stream="ankle"), False),
        (replace(SPEC, window=5, layers=(dense(10, 2),)), False),
        (replace(SPEC, layers=(dense(20, 2),)), False),
        (replace(SPEC, normalise="none"), False),
    ],
)
def test_is_same_for_a_model_that_would_be_asked_the_same(other: object, same: bool) -> None:
    assert is_same(SPEC, other) is same  # type: ignore[arg-type]


def test_erase_stream_takes_models_and_jobs_of_that_stream(store: Store) -> None:
    store.personal.put(made_of(fleets(store)), weights(7))
    for task, stream in (("watch", "wrist"), ("new", "wrist"), ("other", "left-wrist")):
        store.personal.job(task, stream).mkdir()
    store.personal.erase_stream("ankle")
    assert len(files(store)) == 4
    store.personal.erase_stream("wrist")
    assert files(store) == {"other@left-wrist"}
    assert store.personal.last("watch") is None
    assert store.personal.any()
    store.personal.erase_all()
    assert not store.personal.any()
