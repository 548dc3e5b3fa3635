import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedling_broker.authority import certificates
from fedling_broker.authority.certificates import Bundle
from fedling_broker.authority.roles import Term
from fedling_broker.store.database import FILE, create_database, open_database
from fedling_broker.store.devices import (
    FORGET_S,
    MAX_PENDING,
    REFRESH_S,
    DeviceError,
    Devices,
    NameTaken,
)
from fedling_protocol.disk.database import Database
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Trust

ROOT = SigningKey(b"r" * 32)
AUTHORITY_KEY = SigningKey(b"a" * 32)
KEY = SigningKey(b"d" * 32).public
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


def test_a_certificate_with_another_term_takes_the_place_of_the_old_one(devices: Devices) -> None:
    first = devices.certify(ID, KEY, ROOT)
    second = devices.certify(ID, KEY, ROOT, Term(100, 200, "kitchen"))
    assert second.serial > first.serial
    assert devices.find(ID) == devices.named("kitchen") == second
    assert [c.id for c in devices.certified()] == [ID]


def test_two_devices_have_two_names(devices: Devices) -> None:
    other = SigningKey(b"e" * 32).public
    devices.certify(ID, KEY, ROOT, Term(1, 2, "kitchen"))
    with pytest.raises(NameTaken, match=f"kitchen is the name of {ID}"):
        devices.certify(device_id(other), other, ROOT, Term(1, 2, "kitchen"))
    devices.revoke(ID, ROOT)
    devices.certify(device_id(other), other, ROOT, Term(1, 2, "kitchen"))  # it is free again


def test_named_finds_nobody_without_a_name(devices: Devices) -> None:
    devices.certify(AGGREGATOR, KEY, ROOT)
    devices.certify(ID, KEY, ROOT)
    assert devices.named("") is None


def test_revoke_makes_a_tombstone_that_the_fleet_believes(devices: Devices) -> None:
    first = devices.certify(ID, KEY, ROOT)
    tombstone = devices.revoke(ID, ROOT)
    assert tombstone is not None
    assert tombstone.serial > first.serial
    assert devices.revoke(ID, ROOT) is None
    assert (devices.find(ID), devices.certified(), devices.revoked()) == (None, [], [tombstone])
    trust = Trust(TOPICS, ROOT.public)
    trust.open(TOPICS.of(Kind.KEYS, ID), first.envelope)
    trust.open(TOPICS.of(Kind.KEYS, ID), tombstone.envelope)
    known = trust.known(ID)
    assert known is not None
    assert known.revoked


def test_a_revoked_device_does_not_come_back_with_its_key(devices: Devices) -> None:
    devices.certify(ID, KEY, ROOT)
    devices.revoke(ID, ROOT)
    with pytest.raises(DeviceError, match="was revoked"):
        devices.certify(ID, KEY, ROOT)
    later = certificates.sign("test", ID, KEY, 2**32 - 1, Term(), ROOT)
    assert devices.take_in(Bundle("test", {ID: later})) == []


def test_the_aggregator_cannot_be_revoked(devices: Devices) -> None:
    devices.certify(AGGREGATOR, KEY, ROOT)
    assert devices.revoke(AGGREGATOR, ROOT) is None
    assert devices.find(AGGREGATOR) is not None


def test_resign_replaces_what_another_key_has_signed_and_nothing_else(devices: Devices) -> None:
    others = [SigningKey(bytes([n]) * 32).public for n in (1, 2)]
    mine = devices.certify(ID, KEY, AUTHORITY_KEY, Term(5, 9, "kitchen"))
    for key in others:
        devices.certify(device_id(key), key, ROOT, Term(3, 4))
    devices.revoke(device_id(others[1]), ROOT)
    assert devices.resign(AUTHORITY_KEY) == 2
    assert devices.resign(AUTHORITY_KEY) == 0
    assert devices.find(ID) == mine
    found = [devices.look_up(device_id(key)) for key in others]
    assert [(c.term, c.revoked) for c in found if c] == [(Term(3, 4), False), (Term(3, 4), True)]
    trust = Trust(TOPICS, ROOT.public)
    trust.know(AUTHORITY, AUTHORITY_KEY.public, 1)
    for one in found:
        assert one is not None
        trust.open(TOPICS.of(Kind.KEYS, one.id), one.envelope)


def test_take_in_keeps_what_is_later(devices: Devices) -> None:
    old = devices.certify(ID, KEY, ROOT)
    earlier, later = (
        certificates.sign("test", ID, KEY, old.serial + step, Term(1, 2), ROOT) for step in (-1, 1)
    )
    assert devices.take_in(Bundle("test", {ID: earlier})) == []
    assert devices.take_in(Bundle("test", {ID: later})) == [ID]
    assert devices.take_in(Bundle("test", {ID: later})) == []
    found = devices.find(ID)
    assert found is not None
    assert (found.envelope, found.serial) == (later, old.serial + 1)
    dead = devices.revoke(ID, ROOT)
    assert dead is not None
    assert dead.serial > found.serial


def test_take_in_all_or_nothing(devices: Devices) -> None:
    other = SigningKey(b"e" * 32).public
    devices.certify(ID, KEY, ROOT, Term(1, 2, "kitchen"))
    clash = certificates.sign("test", device_id(other), other, 7, Term(1, 2, "kitchen"), ROOT)
    offices = {AGGREGATOR: certificates.sign("test", AGGREGATOR, other, 8, Term(), ROOT)}
    with pytest.raises(NameTaken):
        devices.take_in(Bundle("test", {**offices, device_id(other): clash}))
    assert devices.find(AGGREGATOR) is None


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
    other = SigningKey(b"e" * 32).public
    devices.certify(ID, KEY, ROOT)
    devices.certify(device_id(other), other, ROOT)
    first, second = devices.changes(0)
    assert [(c.id, c.key, c.revoked) for c in (first, second)] == [
        (ID, KEY, False),
        (device_id(other), other, False),
    ]
    assert devices.changes(second.changed) == []
    devices.revoke(ID, ROOT)
    (revoked,) = devices.changes(second.changed)
    assert (revoked.id, revoked.revoked) == (ID, True)


def test_what_the_mqtt_broker_may_hold(devices: Devices) -> None:
    """Offices come first: devices are believed by them."""
    certified = devices.certify(ID, KEY, ROOT)
    own = devices.certify(AGGREGATOR, ROOT.public, ROOT)
    assert devices.unpublished(9) == [own, certified]
    for one in (own, certified):
        devices.set_retained(one)
    assert devices.unpublished(9) == []
    tombstone = devices.revoke(ID, ROOT)
    assert tombstone is not None
    devices.set_retained(certified)  # its PUBACK comes late
    assert devices.unpublished(9) == [tombstone]
    devices.set_retained(tombstone)
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


def test_take_over_keeps_who_was_revoked_and_who_was_added(
    devices: Devices, former: Database, tmp_path: Path
) -> None:
    other, keys = Devices(former, TOPICS), [SigningKey(bytes([n]) * 32) for n in (1, 2)]
    new = device_id(keys[0].public)
    devices.certify(ID, KEY, ROOT)
    with closing(tables_of(tmp_path)) as tables:
        assert devices.take_over(tables) == []
        tables.execute("ATTACH ? AS backup", (str(tmp_path / FILE),))
        tables.execute("INSERT INTO certificates SELECT * FROM backup.certificates")
        tables.commit()
        assert devices.take_over(tables) == []
        other.revoke(ID, ROOT)
        added = other.certify(new, keys[0].public, ROOT)
        assert set(devices.take_over(tables)) == {ID, new}
        assert devices.take_over(tables) == []
    assert devices.find(ID) is None
    assert devices.find(new) == added
    assert {change.id for change in devices.changes(1)} == {ID, new}


def test_take_over_of_an_older_state_changes_nothing(
    devices: Devices, former: Database, tmp_path: Path
) -> None:
    """Neither a certificate that was renewed since, nor a tombstone."""
    other, term = Devices(former, TOPICS), Term(issued_s=1, until_s=2)
    other.certify(ID, KEY, ROOT)
    devices.certify(ID, KEY, ROOT)
    again = devices.certify(ID, KEY, ROOT, term)
    with closing(tables_of(tmp_path)) as tables:
        assert devices.take_over(tables) == []
        assert devices.find(ID) == again
        devices.revoke(ID, ROOT)
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


def test_take_over_from_tables_of_before_tombstones(
    devices: Devices, former: Database, tmp_path: Path
) -> None:
    """A device that an older release took out is out, and its certificate is told to nobody."""
    kept = Devices(former, TOPICS).certify(ID, KEY, ROOT)
    devices.certify(ID, KEY, ROOT)
    with closing(tables_of(tmp_path)) as tables:
        tables.execute("UPDATE certificates SET revoked = 1, serial = serial + 9")
        tables.execute("ALTER TABLE certificates RENAME COLUMN revoked TO removed")
        assert devices.take_over(tables) == [ID]
    known = devices.look_up(ID)
    assert known is not None
    assert (known.serial, known.revoked, known.envelope) == (kept.serial + 9, True, b"")
    assert (devices.unpublished(9), devices.revoked()) == ([], [])
