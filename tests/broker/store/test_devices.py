from pathlib import Path

import pytest

from fedling_broker.store.database import Database, WrongDatabase
from fedling_broker.store.devices import MAX_PENDING, REFRESH_S, DeviceError, Devices
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
def database(tmp_path: Path) -> Database:
    Database.create(tmp_path / "x.sqlite")
    return Database(tmp_path / "x.sqlite")


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
    assert (found.key, found.serial) == (KEY, 1)


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
    assert not devices.ask(ID, KEY, 1000 + REFRESH_S)
    assert devices.pending()[0].seen_s == 1000 + REFRESH_S
    assert not devices.ask(ID, KEY, 0)  # the clock was set back


def test_ask_of_many_strangers_stays_bounded(devices: Devices, database: Database) -> None:
    with database.transaction():
        for number in range(MAX_PENDING + 3):
            devices.ask(f"{number:016d}", KEY, number)
    pending = devices.pending()
    assert len(pending) == MAX_PENDING
    assert pending[-1].seen_s == 3


def test_certify_ends_the_wait(devices: Devices) -> None:
    devices.ask(ID, KEY, 1)
    devices.certify(ID, KEY, ROOT)
    assert devices.pending() == []


def test_counters_add_up(database: Database) -> None:
    database.count("refused: cbor")
    database.count("refused: cbor", 4)
    assert database.counters() == {"refused: cbor": 5}


def test_data_version_tells_of_another_process_only(database: Database, tmp_path: Path) -> None:
    before = database.data_version()
    database.count("x")
    assert database.data_version() == before
    other = Database(tmp_path / "x.sqlite")
    other.count("x")
    assert database.data_version() != before
    other.close()


def test_open_says_when_it_was_never_made_or_is_of_another_version(tmp_path: Path) -> None:
    with pytest.raises(WrongDatabase, match="fedling-broker init"):
        Database(tmp_path / "none.sqlite")
    Database.create(tmp_path / "y.sqlite")
    Database.create(tmp_path / "y.sqlite")  # what is there stays
    database = Database(tmp_path / "y.sqlite")
    database.connection.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(WrongDatabase, match="schema 99, not 2"):
        Database(tmp_path / "y.sqlite")
