"""From a finished training to the message that is sent: the same bits, whoever asks again."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from fedling_agent.store import identity
from fedling_agent.training.freeze import Freezer
from fedling_agent.training.job import Coding, Job, Recipe, Result
from fedling_agent.training.replay import replay
from fedling_agent.training.updates import make_update
from fedling_native import coded
from fedling_protocol.wire import digest, envelope, payload
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Update
from fedling_protocol.wire.topics import Topics
from tests.support.child import Child
from tests.support.device import FLEET, SECRET, Device, make_device

TARGET = 80


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """Asked for coded vectors."""
    found = make_device(tmp_path / "store")
    return replace(found, plan=replace(found.plan, codec=Codec.CODED, target=TARGET))


def given(job: Job) -> Result:
    """What a training gave."""
    result = job.result()
    assert result is not None
    return result


def test_an_update_is_the_same_bits_after_a_kill_before_it_was_spooled(
    device: Device, tmp_path: Path
) -> None:
    me = identity.ensure(tmp_path / "identity")
    job = device.freeze()
    assert Child(job).exit_code() == 0
    topics = Topics("fedling", FLEET)
    first = make_update(device.plan, job, given(job), topics, me)
    again = device.reopen()
    mended = again.mend()
    assert mended is not None
    assert make_update(again.plan, mended, given(mended), topics, me) == first


def test_what_is_sent_is_coded_and_what_is_replayed_is_not(device: Device, tmp_path: Path) -> None:
    me = identity.ensure(tmp_path / "identity")
    job = device.freeze()
    assert Child(job).exit_code() == 0
    result, plan = given(job), device.plan
    made = make_update(device.plan, job, result, Topics("fedling", FLEET), me)
    assert made.vector_hash == result.vector_hash == sha256(result.vector).digest()
    update = payload.decode(Kind.UPDATE, envelope.parse(made.envelope, Kind.UPDATE).payload)
    assert isinstance(update, Update)
    assert (update.codec, update.saturated) == (Codec.CODED, result.saturated)
    seed = digest.codec_seed(plan.plan_id, me.device)
    exponents = device.model.exponents
    assert update.vector == coded.encode(plan.spec.layers, exponents, result.vector, TARGET, seed)
    assert len(update.vector) < 1.3 * TARGET < len(result.vector)
    device.store.spool.put(plan.plan_id, made.envelope, made.vector_hash)
    assert replay(device.store, FLEET, SECRET, plan.plan_id).same


def test_what_is_coded_when_it_is_trained_is_sent_as_if_it_were_coded_later(
    device: Device, tmp_path: Path
) -> None:
    """The vector itself is never written: it is two bytes a weight, of which some bits are sent."""
    me = identity.ensure(tmp_path / "identity")
    topics, later = Topics("fedling", FLEET), make_device(tmp_path / "later")
    later = replace(later, plan=device.plan)
    coding = replace(device, freezer=Freezer(device.store, FLEET, SECRET, device=me.device))
    jobs = [coding.freeze(), later.freeze()]
    for job in jobs:
        assert Child(job).exit_code() == 0
    now, before = (given(job) for job in jobs)
    assert len(now.vector) < 1.3 * TARGET < len(before.vector)
    assert now.vector_hash == before.vector_hash
    sent = [make_update(device.plan, job, given(job), topics, me) for job in jobs]
    assert sent[0] == sent[1]
    result = (jobs[0].directory / "result").stat().st_size
    assert result < len(before.vector)
    device.store.spool.put(device.plan.plan_id, sent[0].envelope, sent[0].vector_hash)
    assert replay(device.store, FLEET, SECRET, device.plan.plan_id).same


def test_job_of_a_release_that_coded_later_is_read(device: Device, tmp_path: Path) -> None:
    recipe = device.freeze().recipe
    values = json.loads(recipe.to_json())
    del values["coding"]
    assert Recipe.from_json(json.dumps(values).encode()) == recipe
    coded_now = replace(recipe, coding=Coding(TARGET, (1, 2)))
    assert Recipe.from_json(coded_now.to_json()) == coded_now
