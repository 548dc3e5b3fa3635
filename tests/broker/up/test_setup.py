"""`setup` in a directory that stands for the system: what is written, and who may read it."""

import os
from pathlib import Path

import pytest

from fedling_broker import config
from fedling_broker.cli import main
from fedling_broker.mosquitto.configuration import KEY
from fedling_broker.up.system import MODE, Places
from fedling_protocol.exits import Exit
from tests.support.as_root import need_root
from tests.support.tools import need

MAIN = """\
pid_file /run/mosquitto/mosquitto.pid
persistence true
persistence_location /var/lib/mosquitto/
log_dest file /var/log/mosquitto/mosquitto.log
include_dir /etc/mosquitto/conf.d
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    need("mosquitto")
    (tmp_path / "etc/mosquitto/conf.d").mkdir(parents=True)
    (tmp_path / "etc/mosquitto/mosquitto.conf").write_text(MAIN)
    (tmp_path / "var/lib").mkdir(parents=True)
    return tmp_path


def setup(root: Path, *words: str) -> int:
    return main(["setup", "--root", str(root), "--host", "198.51.100.1", *words])


def contents(root: Path) -> dict[Path, tuple[int, bytes]]:
    return {p: (p.stat().st_mode, p.read_bytes()) for p in root.rglob("*") if p.is_file()}


def test_second_run_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert setup(root, "--port", "9001", "--enrolment-port", "9002") == Exit.OK
    before = contents(root)
    capsys.readouterr()
    assert setup(root) == Exit.OK
    assert capsys.readouterr().out == "everything is as it should be: nothing was changed\n"
    assert contents(root) == before


def test_dry_run_says_what_it_would_do_and_does_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(root)
    assert setup(root, "--dry-run") == Exit.OK
    said = capsys.readouterr().out.splitlines()
    assert contents(root) == before
    assert {line.split()[0] for line in said} == {"would"}
    assert setup(root) == Exit.OK
    done = capsys.readouterr().out.splitlines()
    assert [f"would {line}" for line in done[: len(said)]] == said


def test_mosquitto_reads_its_files_and_nobody_else_does(root: Path) -> None:
    """By its group; the private key of its certificate is its own alone."""
    setup(root)
    files = Places(root).files
    assert files.stat().st_mode & 0o7777 == MODE
    assert KEY in {file.name for file in files.iterdir()}
    for file in files.iterdir():
        assert file.stat().st_mode & 0o777 == (0o600 if file.name == KEY else 0o640), file
        assert file.stat().st_gid == files.stat().st_gid


def test_what_is_written_is_read_from_where_it_is(root: Path) -> None:
    """The paths in it are those of the system that the directory stands for."""
    setup(root)
    text = Places(root).configuration.read_text()
    assert "acl_file /var/lib/fedling-mosquitto/access\n" in text
    assert str(root) not in text
    assert "log_dest" not in text
    found = config.load(Places(root).broker_toml)
    assert found.files == root / "var/lib/fedling-mosquitto"
    assert found.for_devices == ("198.51.100.1", 8883)
    assert found.file.mqtt.server_name == "home.fedling"


def test_file_that_was_changed_is_written_again_alone(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup(root)
    path = Places(root).configuration
    path.write_text("listener 1883\nallow_anonymous true\n")
    capsys.readouterr()
    setup(root)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"write {path}"
    assert not any(line.startswith(("write", "make")) for line in said[1:])
    assert "8883" in path.read_text()


@pytest.mark.parametrize(
    "line", ["listener 1883", "allow_anonymous true", "password_file /x", "  acl_file /y", "port 1"]
)
@pytest.mark.parametrize("file", ["mosquitto.conf", "conf.d/home.conf"])
def test_mosquitto_that_serves_others_is_left_alone(
    root: Path, file: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its listeners would have other rules from then on."""
    path = root / "etc/mosquitto" / file
    path.write_text(f"{MAIN}{line}\n")
    before = contents(root)
    assert setup(root) == Exit.NOT_ALLOWED
    said = capsys.readouterr().err
    assert f"{path}: has {line.split()[0]}" in said
    assert "fedling-broker up" in said
    assert contents(root) == before


def test_user_without_rights_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need("mosquitto")
    monkeypatch.setattr(Places, "check_alone", lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["setup"]) == Exit.NOT_ALLOWED
    assert "put sudo before it" in capsys.readouterr().err


def test_umask_of_root_keeps_nobody_from_what_services_read(root: Path) -> None:
    """`sudo` in a shell with umask 077: systemd, mosquitto and the aggregator are other users."""
    need_root()
    before, theirs = os.umask(0o077), {*root.rglob("*")}
    try:
        assert setup(root) == Exit.OK
    finally:
        os.umask(before)
    made = [path for path in (root / "etc").rglob("*") if path not in theirs]
    modes = {path: path.stat().st_mode & 0o777 for path in made}
    assert {
        path: mode for path, mode in modes.items() if mode != 0o644 + 0o111 * path.is_dir()
    } == {}
    assert root / "etc/fedling/broker.toml" in modes
