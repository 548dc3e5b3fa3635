"""Models: newest first, bounded, whole."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.store import models
from fedling_agent.store.store import Store
from fedling_protocol.disk.errors import Missing
from tests.support.device import SPEC, hash_of, make_device, make_model


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
    assert reader.models.weights(stored) == model.weights
    assert reader.models.tasks() == ["watch"]
    assert reader.models.newest("other") is None


def test_newest_is_the_highest_version_that_is_there(store: Store) -> None:
    for version, seed in [(2, 1), (10, 2), (3, 3)]:
        store.models.put(make_model(version, seed))
    newest = store.models.newest("watch")
    assert newest is not None
    assert newest.version == 10
    newest.path.unlink()
    assert store.models.find(newest.hash) is None
    below = store.models.newest("watch")
    assert below is not None
    assert below.version == 3


def test_damaged_file_is_not_used_and_can_be_fetched_again(store: Store) -> None:
    model = make_model()
    stored = store.models.put(model)
    stored.path.write_bytes(bytes(stored.size))
    with pytest.raises(Missing, match="damaged"):
        store.models.weights(stored)
    assert store.models.find(stored.hash) is None
    assert store.models.weights(store.models.put(model)) == model.weights


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
