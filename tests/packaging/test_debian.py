"""The packages under a real systemd: what docs/debian.md says is typed, and answered as it says."""

import json
import re
import shutil
from pathlib import Path

import pytest

from fedling_protocol.exits import Exit
from tests.packaging.test_boot import learn, look_at_journal_of, look_at_owners
from tests.support import installed
from tests.support.hat import Hat
from tests.support.installed import BY_PIP, README, SERVICES, STATES, shown, until_active, who
from tests.support.machine import (
    DEBIANS,
    DEBS,
    HOME,
    VERSIONS,
    WITH_APT,
    Machine,
    blocks,
    lines,
    machine,
)
from tests.support.transcript import TOKEN, Step, Teller, steps

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "debian.md"
PULLS = 3
FIRST, LATER = VERSIONS
PYTHON = "/usr/lib/python3/dist-packages/"
BELONGING = (
    "cbor2",
    "cryptography",
    "nacl",
    "_cffi_backend",
    "paho.mqtt",
    "numpy",
    "segno",
    "fedling_agent",
)


@pytest.mark.long
@pytest.mark.parametrize("debian", DEBIANS)
def test_packages_as_the_document_has_them(tmp_path: Path, debian: str) -> None:
    """On the Debian that they are made for, and on the next one."""
    with machine(tmp_path, WITH_APT, debian) as pi:
        bring(pi)
        teller = Teller(pi, DOCUMENT.read_text())
        teller.tell("Install")
        look_at_what_came(pi)
        teller.tell("A server")
        teller.tell("A device")
        device = who(pi)
        teller.tell("Unplug")
        unplug(pi)
        teller.tell("Learn")
        learn(pi)
        before = processes(pi)
        teller.tell("Upgrade")
        look_at_upgrade(pi, device, before)
        teller.tell("Remove")
        look_at_return(pi, device)
        teller.tell("Purge")
        look_at_what_is_left(pi)
        assert teller.untold == []


def bring(pi: Machine) -> None:
    """The files that the document speaks of; apt has nobody to ask but what is here."""
    for folder, version in ((HOME, FIRST), (f"{HOME}/newer", LATER)):
        shutil.copytree(pi.root / DEBS / version, pi.root / folder, dirs_exist_ok=True)
    [task] = [step.answer for step in typed() if step.line == "cat watch.toml"]
    installed.bring(pi, task="\n".join(task) + "\n")


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


def unplug(pi: Machine) -> None:
    """Again and again: training ends, and goes on with the mains."""
    hat = Hat(pi, "watch")
    for _ in range(PULLS):
        hat.until_it_trains()
        hat.pull(watch_s=0.5)
        hat.plug_in()
        pi.run("fedling-agent conditions")  # looks at once
    hat.until_it_trains()


def processes(pi: Machine) -> set[str]:
    return {shown(pi, service, "MainPID") for service in SERVICES}


def look_at_upgrade(pi: Machine, device: str, before: set[str]) -> None:
    """Both were restarted, as who they were, with what they had."""
    until_active(pi)
    assert not processes(pi) & before
    assert who(pi) == device
    assert len(json.loads(pi("sudo fedling-broker model list watch --json", "pi"))) > 1
    for service in SERVICES:
        pi.run(f"sudo {service} check", "pi")
    look_at_owners(pi)
    look_at_journal_of(pi, [])


def look_at_return(pi: Machine, device: str) -> None:
    """Installed again, all goes on."""
    until_active(pi)
    assert who(pi) == device
    for state in STATES:
        pi.run(f"test -s {state}/.")


def look_at_what_is_left(pi: Machine) -> None:
    """Nothing is left but the two users, as Debian has it; mosquitto is as it came."""
    places = "/etc /usr /var/lib /run /opt"
    found = pi(f"find {places} -name '*fedling*' ! -path '/var/lib/systemd/*' 2>/dev/null")
    assert found == ""
    pi.run("systemctl reset-failed; systemctl daemon-reload")
    assert "fedling" not in pi("systemctl list-unit-files")


# --- the document --------------------------------------------------------------------------------


def typed() -> list[Step]:
    return steps(DOCUMENT.read_text())


def test_document_has_the_lines_of_the_readme() -> None:
    """Those that packages do not take the place of, and that need no model that was learned."""
    text = README.read_text().split("## On real machines\n")[1].split("\n## ")[0]
    wanted = [
        line for block in blocks(text) for line in lines(block) if not re.search(BY_PIP, line)
    ]
    bare = {line.partition("#")[0].strip() for line in wanted}
    there = {TOKEN.sub("TOKEN", step.line) for step in typed()}
    assert bare - there == set()
