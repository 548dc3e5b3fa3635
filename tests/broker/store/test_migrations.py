"""An upgrade of the aggregator keeps its rounds, verdicts, models and devices."""

import tomllib
from pathlib import Path

import pytest

from fedling_broker import verify
from fedling_broker.store.database import FILE, PROGRAM, TABLES, _by_device, open_database
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_broker.tasks.task_file import parse_task
from fedling_protocol.disk import lock
from fedling_protocol.disk.database import Database
from fedling_protocol.disk.errors import WrongTables
from fedling_protocol.disk.lock import Locked
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.names import AGGREGATOR
from tests.support.old_state import build, build_database, lost, rows_of, version_of
from tests.support.rounds_on_disk import KEYS, SEED, TASK, TOPICS

OLD = Path(__file__).parent / "tables_2"
IDS = [device_id(key.public) for key in KEYS]
NOT_CODED = "\n\n[compression]\noff = true\n"
PLACES = {"gr2q7gf5lh6pzfdn": 0, "ni4ahvpqlgicuhdn": 291, "wyxim75c6m5p4ywv": 582}  # in the log


def test_every_row_survives(tmp_path: Path) -> None:
    before = build_database(OLD / "tables.sql", tmp_path / FILE)
    assert [table for table, rows in before.items() if not rows] == []
    for row in before["journal"]:
        assert row.pop("momentum") == 128
        row |= {"optimiser": "fedavgm", "parameters": '{"momentum_q8":128}', "state_form": 1}
    for row in before["decisions"]:
        assert row.pop("kept") == (row["verdict"] == "accepted")
        row["first"] = PLACES.get(str(row["device"]), 0) if row["weight"] != 7 else 0
    for row in before["plans"]:
        row["kept"] = 1  # one is open, the other was audited
    for row in before["tasks"]:
        text = str(row["text"]).replace("[task]", '[task]\nnormalise = "device"') + NOT_CODED
        row |= {"text": text, "generation": 0, "revision": 0, "asked": None, "why_paused": ""}
    for row in before["models"]:
        row |= {"scale": None, "drawn": row["version"] == 1, "chunks": 0}
    for row in before["meta"]:
        row["key"] = "epoch" if row["key"] == "restore_epoch" else row["key"]
    before["meta"] += [{"key": "generation", "value": 0}, {"key": "place", "value": 0}]
    for row in before["certificates"]:
        row |= {"changed": row["serial"], "retained": 1}
        row |= {"issued_s": 0, "until_s": 0, "name": ""}
        row["revoked"] = row.pop("removed")
        if row["revoked"]:
            row["envelope"] = b""  # no tombstone was made of it
    open_database(tmp_path).close()
    assert lost(before, rows_of(tmp_path / FILE)) == []
    assert version_of(tmp_path / FILE) == TABLES.newest


def test_an_upgrade_keeps_rounds_and_verdicts(tmp_path: Path) -> None:
    build(OLD, tmp_path, FILE)
    store = Store(tmp_path)
    (task,) = store.tasks.rows()
    assert (task.name, task.paused) == ("tiny", False)
    assert parse_task(task.text, "tiny") == TASK
    first, second = store.rounds.plans("tiny")
    assert (first.folded, second.folded, second.closed, second.age_ms) == (True, False, False, 4321)
    assert store.rounds.unfolded("tiny") == second
    assert dict(store.rounds.places("tiny", second.plan_id)) == {"a" * 16: 9000}
    accepted = store.rounds.members("tiny", second.plan_id)
    assert [row.device for row in accepted] == [IDS[0]]
    late = store.rounds.decision("tiny", second.plan_id, "b" * 16)
    assert late is not None
    assert (late.verdict, late.update_hash) == ("late", b"h" * 32)
    assert len(store.rounds.members("tiny", first.plan_id)) == 3
    assert store.ledger.meta("epoch") == 1
    number = store.begin_epoch(lambda *_: b"").number  # the first start is no move: plans stay
    assert number > 1_790_000_000
    assert store.rounds.unfolded("tiny") == second
    store.close()


def test_an_upgrade_keeps_models_and_their_proof(tmp_path: Path) -> None:
    build(OLD, tmp_path, FILE)
    store = Store(tmp_path)
    store.tidy()
    assert [row.version for row in store.models.rows("tiny")] == [1, 2]
    assert store.models.retained("tiny") == [2]
    checks = list(verify.verify(store, TASK, SEED))
    assert [(c.version, c.updates, c.fault) for c in checks] == [(1, False, ""), (2, True, "")]
    store.close()


def test_an_upgrade_keeps_who_belongs_to_the_fleet(tmp_path: Path) -> None:
    build(OLD, tmp_path, FILE)
    store = Store(tmp_path)
    devices = Devices(store.database, TOPICS)
    assert [(c.id, c.serial, c.revoked) for c in devices.certified()] == [(IDS[0], 2, False)]
    own, gone = devices.find(AGGREGATOR), devices.look_up(IDS[1])
    assert own is not None
    assert gone is not None
    assert (own.serial, gone.revoked) == (1, True)
    assert {c.id for c in devices.unpublished(9)} == set()
    assert [(p.id, p.seen_s) for p in devices.pending()] == [(IDS[2], 1_790_000_000)]
    assert store.ledger.meta("serial") == 3
    assert store.ledger.counters() == {"refused: cbor": 3}
    store.close()


def test_the_last_tables_with_real_rows_become_these(tmp_path: Path) -> None:
    """Those of before certificates had an end: a fleet at work, with a device that was revoked."""
    tables_9 = TABLES.__class__(TABLES.first, TABLES.steps[:8], TABLES.converter)
    build(OLD, tmp_path, FILE)
    Database(tmp_path / FILE, tables_9).close()
    assert version_of(tmp_path / FILE) == 9
    before = rows_of(tmp_path / FILE)
    for row in before["tasks"]:
        row |= {"text": str(row["text"]) + NOT_CODED, "why_paused": ""}
    for row in before["certificates"]:
        row |= {"issued_s": 0, "until_s": 0, "name": ""}
        row["revoked"] = row.pop("removed")
        if row["revoked"]:
            row["envelope"] = b""
    open_database(tmp_path).close()
    after = rows_of(tmp_path / FILE)
    assert lost(before, after) == []
    assert after.keys() - before.keys() == {
        "invitations", "enrolments", "tls_certificates", "chunks",
    }  # fmt: skip
    store = Store(tmp_path)
    store.tidy()
    root = SigningKey(b"R" * 32)
    assert Devices(store.database, TOPICS).resign(root) == len(IDS) - 1  # a tombstone, too
    store.close()


def test_old_tables_are_not_converted_under_an_aggregator_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_database(OLD / "tables.sql", tmp_path / FILE)
    more = TABLES.__class__(TABLES.first, (*TABLES.steps, ""), TABLES.converter)
    monkeypatch.setattr("fedling_broker.store.database.TABLES", more)
    with lock.exclusive(tmp_path, PROGRAM):
        with pytest.raises(Locked, match="in use by another fedling-broker"):
            open_database(tmp_path)
        with pytest.raises(Locked):
            Store(tmp_path)
        open_database(tmp_path, alone=True).close()  # the aggregator itself
        open_database(tmp_path).close()  # and then a verb beside it


def test_open_database_where_init_was_not_run(tmp_path: Path) -> None:
    with pytest.raises(WrongTables, match="run: fedling-broker init"):
        open_database(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        '# normalise stays as it is\n[task]\nname = "a"\n',
        '[ task ]  # first\nname = "a"\n[model]\nlayers = [2]\n',
        '[task]\nlabels = ["normalised"]\n',
        'task.name = "a"\n[model]\nlayers = [2]\n',
    ],
)
def test_a_task_that_left_it_open_goes_on_by_device(text: str) -> None:
    before, after = tomllib.loads(text), tomllib.loads(_by_device(text))
    assert after["task"].pop("normalise") == "device"
    assert after == before
    assert _by_device(_by_device(text)) == _by_device(text)
