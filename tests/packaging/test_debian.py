"""The packages under a real systemd: installed by apt, used, upgraded, removed, purged."""

import json
from pathlib import Path

import pytest

from fedling_protocol.exits import Exit
from tests.packaging.test_boot import (
    SERVICES,
    STATES,
    install,
    learn,
    look_at_journal_of,
    look_at_owners,
    shown,
    until_active,
    who,
)
from tests.support.machine import DEBS, VERSIONS, WITH_APT, Machine, machine

BY_PIP = r"predict|venv|pip|ln -s|apt-get"
FIRST, LATER = VERSIONS
PYTHON = "/usr/lib/python3/dist-packages/"
BELONGING = (
    "cbor2",
    "cryptography",
    "_cffi_backend",
    "paho.mqtt",
    "numpy",
    "segno",
    "fedling_agent",
)


@pytest.mark.long
def test_packages_from_installation_to_purge(tmp_path: Path) -> None:
    with machine(tmp_path, WITH_APT) as pi:
        add(pi, FIRST)
        look_at_what_came(pi)
        install(pi, but=BY_PIP)
        device = who(pi)
        learn(pi)
        upgrade(pi, device)
        look_at_journal_of(pi, [])
        come_back_after_removal(pi, device)
        purge(pi)


def add(pi: Machine, version: str) -> None:
    """As the document says; apt has nobody to ask but what is here."""
    pi.run(f"sudo apt-get install -y --no-install-recommends /{DEBS}/{version}/*.deb", "pi")


def look_at_what_came(pi: Machine) -> None:
    """Nothing runs yet, and all of Python's packages are Debian's."""
    for service, user in zip(SERVICES, ("fedling", "fedling-broker"), strict=True):
        assert shown(pi, service, "ActiveState") == "inactive"
        assert shown(pi, service, "UnitFileState") == "disabled"
        assert pi(f"id -un {user}") == user
        assert pi.run(f"{service} --version").stdout.startswith("fedling")
        pi.run(f"test -s /usr/share/man/man1/{service}.1.gz")
        pi.run(f"bash -n /usr/share/bash-completion/completions/{service}")
    for module in BELONGING:
        line = f"/usr/bin/python3 -c 'import {module} as m; print(m.__file__)'"
        assert pi(line).startswith(PYTHON), module
    told = pi.run("sudo fedling-agent run", "pi", Exit.BAD_CONFIG)
    assert "enroll" in told.stderr


def upgrade(pi: Machine, device: str) -> None:
    """Both are restarted, as who they were, with what they had."""
    before = [shown(pi, service, "MainPID") for service in SERVICES]
    models = json.loads(pi("sudo fedling-broker model list watch --json", "pi"))
    add(pi, LATER)
    until_active(pi)
    assert not {shown(pi, service, "MainPID") for service in SERVICES} & {*before}
    assert who(pi) == device
    assert pi.run("fedling-agent predict --task watch window.csv", "pi").stdout
    after = json.loads(pi("sudo fedling-broker model list watch --json", "pi"))
    assert len(after) >= len(models) > 0
    pi.run("sudo fedling-broker round verify --all", "pi")
    for service in SERVICES:
        pi.run(f"sudo {service} check", "pi")
    look_at_owners(pi)


def come_back_after_removal(pi: Machine, device: str) -> None:
    """Removed, a package leaves what is its user's; installed again, all goes on."""
    pi.run("sudo apt-get remove -y fedling-agent fedling-broker", "pi")
    for service, state in zip(SERVICES, STATES, strict=True):
        assert shown(pi, service, "ActiveState") == "inactive"
        pi.run(f"test -s {state}/.")
        assert pi.run(f"which {service}", code=None).returncode
    add(pi, LATER)
    until_active(pi)
    assert who(pi) == device


def purge(pi: Machine) -> None:
    """Nothing is left but the two users, as Debian has it; mosquitto is as it came."""
    pi.run("sudo apt-get purge -y fedling-agent fedling-broker", "pi")
    places = "/etc /usr /var/lib /run /opt"
    found = pi(f"find {places} -name '*fedling*' ! -path '/var/lib/systemd/*' 2>/dev/null")
    assert found == ""
    pi.until(lambda: shown(pi, "mosquitto", "ActiveState") == "active", "mosquitto alone")
    pi.run("systemctl reset-failed; systemctl daemon-reload")
    assert "fedling" not in pi("systemctl list-unit-files")
