"""Models: newest first, bounded, whole."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.store import models
from fedling_agent.store.store import Store
from fedling_protocol.disk.errors import Missing
from fedling_protocol.runtime.slices import finish
from tests.support.device import SPEC, hash_of, make_device, make_model, make_plan


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def files(shelf: Store) -> set[str]:
    return {path.name for path in shelf.files.models.iterdir()}


def test_put_and_find(store: Store) -> None:
    model = make_model()
    stored = store.models.put(model)
    assert (stored.task, stored.version, stored.spec) == ("watch", 1, SPEC)
    assert stored == store.models.put(model)
    reader = Store(store.directory, read_only=True)
    assert reader.models.newest("watch") == stored
    assert reader.models.find(hash_of(model)) == stored
    assert finish(reader.models.weights(stored)) == model.weights
    assert reader.models.tasks() == ["watch"]
    assert reader.models.newest("other") is None


def newest_version(store: Store) -> int | None:
    newest = store.models.newest("watch")
    return None if newest is None else newest.version


def test_newest_is_the_one_that_was_named_last_and_without_it_the_one_that_came_last(
    store: Store,
) -> None:
    """A restored aggregator goes on from a lower version than devices have."""
    models = {v: make_model(v, seed=v) for v in (2, 10, 3)}
    for model in models.values():
        store.models.put(model)
    assert newest_version(store) == 3
    store.remember("watch", make_plan(models[10]))
    assert newest_version(store) == 10
    store.remember("watch", replace(make_plan(models[2]), epoch=1))
    assert newest_version(store) == 2
    newest = store.models.newest("watch")
    assert newest is not None
    newest.path.unlink()
    assert store.models.find(newest.hash) is None
    assert newest_version(store) == 3
    reader = Store(store.directory, read_only=True)
    assert newest_version(reader) == 3


def test_the_one_that_was_named_last_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "KEPT", 2)
    named = make_model(1, 1)
    store.models.put(named)
    store.remember("watch", make_plan(named))
    for version in (2, 3, 4):
        store.models.put(make_model(version, seed=version))
    assert newest_version(store) == 1


def test_models_of_a_task_that_had_the_name_are_gone_when_another_one_is_named(
    store: Store,
) -> None:
    """Also if its weights are the same: labels are not in a model's hash."""
    old = make_model(7, 1)
    other = replace(old, version=1, spec=replace(SPEC, labels=("left", "right")))
    store.models.put(old)
    store.remember("watch", make_plan(old))
    store.remember("watch", replace(make_plan(other), generation=9))
    assert newest_version(store) is None
    assert not store.models.holds("watch", 9, hash_of(other))
    store.models.put(old)  # it was on its way
    assert newest_version(store) is None
    store.models.put(other, 9)
    newest = store.models.newest("watch")
    assert newest is not None
    assert (newest.version, newest.spec.labels) == (1, ("left", "right"))
    assert store.models.holds("watch", 9, hash_of(other))
    assert not store.models.holds("other", 9, hash_of(other))


def test_newest_is_decoded_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in (1, 2):
        store.models.put(make_model(version, version))
    newest = store.models.newest("watch")
    monkeypatch.setattr(models, "decode_spec", None)
    assert newest is not None
    assert store.models.newest("watch") is newest
    assert store.models.find(newest.hash) is newest


def test_descriptions_in_memory_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "DECODED", 3)
    names = [store.models.put(make_model(v, v)).hash for v in range(1, 8)]
    for name in (*names, *names):
        found = store.models.find(name)
        assert found is not None
        assert found.hash == name
        assert len(store.models._decoded) <= 3


def test_same_weights_in_two_versions_and_two_tasks(store: Store) -> None:
    model = make_model(1, 5)
    other = replace(model, spec=replace(SPEC, task="other", labels=("left", "right")))
    for copy in (model, replace(model, version=2), other):
        store.models.put(copy)
    newest = {task: store.models.newest(task) for task in ("watch", "other")}
    facts = [(m.task, m.version, m.spec) for m in newest.values() if m is not None]
    assert facts == [("watch", 2, SPEC), ("other", 1, other.spec)]


def test_damaged_file_is_not_used_and_can_be_fetched_again(store: Store) -> None:
    model = make_model()
    stored = store.models.put(model)
    stored.path.write_bytes(bytes(stored.size))
    with pytest.raises(Missing, match="damaged"):
        finish(store.models.weights(stored))
    assert store.models.find(stored.hash) is None
    assert finish(store.models.weights(store.models.put(model))) == model.weights


def test_old_versions_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "KEPT", 2)
    kept = [make_model(version, seed=version) for version in (1, 2, 3)]
    other = make_model(1, 9, replace(SPEC, task="other"))
    for model in [*kept, other]:
        store.models.put(model)
    assert files(store) == {hash_of(m).hex() for m in (*kept[1:], other)}


def test_bytes_are_bounded_but_the_newest_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "KEPT_BYTES", 10)
    store.models.put(make_model(1, 1))
    newest = make_model(2, 2)
    store.models.put(newest)
    assert files(store) == {hash_of(newest).hex()}


def test_job_keeps_its_base_when_the_model_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = make_device(tmp_path)
    job = device.freeze()
    monkeypatch.setattr(models, "KEPT", 1)
    device.store.models.put(make_model(2, 5))
    assert device.store.models.find(device.plan.base_hash) is None
    assert job.base() == device.model.weights


def test_leftovers_are_removed_at_start(store: Store) -> None:
    (store.files.models / ("ab" * 32)).write_bytes(b"1")
    (store.files.models / ".x.1.tmp").write_bytes(b"1")
    store.close()
    assert files(Store(store.directory)) == set()
