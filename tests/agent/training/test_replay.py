"""The past, computed again."""

import json
from pathlib import Path

import pytest

from fedling_agent.store.store import Store
from fedling_agent.training.job import Job
from fedling_agent.training.replay import batch_order, export, replay
from fedling_protocol.disk.errors import Missing
from fedling_protocol.wire.digest import order
from fedling_protocol.wire.messages import Verdict
from tests.support.child import Child
from tests.support.device import FLEET, SECRET, TRAINING, Device, csv_lines, make_device


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return make_device(tmp_path)


def take_part(device: Device) -> Job:
    job = device.freeze()
    assert Child(job).exit_code() == 0
    result = job.result()
    assert result is not None
    entry = device.store.spool.put(device.plan.plan_id, b"signed", result.vector_hash)
    device.store.spool.end("watch", entry.plan_id, entry.update_hash, Verdict.ACCEPTED, "", 1)
    return job


def test_replay_gives_the_update_again(device: Device) -> None:
    take_part(device)
    device.ingest(csv_lines(3, prefix="later"))
    device.store.recordings.relabel("wrist", "r0", 0, 50, "up")
    reader = Store(device.store.directory, read_only=True)
    again = replay(reader, FLEET, SECRET, device.plan.plan_id)
    assert again.same
    assert again.expected == again.computed
    assert not replay(reader, FLEET, b"another secret".ljust(32), device.plan.plan_id).same


def test_what_is_missing_is_told(device: Device) -> None:
    plan_id = device.plan.plan_id
    with pytest.raises(Missing, match="not among the last 100"):
        replay(device.store, FLEET, SECRET, plan_id)
    device.freeze()
    with pytest.raises(Missing, match="still in work"):
        replay(device.store, FLEET, SECRET, plan_id)
    take_part(device)
    device.store.files.models.joinpath(device.plan.base_hash.hex()).unlink()
    with pytest.raises(Missing, match="model 1 of watch is not here"):
        replay(device.store, FLEET, SECRET, plan_id)
    device.store.models.put(device.model)
    device.store.recordings.forget("wrist")
    with pytest.raises(Missing, match="samples evicted: recording r0"):
        replay(device.store, FLEET, SECRET, plan_id)
    device.ingest(csv_lines(seed=8))
    with pytest.raises(Missing, match="ingested anew"):
        replay(device.store, FLEET, SECRET, plan_id)


def test_batch_order_is_what_the_child_trains(device: Device) -> None:
    recipe = take_part(device).recipe
    epochs = batch_order(device.store, FLEET, SECRET, device.plan.plan_id)
    assert len(epochs) == TRAINING.epochs
    assert [len(batch) for batch in epochs[0]] == [8] * 11
    exported = export(device.store, FLEET, SECRET, device.plan.plan_id)
    facts = json.loads(json.dumps(exported))
    assert facts["order"] == [order(recipe.seed, e, recipe.count) for e in range(3)]
    ids = [(recording, first) for recording, first, _, _ in facts["examples"]]
    assert [w for batch in epochs[1] for w in batch] == [ids[i] for i in facts["order"][1]]
    assert facts["normaliser"] == [list(c) for c in recipe.normaliser.to_tuples()]
    assert facts["weight"] == 88
