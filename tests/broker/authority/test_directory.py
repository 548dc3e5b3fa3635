"""The authority's directory: what it makes, what replaces a key, and what a power cut leaves."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedling_broker.authority import certificates, directory, roles, vouching
from fedling_broker.authority.certificates import ROOTS, Bundle
from fedling_broker.authority.directory import (
    AUTHORITY_KEY,
    KEPT,
    NEW,
    ROOT_KEY,
    Directory,
    create,
    open_,
)
from fedling_broker.authority.roles import Term
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import BadInput, Missing
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.messages import Role
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY

NOW = 1_800_000_000
ONLINE, DEVICE = (SigningKey(seed * 32).public for seed in (b"o", b"d"))
ID = device_id(DEVICE)


@pytest.fixture
def own(tmp_path: Path) -> Directory:
    """With a root key, an aggregator and a device that was certified by hand."""
    made = create(tmp_path / "authority", "home", None, NOW)
    made = made.office(AGGREGATOR, ONLINE, made.root_key(), NOW)
    term = roles.term(Role.DEVICE, NOW, "kitchen")
    return made.keep({ID: made.certified(ID, DEVICE, made.authority_key(), term)})


def known(found: Directory) -> dict[str, bytes]:
    """Verify all from the first root key on; whose keys are in force."""
    trust = certificates.trusted(found.bundle, found.first_root, "x")
    owners = [owner for owner in found.bundle.envelopes if owner != ROOTS]
    return {owner: one.key for owner in owners if (one := trust.known(owner)) is not None}


def test_nobody_else_reads_what_is_made(own: Directory) -> None:
    assert own.path.stat().st_mode & 0o077 == 0
    keys = [path for path in own.path.iterdir() if path.suffix == ".key"]
    assert {path.name for path in keys} == {ROOT_KEY, AUTHORITY_KEY, "tls-ca.key"}
    assert [path.name for path in keys if path.stat().st_mode & 0o077] == []


def test_create_again_changes_nothing(own: Directory) -> None:
    before = {path.name: path.read_bytes() for path in own.path.iterdir()}
    create(own.path, "other", None, NOW + 1)
    assert {path.name: path.read_bytes() for path in own.path.iterdir()} == before


def test_a_given_root_key_is_not_kept(tmp_path: Path) -> None:
    root = SigningKey(b"r" * 32)
    made = create(tmp_path / "authority", "home", root, NOW)
    assert (made.first_root, made.has_root_key) == (root.public, False)
    assert known(made) == {AUTHORITY: made.authority_key().public}
    with pytest.raises(Missing, match="taken away: name the file where it is now: --root-key FILE"):
        made.root_key()


def test_what_is_not_there_or_not_believed_is_named(own: Directory, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="authority init"):
        open_(tmp_path)
    stranger = SigningKey(b"s" * 32)
    forged = certificates.sign("home", AUTHORITY, ONLINE, 2**32 - 1, Term(), stranger)
    own.keep({AUTHORITY: forged})
    with pytest.raises(BadInput, match="the certificate of authority is not believed"):
        open_(own.path)
    (own.path / "authority.toml").write_text('fleet = "home"\n')
    with pytest.raises(SettingsError, match="root_key is missing"):
        open_(own.path)


def test_serials_only_grow(own: Directory) -> None:
    def serial() -> int:
        return certificates.read(own.certified(ID, DEVICE, own.authority_key(), Term(5))).serial

    first = serial()
    assert serial() == first + 1  # the clock is behind
    own.raise_serial(first + 100)
    own.raise_serial(first)
    assert serial() == first + 101


# --- another key in the place of one -------------------------------------------------------------


def rotate_authority(own: Directory) -> Directory:
    return own.rotate_authority(own.root_key(), NOW + 9)


def rotate_root(own: Directory) -> Directory:
    return own.rotate_root(own.root_key(), ONLINE, NOW + 9)


Rotate = Callable[[Directory], Directory]
ROTATIONS = pytest.mark.parametrize("rotate", [rotate_authority, rotate_root])


@ROTATIONS
def test_rotation_replaces_a_key_and_what_hung_on_it_is_believed(
    own: Directory, rotate: Rotate
) -> None:
    old = {name: (own.path / name).read_bytes() for name in (ROOT_KEY, AUTHORITY_KEY)}
    for _ in range(3):
        own = open_(rotate(own).path)
        assert known(own) == {
            AGGREGATOR: ONLINE,
            AUTHORITY: own.authority_key().public,
            ID: DEVICE,
        }
        own.root_key()
    changed = {name for name, data in old.items() if (own.path / name).read_bytes() != data}
    assert changed == {AUTHORITY_KEY if rotate is rotate_authority else ROOT_KEY}
    assert list(own.path.glob(f"*{NEW}")) == []


def test_a_device_that_was_away_follows_all_rotations(own: Directory) -> None:
    """It knows what was in force when it left."""
    trust = certificates.trusted(own.bundle, own.first_root, "x")
    for rotate in (rotate_root, rotate_authority, rotate_root, rotate_authority):
        own = rotate(own)
    certificates.believe(trust, own.bundle, "x")
    found = trust.known(AUTHORITY)
    assert found is not None
    assert found.key == own.authority_key().public
    assert len(trust.roots) == 3


def test_what_a_former_key_signs_is_not_believed_any_more(own: Directory) -> None:
    old = own.authority_key()
    own = rotate_authority(own)
    late = own.certified(ID, DEVICE, old, roles.term(Role.DEVICE, NOW + 99))
    with pytest.raises(BadInput, match="not believed"):
        known(own.keep({ID: late}))


def test_tombstones_outlive_the_authoritys_key(own: Directory) -> None:
    dead = own.certified(ID, DEVICE, own.authority_key(), Term(NOW), revoked=True)
    own = rotate_authority(own.keep({ID: dead}))
    found = certificates.trusted(own.bundle, own.first_root, "x").known(ID)
    assert found is not None
    assert found.revoked


class PowerCut(Exception):
    pass


@ROTATIONS
def test_a_power_cut_at_any_write_of_a_rotation_leaves_one_or_the_other_key(
    own: Directory, rotate: Rotate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time the next command finds keys that fit, and can do it again."""
    cuts, ended = 0, False
    while not ended:
        left = cuts

        def tick() -> None:
            nonlocal left
            if left == 0:
                raise PowerCut
            left -= 1

        with monkeypatch.context() as power:
            for name in ("write_file", "create_file", "remove_file", "sync_directory"):
                power.setattr(durable, name, before(tick, getattr(durable, name)))
            try:
                rotate(own)
                ended = True
            except PowerCut:
                cuts += 1
        with directory.alone(own.path) as found:
            own = found
        assert known(own)[AUTHORITY] == own.authority_key().public
        assert own.root_key().public == own.newest_root
        assert list(own.path.glob(f"*{NEW}")) == []
    assert cuts >= 6


def before(tick: Callable[[], None], call: Callable[..., None]) -> Callable[..., None]:
    def ticking(*args: object, **more: object) -> None:
        tick()
        call(*args, **more)

    return ticking


# --- what others see of it -----------------------------------------------------------------------


def test_what_serve_loads_has_no_root_key(own: Directory) -> None:
    """It is not even opened."""
    (own.path / ROOT_KEY).write_bytes(b"")
    found = vouching.load(own.path)
    assert found is not None
    assert found.key.public == own.authority_key().public
    assert found.grace_s == roles.GRACE_DAYS * roles.DAY_S
    (own.path / AUTHORITY_KEY).unlink()
    assert vouching.load(own.path) is None


def test_a_backup_has_all_but_the_root_key(own: Directory) -> None:
    there = {path.name for path in own.path.iterdir()}
    assert there - {*KEPT} <= {ROOT_KEY, "lock"}


def test_the_file_of_certificates_is_read_as_it_was_written(own: Directory) -> None:
    text = own.bundle.text()
    assert Bundle.parse(text, "x", "home") == Bundle("home", dict(own.bundle.ordered()))
    assert text.splitlines()[1].startswith("authority ")  # who vouches comes first
    for wrong in ("kitchen AAAA", f"{ID} %%%", f"{ID} AAA"):
        with pytest.raises(BadInput, match="line 1: no certificate"):
            Bundle.parse(wrong, "x", "home")


def test_each_role_has_a_life_and_who_signs() -> None:
    assert {*roles.DUTIES} == {*Role}
    for role, duty in roles.DUTIES.items():
        term = roles.term(role, NOW)
        assert NOW < term.due_s(role) < term.until_s == NOW + duty.life_s
        assert AUTHORITY not in duty.signers or role is Role.DEVICE
    assert Term().due_s(Role.DEVICE) == 0
