"""From a finished training to the message that is sent: the same bits, whoever asks again."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.store import identity
from fedling_agent.training.job import Job, Result
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
    assert made.vector == result.vector
    update = payload.decode(Kind.UPDATE, envelope.parse(made.envelope, Kind.UPDATE).payload)
    assert isinstance(update, Update)
    assert (update.codec, update.saturated) == (Codec.CODED, result.saturated)
    seed = digest.codec_seed(plan.plan_id, me.device)
    exponents = device.model.exponents
    assert update.vector == coded.encode(plan.spec.layers, exponents, result.vector, TARGET, seed)
    assert len(update.vector) < 1.3 * TARGET < len(result.vector)
    device.store.spool.put(plan.plan_id, made.envelope, made.vector)
    assert replay(device.store, FLEET, SECRET, plan.plan_id).same
