"""Spool and endings."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.store import plans, spool
from fedling_agent.store.plans import PlanState
from fedling_agent.store.spool import ReceiptRecord, SpoolEntry
from fedling_protocol.disk.errors import Missing
from fedling_protocol.wire.digest import message_hash
from fedling_protocol.wire.messages import Verdict
from tests.support.device import Device, freeze_now, make_device, make_plan

VECTOR_HASH = bytes(32)
ENVELOPE = b"signed"
HASH = message_hash(ENVELOPE)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return make_device(tmp_path, recordings=1)


def put(device: Device, number: int = 1, envelope: bytes = ENVELOPE) -> SpoolEntry:
    plan = make_plan(device.model, number)
    freeze_now(device.freezer, plan)
    return device.store.spool.put(plan.plan_id, envelope, VECTOR_HASH)


def end(device: Device, number: int = 1, verdict: Verdict | None = Verdict.ACCEPTED) -> None:
    plan_id = make_plan(device.model, number).plan_id
    device.store.spool.end("watch", plan_id, HASH, verdict, "why", 7)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_spooled_update_survives_and_its_job_goes(device: Device) -> None:
    entry = put(device)
    assert entry == SpoolEntry(device.plan.plan_id, "watch", HASH, len(ENVELOPE))
    assert names(device.store.files.jobs) == []
    after = device.reopen()
    assert after.store.spool.entries("watch") == [entry]
    assert after.store.spool.entries("other") == []
    assert after.store.spool.envelope(entry) == ENVELOPE
    (record,) = after.store.plans.in_work("watch")
    assert (record.state, record.update_hash) == (PlanState.SPOOLED, HASH)
    assert after.mend() is None


def test_put_again_after_a_crash_between_file_and_row(device: Device) -> None:
    assert put(device) == device.store.spool.put(device.plan.plan_id, ENVELOPE, VECTOR_HASH)
    assert len(device.store.spool.entries()) == 1


def test_put_of_a_plan_that_is_not_in_work(device: Device) -> None:
    with pytest.raises(Missing):
        device.store.spool.put(b"n" * 16, ENVELOPE, VECTOR_HASH)
    assert device.store.spool.entries() == []


def test_receipt_ends_it(device: Device) -> None:
    put(device)
    end(device)
    end(device, verdict=Verdict.LATE)  # a repetition changes nothing
    after = device.reopen()
    assert after.store.spool.entries() == []
    assert names(after.store.files.spool) == []
    assert after.store.spool.receipts("watch") == [
        ReceiptRecord(device.plan.plan_id, "watch", 1, HASH, Verdict.ACCEPTED, "why", 7)
    ]
    assert after.store.plans.is_finished(device.plan.plan_id)
    assert after.store.plans.in_work() == []
    (record,) = after.store.plans.recent()
    assert record.state is PlanState.FINISHED


def test_plan_that_ends_unspooled_leaves_no_training_set(device: Device) -> None:
    device.freeze()
    device.store.spool.end("watch", device.plan.plan_id, None, None, "superseded", 7)
    assert names(device.store.files.jobs) == []
    assert names(device.store.files.frozen) == []
    assert device.store.plans.find(device.plan.plan_id) is None
    assert device.store.plans.is_finished(device.plan.plan_id)
    (receipt,) = device.store.spool.receipts()
    assert (receipt.round, receipt.verdict) == (1, None)
    assert device.store.database.rows("SELECT * FROM pins") == []


def test_child_that_is_just_being_killed_leaves_one_more_file(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, scan = device.freeze().directory, os.scandir

    def list_then_write(folder: Path | str) -> list[os.DirEntry[str]]:
        entries = list(scan(folder))
        if Path(folder) == job:
            (job / "late").touch()
        return entries

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", list_then_write)
        end(device, verdict=None)
    assert names(job) == ["late"]
    assert names(device.reopen().store.files.jobs) == []


def test_plan_that_was_never_begun(device: Device) -> None:
    device.store.spool.end("watch", b"n" * 16, None, Verdict.LATE, "", 7)
    assert device.store.plans.is_finished(b"n" * 16)
    assert device.store.spool.receipts()[0].round is None


@pytest.mark.parametrize("data", [None, b"", bytes(len(ENVELOPE)), ENVELOPE[:-1]])
def test_damaged_spool_file_is_not_sent(device: Device, data: bytes | None) -> None:
    entry = put(device)
    path = device.store.files.spool / HASH.hex()
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(Missing):
        device.store.spool.envelope(entry)


def test_the_last_plans_are_kept_and_those_in_work(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (plans, spool):
        monkeypatch.setattr(module, "KEPT", 3)
    monkeypatch.setattr(spool, "KEPT_PLANS", 3)
    put(device, 1)
    for number in range(2, 8):
        put(device, number, b"signed %d" % number)
        end(device, number)
    assert [r.plan.round for r in device.store.plans.recent()] == [7, 6, 5]
    assert [r.round for r in device.store.spool.receipts()] == [7, 6, 5]
    assert [e.plan_id for e in device.store.spool.entries()] == [make_plan(device.model).plan_id]
    assert [r.plan.round for r in device.store.plans.in_work()] == [1]


def test_recordings_of_a_spooled_plan_may_go(device: Device) -> None:
    put(device)
    assert device.store.database.rows("SELECT * FROM pins") == []
    freeze_now(device.freezer, replace(device.plan, plan_id=b"x" * 16))
    assert device.store.database.rows("SELECT count(*) FROM pins") == [(1,)]
