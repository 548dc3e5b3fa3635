"""What a runner makes of a training that has finished."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedling_agent.service.runner import Work, update_of
from fedling_agent.training.job import Result
from fedling_native import dense
from fedling_protocol.wire import codecs
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.identity import device_id
from tests.protocol.samples import DEVICE, TOPICS
from tests.support.aggregator import make_model, make_plan
from tests.support.device import make_device

LAYERS = (dense(4, 2),)
PLAN = make_plan(make_model(LAYERS), 3)
VECTOR = bytes(range(24))


def test_update_says_what_its_plan_asked_for() -> None:
    update = update_of(PLAN, Result(VECTOR, 2, 30))
    assert (update.plan_id, update.base_hash) == (PLAN.plan_id, PLAN.base_hash)
    assert (update.codec, update.vector, update.saturated) == (PLAN.codec, VECTOR, 2)
    assert update.weight == 30


def test_update_weighs_no_more_than_the_cap() -> None:
    cap = PLAN.training.weight_cap
    assert update_of(PLAN, Result(VECTOR, 0, cap + 1)).weight == cap


def test_update_carries_the_encoded_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_ENCODE", {Codec.RAW_INT16: lambda vector: vector[::-1]})
    assert update_of(PLAN, Result(VECTOR, 0, 30)).vector == VECTOR[::-1]


def test_spooled_update_is_replayed_by_its_vector_before_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codecs, "_ENCODE", {Codec.RAW_INT16: lambda vector: vector[::-1]})
    device = make_device(tmp_path, recordings=1)
    job = device.freeze()
    monkeypatch.setattr(type(job), "result", lambda _: Result(VECTOR, 0, 30))
    work = object.__new__(Work)
    work.task, work.closed = device.plan.spec.task, False
    identity = SimpleNamespace(device=device_id(DEVICE.public), key=DEVICE)
    tools = SimpleNamespace(store=device.store, topics=TOPICS, identity=identity)
    monkeypatch.setattr(work, "_tools", tools, raising=False)
    monkeypatch.setattr(work, "give", lambda _: None)
    work._spool(job)
    record = device.store.plans.find(device.plan.plan_id)
    assert record is not None
    assert record.vector_hash == hashlib.sha256(VECTOR).digest()
    sealed = device.store.spool.envelope(device.store.spool.entries()[0])
    assert VECTOR[::-1] in sealed
