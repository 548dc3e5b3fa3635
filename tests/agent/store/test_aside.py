"""A database that is damaged is put aside; what can be read of it is in the new one."""

import itertools
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedling_agent.store import aside
from fedling_agent.store.database import open_database
from fedling_agent.store.recordings import Bounds, Recordings
from fedling_agent.store.store import NAME, Store
from fedling_protocol.disk import durable
from fedling_protocol.disk.database import Database
from fedling_protocol.disk.durable import PAGE_BYTES
from fedling_protocol.disk.errors import BadDatabase, CannotWrite, WrongTables
from tests.support.device import STREAM, csv_lines, make_device, make_model, parse
from tests.support.totals import check_totals

GIVEN_UP = ("models", "normalisers", "plans", "frozen", "pins", "spool", "learned", "personal")
COUNTED = ("labels",)  # from the spans that were saved
NOW = 1_790_000_000
MOST = Bounds().bytes


def text(path: Path) -> None:
    path.write_text("no database " * 1000)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def zero_header(path: Path) -> None:
    path.write_bytes(bytes(100) + path.read_bytes()[100:])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_somebody_else(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE streams (song TEXT)")
    connection.commit()
    connection.close()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "photo").write_bytes(b"!")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A device's, with recordings; everything is in the database file itself."""
    device = make_device(tmp_path / "state", recordings=12, samples=600)
    device.store.lives.remember("watch", device.plan)
    device.store.database.forget_deleted()
    device.store.close()
    return tmp_path / "state"


@pytest.mark.parametrize(
    "damage", [text, zero, zero_header, cut, of_somebody_else, folder], ids=lambda d: d.__name__
)
def test_damage_is_put_aside_and_a_new_one_works(
    state: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(state / NAME)
    store = Store.open_or_begin_anew(state, None, NOW)
    (named,) = [record.message for record in caplog.records]
    assert named.startswith(str(state / NAME))
    assert f"it is now {NAME}.damaged-{NOW}" in named
    assert (state / f"{NAME}.damaged-{NOW}").exists()
    check_totals(store.recordings, MOST)
    store.recordings.ingest(STREAM, parse(csv_lines(1, prefix="new")), 0)
    check_totals(store.recordings, MOST)
    store.close()
    again = Store.open_or_begin_anew(state, None, NOW + 1)
    assert len(caplog.records) == 1
    again.forget_aside()
    assert again.aside() == []
    again.close()


def test_what_is_whole_is_kept_and_a_recording_with_a_hole_is_not(state: Path) -> None:
    """A page in the middle of the chunks is lost."""
    sound = Store(state)
    before = {r.recording: r for r in sound.recordings.listing()}
    seen = sound.lives.seen()
    sound.close()
    data = bytearray((state / NAME).read_bytes())
    middle = data.find(sample_of("r5", state)) // PAGE_BYTES * PAGE_BYTES
    data[middle : middle + PAGE_BYTES] = bytes(PAGE_BYTES)
    (state / NAME).write_bytes(data)
    store = Store.begin_anew(state, None, NOW, BadDatabase("malformed"))
    check_totals(store.recordings, MOST)
    kept = {r.recording: r for r in store.recordings.listing()}
    assert 0 < len(kept) < len(before)
    assert all(before[name] == one for name, one in kept.items())
    assert store.lives.seen() == seen
    store.close()


def sample_of(name: str, state: Path) -> bytes:
    """Some bytes of a recording's samples."""
    connection = sqlite3.connect(state / NAME)
    sql = """SELECT data FROM chunks JOIN recordings ON key = recording WHERE id = ?"""
    (data,) = connection.execute(sql, (name,)).fetchone()
    connection.close()
    return bytes(data[:32])


def test_a_sound_one_that_is_begun_anew_has_all_recordings_and_no_work(state: Path) -> None:
    sound = Store(state)
    before = sound.recordings.listing()
    sound.models.put(make_model())
    sound.close()
    store = Store.begin_anew(state, None, NOW, BadDatabase("a plan makes no sense"))
    assert store.recordings.listing() == before
    assert store.plans.in_work() == []
    assert store.models.newest("watch") is None
    assert list((state / "models").iterdir()) == []  # fetched again
    store.close()


def test_what_an_older_release_has_kept_is_saved_though_it_had_fewer_columns(
    state: Path, tmp_path: Path
) -> None:
    """And where the page is lost that says how long the device has lived, it begins anew."""
    old = state / NAME
    connection = sqlite3.connect(old)
    for column in ("began_ms", "ended_ms"):
        connection.execute(f"ALTER TABLE chunks DROP COLUMN {column}")
    connection.execute("DELETE FROM lived")
    samples = connection.execute("SELECT sum(samples) FROM recordings").fetchone()[0]
    connection.commit()
    connection.close()
    new = open_database(tmp_path / "new.db")
    assert aside.salvage(old, new, lambda: None) > 0
    recordings = Recordings(new, Bounds())
    assert recordings.summary()["wrist"].samples == samples > 0
    recordings.ingest(STREAM, parse(csv_lines(1, prefix="n")), NOW)
    new.close()


def test_every_table_is_saved_or_given_up(state: Path) -> None:
    connection = sqlite3.connect(state / NAME)
    sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    tables = [name for (name,) in connection.execute(sql)]
    connection.close()
    assert sorted(tables) == sorted((*aside.SAVED, *COUNTED, *GIVEN_UP))


def test_who_is_killed_meanwhile_begins_anew_from_the_old_one(state: Path, tmp_path: Path) -> None:
    """Killed at each change of the disk, one after another."""
    sound = Store(state)
    recordings = sound.recordings.listing()
    sound.close()
    killed = 0
    while True:
        place = tmp_path / f"killed {killed}"
        shutil.copytree(state, place)
        if not begins_anew_until(place, killed):
            break
        store = Store.open_or_begin_anew(place, None, NOW + 1)
        assert store.recordings.listing() == recordings, f"killed at change {killed}"
        left = {path.name.removeprefix(NAME)[:8] for path in place.glob(f"{NAME}.*")}
        assert left <= {".damaged"}, f"killed at change {killed}"
        store.close()
        killed += 1
    assert killed > 20


def begins_anew_until(state: Path, change: int) -> bool:
    """Begin anew in a process of its own; whether it was killed at a change of the disk."""
    process = os.fork()
    if process == 0:
        changes = itertools.count()

        def mortal(event: str, _arguments: object) -> None:
            if event in ("os.rename", "os.remove", "sqlite3.connect") and next(changes) == change:
                os._exit(9)

        commit = durable.commit

        def mortal_commit(connection: sqlite3.Connection) -> None:
            mortal("os.rename", ())
            commit(connection)

        durable.commit = mortal_commit
        sys.addaudithook(mortal)
        Store.begin_anew(state, None, NOW, BadDatabase("malformed")).close()
        os._exit(0)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 9)
    return status != 0


def test_long_work_says_that_it_goes_on(state: Path) -> None:
    told: list[bool] = []
    error = BadDatabase("malformed")
    Store.begin_anew(state, None, NOW, error, lambda: told.append(True)).close()
    assert len(told) > 50


def test_of_several_the_last_is_kept(state: Path) -> None:
    for now in (NOW, NOW + 1):
        Store.begin_anew(state, None, now, BadDatabase("malformed")).close()
    assert {path.name for path in aside.found(state / NAME)} == {f"{NAME}.damaged-{NOW + 1}"}


def test_a_newer_version_is_no_damage(state: Path) -> None:
    connection = sqlite3.connect(state / NAME)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(WrongTables, match="install that version"):
        Store.open_or_begin_anew(state, None, NOW)
    assert aside.found(state / NAME) == []


@pytest.mark.parametrize(
    ("statement", "ask"),
    [
        ("UPDATE plans SET message = x'00'", lambda s: s.plans.in_work()),
        ("UPDATE plans SET normaliser = 'x'", lambda s: s.plans.recent()),
        ("UPDATE plans SET state = 'dreaming'", lambda s: s.plans.recent()),
        ("UPDATE models SET spec = x'a0'", lambda s: s.models.newest("watch")),
        ("UPDATE models SET exponents = '{'", lambda s: s.models.newest("watch")),
        ("UPDATE normalisers SET channels = '[1]'", lambda s: s.models.normaliser("watch")),
        ("INSERT INTO in_force VALUES (0, x'ff')", lambda s: s.lives.in_force()),
    ],
)
def test_a_row_that_makes_no_sense_is_damage(
    tmp_path: Path, statement: str, ask: Callable[[Store], object]
) -> None:
    device = make_device(tmp_path / "state")
    device.freeze()
    with device.store.database.transaction("damage") as connection:
        connection.execute(statement)
    store = device.reopen().store
    with pytest.raises(BadDatabase, match="makes no sense"):
        ask(store)
    store.close()


def test_a_sound_database_is_not_put_aside(state: Path) -> None:
    """Of a read that failed SQLite says "malformed", too: plans and spool would go with it."""
    cause = sqlite3.DatabaseError("database disk image is malformed")
    cause.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    error = BadDatabase("malformed")
    error.__cause__ = cause
    with pytest.raises(CannotWrite, match="the disk is failing"):
        Store.begin_anew(state, None, NOW, error)
    assert aside.found(state / NAME) == []


def test_a_new_database_that_is_not_read_back_is_a_failing_disk(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """78 would be the end of the service for good."""

    def fail(*_: object) -> Database:
        raise BadDatabase("malformed")

    monkeypatch.setattr("fedling_agent.store.store.open_database", fail)
    with pytest.raises(CannotWrite, match="the disk is failing: malformed"):
        Store.begin_anew(state, None, NOW, BadDatabase("a plan makes no sense"))
    assert aside.found(state / NAME) == []
