"""The verbs of fedling-broker, run in this process; their words, JSON and exit codes."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedling_broker import config
from fedling_broker.cli import main
from fedling_broker.commands.failures import EXITS
from fedling_broker.mosquitto.process import Mosquitto
from fedling_broker.service import notices
from fedling_broker.service.notices import Notice
from fedling_broker.store.database import PROGRAM
from fedling_broker.store.devices import Devices
from fedling_protocol.command import output
from fedling_protocol.disk import lock
from fedling_protocol.exits import Exit
from fedling_protocol.wire import identity
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.topics import Topics
from tests.broker.conftest import Here
from tests.support.rounds_on_disk import TEXT, accept, open_round, run_round
from tests.support.waiting import PATIENCE_S, Manager

KEY = SigningKey(b"d" * 32).public
ROOT_KEY = Path("broker-state/authority/root.key")
ID = device_id(KEY)


# --- init, check ---------------------------------------------------------------------------------


def test_init_makes_two_keys_in_two_files(here: Here) -> None:
    root, online = ROOT_KEY, Path("broker-state/online.key")
    assert identity.load_key(root).public != identity.load_key(online).public
    for path in (root, online, Path("broker-state/secret"), Path("broker-state")):
        assert path.stat().st_mode & 0o077 == 0, path
    assert f'root_key = "{identity.load_key(root).public.hex()}"' in Path("broker.toml").read_text()


def test_init_again_changes_nothing_and_needs_no_root_key(here: Here, mosquitto: Mosquitto) -> None:
    here.point(mosquitto.port)
    before = Path("broker.toml").read_text()
    public = identity.load_key(ROOT_KEY).public.hex()
    ROOT_KEY.rename("elsewhere.key")
    assert f'root_key = "{public}"' in here("init", "--fleet", "other")
    assert not ROOT_KEY.exists()
    assert Path("broker.toml").read_text() == before
    here("check")


def test_init_certifies_a_new_online_key(here: Here, mosquitto: Mosquitto) -> None:
    here.point(mosquitto.port)
    Path("broker-state/online.key").unlink()
    here("init")
    here("check")
    Path("broker-state/online.key").unlink()
    ROOT_KEY.rename("elsewhere.key")
    assert "--root-key FILE" in here("init", code=Exit.NOT_FOUND)
    here("init", "--root-key", "elsewhere.key")
    here("check")


def test_init_refuses_what_no_fleet_is_called_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for fleet in ("Mein Haus", 'home"\nstate_dir = "/tmp'):
        assert main(["init", "--fleet", fleet]) == Exit.BAD_CONFIG
        assert "fedling-broker init: " in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []
    assert main(["init", "--fleet", "home"]) == Exit.OK


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("", {"tls": False, "tcp_port": 1883}),
        ("--tls", {"tls": True, "tcp_port": 8883, "ca_file": None}),
        ("--tls --port 443 --host broker.example", {"tls": True, "tcp_port": 443}),
        ("--allow-plaintext --host broker.example", {"plaintext": True, "tcp_port": 1883}),
        (
            "--tls --ca-file c --certificate-file d --key-file sub/k",
            {"ca_file": Path("c"), "certificate_file": Path("d"), "key_file": Path("sub/k")},
        ),
    ],
)
def test_init_writes_how_safe_the_way_to_the_mqtt_broker_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, keys: dict[str, object]
) -> None:
    """Files are named from where the command is typed, wherever broker.toml is."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--config", "etc/broker.toml", *words.split()]) == Exit.OK
    mqtt = config.load(Path("etc/broker.toml")).file.mqtt
    for key, value in keys.items():
        wanted = tmp_path / value if isinstance(value, Path) else value
        assert getattr(mqtt, key) == wanted


@pytest.mark.parametrize("words", ["--host 192.168.1.9", "--ca-file c", "--tls --key-file k"])
def test_init_refuses_what_does_not_fit_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", *words.split()]) == Exit.BAD_CONFIG
    assert list(tmp_path.iterdir()) == []


def test_init_with_another_root_key_leaves_no_half_of_a_state(here: Here) -> None:
    ROOT_KEY.rename("elsewhere.key")
    shutil.rmtree("broker-state")
    identity.create_key(Path("other.key"))
    for name, said in (("none.key", "cannot be read"), ("other.key", "not the root key of fleet")):
        assert said in here("init", "--root-key", name, code=Exit.BAD_CONFIG)
        assert not Path("broker-state").exists()
    here("init", "--root-key", "elsewhere.key")


def test_a_configuration_here_that_hides_the_systems_is_named(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = here.directory / "etc.toml"
    monkeypatch.setattr(config, "SYSTEM_FILE", system)
    monkeypatch.setattr(config, "PLACES", (Path("broker.toml"), system))
    assert "this is about" not in here("task", "list")
    system.write_text("")
    named = f"this is about {Path('broker.toml').absolute()}, not {system}"
    assert named in here("task", "list")
    assert named not in here("task", "list", "--config", "broker.toml")


def test_init_says_that_what_is_there_stays(here: Here) -> None:
    assert "broker.toml was there already and stays as it is: fleet test" in here("init")
    found = here.json("init", "--fleet", "other")
    assert (found["written"], found["fleet"]) == (False, "test")
    assert found["root_key"] == identity.load_key(ROOT_KEY).public.hex()


def test_json_of_verbs_that_change_something(here: Here) -> None:
    here.add_task()
    added = here.json("device", "add", ID, KEY.hex())
    assert added == {"device": ID, "name": "", "key": KEY.hex(), "enrolled": True}
    revoked = {"device": ID, "name": "", "enrolled": False}
    assert here.json("device", "revoke", ID) == here.json("device", "revoke", ID) == revoked
    told = {"task": "tiny", "paused": True, "why_paused": ""}
    assert here.json("task", "pause", "tiny") == told
    assert here.json("task", "show", "tiny") == {"task": "tiny", "paused": True, "text": TEXT}
    assert here.json("task", "resume", "tiny") == {"task": "tiny", "paused": False}
    written = here.json("model", "weights", "tiny", "w.bin")
    assert (written["version"], written["bytes"]) == (1, Path("w.bin").stat().st_size)
    assert here.json("task", "remove", "tiny") == {"task": "tiny", "removed": True}


def test_an_error_with_json_is_json(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["task", "show", "nothing", "--json"]) == Exit.NOT_FOUND
    said = capsys.readouterr()
    assert json.loads(said.err) == {"error": "no task nothing; there are: none", "exit": 4}
    assert said.out == ""


def test_a_file_that_cannot_be_written_is_told_so(here: Here) -> None:
    here.add_task()
    said = here("model", "weights", "tiny", "nowhere/x.bin", code=Exit.CANNOT_WRITE)
    assert "cannot write nowhere/x.bin: there is no such folder" in said


def test_a_hostile_task_file_is_a_wrong_configuration(here: Here) -> None:
    for value in ("9" * 5000, "[" * 5000):
        Path("t.toml").write_text(f"[task]\nwindow = {value}\n")
        assert "t.toml: not TOML" in here("task", "check", "t.toml", code=Exit.BAD_CONFIG)


def test_pending_cuts_no_key(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `device add` wants stands there in full, however narrow the terminal is."""
    monkeypatch.setenv("COLUMNS", "40")
    store = here.store()
    Devices(store.database, Topics("fedling", "test")).ask(ID, KEY, 1)
    store.close()
    line = here("device", "pending").splitlines()[1]
    here("device", "add", *line.split()[:2])


def test_check_counts_what_is_there(here: Here, mosquitto: Mosquitto) -> None:
    here("authority", "take-root", "stick.key")
    here.point(mosquitto.port)
    here.add_task()
    here("device", "add", ID, KEY.hex())
    store = here.store()
    store.ledger.count({"refused: cbor": 3})
    store.close()
    assert here.json("check") == {
        "config": "broker.toml",
        "state": "broker-state",
        "fleet": "test",
        "tasks": 1,
        "devices": 1,
        "pending": 0,
        "counters": {"refused: cbor": 3},
        "wrong": [],
        "keys": {"faults": [], "notes": []},
        "mqtt": {"faults": [], "notes": []},
    }
    assert re.search(r"refused: cbor +3\n", here("check"))


def test_check_names_tasks_that_are_stopped(here: Here, mosquitto: Mosquitto) -> None:
    """What the service has told, and a text that this version refuses; the others are tried."""
    here.point(mosquitto.port)
    here.add_task()
    stopped = {"tiny": Notice("is stopped: models/ab: is missing", time.time() + 100)}
    notices.write(Path("broker-state"), stopped)
    store = here.store()
    row = store.tasks.find("tiny")
    assert row is not None
    store.tasks.change("tiny", row.text.replace("epochs", "epoch_count"), None)
    store.close()
    wrong = here.json("check", code=Exit.FAILED)["wrong"]
    assert any("epoch_count" in why for why in wrong)
    assert "task tiny is stopped: models/ab: is missing" in wrong


def test_check_finds_a_fleet_that_was_renamed(here: Here) -> None:
    text = Path("broker.toml").read_text()
    Path("broker.toml").write_text(text.replace('fleet = "test"', 'fleet = "other"'))
    assert "another fleet or root key" in here("check", code=Exit.BAD_CONFIG)


def test_check_finds_a_key_that_others_may_read(here: Here) -> None:
    Path("broker-state/online.key").chmod(0o644)
    assert "chmod 600" in here("check", code=Exit.BAD_CONFIG)


def test_without_a_configuration_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["task", "list", "--config", "none.toml"]) == Exit.BAD_CONFIG
    said = capsys.readouterr().err
    assert "none.toml: there is no such file" in said
    assert "fedling-broker up" in said


# --- tasks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("normalise", "words"),
    [
        ("fleet", "which a first round asks for"),
        ("device", "right where each device sees every label"),
        ("none", "resolution must be 1/32"),
    ],
)
def test_task_check_and_add_say_how_samples_are_scaled(
    here: Here, normalise: str, words: str
) -> None:
    text = TEXT.replace('"device"', f'"{normalise}"')
    Path("t.toml").write_text(text)
    assert words in here("task", "check", "t.toml")
    assert here.json("task", "check", "t.toml")["normalise"] == normalise
    assert words in here("task", "add", "t.toml")
    (row,) = here.json("task", "list")
    measured = f"{normalise}, not measured yet" if normalise == "fleet" else normalise
    assert row["normalise"] == measured


def test_task_add_list_show_pause_resume_remove(here: Here) -> None:
    assert "no tasks" in here("task", "list")
    here.add_task()
    assert here("task", "show", "tiny") == TEXT
    expected: dict[str, object] = {"task": "tiny", "paused": False, "why_paused": ""}
    expected |= {"rounds": 0, "open": False, "model": 1}
    expected |= {"accuracy": None, "normalise": "device", "hindrance": None}
    assert here.json("task", "list") == [expected]
    here("task", "pause", "tiny")
    assert here.json("task", "list")[0]["paused"]
    here("task", "resume", "tiny")
    assert not here.json("task", "list")[0]["paused"]
    here("task", "remove", "tiny")
    assert here.json("task", "list") == []


@pytest.mark.parametrize(
    ("holdout", "words"),
    [("", "nobody tests how good the model is: write holdout = 0.2 in [training]"),
     ("holdout = 0.2", "devices test the model on what they keep out of training")],
)  # fmt: skip
def test_task_add_says_who_tests_the_model(here: Here, holdout: str, words: str) -> None:
    Path("t.toml").write_text(TEXT.replace("[training]", f"[training]\n{holdout}"))
    assert words in here("task", "check", "t.toml")
    assert words in here("task", "add", "t.toml")
    told = here.json("task", "check", "t.toml")
    assert told["holdout"] == (0.2 if holdout else 0.0)


def test_task_pause_and_resume_of_all(here: Here) -> None:
    assert "no tasks" in here("task", "pause", "--all")
    here.add_task()
    for name in ("small", "other"):
        Path("more.toml").write_text(TEXT.replace('name = "tiny"', f'name = "{name}"'))
        here("task", "add", "more.toml")
    names = [row["task"] for row in here.json("task", "list")]
    assert sorted(names) == ["other", "small", "tiny"]
    said = here("task", "pause", "--all", "--reason", "firmware week")
    assert all(f"task {name}: ends the round in work, then rests" in said for name in names)
    assert {(row["paused"], row["why_paused"]) for row in here.json("task", "list")} == {
        (True, "firmware week")
    }
    assert here("task", "list").count("firmware week") == 3
    assert here.json("task", "resume", "--all") == {"tasks": names, "paused": False}
    assert {(row["paused"], row["why_paused"]) for row in here.json("task", "list")} == {
        (False, "")
    }
    for words in ([], ["tiny", "--all"]):
        with pytest.raises(SystemExit) as ended:
            here("task", "pause", *words)
        assert ended.value.code == Exit.USAGE


@pytest.mark.parametrize("reason", ["\x1b[2J", "two\nlines", "ö" * 101])
def test_task_pause_takes_no_reason_that_devices_would_refuse(here: Here, reason: str) -> None:
    here.add_task()
    said = here("task", "pause", "tiny", "--reason", reason, code=Exit.FAILED)
    assert "a line of at most 200 bytes" in said
    assert not here.json("task", "list")[0]["paused"]
    here("task", "pause", "tiny", "--reason", "ö" * 100)


def test_task_add_twice_says_what_to_do(here: Here) -> None:
    here.add_task()
    assert "fedling-broker task remove tiny" in here("task", "add", "tiny.toml", code=Exit.FAILED)


def test_task_check_of_a_wrong_file(here: Here) -> None:
    Path("bad.toml").write_text(TEXT.replace("goal = 3", "goal = 0"))
    assert "bad.toml: cohort.goal = 0" in here("task", "check", "bad.toml", code=Exit.BAD_CONFIG)
    here("task", "add", "bad.toml", code=Exit.BAD_CONFIG)
    assert here.json("task", "list") == []


@pytest.mark.parametrize(
    "words",
    [
        ("task", "show", "none"),
        ("task", "pause", "none"),
        ("task", "remove", "none"),
        ("round", "show", "none", "1"),
        ("round", "show", "tiny", "1"),
        ("round", "verify", "none"),
        ("model", "list", "none"),
        ("model", "weights", "tiny", "x.bin", "--version", "9"),
        ("device", "revoke", "a" * 16),
        ("device", "revoke", ""),  # a variable of a script that nobody has set
        ("device", "revoke", "aggregator"),
    ],
)
def test_what_is_not_there_has_its_exit_code(here: Here, words: tuple[str, ...]) -> None:
    here.add_task()
    here("device", "add", ID, KEY.hex())
    here(*words, code=Exit.NOT_FOUND)


# --- devices -------------------------------------------------------------------------------------


def test_device_add_list_revoke(here: Here) -> None:
    assert ID in here("device", "add", ID, KEY.hex())
    (listed,) = here.json("device", "list")
    assert (listed["device"], listed["key"]) == (ID, KEY.hex())
    assert (listed["task"], listed["accepted"]) == (None, 0)
    shown = here("device", "list")
    assert f"{ID}" in shown
    assert "never asked" in shown
    assert max(map(len, shown.splitlines())) <= 80
    here("device", "revoke", ID)
    assert "fedling-broker device invite" in here("device", "list")


def test_device_add_refuses_what_does_not_fit(here: Here) -> None:
    assert f"that is {ID}" in here("device", "add", "a" * 16, KEY.hex(), code=Exit.FAILED)
    assert "64 hexadecimal" in here("device", "add", ID, "abc", code=Exit.FAILED)
    assert "name the device" in here("device", "add", ID, code=Exit.FAILED)
    assert "is not a name" in here(
        "device", "add", ID, KEY.hex(), "--name", "A b", code=Exit.FAILED
    )
    assert here.json("device", "list") == []


# --- rounds and models ---------------------------------------------------------------------------


def test_round_list_show_verify(here: Here) -> None:
    here.add_task()
    store = here.store()
    plan = run_round(store, 1)
    row = accept(store, open_round(store, 2), 0, 5, 7)
    rows = store.rounds.decisions("tiny", plan.plan_id)
    (made,) = store.models.folds("tiny")
    store.close()
    listed = here.json("round", "list", "tiny")
    assert [(r["round"], r["state"], r["accepted"]) for r in listed] == [
        (1, "folded", 3),
        (2, "open", 1),
    ]
    shown = here.json("round", "show", "tiny", "1")
    assert (shown["weight"], shown["version"]) == (32, 2)
    assert (shown["sum_hash"], shown["model_hash"]) == (made.sum_hash.hex(), made.model_hash.hex())
    assert shown["decisions"] == [
        {
            "device": r.device,
            "verdict": "accepted",
            "reason": "",
            "update_hash": r.update_hash.hex(),
            "bytes": r.size,
            "weight": r.weight,
            "saturated": 0,
            "tested": None,
            "weights_counted": 1.0,
            "biases_counted": 1.0,
        }
        for r in rows
    ]
    assert shown["bytes"] == sum(r.size for r in rows)
    assert row.device in here("round", "show", "tiny", "2")


def test_round_verify_exits_1_at_a_fault(here: Here) -> None:
    here.add_task()
    store = here.store()
    run_round(store, 1)
    path = store.models.sums.path(store.models.folds("tiny")[0].sum_hash)
    store.close()
    assert "2 models recomputed, 0 of them from updates; 0 faults" in here(
        "round", "verify", "--all"
    )
    path.write_bytes(path.read_bytes()[:-8])
    assert "tiny round 1: " in here("round", "verify", "--all", code=Exit.FAILED)
    found = json.loads(here("round", "verify", "tiny", "--json", code=Exit.FAILED))
    assert (found["faults"], found["models"][1]["round"]) == (1, 1)


@pytest.mark.parametrize("last", [1, 2, 3, 9])
def test_lists_can_be_short(here: Here, last: int) -> None:
    here.add_task()
    store = here.store()
    for number in (1, 2):
        run_round(store, number)
    open_round(store, 3)
    store.close()
    for verb in ("round", "model"):
        rows = here.json(verb, "list", "tiny")
        assert len(rows) == 3
        assert here.json(verb, "list", "tiny", "--limit", str(last)) == rows[max(0, 3 - last) :]


def test_a_person_is_shown_the_newest_and_told_of_more(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "ROWS", 2)
    here.add_task()
    store = here.store()
    for number in (1, 2):
        run_round(store, number)
    open_round(store, 3)
    store.close()
    for verb, which in (("round", "of each task the newest"), ("model", "the newest")):
        said = here(verb, "list", "tiny").splitlines()
        assert said[-1] == f"{which} 2; --limit N lists more"
        assert [line.split()[0] for line in said[1:3]] == (
            ["tiny"] * 2 if verb == "round" else ["2", "3"]
        )
        assert "lists more" not in here(verb, "list", "tiny", "--limit", "3")
        assert len(here.json(verb, "list", "tiny")) == 3
    for number in (1, 2, 3):
        key = SigningKey(bytes([number]) * 32).public
        here("device", "add", device_id(key), key.hex())
    assert here("device", "list").splitlines()[-1] == "the first 2; --limit N lists more"
    assert len(here.json("device", "list")) == 3


def test_model_weights_writes_what_the_hash_names(here: Here) -> None:
    here.add_task()
    rows = here.json("model", "list", "tiny")
    assert [(row["version"], row["round"]) for row in rows] == [(1, 0)]
    said = here("model", "weights", "tiny", "model.bin")
    assert "model 1" in said
    stored = Path("broker-state/models") / rows[0]["model_hash"]
    assert Path("model.bin").read_bytes() == stored.read_bytes()


# --- exit codes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", EXITS, ids=lambda kind: kind.__name__)
def test_an_error_that_was_foreseen_has_no_traceback(
    here: Here, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(_args: object) -> Exit:
        raise error("so it is")

    monkeypatch.setattr("fedling_broker.commands.task.list_", fail)
    assert here("task", "list", code=EXITS[error]) == "fedling-broker: so it is\n"


def test_a_locked_database_is_try_later(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedling_protocol.disk.durable.BUSY_S", 0.01)
    here.add_task()
    other = sqlite3.connect("broker-state/fedling-broker.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "another process is writing" in here("task", "pause", "tiny", code=Exit.TRY_LATER)
    other.close()


def test_serve_alone_in_its_state_directory(here: Here) -> None:
    with lock.exclusive(Path("broker-state"), PROGRAM):
        said = here("serve", code=Exit.TRY_LATER)
    assert f"broker-state: in use by another fedling-broker (pid {os.getpid()})" in said


def test_serve_ends_in_good_order_and_begins_anew_in_the_same_process(here: Here) -> None:
    """By SIGHUP, which `systemctl reload` sends; a wrong configuration changes nothing."""
    with Manager() as manager:
        serve = [sys.executable, "-m", "fedling_broker.cli", "serve", "--config", "broker.toml"]
        with subprocess.Popen(serve, env=os.environ | manager.environment) as process:
            manager.hear("READY=1")
            file, sound = Path("broker.toml"), Path("broker.toml").read_text()
            file.write_text(sound.replace("port = ", "prot = "))
            process.send_signal(signal.SIGHUP)
            manager.hear("STATUS=not reloaded: broker.toml: mqtt.prot")
            file.write_text(sound)
            process.send_signal(signal.SIGHUP)
            manager.hear("RELOADING=1")
            manager.hear("READY=1")
            process.send_signal(signal.SIGTERM)
            manager.hear("STOPPING=1")
            assert process.wait(PATIENCE_S) == Exit.OK


@pytest.mark.parametrize("words", [[], ["round"], ["task", "add"], ["round", "verify"], ["no"]])
def test_a_wrong_command_line_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(words)
    assert error.value.code == Exit.USAGE
    assert "usage: fedling-broker" in capsys.readouterr().err


def test_help_imports_neither_numpy_nor_paho() -> None:
    code = (
        "import sys, fedling_broker.cli as c; c.build_parser().format_help();"
        "print([m for m in ('numpy', 'paho', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
