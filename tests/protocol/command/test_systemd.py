"""What root's commands have systemd do, with programs of ours in the places of its own."""

from pathlib import Path

import pytest

from fedling_protocol.command import systemd
from fedling_protocol.exits import Failure


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with what systemctl was told; it knows no unit `absent`."""
    path = tmp_path / "called"
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$*" >>{path}\n'
        'case "$*" in *absent*) echo "Unit absent.service not found." >&2; exit 5;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return path


@pytest.mark.parametrize("ours", [True, False])
def test_begin_enables_the_unit_that_came_along(
    called: Path, ours: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its path below our prefix, where systemd does not look; else by its name."""
    monkeypatch.setattr(systemd, "UNITS", tmp_path)
    if ours:
        (tmp_path / "a.service").touch()
    systemd.begin("a.service")
    unit = str(tmp_path / "a.service") if ours else "a.service"
    assert called.read_text().splitlines() == [f"enable {unit}", "restart a.service"]


def test_failure_has_what_systemd_said(called: Path) -> None:
    with pytest.raises(Failure, match=r"Unit absent\.service not found"):
        systemd.begin("absent.service")


def test_user_is_made_from_the_file_that_came_along(
    called: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (called.parent / "bin/systemctl").rename(called.parent / "bin/systemd-sysusers")
    monkeypatch.setattr(systemd, "USERS", tmp_path)
    systemd.make_user("fedling")
    assert called.read_text().splitlines() == [f"{tmp_path}/fedling.conf"]


def test_program_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Failure, match="systemd-sysusers is not installed"):
        systemd.make_user("fedling")


def test_runs_if_all_are_active_and_enabled(called: Path) -> None:
    assert systemd.runs("a.service", "b.path")
    assert not systemd.runs("a.service", "absent.service")
