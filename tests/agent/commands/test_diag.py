"""A report of a fault has what helps, and nothing of what is the owner's."""

import json
import os
import platform
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedling_agent import cli
from fedling_agent.commands import diag
from fedling_agent.commands.masking import HIDDEN, Masks
from fedling_agent.store import identity
from fedling_protocol.exits import Exit
from tests.support.agent import Agent

NOWHERE = 1
HOST, USER, PASSWORD = "broker.anna.invalid", "anna-the-owner", "hunter2-correct-horse"
RECORDING, LABELS, VALUE = "annas-tuesday", ("grandmother asleep", "the-dog"), 271.83
REASON, TOKEN, FLOOR = "wedding of Anna", "K7QF-2M9D-ABCD-EFGH", "nobody home"
MACHINE, HOME, ADDRESS = "annas-laptop", "/home/anna-lives-here/x", "198.51.100.77"
LOG = f"""2026-11-27T10:00:00+0000 fedling-agent[7]: connected to {HOST}:1883
2026-11-27T10:00:01+0000 fedling-agent[7]: no connection to old.anna.invalid:1883: {ADDRESS}: no
2026-11-27T10:00:02+0000 fedling-agent[7]: paused by its owner until 14:30: {REASON}
2026-11-27T10:00:03+0000 fedling-agent[7]: [fe80::c0ff:ee] {HOME} label "{LABELS[0]}"
"""
PRIVATE = (
    *(HOST, "anna", USER, PASSWORD, RECORDING, *LABELS, REASON, "wedding", TOKEN, FLOOR),
    *(MACHINE, ADDRESS, "c0ff:ee", "271.8", "27183"),
)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system with a log of the service, whose owner has given the machine a name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, says in (("journalctl", LOG), ("systemctl", "ActiveState=active\nNRestarts=3\n")):
        (folder / name).write_text(f"#!/bin/sh\ncat <<'END'\n{says}END\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(platform, "node", lambda: MACHINE)
    return folder


@pytest.fixture
def agent(tmp_path: Path, programs: Path) -> Iterator[Agent]:
    """A device that has been used by somebody who keeps private things wherever one can."""
    (tmp_path / "device").mkdir()
    password = tmp_path / "device" / "password"
    password.write_text(PASSWORD + "\n")
    password.chmod(0o600)
    agent = Agent(
        tmp_path / "device",
        NOWHERE,
        mqtt=f'allow_plaintext = true\nuser = "{USER}"\npassword_file = "password"',
        settings=f'[floor]\nlabels = ["{FLOOR}", "{LABELS[0]}"]',
    )
    agent.config.write_text(agent.config.read_text().replace("127.0.0.1", HOST))
    agent.run("init")
    lines = [f"{RECORDING},{LABELS[n % 2]},{VALUE},7" for n in range(200)]
    agent.run("ingest", "wrist", text="\n".join(["recording,label,x,y", *lines]) + "\n")
    agent.run("pause", "--reason", REASON)
    (agent.state / "enrolment").write_text(TOKEN)
    (agent.state / "device.key.revoked").write_text(TOKEN)
    yield agent
    if agent.process is not None:
        agent.kill()


def secrets(agent: Agent) -> list[str]:
    """What the files of the state hold, as it may be written."""
    me = identity.load(agent.state)
    assert me is not None
    kept = [(agent.state / name).read_bytes() for name in ("device.key", "device.secret")]
    binary = [me.secret, me.key.public, *kept]
    texts = [one.decode() for one in kept if one.isascii()]
    lines = [line for text in texts for line in text.splitlines() if "---" not in line]
    return [line for line in [*(one.hex() for one in binary), *lines] if line]


def assert_private(agent: Agent, text: str) -> None:
    lower = text.lower()
    for word in [*PRIVATE, *secrets(agent)]:
        assert word.lower() not in lower, word


def report(agent: Agent, code: int = 0) -> dict[str, Any]:
    told = agent.run("diag", "-", code=code).stdout
    assert_private(agent, told)
    found: dict[str, Any] = json.loads(told)
    return found


def test_without_a_service_all_is_told_but_what_is_private(agent: Agent) -> None:
    told = report(agent)
    assert told["diag"] == diag.FORMAT
    assert [name for name in diag.ORDER if "failed" in told[name]] == []
    assert list(told) == ["diag", "made", *diag.ORDER]
    assert told["versions"]["fedling"]
    assert told["machine"]["processors"] == os.cpu_count()
    assert told["unit"] == {"ActiveState": "active", "NRestarts": "3"}
    assert told["status"]["doing"] == "the service does not run; paused by its owner"
    assert told["status"]["streams"]["wrist"]["samples"] == 200
    assert sorted(told["status"]["streams"]["wrist"]["labels"].values()) == [100, 100]
    assert told["store"]["database"]["rows"]["recordings"] == 1
    assert told["store"]["database"]["faults"] == []
    assert told["store"]["files"]["device.key"]["mode"].startswith("-rw------- ")
    assert told["log"][0].endswith("connected to (host):1883")
    assert told["log"][3].endswith(f'[(address)] /home/{HIDDEN}/x label "{HIDDEN}"')
    checks = {one["check"]: one for one in told["check"]}
    assert not checks["MQTT broker"]["ok"]
    assert checks["store"]["ok"]


@pytest.mark.parametrize("terminal", [True, False])
def test_who_waits_at_a_terminal_sees_what_is_looked_at(
    agent: Agent,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal: bool,
) -> None:
    """A service that hangs takes half a minute for each of its parts."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert cli.main(["diag", "-", "--config", str(agent.config)]) == Exit.OK
    said = capsys.readouterr()
    assert json.loads(said.out)["diag"] == 1
    looked = [line.removeprefix("looks at ") for line in said.err.splitlines()]
    assert looked == [*diag.AS_CALLER, *diag.AS_OWNER] * terminal


def test_configuration_is_told_by_key(agent: Agent) -> None:
    keys = report(agent)["configuration"]["keys"]
    hidden = ("mqtt.host", "mqtt.user", "mqtt.password_file", "root_key")
    assert {keys[key] for key in hidden} == {HIDDEN}
    assert len(keys["floor.labels"]) == 2
    assert (keys["mqtt.port"], keys["training.duty"], keys["fleet"]) == (1, 1.0, "test")


def test_with_a_service_its_own_word_is_told(agent: Agent) -> None:
    agent.serve()
    told = report(agent)
    assert told["status"]["source"] == "service"
    assert told["status"]["doing"] == "paused by its owner"
    assert told["conditions"]["source"] == "service"
    assert told["explained"][-1]["why"]
    assert "failed" not in told["store"]["database"]


@pytest.mark.parametrize(
    "wrong", ['pasword = "hunter2-correct-horse"', "[mqtt", "user = 'anna-the-owner", "\x00"]
)
def test_with_a_wrong_configuration(agent: Agent, wrong: str) -> None:
    agent.config.write_text(agent.config.read_text().replace("[mqtt]", f"[mqtt]\n{wrong}"))
    told = json.loads(agent.run("diag", "-", "--state", str(agent.state)).stdout)
    assert_private(agent, json.dumps(told))
    assert str(agent.config) in told["configuration"]["fault"]
    assert told["store"]["database"]["rows"]["recordings"] == 1
    checks = {one["check"]: one for one in told["check"]}
    assert checks["configuration"]["says"] == told["configuration"]["fault"]
    assert checks["store"]["ok"]


def test_without_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration, no state, no systemd: each part says what it lacks."""
    agent = Agent(tmp_path / "device", NOWHERE)
    agent.config.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    state = tmp_path / "absent"
    told = json.loads(agent.run("diag", "-", "--state", str(state)).stdout)
    assert told["log"] == {"failed": "journalctl is not installed"}
    assert told["unit"] == {"failed": "systemctl is not installed"}
    assert "fedling-agent init" in told["status"]["failed"]
    assert "no such file" in told["configuration"]["fault"]
    assert "failed" in told["store"]
    assert "failed" not in told["machine"]
    assert not state.exists()


def test_with_a_damaged_database(agent: Agent) -> None:
    """The file is cut in its middle: what can be told is."""
    path = agent.state / "store.db"
    for name in ("store.db-wal", "store.db-shm"):
        (agent.state / name).unlink(missing_ok=True)
    path.write_bytes(path.read_bytes()[:2048] + os.urandom(8192))
    told = report(agent)
    assert "failed" in told["store"]["database"]
    assert told["store"]["files"]["store.db"]["bytes"] == 2048 + 8192


def test_program_that_fails_is_told(agent: Agent, programs: Path) -> None:
    (programs / "journalctl").write_text(f"#!/bin/sh\necho {HOST} is not to be read >&2; exit 1\n")
    assert report(agent)["log"] == {"failed": "journalctl: (mqtt.host) is not to be read"}


def test_log_that_this_user_may_not_read_is_told_to_lack(agent: Agent, programs: Path) -> None:
    (programs / "journalctl").write_text("#!/bin/sh\n")
    assert report(agent)["log"] == {"failed": "journalctl shows this user no line of the service"}


def test_program_that_hangs_is_left(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 30)

    monkeypatch.setattr(subprocess, "run", hang)
    assert report(agent)["log"] == {"failed": "journalctl did not end within 30 s"}


def test_file_is_its_owner_s_and_replaces_none(agent: Agent, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    before = os.umask(0)
    try:
        said = agent.json("diag", str(file))
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert said == {"file": str(file), "bytes": file.stat().st_size, "failed": []}
    assert_private(agent, text)
    told = agent.run("diag", str(file), code=Exit.FAILED).stderr
    assert "is there already, and is not replaced" in told
    assert file.read_text() == text
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    agent.run("diag", str(link), code=Exit.FAILED)
    agent.run("diag", str(tmp_path), code=Exit.FAILED)
    agent.run("diag", str(tmp_path / "absent" / "x"), code=Exit.CANNOT_WRITE)
    assert not (tmp_path / "elsewhere").exists()


def test_without_a_name_the_file_is_named_by_the_time(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    said = agent.run("diag").stdout
    (file,) = folder.iterdir()
    assert said.startswith(f"wrote {file.name}, ")
    assert "look at it before you give it away" in said
    named = agent.json("diag", "--state", str(agent.state), "another.json")
    assert named["file"] == "another.json"


def test_processor_s_serial_number_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "processor\t: 0\nmodel name\t: ARMv7\nSerial\t\t: 00000000deadbeef\nModel\t: Pi 3\n"
    found = diag._fields(text, diag.PROCESSOR)
    assert found == {"model name": "ARMv7", "Model": "Pi 3"}


# --- masks ----------------------------------------------------------------------------------------


def test_labels_are_numbers_wherever_they_stand() -> None:
    masks = Masks()
    facts = {"labels": {"walk": 3, "7": 1}, "wanted": ["walk", "run"], "doing": "walk: 7 of 9"}
    masks.learn(facts)
    assert masks.applied(facts) == {
        "labels": {"(label 1)": 3, "(label 2)": 1},
        "wanted": ["(label 1)", "(label 3)"],
        "doing": "(label 1): 7 of 9",  # a number says nothing, and would be hidden everywhere
    }


def test_longer_words_are_hidden_before_those_within() -> None:
    masks = Masks()
    masks.hide("pi", "user")
    masks.hide("pi.example.org", "host")
    assert masks.applied("pi at pi.example.org, pip") == "(user) at (host), pip"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("198.51.100.7:8883 refuses", "(address):8883 refuses"),
        ("to [2001:db8::1]:8883", "to [(address)]:8883"),
        ("127.0.0.1 and ::1 are here", "127.0.0.1 and ::1 are here"),
        ("at 12:30:45, 300.1.2.3, 6.1.0-28", "at 12:30:45, 300.1.2.3, 6.1.0-28"),
        ("/home/pi/agent.toml: no", f"/home/{HIDDEN}/agent.toml: no"),
        ('agent.toml allows no label "x"', f'agent.toml allows no label "{HIDDEN}"'),
    ],
)
def test_sentences(text: str, told: str) -> None:
    assert Masks().applied(text) == told


def test_reason_of_a_pause_is_hidden_in_every_form() -> None:
    pause = {"reason": "until 14:30: guests", "value": True}
    why = {"code": "paused-by-owner", "detail": "until 14:30: guests"}
    why["sentence"] = f"paused by its owner {why['detail']}"
    told = Masks().applied(
        {"signals": {"pause": pause}, "why": [why], "pause": {"reason": "guests"}}
    )
    assert "guests" not in json.dumps(told)
    assert Masks().applied({"pause": None}) == {"pause": None}


def test_a_password_file_that_never_ends_is_not_waited_for(agent: Agent) -> None:
    file = agent.directory / "endless"
    os.mkfifo(file, 0o600)
    text = agent.config.read_text()
    agent.config.write_text(re.sub('password_file = ".*"', f'password_file = "{file}"', text))
    assert report(agent)["configuration"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("paused by the operator: Mr Smith is away", "paused by the operator"),
        ("no /srv/joe/a, /home/joe/b, ~joe", f"no /srv/{HIDDEN}/a, /home/{HIDDEN}/b, ~{HIDDEN}"),
        ("the look-up of old.example failed", "the look-up of (host) failed"),
        ("host = 'h.example' # the 'old' one", "host = '(host)' # the '(host)' one"),
    ],
)  # fmt: skip
def test_words_of_people_are_hidden_in_sentences(said: str, told: str) -> None:
    masks = Masks()
    masks.hosts_of(["no connection to old.example:8883 by TLS", "connected to h.example"])
    masks.settings_text("host = \"h.example\" # the \"old\" one\nlabels = ['insulin', 'walk']\n")
    assert masks.applied(said) == told
    assert masks.applied("insulin and walk") == "(labels) and (labels)"
    assert masks.settings({"mqtt": {"password": 47114711, "port": 8883}}) == {
        "mqtt.password": HIDDEN, "mqtt.port": 8883
    }  # fmt: skip
