"""Backups: taken while rounds go on, put back, and everything that can be wrong with one."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from fedling_broker import backup, verify
from fedling_broker.config import ONLINE_KEY, SECRET
from fedling_broker.service.service import LOOK_S
from fedling_broker.store.database import FILE as DATABASE
from fedling_broker.store.database import PROGRAM
from fedling_broker.store.store import Store
from fedling_broker.tasks.task_file import parse_task
from fedling_protocol.disk import lock
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.exits import Exit
from fedling_protocol.wire.identity import SigningKey, device_id
from tests.broker.conftest import Here
from tests.support.hand_aggregator import HandAggregator
from tests.support.rounds_on_disk import SEED, accept, open_round, run_round

STATE = Path("broker-state")
FILE = Path("home.fedling")
KEY = SigningKey(b"n" * 32).public


def prepare(here: Here) -> None:
    """Two rounds, and one that is open with an update."""
    here.add_task()
    store = here.store()
    for number in (1, 2):
        run_round(store, number)
    accept(store, open_round(store, 3), 0, 5, 7)
    store.close()
    here("backup", str(FILE))


def facts(store: Store) -> object:
    plans = [(p.round, p.closed, p.folded) for p in store.rounds.plans("tiny")]
    unfolded = store.rounds.unfolded("tiny")
    members = [] if unfolded is None else store.rounds.members("tiny", unfolded.plan_id)
    return plans, members, store.models.rows("tiny"), store.models.folds("tiny")


def facts_of(directory: Path) -> object:
    store = Store(directory)
    try:
        return facts(store)
    finally:
        store.close()


def names(directory: Path) -> set[Path]:
    """What is there, but for the lock."""
    found = {path.relative_to(directory) for path in directory.rglob("*")}
    return found - {Path("broker.lock")}


# --- there and back ------------------------------------------------------------------------------


def test_backup_and_restore_bring_everything_back(here: Here) -> None:
    prepare(here)
    said = here.json("backup", str(FILE))
    assert (said["faults"], said["bytes"]) == ([], FILE.stat().st_size)
    assert FILE.stat().st_mode & 0o077 == 0  # it has a key
    before, key = facts_of(STATE), (STATE / ONLINE_KEY).read_bytes()
    shutil.rmtree(STATE)
    told = here.json("restore", str(FILE))
    assert (told["models"], told["faults"], told["replaced"]) == (3, [], None)
    assert facts_of(STATE) == before
    assert (STATE / ONLINE_KEY).read_bytes() == key
    store = here.store()
    plan = store.rounds.unfolded("tiny")
    assert plan is not None
    (row,) = store.rounds.members("tiny", plan.plan_id)
    store.rounds.update(plan.plan_id, row)
    epoch = store.begin_epoch(lambda *_: b"n" * 16)  # as the next `serve` does
    assert (epoch.copied, epoch.reopened, epoch.number > told["epoch"]) == (True, 1, True)
    store.tidy()
    store.close()
    assert here("check", code=Exit.FAILED).startswith("broker.toml: sound")  # no MQTT broker
    here("round", "verify", "--all")
    here("device", "add", device_id(KEY), KEY.hex())
    assert not (names(STATE) & {Path("manifest.json"), Path("broker.toml")})


def test_restore_writes_the_configuration_where_there_is_none(here: Here) -> None:
    prepare(here)
    Path("broker.toml").rename("old.toml")
    STATE.rename("old-state")
    assert "broker.toml is written" in here("restore", str(FILE))
    assert Path("broker.toml").read_bytes() == Path("old.toml").read_bytes()
    assert here("check", code=Exit.FAILED).startswith("broker.toml: sound")  # no MQTT broker


def test_restore_that_is_refused_leaves_no_configuration(here: Here) -> None:
    """And says what to type so that a shell takes it."""
    prepare(here)
    file = FILE.rename("of home.fedling")
    said = here("restore", str(file), "--config", "other.toml", code=Exit.FAILED)
    assert "fedling-broker restore 'of home.fedling' --replace" in said
    assert not Path("other.toml").exists()


def running(tmp_path: Path) -> HandAggregator:
    """An aggregator with a task of five rounds, of which it keeps one."""
    aggregator = HandAggregator(tmp_path / "state", keep_rounds=1)
    for name in (ONLINE_KEY, SECRET):
        (aggregator.directory / name).write_bytes(b"k" * 32)
    aggregator.config.path.write_text("# its configuration")
    aggregator.add_task(rounds=5)
    aggregator.enrol(1, 2)
    aggregator.connect()
    return aggregator


def test_rounds_that_are_erased_while_it_is_taken_are_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregator, real = running(tmp_path), backup._add
    left = [4]  # rounds

    def add(archive: backup._Archive, directory: Path, item: backup.Item) -> str:
        if item.name.startswith("sums/") and left[0]:
            left[0] -= 2
            for step in range(4):
                aggregator.accepted(1 + step % 2, aggregator.plan, step=step + left[0])
            aggregator.clock.move(LOOK_S)
        return real(archive, directory, item)

    aggregator.accepted(1, aggregator.plan, step=9)
    aggregator.accepted(2, aggregator.plan, step=8)
    monkeypatch.setattr(backup, "_add", add)
    check(aggregator, tmp_path)
    assert left == [0]
    assert aggregator.store.models.horizon.beginning("tiny") is not None
    aggregator.store.close()


def test_backup_is_of_one_instant_while_rounds_go_on(tmp_path: Path) -> None:
    """Taken again and again while updates come, rounds end and files go."""
    aggregator = running(tmp_path)
    workers = (aggregator.disk, aggregator.compute)
    for step in range(10):
        for worker in workers:
            worker.waits = True
        aggregator.join(1 + step % 2, aggregator.plan)
        aggregator.update(1 + step % 2, aggregator.plan, step)
        aggregator.settle()
        while any(worker.waiting for worker in workers):
            check(aggregator, tmp_path)
            for worker in workers:
                if worker.waiting:
                    worker.go(1)
            aggregator.settle()
    assert aggregator.store.models.folded("tiny") == 5
    aggregator.store.close()


def check(aggregator: HandAggregator, directory: Path) -> None:
    """A backup of now is whole: each file that its rows speak of is in it."""
    path, state = directory / "home.fedling", directory / "unpacked"
    assert backup.make(aggregator.config, path).faults == []
    Store.create(state)
    (state / "fedling-broker.sqlite").unlink()
    backup.check(path, state)
    store = Store(state)
    (row,) = store.tasks.rows()
    checks = list(verify.verify(store, parse_task(row.text, "tiny"), SEED))
    assert [c.fault for c in checks] == [""] * (1 + store.models.folded("tiny"))
    plan = store.rounds.unfolded("tiny")
    if plan is not None:
        for member in store.rounds.members("tiny", plan.plan_id):
            store.rounds.update(plan.plan_id, member)
    store.close()
    shutil.rmtree(state)


# --- what is refused -----------------------------------------------------------------------------


def test_restore_refuses_under_an_aggregator_that_runs(here: Here) -> None:
    prepare(here)
    with lock.exclusive(STATE, PROGRAM):
        said = here("restore", str(FILE), "--replace", code=Exit.TRY_LATER)
    assert "in use by another fedling-broker" in said


def test_restore_over_a_state_must_be_told_and_keeps_it(here: Here) -> None:
    prepare(here)
    store = here.store()
    accept(store, store.rounds.plans("tiny")[-1], 1, 6, 8)
    newer = facts(store)
    store.close()
    assert "--replace" in here("restore", str(FILE), code=Exit.FAILED)
    assert facts_of(STATE) == newer
    for number in (1, 2):
        assert f"replaced-{number}" in here("restore", str(FILE), "--replace")
    assert facts_of(STATE) != newer
    store = here.store()
    store.tidy()
    store.close()
    assert facts_of(STATE / "replaced-1") == newer
    here("round", "verify", "--all")


def test_restore_says_who_belongs_to_the_fleet(here: Here) -> None:
    """As the state that is replaced says, if that can be read; a lost one cannot."""
    prepare(here)
    device = device_id(KEY)
    here("device", "add", device, KEY.hex())
    here("backup", str(FILE))
    assert "is as it was before" in here("restore", str(FILE), "--replace")
    here("device", "revoke", device)
    said = here("restore", str(FILE), "--replace")
    assert f"certificates as the state before has them, which are newer: {device}" in said
    assert device not in here("device", "list")
    (STATE / DATABASE).write_bytes(b"nonsense")
    unknown = "devices are in that were revoked since"
    assert unknown in here("restore", str(FILE), "--replace")
    assert device in here("device", "list")
    here("device", "revoke", device)
    (STATE / ONLINE_KEY).unlink()  # a certificate without its key would be of no use
    assert here.json("restore", str(FILE), "--replace")["stayed"] is None
    shutil.rmtree(STATE)
    assert unknown in here("restore", str(FILE))
    assert device in here("device", "list")


@pytest.mark.parametrize("cut", [0.0, 0.001, 0.1, 0.9, 1.0])
def test_a_backup_that_was_cut_is_refused_and_changes_nothing(here: Here, cut: float) -> None:
    """At a part of the bytes up to the last one of the last file; zeros follow it."""
    prepare(here)
    with tarfile.open(FILE) as tar:
        last = tar.getmembers()[-1]
    end = last.offset_data + last.size
    FILE.write_bytes(FILE.read_bytes()[: int(cut * (end - 1))])
    before = names(STATE)
    assert str(FILE) in here("restore", str(FILE), "--replace", code=Exit.FAILED)
    assert names(STATE) == before
    assert here("check", code=Exit.FAILED).startswith("broker.toml: sound")  # no MQTT broker


def test_a_flipped_bit_in_any_file_of_a_backup_is_found(here: Here) -> None:
    prepare(here)
    data = bytearray(FILE.read_bytes())
    with tarfile.open(FILE) as tar:
        places = [member.offset_data for member in tar if member.size]
    assert len(places) > 10
    for place in places:
        data[place] ^= 1
        FILE.write_bytes(data)
        with pytest.raises(BadInput):
            backup.check(FILE)
        data[place] ^= 1
    FILE.write_bytes(data)
    backup.check(FILE)


def test_a_tar_that_is_no_backup_writes_nowhere(here: Here) -> None:
    with tarfile.open("evil.tar", "w") as tar:
        for name in ("../evil", "models/" + "a" * 64):
            tar.addfile(tarfile.TarInfo(name))
    assert "not a backup" in here("restore", "evil.tar", "--replace", code=Exit.FAILED)
    assert not Path("evil").exists()


def test_what_is_not_there_is_said(here: Here) -> None:
    here("restore", "none.tar", "--replace", code=Exit.NOT_FOUND)
    here("backup", "none/home.fedling", code=Exit.CANNOT_WRITE)


def test_a_backup_of_another_fleet_is_refused(here: Here) -> None:
    prepare(here)
    text = Path("broker.toml").read_text()
    Path("broker.toml").write_text(text.replace('fleet = "test"', 'fleet = "other"'))
    assert "of fleet test" in here("restore", str(FILE), "--replace", code=Exit.FAILED)


def test_damage_of_the_state_is_named_by_backup_and_by_restore(here: Here) -> None:
    prepare(here)
    one = next((STATE / "sums").iterdir())
    one.write_bytes(b"damaged")
    said = json.loads(here("backup", str(FILE), "--json", code=Exit.FAILED))
    assert said["faults"] == [f"sums/{one.name}: its bytes have another hash than its name"]
    told = json.loads(here("restore", str(FILE), "--replace", "--json", code=Exit.FAILED))
    assert any(one.name in fault for fault in told["faults"])
    here("task", "list")  # it is restored all the same
