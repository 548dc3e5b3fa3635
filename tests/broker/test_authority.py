"""`fedling-broker authority`, and the commands about devices that stand on it."""

import os
import shutil
import time
from pathlib import Path

import pytest
from cryptography import x509 as library

from fedling_broker.authority import certificates, roles, vouching
from fedling_broker.authority.directory import Directory
from fedling_broker.authority.roles import Term
from fedling_broker.commands import ages, installation
from fedling_broker.config import load
from fedling_broker.store.database import PROGRAM
from fedling_broker.store.devices import Devices
from fedling_broker.store.tls_certificates import TlsCertificate
from fedling_protocol.disk import lock
from fedling_protocol.exits import Exit
from fedling_protocol.wire import identity
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from fedling_protocol.wire.token import Token
from fedling_protocol.wire.topics import Topics
from tests.broker.conftest import Here
from tests.support.hand_aggregator import tls_key_of

KEY, OTHER = (SigningKey(seed * 32).public for seed in (b"d", b"e"))
ID, OTHER_ID = device_id(KEY), device_id(OTHER)
STATE = Path("broker-state")
PLACE = STATE / "authority"
ROOT_KEY = PLACE / "root.key"
STICK = Path("stick.key")
TOPICS = Topics("fedling", "test")


def sound(here: Here) -> Devices:
    """Check all certificates, from the configured root key on; the devices of the state."""
    found, store = load(Path("broker.toml")), here.store()
    devices = Devices(store.database, TOPICS)
    installation.check_certificates(found, devices)
    return devices


# --- the root key --------------------------------------------------------------------------------


def test_take_root_moves_the_key(here: Here) -> None:
    public = identity.load_key(ROOT_KEY).public
    assert "the root key lies in" in here("authority", "show")
    here("authority", "take-root", str(STICK))
    assert identity.load_key(STICK).public == public
    assert not ROOT_KEY.exists()
    assert "the root key lies in" not in here("authority", "show")
    assert "taken away already" in here("authority", "take-root", "x", code=Exit.NOT_FOUND)
    here("device", "add", ID, KEY.hex())  # needs none


def test_take_root_replaces_no_other_key_and_ends_what_was_interrupted(here: Here) -> None:
    STICK.write_bytes(b"another fleet's")
    assert "is there already" in here("authority", "take-root", str(STICK), code=Exit.FAILED)
    assert STICK.read_bytes() == b"another fleet's"
    STICK.write_bytes(ROOT_KEY.read_bytes())
    here("authority", "take-root", str(STICK))
    assert not ROOT_KEY.exists()


def test_check_says_that_the_root_key_lies_about(here: Here) -> None:
    notes = here.json("check", code=Exit.FAILED)["keys"]["notes"]  # no MQTT broker
    assert any("the root key lies in" in word for word in notes)
    here("authority", "take-root", str(STICK))
    assert here.json("check", code=Exit.FAILED)["keys"] == {"faults": [], "notes": []}


# --- another key in the place of one -------------------------------------------------------------


@pytest.mark.parametrize("which", ["aggregator", "authority", "root"])
def test_rotate_changes_one_key_and_all_is_believed(here: Here, which: str) -> None:
    here("device", "add", ID, KEY.hex(), "--name", "kitchen")
    here("device", "add", OTHER_ID, OTHER.hex())
    here("device", "revoke", OTHER_ID)
    here("authority", "take-root", str(STICK))
    before = {p: p.read_bytes() for p in (STATE / "online.key", PLACE / "authority.key")}
    assert "--root-key FILE" in here("authority", "rotate", which, code=Exit.NOT_FOUND)
    here("authority", "rotate", which, "--root-key", str(STICK))
    changed = {path.name for path, data in before.items() if path.read_bytes() != data}
    assert changed == ({f"{which}.key"} if which == AUTHORITY else set()) | (
        {"online.key"} if which == AGGREGATOR else set()
    )
    assert ROOT_KEY.exists() == (which == "root")
    devices = sound(here)
    assert [(c.id, c.term.name) for c in devices.certified()] == [(ID, "kitchen")]
    assert [c.id for c in devices.revoked()] == [OTHER_ID]
    key = str(ROOT_KEY if which == "root" else STICK)
    here("authority", "rotate", "authority", "--root-key", key)
    sound(here)


def test_rotate_with_a_former_root_key_is_refused(here: Here) -> None:
    shutil.copy(ROOT_KEY, STICK)
    here("authority", "rotate", "root")
    said = here("authority", "rotate", "root", "--root-key", str(STICK), code=Exit.FAILED)
    assert "not the root key in force" in said
    sound(here)


def test_the_online_key_is_not_replaced_under_a_service_that_runs(here: Here) -> None:
    before = (STATE / "online.key").read_bytes()
    with lock.exclusive(STATE, PROGRAM):
        here("authority", "rotate", "aggregator", code=Exit.TRY_LATER)
    assert (STATE / "online.key").read_bytes() == before
    sound(here)


def test_a_rotation_that_was_interrupted_is_ended_by_the_next_command(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory has the new key; the state, and the devices in it, do not know yet."""
    here("device", "add", ID, KEY.hex())
    with monkeypatch.context() as power:
        power.setattr(Devices, "take_in", interrupted)
        here("authority", "rotate", "authority", code=Exit.FAILED)
    here("authority", "show")
    devices = sound(here)
    own, authority = devices.find(ID), devices.find(AUTHORITY)
    assert own is not None
    assert authority is not None
    assert authority.key == identity.load_key(PLACE / "authority.key").public


def interrupted(*_: object) -> None:
    raise OSError("killed")


# --- an authority on another machine -------------------------------------------------------------


def test_an_authority_on_another_machine_certifies_by_files(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = ["--directory", str(tmp_path / "away")]
    root = here.json("authority", "init", "--fleet", "test", *away)["root_key"]
    shutil.rmtree(STATE)
    Path("broker.toml").unlink()
    told = here.json("init", "--fleet", "test", "--trust", root)
    assert (told["certified"], told["root_key"]) == (False, root)
    assert not PLACE.exists()
    online = identity.load_key(STATE / "online.key").public.hex()
    assert f"authority certify aggregator {online}" in here("init")
    here("authority", "certify", AGGREGATOR, online, "--to", "a", *away)
    here("device", "add", "--certificate", "a")
    sound(here)
    here("authority", "certify", ID, KEY.hex(), "--name", "kitchen", "--to", "b", *away)
    assert here.json("device", "add", "--certificate", "b") == {"taken": [ID]}
    here("authority", "rotate", "authority", *away)
    here("authority", "certify", OTHER_ID, OTHER.hex(), "--to", "c", *away)
    assert {*here.json("device", "add", "--certificate", "c")["taken"]} == {AUTHORITY, ID, OTHER_ID}
    assert [c.id for c in sound(here).certified()] == sorted([ID, OTHER_ID])
    assert "not believed" in here("device", "add", "--certificate", "b", code=Exit.FAILED)
    assert "no authority is here" in here("device", "invite", code=Exit.NOT_FOUND)


def test_a_file_of_another_fleets_authority_is_not_believed(here: Here, tmp_path: Path) -> None:
    away = ["--directory", str(tmp_path / "away")]
    here("authority", "init", "--fleet", "test", *away)
    here("authority", "certify", ID, KEY.hex(), "--to", "b", *away)
    before = here.json("device", "list")
    assert "is not believed" in here("device", "add", "--certificate", "b", code=Exit.FAILED)
    assert here.json("device", "list") == before == []


def test_an_older_fleet_is_given_an_authority_once(here: Here) -> None:
    """It has a root key in a file, and certificates that this key has signed."""
    shutil.move(ROOT_KEY, STICK)
    shutil.rmtree(PLACE)
    root, store = identity.load_key(STICK), here.store()
    devices = Devices(store.database, TOPICS)
    with store.database.transaction("an older fleet") as connection:
        connection.execute("DELETE FROM certificates WHERE id = 'authority'")
    devices.certify(ID, KEY, root)
    sound(here)
    assert "--root-key FILE" in here("authority", "init", code=Exit.NOT_FOUND)
    here("authority", "init", "--root-key", str(STICK))
    (own,) = sound(here).certified()
    signer = identity.load_key(PLACE / "authority.key").kid
    assert signer in own.envelope
    assert not ROOT_KEY.exists()


# --- devices -------------------------------------------------------------------------------------


def test_invite_prints_what_a_device_types(here: Here) -> None:
    made = here.json("device", "invite", "--name", "kitchen", "--expires", "2d", "--host", "b.lan")
    token = Token.parse(made["token"])
    root = identity.load_key(ROOT_KEY).public
    assert token.vouches_for(root)
    assert (token.host, token.port, token.fleet) == ("b.lan", 8884, "test")
    assert 0 <= made["until_s"] - time.time() - 2 * 86_400 + 60 <= 60
    said = here("device", "invite", "--count", "20")
    assert "fedling-agent enroll " in said
    assert "20 devices" in said
    store = here.store()
    assert [(one.name, one.uses) for one in store.invitations.all()] in (
        [("", 20), ("kitchen", 1)],
        [("kitchen", 1), ("", 20)],
    )
    assert [path for path in STATE.rglob("*") if path.stat().st_mode & 0o077 and path.suffix in (
        ".key", ".sqlite", ".sqlite-wal")] == []  # fmt: skip


def test_invite_refuses_what_does_not_fit(here: Here) -> None:
    here("device", "add", ID, KEY.hex(), "--name", "kitchen")
    assert "already" in here("device", "invite", "--name", "kitchen", code=Exit.FAILED)
    assert "is not a name" in here("device", "invite", "--name", "A b", code=Exit.FAILED)
    wrong = ("device", "invite", "--name", "a", "--count", "2")
    assert "--name is for one device" in here(*wrong, code=Exit.FAILED)


@pytest.mark.parametrize("name", [AGGREGATOR, AUTHORITY, "a" * 16, "A", "-a", "k" * 33])
def test_a_device_is_not_called_by_what_is_an_id(here: Here, name: str) -> None:
    given = f"--name={name}"
    assert "is not a name" in here("device", "invite", given, code=Exit.FAILED)
    assert "is not a name" in here("device", "add", ID, KEY.hex(), given, code=Exit.FAILED)
    certify = ("authority", "certify", ID, KEY.hex(), given, "--to", "b")
    assert "is not a name" in here(*certify, code=Exit.FAILED)
    assert here.json("device", "list") == []


def test_invite_says_which_key_names_a_host_that_no_token_can_hold(here: Here) -> None:
    path = Path("broker.toml")
    path.write_text(path.read_text().replace('host = "127.0.0.1"', 'host = "küche.local"'))
    path.write_text(path.read_text().replace("tls = false", "tls = true"))
    said = here("device", "invite", code=Exit.FAILED)
    assert "küche.local is of mqtt.host: set enrolment.host" in said
    here("device", "invite", "--host", "xn--kche-0ra.local")


def test_revoke_by_name_enters_the_list_for_tls(here: Here) -> None:
    here("device", "add", ID, KEY.hex(), "--name", "kitchen")
    store, found = here.store(), load(Path("broker.toml"))
    keys = vouching.load(found.authority)
    assert keys is not None
    for which in (1, 2):
        public = tls_key_of(1, which)
        der = keys.client(ID, public, 2_000_000_000)
        store.tls_certificates.add(TlsCertificate(ID, public, der, which, 2_000_000_000))
    store.close()
    assert here.json("device", "revoke", "kitchen")["device"] == ID
    listed = library.load_pem_x509_crl((PLACE / "tls-revoked.pem").read_bytes())
    assert len(list(listed)) == 2
    assert here.json("device", "list") == []
    assert "was revoked" in here("device", "add", ID, KEY.hex(), code=Exit.FAILED)


def test_a_revocation_that_was_interrupted_is_ended_by_itself(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state knows it, the directory and the list do not."""
    here("device", "add", ID, KEY.hex())
    with monkeypatch.context() as power:
        power.setattr(Directory, "keep", interrupted)
        here("device", "revoke", ID, code=Exit.FAILED)
    assert ID not in (PLACE / "certificates").read_text()
    here("authority", "show")
    assert ID in (PLACE / "certificates").read_text()
    assert [c.id for c in sound(here).revoked()] == [ID]


def test_a_restored_state_takes_over_whom_the_authority_has_revoked_since(here: Here) -> None:
    for key in (KEY, OTHER):
        here("device", "add", device_id(key), key.hex())
    here("backup", "home.fedling")
    here("device", "revoke", ID)
    here("restore", "home.fedling", "--replace")
    here("authority", "show")
    devices = sound(here)
    assert [c.id for c in devices.revoked()] == [ID]
    assert [c.id for c in devices.certified()] == [OTHER_ID]


def test_a_backup_brings_the_authority_back_without_its_root_key(here: Here) -> None:
    here("device", "add", ID, KEY.hex())
    here("backup", "home.fedling")
    shutil.move(ROOT_KEY, STICK)
    shutil.rmtree(STATE)
    here("restore", "home.fedling")
    assert b"root.key" not in Path("home.fedling").read_bytes()
    assert not ROOT_KEY.exists()
    assert [p.name for p in PLACE.iterdir() if p.stat().st_mode & 0o077 and "key" in p.name] == []
    here("device", "add", OTHER_ID, OTHER.hex())
    here("authority", "rotate", "authority", "--root-key", str(STICK))
    assert len(sound(here).certified()) == 2


# --- ends ----------------------------------------------------------------------------------------


def test_ages_names_what_is_over_and_what_is_due(here: Here) -> None:
    found, store = load(Path("broker.toml")), here.store()
    devices = Devices(store.database, TOPICS)
    root = identity.load_key(ROOT_KEY)
    devices.certify(ID, KEY, root, Term(1, 100, "kitchen"))
    ROOT_KEY.unlink()
    now_s = int(time.time())
    assert ages.faults(devices, now_s) == []
    assert ages.notes(found, devices, now_s) == [
        "1 devices have certificates that are over: kitchen"
    ]
    life_s = roles.DUTIES[roles.OFFICES[AGGREGATOR]].life_s
    due = ages.notes(found, devices, now_s + life_s * 3 // 4)
    assert [word.split(" ends on ")[0] for word in due[:2]] == [
        "the certificate of the authority",
        "the certificate of the aggregator",
    ]
    assert "authority rotate aggregator" in due[1]
    over = ages.faults(devices, now_s + life_s + 60)
    assert len(over) == 2
    assert all("devices ignore it" in word for word in over)


def test_a_directory_that_others_read_is_refused(here: Here) -> None:
    os.chmod(PLACE / "authority.key", 0o644)
    said = here("device", "add", ID, KEY.hex(), code=Exit.BAD_CONFIG)
    assert "lets others read the secret" in said
    assert certificates.ROOTS not in (PLACE / "certificates").read_text()
