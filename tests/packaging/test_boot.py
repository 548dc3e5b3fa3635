"""The units under a real systemd: a Debian is booted, and what README.md says is typed into it."""

import json
import re
import signal
from pathlib import Path

import pytest

from fedling_protocol.exits import Exit
from tests.support.installed import (
    README,
    SERVICES,
    STATES,
    install,
    shown,
    status,
    token,
    until_active,
    who,
)
from tests.support.machine import WITH_PIP, Machine, machine

MOSQUITTO = "/var/lib/fedling-mosquitto"  # what it reads
PUBLIC = {"ca.crt", "tls-ca.crt", "tls-revoked.pem"}  # whom to believe, and whom not
YIELDS = (  # thrice: of all who are not root the kernel takes one autogroup in 0.1 s
    "import os, sys, time; from fedling_agent.training.yielding import yield_to_others; "
    "tries = [yield_to_others(os.getpid()) for _ in range(3) if not time.sleep(0.2)]; "
    "sys.exit('; '.join(min(tries)) or 0)"
)
DYNAMIC = "[Service]\nUser=\nGroup=\nDynamicUser=yes\n"


@pytest.mark.long
def test_units_as_the_readme_installs_them(tmp_path: Path) -> None:
    with machine(tmp_path, WITH_PIP) as pi:
        install(pi)
        device = who(pi)
        look_at_users(pi)
        look_at_mosquitto(pi)
        look_at_yielding(pi)
        learn(pi)
        work_as_root(pi)
        for way in (restart, kill, reload, reboot, cut_power):
            way(pi)
            until_active(pi)
            assert who(pi) == device, way.__name__
            look_at_owners(pi)
            look_at_mosquitto(pi)
        move_from_a_dynamic_user(pi)
        assert who(pi) == device
        until_fed(pi)
        set_up_again(pi)
        look_at_journal(pi)
        revoke(pi)
        come_back(pi)


def look_at_users(pi: Machine) -> None:
    for service, user in zip(SERVICES, ("fedling", "fedling-broker"), strict=True):
        assert pi(f"stat -c %U /proc/{shown(pi, service, 'MainPID')}") == user
    told = pi.run("fedling-agent status", "guest", Exit.NOT_ALLOWED).stderr
    assert "the group fedling; to join it: sudo usermod -aG fedling guest" in told
    told = pi.run("fedling-agent sent", "pi", Exit.NOT_ALLOWED).stderr
    assert "is kept by user fedling: put sudo before it" in told
    told = pi.run("fedling-broker task list", "pi", Exit.NOT_ALLOWED).stderr
    assert "is kept by user fedling-broker: put sudo before it" in told
    for path in ("store.db", "device.key", "models", "."):
        assert pi.run(f"ls /var/lib/fedling-agent/{path}/..", "guest", None).returncode
        assert pi.run(f"cat /var/lib/fedling-agent/{path}", "pi", None).returncode


def look_at_yielding(pi: Machine) -> None:
    """The service may do all that makes its training idle, within the unit that ships."""
    unit = pi(f"cat $(systemctl show --value -p FragmentPath {SERVICES[0]})")
    python = pi("head -n 1 $(readlink -f $(command -v fedling-agent))").removeprefix("#!")
    ours = [line for line in unit.splitlines() if not re.match("Type=|Restart=|Exec", line)]
    ours.insert(ours.index("[Service]") + 1, f"ExecStart={python} -c {json.dumps(YIELDS)}")
    ours.insert(ours.index("[Service]") + 1, "Type=oneshot")
    (pi.root / "etc/systemd/system/yields.service").write_text("\n".join(ours) + "\n")
    pi.run("systemctl daemon-reload && systemctl start yields || { journalctl -u yields; false; }")
    (pi.root / "etc/systemd/system/yields.service").unlink()


def learn(pi: Machine) -> None:
    """Over TLS: nobody listens for anything else."""
    assert ports(pi) >= {8883, 8884}
    assert 1883 not in ports(pi)
    assert "tls = true" in (pi.root / "etc/fedling/agent.toml").read_text()
    predict = "fedling-agent predict --task watch window.csv"
    pi.until(lambda: "label" in pi(predict, "pi"), "a model that was learned")
    pi.until(lambda: 'rounds": 2' in pi("sudo fedling-broker task list --json", "pi"), "two rounds")
    assert "fedling-agent predict --task watch window.csv" in README.read_text()
    for line in ("fedling-agent check", "fedling-broker check", "fedling-agent sent"):
        pi.run(f"sudo {line}", "pi")


def work_as_root(pi: Machine) -> None:
    """Root works in both states beside the services: nothing in them is root's."""
    pi.run("sudo fedling-agent ingest wrist day.csv", "pi")
    pi.run("sudo fedling-agent recordings list && sudo fedling-broker round verify --all", "pi")
    pi.run("sudo fedling-broker backup home.fedling", "pi")
    look_at_owners(pi)


def ports(pi: Machine) -> set[int]:
    """Where somebody listens."""
    rows = [line.split() for line in pi("cat /proc/net/tcp /proc/net/tcp6").splitlines()]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}


def look_at_mosquitto(pi: Machine) -> None:
    """What it reads is its to read, the aggregator's to write but for the key; nobody else's."""
    assert pi(f"stat -c '%U %G %a' {MOSQUITTO}") == "fedling-broker mosquitto 2750"
    key, others = f"{MOSQUITTO}/server.key", f"find {MOSQUITTO} -type f ! -name server.key"
    assert pi(f"stat -c '%U %G %a' {key}") == "mosquitto mosquitto 600"
    assert pi(f"{others} -printf '%u %g %m\\n' | sort -u") == "fedling-broker mosquitto 640"
    pi.run(f"runuser -u mosquitto -- sh -c 'cat {MOSQUITTO}/*'")
    for user in ("pi", "guest", "fedling"):
        assert pi.run(f"runuser -u {user} -- ls {MOSQUITTO}", code=None).returncode
        assert pi.run(f"runuser -u {user} -- cat {MOSQUITTO}/ca.crt", code=None).returncode
    assert pi.run(f"runuser -u fedling-broker -- cat {key}", code=None).returncode


def look_at_owners(pi: Machine) -> None:
    for state, user in zip(STATES, ("fedling", "fedling-broker"), strict=True):
        assert pi(f"find {state} ! -user {user}") == ""
        open_ = pi(f"find {state}/ -mindepth 1 -perm /077 ! -type s -printf '%f '").split()
        assert {*open_} <= PUBLIC


# --- what happens to a machine -------------------------------------------------------------------


def restart(pi: Machine) -> None:
    pi.run("systemctl restart fedling-agent fedling-broker")


def kill(pi: Machine) -> None:
    for service in SERVICES:
        before = shown(pi, service, "NRestarts")
        pi.run(f"systemctl kill --kill-who=main -s KILL {service}")
        pi.until(lambda: shown(pi, service, "NRestarts") != before, "a restart")  # noqa: B023


def reload(pi: Machine) -> None:
    """The same process, with its configuration as it is now; a wrong one changes nothing."""
    file = pi.root / "etc/fedling/agent.toml"
    sound, before = file.read_text(), [shown(pi, service, "MainPID") for service in SERVICES]
    file.write_text(sound + "[store]\nbites = 5000\n")
    pi.run("systemctl reload fedling-agent")
    pi.until(lambda: "unknown key" in shown(pi, "fedling-agent", "StatusText"), "a refusal")
    file.write_text(sound + "[store]\nbytes = 500000\n")
    pi.run("systemctl reload fedling-agent fedling-broker")
    pi.until(lambda: status(pi).get("most_bytes") == 500_000, "the new configuration")
    assert [shown(pi, service, "MainPID") for service in SERVICES] == before
    until_active(pi)


def reboot(pi: Machine) -> None:
    pi.off()
    pi.boot()


def cut_power(pi: Machine) -> None:
    pi.off(signal.SIGKILL)
    pi.boot()


def move_from_a_dynamic_user(pi: Machine) -> None:
    """Units of older versions had DynamicUser=yes: its state is moved, and root told until then."""
    folder = pi.root / "etc/systemd/system/fedling-agent.service.d"
    folder.mkdir()
    (folder / "dynamic.conf").write_text(DYNAMIC)
    pi.run("systemctl stop fedling-agent && systemctl daemon-reload")
    pi.run("systemctl start fedling-agent && systemctl stop fedling-agent")
    assert pi("readlink /var/lib/fedling-agent") == "private/fedling-agent"
    told = pi.run("sudo fedling-agent status", "pi", Exit.NOT_ALLOWED).stderr
    assert "start the service, whose unit moves what a DynamicUser= kept" in told
    (folder / "dynamic.conf").unlink()
    pi.run("systemctl daemon-reload && systemctl start fedling-agent")
    assert pi("readlink /var/lib/fedling-agent") == ""
    work_as_root(pi)


def until_fed(pi: Machine) -> None:
    """The watchdog hears of both, from their main loops; sooner than as shipped, to wait less."""
    for service in SERVICES:
        assert shown(pi, service, "WatchdogUSec") == "1min"
        folder = pi.root / f"etc/systemd/system/{service}.service.d"
        folder.mkdir(exist_ok=True)
        (folder / "watchdog.conf").write_text("[Service]\nWatchdogSec=4\n")
    pi.run("systemctl daemon-reload && systemctl restart fedling-agent fedling-broker")
    for service in SERVICES:
        before = shown(pi, service, "WatchdogTimestampMonotonic")
        pi.until(
            lambda: shown(pi, service, "WatchdogTimestampMonotonic") != before,  # noqa: B023
            "a sign of life",
        )


def set_up_again(pi: Machine) -> None:
    """A second run changes nothing, and ends nobody; one that was cut short goes on."""
    before = [shown(pi, unit, "MainPID") for unit in (*SERVICES, "mosquitto")]
    assert "nothing was changed" in pi.run("sudo fedling-broker setup", "pi").stdout
    told = pi.run("sudo fedling-agent enroll " + invited(pi, "attic"), "pi").stdout
    assert "enrolled already, nothing was changed" in told
    assert [shown(pi, unit, "MainPID") for unit in (*SERVICES, "mosquitto")] == before
    pi.run("systemctl disable --now fedling-mosquitto.path fedling-broker")
    pi.run(f"chown root {MOSQUITTO}/server.key")
    assert "would make the certificates" in pi("sudo fedling-broker setup --dry-run", "pi")
    pi.run("sudo fedling-broker setup", "pi")
    assert shown(pi, "fedling-mosquitto.path", "UnitFileState") == "enabled"
    until_active(pi)
    look_at_mosquitto(pi)


def invited(pi: Machine, name: str) -> str:
    """A token of the operator's, who is told to put sudo before the line."""
    line = f"fedling-broker device invite --name {name}"
    told = pi.run(line, "pi", Exit.NOT_ALLOWED).stderr
    assert "is kept by user fedling-broker: put sudo before it" in told
    return token(pi.run(f"sudo {line}", "pi").stdout)


def revoke(pi: Machine) -> None:
    """Put off its living connection by a mosquitto that systemd has told, and not restarted."""
    before = shown(pi, "mosquitto", "MainPID")
    pi.run("sudo fedling-broker device revoke kitchen", "pi")
    pi.until(lambda: "its connection is cut" in pi("journalctl -u fedling-broker"), "a cut")
    pi.until(lambda: "revoked" in pi("fedling-agent status", "pi"), "a device that knows it")
    pi.until(lambda: pi("fedling-agent predict --task watch window.csv", "pi") != "", "a model")
    pi.until(lambda: not pi(f"ls {MOSQUITTO}/changed"), "a mark that is taken away")
    pi.until(lambda: shown(pi, "fedling-mosquitto", "ActiveState") == "inactive", "a reload")
    told = pi.run("sudo fedling-agent check", "pi", Exit.FAILED).stdout
    assert re.search("MQTT broker +WRONG .*it was revoked", told), told
    assert shown(pi, "mosquitto", "MainPID") == before


def come_back(pi: Machine) -> None:
    """As a new device, by the command that says so, while the service runs."""
    old = str(status(pi)["device"])
    pi.run(f"sudo fedling-agent enroll {invited(pi, 'cellar')} --again", "pi")
    until_active(pi)
    assert who(pi) != old
    pi.until(lambda: bool(status(pi).get("enrolled")), "a certificate")
    pi.until(lambda: "cellar" in pi("sudo fedling-broker device list --live", "pi"), "its name")
    pi.run("sudo fedling-agent check", "pi")


def look_at_journal(pi: Machine) -> None:
    """Of all boots: no error but the one that reload() asked for."""
    look_at_journal_of(pi, ["agent.toml: store.bites: unknown key"])


def look_at_journal_of(pi: Machine, known: list[str]) -> None:
    """No error but these, once each, and what a systemd in a container may not do to old control
    groups."""
    said = pi("journalctl --no-pager -u fedling-agent -u fedling-broker")
    assert "Traceback" not in said
    errors = pi("journalctl --no-pager -q -p err -u fedling-agent -u fedling-broker").splitlines()
    ours = [line for line in errors if "control group" not in line]
    assert len(ours) == len(known), ours
    assert all(any(word in line for line in ours) for word in known)
