"""A clock that nobody has set dates no certificate."""

import shutil
from pathlib import Path

import pytest

from fedling_broker.authority import signing
from fedling_broker.cli import main
from fedling_protocol.exits import Exit
from fedling_protocol.wire.identity import SigningKey, device_id
from tests.broker.conftest import Here

KEY = SigningKey(b"d" * 32).public
SIGNS = (
    f"device add {device_id(KEY)} {KEY.hex()}",
    f"authority certify {device_id(KEY)} {KEY.hex()} --to x",
    "authority rotate aggregator",
    "authority rotate authority",
    "authority rotate root",
    "authority init --directory other --fleet other",
    "device invite",  # a token that is over once the clock is set
)


@pytest.fixture
def unset(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board without a battery for its clock, before the network has told it the time."""
    monkeypatch.setattr("time.time", lambda: 130.0)


def files() -> dict[Path, bytes]:
    """All but the database, which notes that it was opened."""
    found = [path for path in Path().rglob("*") if path.is_file() and "sqlite" not in path.name]
    return {path: path.read_bytes() for path in found}


@pytest.mark.usefixtures("unset")
@pytest.mark.parametrize("line", SIGNS)
def test_nothing_is_certified_before_the_clock_is_set(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files()
    assert main(line.split()) == Exit.TRY_LATER
    assert "1970" in capsys.readouterr().err
    assert files() == before


def test_init_waits_for_the_clock_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: signing.BUILT_S - 1.0)
        assert main(["init", "--fleet", "home"]) == Exit.TRY_LATER
    assert "set it" in capsys.readouterr().err
    assert main(["init", "--fleet", "home"]) == Exit.OK
    shutil.rmtree(tmp_path)
