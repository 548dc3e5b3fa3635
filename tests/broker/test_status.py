"""`fedling-broker status`: what other commands say, on one screen."""

import json
import time
from pathlib import Path

import pytest

from fedling_broker.commands.status import EVERY_S
from fedling_broker.mosquitto.process import Mosquitto
from fedling_broker.store.database import PROGRAM
from fedling_protocol.disk import lock
from fedling_protocol.exits import Exit
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.messages import State, StateCode
from tests.broker.conftest import Here
from tests.broker.test_live import IDS, LEFT, SILENT, TRAINS, say

STATE = Path("broker-state")


def test_all_of_a_fleet_is_what_other_commands_say(here: Here, mosquitto: Mosquitto) -> None:
    here.point(mosquitto.port)
    here.add_task()
    for key in (TRAINS, LEFT, SILENT):
        here("device", "add", device_id(key.public), key.public.hex())
    say(mosquitto, TRAINS, State(StateCode.TRAINING, 7), TRAINS)
    say(mosquitto, LEFT, State(StateCode.OFFLINE, 0), LEFT)
    found = here.json("status")
    assert found["devices"] == here.json("device", "list", "--live")
    assert found["tasks"] == here.json("task", "list")
    assert found["notes"] == here.json("check")["keys"]["notes"]
    assert found["mqtt"]["fault"] == ""
    assert {*found["certificates"]} == {"aggregator", "authority"}
    assert found["state_bytes"] > 0
    said = here("status")
    assert "test, 3 devices, 1 here, 1 task\n" in said
    assert IDS[0] in said
    assert "training" in said
    assert "tiny" in said
    assert IDS[2] not in here("status", "--limit", "2")


def test_what_is_wrong_is_told_on_the_same_screen(here: Here) -> None:
    """Nobody listens, nothing serves: the rest is told all the same."""
    here.add_task()
    here("device", "add", IDS[0], TRAINS.public.hex())
    here.point(1)
    found = here.json("status")
    assert "the MQTT broker does not tell: 127.0.0.1:1" in found["mqtt"]["fault"]
    assert found["serves"] is False
    assert [row["device"] for row in found["devices"]] == [IDS[0]]
    said = here("status")
    assert said.count("WRONG") == 2
    assert "fedling-broker serve does not run" in said
    with lock.exclusive(STATE, PROGRAM):
        assert here.json("status")["serves"] is True


def test_last_backup_is_the_last_whole_one(here: Here) -> None:
    here.point(1)
    here.add_task()
    assert "never: fedling-broker backup FILE" in here("status")
    here("backup", "home.fedling")
    made_s = here.json("status")["backup_s"]
    assert made_s > 0
    assert "0 days ago" in here("status")
    for path in (STATE / "models").iterdir():
        path.unlink()
    here.store().ledger.set_meta("backup_s", 1)
    with pytest.raises(AssertionError, match="missing"):  # with its words
        here("backup", "home.fedling")
    assert here.json("status")["backup_s"] == 1


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_watched_screen_is_read_anew_each_time(
    here: Here, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    here.point(1)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt
        store = here.store()
        store.ledger.set_meta("backup_s", 1)
        store.close()

    monkeypatch.setattr(time, "sleep", sleep)
    said = here("status", "--watch", *words, code=Exit.INTERRUPTED)
    assert slept == [EVERY_S, EVERY_S]
    assert "\x1b" not in said
    if words:
        lines = [json.loads(line) for line in said.splitlines()]
        assert [line["backup_s"] for line in lines] == [0, 1]
    else:
        first, second, _ = said.split("again every 10 s")
        assert "never: fedling-broker backup FILE" in first
        assert "1970-01-01" in second
