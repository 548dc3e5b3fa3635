"""What a server stands on: made once, for its owner, and again only where it must be."""

from pathlib import Path
from types import ModuleType

import pytest

from fedling_broker.authority import x509
from fedling_broker.mosquitto.configuration import CERTIFICATE, KEY
from fedling_broker.up import foundation
from fedling_broker.up.foundation import OWN_CERTIFICATE, OWN_KEY, Ground
from tests.support.guarded import HOSTS, TOPICS

SECRET = {KEY, OWN_KEY}


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    (tmp_path / "state").mkdir()
    return Ground(tmp_path / "mosquitto", tmp_path / "state")


def contents(ground: Ground) -> dict[Path, bytes]:
    return {p: p.read_bytes() for d in (ground.files, ground.state) for p in d.iterdir()}


def lay(ground: Ground, hosts: tuple[str, ...] = HOSTS) -> dict[Path, bytes]:
    authority = x509.create_ca(ground.state.parent / "authority", "home")
    ground.lay(authority, TOPICS, hosts)
    ground.configure(8883, 8884)
    return contents(ground)


def changed(before: dict[Path, bytes], after: dict[Path, bytes]) -> set[str]:
    return {p.name for p in after if before.get(p) != after[p]}


def test_lay_again_changes_nothing(ground: Ground) -> None:
    assert lay(ground) == lay(ground)


def test_nobody_else_reads_any_of_it(ground: Ground) -> None:
    lay(ground)
    assert ground.files.stat().st_mode & 0o777 == 0o700
    for file in contents(ground):
        assert file.stat().st_mode & 0o077 == 0, file


def test_other_names_need_another_certificate_only(ground: Ground) -> None:
    before = lay(ground)
    assert changed(before, lay(ground, (*HOSTS, "198.51.100.7"))) == {CERTIFICATE}


@pytest.mark.parametrize("share", [-0.1, 0.0, 0.19, 0.21, 0.9])
@pytest.mark.parametrize(
    ("module", "life", "name"),
    [(x509, "SERVER_LIFE", CERTIFICATE), (foundation, "OWN_LIFE", OWN_CERTIFICATE)],
)
def test_certificate_with_less_than_a_fifth_of_its_life_left_is_made_anew(
    ground: Ground, module: ModuleType, life: str, name: str, share: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, life, share * getattr(module, life))
        before = lay(ground)
    renewed = lay(ground)
    assert changed(before, renewed) == ({name} if share < 1 / 5 else set())
    assert lay(ground) == renewed


@pytest.mark.parametrize("name", [CERTIFICATE, OWN_CERTIFICATE])
def test_damaged_certificate_is_made_again(ground: Ground, name: str) -> None:
    before = lay(ground)
    path = next(p for p in before if p.name == name)
    path.write_bytes(bytes(100))
    after = lay(ground)
    assert after[path] not in (before[path], bytes(100))


def test_another_authority_signs_everything_anew(ground: Ground) -> None:
    before = lay(ground)
    other = ground.state.parent / "authority" / x509.KEY
    for file in other.parent.iterdir():
        file.unlink()
    after = lay(ground)
    assert {CERTIFICATE, OWN_CERTIFICATE} < changed(before, after)
    assert not changed(before, after) & SECRET
