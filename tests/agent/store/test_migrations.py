"""An upgrade of a device keeps who it is, what it learned from and what it owes."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.data.streams import Row
from fedling_agent.data.times import Interval
from fedling_agent.store import identity
from fedling_agent.store.database import TABLES, open_database
from fedling_agent.store.plans import PlanState
from fedling_agent.store.recordings import DAY_MS, Bounds
from fedling_agent.store.store import NAME, Store
from fedling_agent.training.freeze import Freezer
from fedling_protocol.disk.database import Database, Tables
from fedling_protocol.disk.errors import WrongTables
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.digest import message_hash
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.messages import Verdict
from fedling_protocol.wire.names import AGGREGATOR
from tests.support.device import FLEET, SECRET, STREAM
from tests.support.old_state import build, build_database, lost, rows_of, version_of
from tests.support.totals import check_totals

BEFORE_TIMES = 13  # steps
AS_NOW = 4  # steps; those before made some columns anew
OLD = Path(__file__).parent / "tables_1"


def plan_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_every_row_survives(tmp_path: Path) -> None:
    before = build_database(OLD / "tables.sql", tmp_path / NAME)
    assert {table for table, rows in before.items() if not rows} == {"seen"}  # nothing wrote it
    open_database(tmp_path / NAME).close()
    after = rows_of(tmp_path / NAME)
    for row in before["models"]:  # the next test looks at them: a Rest message became a task
        row["spec"] = row.pop("about")
    for row in (*before["models"], *after["models"]):
        del row["spec"]
    for row in before["recordings"]:  # age begins anew, bytes are those on disk: below
        del row["touched_ms"], row["bytes"]
    assert lost(before, after) == []
    assert version_of(tmp_path / NAME) == TABLES.newest


@pytest.mark.parametrize("steps", range(AS_NOW, len(TABLES.steps)))
def test_every_row_survives_from_each_version_on(tmp_path: Path, steps: int) -> None:
    """The same data, as the tables of every release between have had it."""
    build_database(OLD / "tables.sql", tmp_path / NAME)
    old = Tables(TABLES.first, TABLES.steps[:steps], TABLES.converter, TABLES.mender)
    Database(tmp_path / NAME, old).close()
    before = rows_of(tmp_path / NAME)
    Database(tmp_path / NAME, TABLES).close()
    after = rows_of(tmp_path / NAME)
    assert version_of(tmp_path / NAME) == TABLES.newest
    for row in (*before["recordings"], *before["streams"]):  # a chunk takes more: below
        del row["bytes"]
    kept = set(before) - {"seen"}  # it was made anew, too
    assert lost({table: before[table] for table in kept}, after) == []


def test_what_is_stored_keeps_its_size_and_has_no_time(tmp_path: Path) -> None:
    build_database(OLD / "tables.sql", tmp_path / NAME)
    old = Tables(TABLES.first, TABLES.steps[:BEFORE_TIMES], TABLES.converter, TABLES.mender)
    Database(tmp_path / NAME, old).close()
    store = Store(tmp_path)
    check_totals(store.recordings, Bounds().bytes)
    ever = Interval(0, 2**62)
    done = store.recordings.label_time("wrist", ever, "up", now_ms=0, up_ms=0)
    assert (done.samples, done.changes.relabelled) == (0, ())
    store.recordings.ingest(STREAM, [Row(1, "r2", "up", 5000, (1, 1))], now_ms=5)
    assert store.recordings.label_time("wrist", ever, "down", now_ms=0, up_ms=0).samples == 1
    check_totals(store.recordings, Bounds().bytes)
    store.close()


def test_an_upgrade_keeps_who_the_device_is(tmp_path: Path) -> None:
    build(OLD, tmp_path, NAME)
    me = identity.ensure(tmp_path)
    assert me.key.public == SigningKey(b"d" * 32).public
    assert me.secret == (OLD / "device.secret").read_bytes()


def test_an_upgrade_keeps_examples_and_their_labels(tmp_path: Path) -> None:
    build(OLD, tmp_path, NAME)
    store = Store(tmp_path, Bounds(age_days=1))
    check_totals(store.recordings, Bounds().bytes)
    assert store.recordings.summary()["wrist"][:2] == (3, 60)
    assert {r.recording: r.holes for r in store.recordings.listing()} == {"r0": 0, "r1": 0, "r2": 0}
    r2, r1, r0 = store.recordings.newest("wrist")
    spans = store.recordings.spans(r1)[::-1]
    assert [(s.first, s.last, s.label) for s in spans] == [
        (0, 1, "down"),
        (2, 5, "up"),
        (6, 9, "down"),
        (10, 19, "up"),
    ]
    assert store.recordings.spans(r2)[-1].first == 2
    assert len(store.recordings.samples(r0, 0, 20)) == 80
    done = store.recordings.ingest(STREAM, [Row(1, "r0", "up", None, (1, 2))], 5, up_ms=DAY_MS)
    assert (done.evicted_samples, done.holes) == (0, {"seams": 1})
    assert store.recordings.spans(r0)[0].first == 20
    store.close()


def test_an_upgrade_gives_labels_their_one_form(tmp_path: Path) -> None:
    build(OLD, tmp_path, NAME)
    connection = sqlite3.connect(tmp_path / NAME)
    connection.execute("UPDATE spans SET label = ? WHERE label = 'up'", (" cafe\u0301",))
    connection.commit()
    connection.close()
    store = Store(tmp_path)
    assert set(store.recordings.labels("wrist", 9)) == {"down", "caf\u00e9"}
    check_totals(store.recordings, Bounds().bytes)
    store.close()


def test_an_upgrade_keeps_models_and_plans(tmp_path: Path) -> None:
    build(OLD, tmp_path, NAME)
    store = Store(tmp_path)
    model = store.models.newest("watch")
    assert model is not None
    assert (model.version, model.spec.labels) == (2, ("down", "up"))
    assert len(finish(store.models.weights(model))) == 584
    assert store.models.normaliser("watch") is not None
    assert store.tasks() == ["watch"]
    assert store.lives.in_force() is None
    (plan, *_) = [record.plan for record in store.plans.recent()]
    for generation, versions in ((0, 2), (1, None)):  # of the same task; of another of its name
        store.remember("watch", replace(plan, epoch=1, generation=generation))
        found = store.models.newest("watch")
        assert (None if found is None else found.version) == versions
    assert store.models.normaliser("watch") is None
    plans = store.plans.recent()
    assert [(p.plan.round, p.state) for p in plans] == [
        (3, PlanState.FROZEN),
        (2, PlanState.SPOOLED),
        (1, PlanState.FINISHED),
    ]
    assert len(finish(store.plans.examples(plans[0]))) == plans[0].examples
    assert finish(Freezer(store, FLEET, SECRET).job(plan_id(3))) is not None
    assert store.plans.is_finished(plan_id(9))
    store.close()


def test_an_upgrade_keeps_what_was_sent_and_what_is_to_be_sent(tmp_path: Path) -> None:
    build(OLD, tmp_path, NAME)
    store = Store(tmp_path)
    (entry,) = store.spool.entries()
    assert (entry.plan_id, store.spool.envelope(entry)) == (plan_id(2), b"envelope two")
    given_up, accepted = store.spool.receipts("watch")
    assert (given_up.plan_id, given_up.verdict, given_up.reason) == (plan_id(9), None, "given up")
    assert (accepted.round, accepted.verdict) == (1, Verdict.ACCEPTED)
    assert accepted.update_hash == message_hash(b"envelope one")
    assert [sent.kind for sent in store.ledger.sent()] == ["update", "join"]
    assert store.ledger.counters() == {"refused: cbor": 3}
    assert [(t.day, t.sent, t.received) for t in store.ledger.traffic()] == [
        ("2026-11-02", 5, 6),
        ("2026-11-01", 12, 34),
    ]
    assert store.vouched.certificate(AGGREGATOR)
    assert (store.vouched.latest_s(), store.vouched.roots()) == (0, None)
    assert store.ledger.is_marked("erasing")
    store.close()


def test_a_reader_of_old_tables_says_what_converts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_database(OLD / "tables.sql", tmp_path / NAME)
    more = TABLES.__class__(TABLES.first, (*TABLES.steps, ""), TABLES.converter)
    monkeypatch.setattr("fedling_agent.store.database.TABLES", more)
    with pytest.raises(WrongTables, match="to convert it: fedling-agent run"):
        Store(tmp_path, read_only=True)
    Store(tmp_path).close()
    Store(tmp_path, read_only=True).close()
