import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedling_broker.store.database import FILE, create_database, open_database
from fedling_broker.store.devices import FORGET_S, MAX_PENDING, REFRESH_S, DeviceError, Devices
from fedling_protocol.disk.database import Database
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Trust

ROOT = SigningKey.from_seed(b"r" * 32)
KEY = SigningKey.from_seed(b"d" * 32).public
ID = device_id(KEY)
TOPICS = Topics("fedling", "test")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    create_database(tmp_path)
    database = open_database(tmp_path)
    yield database
    database.close()


@pytest.fixture
def devices(database: Database) -> Devices:
    return Devices(database, TOPICS)


def test_certify_makes_what_the_fleet_trusts(devices: Devices) -> None:
    certified = devices.certify(ID, KEY, ROOT)
    trust = Trust(TOPICS, ROOT.public)
    trust.open(TOPICS.of(Kind.KEYS, ID), certified.envelope)
    assert devices.find(ID) == certified
    found = trust.known(ID)
    assert found is not None
    assert (found.key, found.serial) == (KEY, certified.serial)


def test_certify_refuses_another_devices_key(devices: Devices) -> None:
    with pytest.raises(DeviceError, match=f"that is {ID}"):
        devices.certify("a" * 16, KEY, ROOT)


def test_certify_twice_says_so(devices: Devices) -> None:
    devices.certify(ID, KEY, ROOT)
    with pytest.raises(DeviceError, match="already"):
        devices.certify(ID, KEY, ROOT)


def test_a_device_that_comes_back_gets_a_higher_serial(devices: Devices) -> None:
    first = devices.certify(ID, KEY, ROOT)
    assert devices.remove(ID)
    assert not devices.remove(ID)
    assert devices.find(ID) is None
    assert devices.certify(ID, KEY, ROOT).serial > first.serial


def test_the_aggregator_cannot_be_removed(devices: Devices) -> None:
    devices.certify(AGGREGATOR, KEY, ROOT)
    assert not devices.remove(AGGREGATOR)
    assert [c.id for c in devices.certified()] == [AGGREGATOR]


def test_ask_writes_once_an_hour(devices: Devices) -> None:
    assert devices.ask(ID, KEY, 1000)
    assert not devices.ask(ID, KEY, 1000 + REFRESH_S - 1)
    assert devices.pending()[0].seen_s == 1000
    assert not devices.ask(ID, KEY, 1000 + REFRESH_S)  # not a new one
    assert devices.pending()[0].seen_s == 1000 + REFRESH_S
    devices.ask(ID, KEY, 0)
    assert devices.pending()[0].seen_s == 0  # the clock was set back by more than an hour
    devices.ask(ID, KEY, 1)
    assert devices.pending()[0].seen_s == 0


def test_ask_of_many_strangers_stays_bounded(devices: Devices, database: Database) -> None:
    """Who asked first stays: a flood of keys must not push a device out of its owner's sight."""
    with database.transaction("strangers"):
        for number in range(MAX_PENDING + 3):
            assert devices.ask(f"{number:016d}", KEY, number) == (number < MAX_PENDING)
    pending = devices.pending()
    assert len(pending) == MAX_PENDING
    assert pending[-1].seen_s == 0
    assert devices.ask("b" * 16, KEY, FORGET_S + 500)  # some have not asked for a day
    assert {one.seen_s for one in devices.pending()} == {*range(500, MAX_PENDING), FORGET_S + 500}


def test_certify_ends_the_wait(devices: Devices) -> None:
    devices.ask(ID, KEY, 1)
    devices.certify(ID, KEY, ROOT)
    assert devices.pending() == []


def test_changes_are_told_once_in_their_order(devices: Devices) -> None:
    other = SigningKey.from_seed(b"e" * 32).public
    devices.certify(ID, KEY, ROOT)
    devices.certify(device_id(other), other, ROOT)
    first, second = devices.changes(0)
    assert [(c.id, c.key, c.removed) for c in (first, second)] == [
        (ID, KEY, False),
        (device_id(other), other, False),
    ]
    assert devices.changes(second.changed) == []
    devices.remove(ID)
    (removed,) = devices.changes(second.changed)
    assert (removed.id, removed.removed) == (ID, True)


def test_what_the_mqtt_broker_may_hold(devices: Devices) -> None:
    devices.certify(AGGREGATOR, ROOT.public, ROOT)
    certified = devices.certify(ID, KEY, ROOT)
    assert devices.unpublished(9) == [certified]
    devices.remove(ID)
    assert (devices.unpublished(9), devices.withdrawn(9)) == ([], [])  # it never got it
    devices.certify(ID, KEY, ROOT)
    devices.set_retained(ID)
    assert devices.unpublished(9) == []
    devices.remove(ID)
    assert devices.withdrawn(9) == [ID]
    devices.not_retained(ID)
    assert devices.withdrawn(9) == []


def test_one_that_was_added_again_stays_retained(devices: Devices) -> None:
    """The PUBACK of its removal comes late."""
    devices.certify(ID, KEY, ROOT)
    devices.remove(ID)
    devices.certify(ID, KEY, ROOT)
    devices.set_retained(ID)
    devices.not_retained(ID)
    assert devices.unpublished(9) == []


def test_a_key_for_which_anybody_can_sign_is_not_certified(devices: Devices) -> None:
    weak = bytes([1]) + bytes(31)
    with pytest.raises(DeviceError, match="anybody can sign"):
        devices.certify(device_id(weak), weak, ROOT)


# --- what another state of the fleet knows later ---------------------------------------------


@pytest.fixture
def former(tmp_path: Path) -> Iterator[Database]:
    """The tables of another state."""
    (tmp_path / "former").mkdir()
    create_database(tmp_path / "former")
    former = open_database(tmp_path / "former")
    yield former
    former.close()


def tables_of(tmp_path: Path) -> sqlite3.Connection:
    return sqlite3.connect(tmp_path / "former" / FILE)


def test_take_over_keeps_who_was_removed_and_who_was_added(
    devices: Devices, former: Database, tmp_path: Path
) -> None:
    other, keys = Devices(former, TOPICS), [SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2)]
    new = device_id(keys[0].public)
    devices.certify(ID, KEY, ROOT)
    with closing(tables_of(tmp_path)) as tables:
        assert devices.take_over(tables) == []
        tables.execute("ATTACH ? AS backup", (str(tmp_path / FILE),))
        tables.execute("INSERT INTO certificates SELECT * FROM backup.certificates")
        tables.commit()
        assert devices.take_over(tables) == []
        other.remove(ID)
        added = other.certify(new, keys[0].public, ROOT)
        assert set(devices.take_over(tables)) == {ID, new}
        assert devices.take_over(tables) == []
    assert devices.find(ID) is None
    assert devices.find(new) == added
    assert {change.id for change in devices.changes(1)} == {ID, new}


def test_take_over_of_an_older_state_changes_nothing(
    devices: Devices, former: Database, tmp_path: Path
) -> None:
    """Neither a certificate that was renewed since, nor a removal."""
    other = Devices(former, TOPICS)
    other.certify(ID, KEY, ROOT)
    devices.certify(ID, KEY, ROOT)
    devices.remove(ID)
    again = devices.certify(ID, KEY, ROOT)
    with closing(tables_of(tmp_path)) as tables:
        assert devices.take_over(tables) == []
        assert devices.find(ID) == again
        devices.remove(ID)
        assert devices.take_over(tables) == []
    assert devices.find(ID) is None


def test_take_over_from_tables_of_another_version(
    devices: Devices, former: Database, tmp_path: Path
) -> None:
    """What one of the two has no column for is left out."""
    added = Devices(former, TOPICS).certify(ID, KEY, ROOT)
    with closing(tables_of(tmp_path)) as tables:
        tables.execute("ALTER TABLE certificates ADD COLUMN newer INTEGER DEFAULT 1")
        tables.execute("DROP INDEX certificates_by_place")
        tables.execute("ALTER TABLE certificates DROP COLUMN retained")
        assert devices.take_over(tables) == [ID]
    assert devices.find(ID) == added
