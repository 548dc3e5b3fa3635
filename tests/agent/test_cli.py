"""fedling-agent as one types it: exit codes, errors that say what to do, what is printed."""

import json
import os
import pwd
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from fedling_agent import cli, config
from fedling_agent.commands import volatile
from fedling_agent.store.ledger import Sent
from fedling_agent.store.store import Store
from fedling_native import dense
from fedling_protocol.command.entry import SELDOM
from fedling_protocol.disk import mounts
from fedling_protocol.disk.ownership import Unit
from fedling_protocol.exits import Exit
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire import counted
from fedling_protocol.wire.identity import SECRET_BYTES
from fedling_protocol.wire.kinds import Kind
from tests.support.agent import Agent, rows
from tests.support.aggregator import make_model
from tests.support.tools import own_tmpfs

NOWHERE = 1  # a port that nobody listens on


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path / "device", NOWHERE, apart=True)


def change(agent: Agent, old: str, new: str) -> None:
    text = agent.config.read_text()
    assert old in text
    agent.config.write_text(text.replace(old, new))


# --- init -----


def test_init_prints_who_it_is_and_keeps_it(agent: Agent) -> None:
    first = agent.json("init")
    assert len(first["device"]) == 16
    assert len(first["key"]) == 64
    assert first["enrol"] == f"fedling-broker device add {first['device']} {first['key']}"
    assert agent.json("init") == first
    assert first["key"] in agent.run("init").stdout


def test_init_keeps_secrets_for_the_owner_alone(agent: Agent) -> None:
    agent.run("init")
    for name in ("device.key", "device.secret"):
        assert stat.S_IMODE((agent.state / name).stat().st_mode) == 0o600
    assert (agent.state / "device.secret").stat().st_size == SECRET_BYTES


def test_init_needs_no_configuration(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "fedling_agent.cli", "init", "--state", str(tmp_path / "state")]
    assert "device" in subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_key_that_others_can_read_is_refused(agent: Agent) -> None:
    agent.run("init")
    (agent.state / "device.key").chmod(0o644)
    result = agent.run("init", code=Exit.BAD_CONFIG)
    assert "chmod 600" in result.stderr


# --- configuration -----


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('fleet = "test"', "", "fleet is missing"),
        ("root_key = ", "#", "root_key is missing"),
        ('root_key = "', 'root_key = "zz', "64 digits"),
        ('fleet = "test"', 'fleet = "Test Fleet"', "[a-z0-9]"),
        ("keepalive_s = 60", "keepalive_s = 0", "1 to 65535 s"),
        ("keepalive_s = 60", "keepaliv_s = 60", "did you mean keepalive_s"),
        ("duty = 1.0", "duty = 2", "0.001 to 1"),
        ("duty = 1.0", "duty = nan", "0.001 to 1"),
        ('streams = ["wrist.toml"]', 'streams = ["absent.toml"]', "absent.toml"),
        ('streams = ["wrist.toml"]', 'streams = ["wrist.toml", "wrist.toml"]', "another file"),
        ("check_s = 0.1", "check_s = 0.1\nbattery = 90\nbattery_resume = 80", "battery_resume"),
        ('host = "127.0.0.1"', "host = 5", "a text"),
        ("[mqtt]", "[mqtt", "not TOML"),
        ("[mqtt]", "[broker]", "broker.host: is now called mqtt.host; broker.port: is now called"),
        ("first_s = 0.05", "connect_s = 0.05", "retry.connect_s: is now called retry.first_s"),
        ("answer_first_s = 1.0", "answer_first_s = 9.0", "at least answer_first_s = 9.0"),
    ],
)
def test_bad_configuration_names_file_key_and_what_is_allowed(
    agent: Agent, old: str, new: str, says: str
) -> None:
    change(agent, old, new)
    result = agent.run("run", code=Exit.BAD_CONFIG)
    assert says in result.stderr
    assert str(agent.directory) in result.stderr
    assert "Traceback" not in result.stderr


def test_run_without_configuration_says_what_it_needs(tmp_path: Path) -> None:
    words = ["run", "--config", str(tmp_path / "agent.toml")]
    result = subprocess.run(
        [sys.executable, "-m", "fedling_agent.cli", *words], capture_output=True, text=True
    )
    assert result.returncode == Exit.BAD_CONFIG
    assert "agent.toml" in result.stderr


def test_state_directory_comes_from_systemd(tmp_path: Path) -> None:
    environment = os.environ | {"STATE_DIRECTORY": str(tmp_path / "mine"), "HOME": str(tmp_path)}
    words = [sys.executable, "-m", "fedling_agent.cli", "init", "--json"]
    result = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    assert json.loads(result.stdout)["state"] == str(tmp_path / "mine")


def test_state_directory_of_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Path.home() raises RuntimeError under a uid that no passwd names; a relative XDG path is to
    be ignored."""

    def unknown(uid: int) -> NoReturn:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr(config, "UNIT", Unit("fedling", Path("/nonexistent")))
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/somebody/state")
    assert config.state_directory(None, None) == Path("/home/somebody/state/fedling")
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    with pytest.raises(SettingsError, match=r"no home directory: .* --state or state_dir"):
        config.state_directory(None, None)


@pytest.mark.parametrize("host", ["mqtt..example.org", ".local", "a" * 70 + ".local", "a\\u0000b"])
def test_host_that_is_none_is_a_wrong_configuration(agent: Agent, host: str) -> None:
    """getaddrinfo raises UnicodeError of them: a traceback, at every start."""
    text = agent.config.read_text().replace("127.0.0.1", host)
    agent.config.write_text(text)
    for verb in ("run", "check", "conditions"):
        said = agent.run(verb, code=Exit.BAD_CONFIG).stderr
        assert "mqtt.host = " in said
        assert "allowed: a name or address" in said


def test_state_that_a_boot_takes_away_is_told(agent: Agent) -> None:
    agent.state.mkdir()
    forgetful = Agent(agent.directory, NOWHERE, prefix=own_tmpfs(str(agent.state), "1m"))
    assert f"{agent.state} is on tmpfs: " in forgetful.json("init")["warning"]
    assert "is on tmpfs" in forgetful.run("init").stdout


def test_file_system_is_that_of_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mounts.kind(Path("/proc")) == "proc"
    assert mounts.kind(tmp_path / "absent") == ""
    assert volatile.warning(Path("/proc")) == ""
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "absent")
    assert mounts.kind(Path("/proc")) == ""


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077, 0o277, 0o777])
def test_umask_decides_nothing_of_the_state(agent: Agent, umask: int) -> None:
    text = rows(1, 20)
    before = os.umask(umask)
    try:
        agent.run("init")
        agent.run("ingest", "wrist", text=text)
        agent.run("ingest", "wrist", text=text)
    finally:
        os.umask(before)
    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in agent.state.rglob("*")}
    assert modes == {True: 0o700, False: 0o600}
    assert stat.S_IMODE(agent.state.stat().st_mode) == 0o700


# --- without a service -----


def test_status_before_init_says_so(agent: Agent) -> None:
    result = agent.run("status", code=Exit.NOT_FOUND)
    assert "fedling-agent init" in result.stderr


def test_status_before_the_first_run(agent: Agent) -> None:
    key = agent.json("init")["key"]
    facts = agent.json("status")
    assert facts["source"] == "store"
    assert facts["doing"] == "the service does not run"
    assert key in agent.run("status").stdout


def test_ingest_without_service_stores_rows(agent: Agent) -> None:
    done = agent.json("ingest", "wrist", text=rows(3, 50))
    assert (done["stored"], done["refused"]) == (150, 0)
    assert "does not run" in done["by"]
    agent.run("init")
    assert agent.json("status")["streams"]["wrist"]["samples"] == 150


def test_ingest_bad_rows_are_named_and_the_good_ones_kept(agent: Agent) -> None:
    text = "recording,label,x,y\nr,a,1,2\nr,a,nan,2\nr,a,1\nr,a,3,99999999\nr,a,3,4\n"
    result = agent.run("ingest", "wrist", text=text, code=Exit.SOME_REFUSED)
    assert "row 3:" in result.stderr
    assert "row 4:" in result.stderr
    assert "row 5:" in result.stderr
    assert "stored 2 rows, refused 3" in result.stdout


def test_ingest_wrong_header_is_refused_as_a_whole(agent: Agent) -> None:
    result = agent.run("ingest", "wrist", text="recording,x,z\n1,2,3\n", code=Exit.FAILED)
    assert "column y is missing" in result.stderr


def test_ingest_unknown_stream_names_those_that_exist(agent: Agent) -> None:
    result = agent.run("ingest", "ankle", text=rows(1, 5), code=Exit.NOT_FOUND)
    assert "wrist" in result.stderr


def test_ingest_ndjson_by_the_files_ending(agent: Agent) -> None:
    file = agent.directory / "a.ndjson"
    file.write_text('{"recording":"r","label":"a","x":1,"y":2}\n{"recording":"r","x":1}\n')
    done = agent.json("ingest", "wrist", str(file), code=Exit.SOME_REFUSED)
    assert (done["stored"], done["refused"]) == (1, 1)
    assert done["errors"][0][0] == 2


def test_ingest_file_after_an_option(agent: Agent) -> None:
    file = agent.directory / "a.csv"
    file.write_text(rows(1, 5))
    assert agent.json("ingest", "wrist", "--format", "csv", str(file))["stored"] == 5
    words = ("ingest", "wrist", str(file), "--format", "csv", str(file))
    assert agent.run(*words).stdout.count("stored 0 rows, refused 0; 5 were here already") == 2
    words = ("ingest", "wrist", "--format", "csv", str(file), str(file))
    assert agent.run(*words).stdout.count("stored 0 rows, refused 0; 5 were here already") == 2


def test_predict_without_a_model(agent: Agent) -> None:
    agent.run("ingest", "wrist", text=rows(1, 5))
    result = agent.run("predict", text="x,y\n1,2\n", code=Exit.NOT_FOUND)
    assert "no model yet" in result.stderr


def test_predict_with_a_model_that_nobody_has_trained(agent: Agent) -> None:
    """It says what to wait for, to people and to programs."""
    agent.run("init")
    agent.run("ingest", "wrist", text=rows(3, 60))
    model = make_model((dense(20, 3),))
    window = "x,y\n" + "1,2\n" * 10
    for version, drawn in ((1, True), (2, False)):
        store = Store(agent.state)
        store.models.put(replace(model, version=version, drawn=drawn))
        store.close()
        words = "version 1, which nobody has trained yet" if drawn else "version 2\n"
        assert words in agent.run("status").stdout
        if drawn:
            result = agent.run("predict", text=window, code=Exit.NOT_FOUND)
            assert "nobody has trained watch yet" in result.stderr
            assert "when a first round has ended" in result.stderr
    assert "model 2" in agent.run("predict", text=window).stdout


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_predict_of_labelled_windows_says_how_many_are_right(agent: Agent, form: str) -> None:
    """By the rows' own labels, or by one that the command line gives."""
    agent.run("init")
    agent.run("ingest", "wrist", text=rows(3, 60))
    store = Store(agent.state)
    store.models.put(make_model((dense(20, 3),), version=2))
    store.close()
    row: dict[str, object] = {"x": 1, "y": 2}
    own = [row | {"label": "label 0"}] * 10 + [row | {"label": "label 1"}] * 20
    bare = [row] * 20

    def text(table: list[dict[str, object]]) -> str:
        if form == "ndjson":
            return "".join(json.dumps(row) + "\n" for row in table)
        return "\n".join([",".join(table[0]), *(",".join(map(str, r.values())) for r in table)])

    words = ("predict", "--format", form)
    last = agent.run(*words, "--json", text=text(own)).stdout.splitlines()[-1]
    score = json.loads(last)["score"]
    assert (score["windows"], score["mixed"]) == (3, 0)
    assert sum(score["said"]["label 1"].values()) == 2
    assert f"{score['right']} of 3 right: label 0 " in agent.run(*words, text=text(own)).stdout
    assert (
        " of 2 right: label 1 " in agent.run(*words, "--label", "label 1", text=text(bare)).stdout
    )
    assert " right" not in agent.run(*words, text=text(bare)).stdout
    twice = agent.run(*words, "--label", "label 1", text=text(own), code=Exit.FAILED)
    assert "--label is given, and the rows have labels" in twice.stderr


def test_sent_and_replay_of_a_quiet_device(agent: Agent) -> None:
    agent.run("init")
    agent.run("ingest", "wrist", text=rows(1, 5))
    assert agent.json("sent") == []
    assert agent.json("replay") == []
    assert "no plan abc" in agent.run("replay", "abc", code=Exit.NOT_FOUND).stderr


def test_bytes_are_told_by_kind_of_message(agent: Agent) -> None:
    agent.run("init")
    store = Store(agent.state)
    for kind, size in (("join", 200), ("update", 5000), ("join", 210)):
        store.ledger.record_sent(Sent(1, kind, "a topic", size, None, "says something"))
    counts = {counted.sent(Kind.JOIN): 410, counted.sent(Kind.UPDATE): 5000}
    store.ledger.add([], {**counts, counted.received(Kind.MODEL): 78_000})
    store.close()
    assert "in all: 1 update of 5000 B, 2 join of 410 B" in agent.run("sent").stdout
    told = agent.run("status").stdout
    assert "update 5000 B, join 410 B" in told
    assert "model 78 kB" in told


def test_conditions_tell_values_sources_and_what_they_allow(agent: Agent) -> None:
    facts = agent.json("conditions")
    assert facts["signals"]["battery"]["value"] == 90
    assert facts["signals"]["battery"]["source"].endswith("BAT0/capacity")
    assert facts["own"]["train"] is True
    assert "90 %" in agent.run("conditions").stdout


def test_conditions_say_that_sensors_are_slow(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fedling_agent.commands.conditions.SLOW_S", 0.0)
    assert cli.main(["conditions", "--config", str(agent.config)]) == Exit.OK
    assert "each batch waits for them" in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "iso8859-5", "euc-jp"])
def test_degree_sign_on_a_terminal_that_knows_none(agent: Agent, encoding: str) -> None:
    for verb in ("conditions", "check"):
        done = subprocess.run(
            agent.command(verb),
            capture_output=True,
            env=os.environ | {"PYTHONIOENCODING": encoding},
        )
        assert b"Traceback" not in done.stderr, done.stderr
        assert done.stdout


def test_check_names_what_is_wrong(agent: Agent) -> None:
    agent.run("init")
    agent.run("ingest", "wrist", text=rows(1, 5))
    results = {r["check"]: r for r in agent.json("check", code=Exit.FAILED)}
    assert results["configuration"]["ok"]
    assert results["identity"]["ok"]
    assert results["store"]["ok"]
    assert results["conditions"]["ok"]
    assert not results["MQTT broker"]["ok"]
    assert "127.0.0.1:1" in results["MQTT broker"]["says"]
    assert "fedling-agent run" in results["service"]["says"]


def test_name_that_is_not_found_is_said_by_conditions_and_check(agent: Agent) -> None:
    agent.run("init")
    change(agent, 'host = "127.0.0.1"', 'allow_plaintext = true\nhost = "nowhere.invalid"')
    network = agent.json("conditions")["signals"]["network"]
    assert network["value"] is False
    assert network["reason"].startswith("the look-up of nowhere.invalid ")
    results = {r["check"]: r for r in agent.json("check", code=Exit.FAILED)}
    assert results["MQTT broker"]["says"] == network["reason"]
    change(agent, 'host = "nowhere.invalid"', 'host = "127.0.0.1"')
    assert agent.json("conditions")["signals"]["network"]["value"] is True


def test_status_names_labels_that_no_task_wants(agent: Agent) -> None:
    agent.run("init")
    lines = ["recording,label,x,y", *["a,Label 0,1,2"] * 30, *["b,label 1,1,2"] * 20]
    agent.run("ingest", "wrist", text="\n".join(lines))
    assert "not wanted" not in agent.run("status").stdout  # no task is known
    store = Store(agent.state)
    store.models.put(make_model((dense(40, 3),)))
    store.close()
    stream = agent.json("status")["streams"]["wrist"]
    assert stream["unwanted"] == [{"label": "Label 0", "samples": 30, "nearest": "label 0"}]
    text = agent.run("status").stdout
    assert "Label 0 30 (did you mean label 0?): these samples train nothing" in text
    assert "no sample of label 0, label 2" in text


# --- the frame -----


def test_wrong_usage_is_2() -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["fly"])
    assert ended.value.code == Exit.USAGE


def test_service_imports_nothing_that_it_needs_on_few_days() -> None:
    """Certificates are renewed once in a while: 4 MB. paho looks for a proxy by HTTP: 1 MB."""
    names = set(_modules("fedling_agent.commands.run"))
    assert {"fedling_agent.service.renewal", "nacl.bindings", "paho.mqtt.client"} <= names
    assert {"cryptography", "fedling_agent.store.tls_pair", "http.client"} & names == set()
    used = {"ipaddress"} | ({"inspect"} if sys.version_info >= (3, 13) else set())  # by cbor2 6
    assert (set(SELDOM) - used) & names == set()


def test_service_that_trains_nothing_imports_no_ctypes() -> None:
    names = set(_modules("fedling_agent.commands.run"))
    assert "fedling_agent.training.yielding" in names
    assert "ctypes" not in names


def _modules(name: str) -> list[str]:
    """What is read by then, where a program of ours has begun."""
    code = (
        f"import sys; from fedling_protocol.command import entry; entry.do_without(); import {name}"
        "; print(*(name for name, module in sys.modules.items() if getattr(module, '__spec__', 0)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout.split()


def test_help_is_quick_to_import() -> None:
    """A board takes a second to import what a command does not need."""
    code = "import sys, fedling_agent.cli as c; c.build_parser(); print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"paho", "cryptography", "nacl", "cbor2", "cffi", "numpy", "sqlite3", "ssl", "asyncio"}
    assert heavy & set(result.stdout.split()) == set()


def test_output_into_a_closed_pipe_is_no_error(agent: Agent) -> None:
    agent.run("init")
    words = " ".join(agent.command("status"))
    script = f"{words} | true; exit ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", script], capture_output=True).returncode in (0, 141)
