"""`task list` says why a round cannot end."""

from pathlib import Path

from fedling_broker.service import notices
from fedling_broker.service.holding import Notice
from fedling_protocol.wire.identity import SigningKey, device_id
from tests.broker.conftest import Here
from tests.support.rounds_on_disk import TEXT

KEYS = [SigningKey.from_seed(bytes([n]) * 32).public for n in range(1, 4)]
IDS = [device_id(key) for key in KEYS]


def add(here: Here, text: str) -> None:
    Path("tiny.toml").write_text(text)
    here("task", "add", "tiny.toml")


def hindrance(here: Here) -> str:
    return str(here.json("task", "list")[0]["hindrance"])


def enrol(here: Here, *numbers: int) -> None:
    for n in numbers:
        here("device", "add", IDS[n], KEYS[n].hex())


def test_goal_that_the_fleet_cannot_reach(here: Here) -> None:
    add(here, TEXT)
    assert hindrance(here).startswith("a round needs 3 updates, and 0 devices can send one")
    enrol(here, 0)
    assert "1 devices can send one: enrol more" in here("task", "list")
    enrol(here, 1, 2)
    assert hindrance(here) == ""


def test_named_device_that_was_removed(here: Here) -> None:
    names = ", ".join(f'"{one}"' for one in IDS)
    add(here, TEXT.replace("goal = 3", f"goal = 3\ndevices = [{names}]"))
    enrol(here, 0, 1, 2)
    assert hindrance(here) == ""
    here("device", "remove", IDS[1])
    assert hindrance(here).endswith(f"2 devices can send one; not enrolled: {IDS[1]}")


def test_paused_task_waits_for_nobody(here: Here) -> None:
    add(here, TEXT)
    here("task", "pause", "tiny")
    assert hindrance(here) == ""


def test_model_that_the_mqtt_broker_does_not_take(here: Here) -> None:
    add(here, TEXT)
    enrol(here, 0, 1, 2)
    says = "its model of 2,054,254 bytes cost the connection"
    notices.write(Path("broker-state"), {"tiny": Notice(says, 1_790_000_000.0)})
    assert f"{says}; next try at " in hindrance(here)
