"""`fedling-broker check` at a real mosquitto that refuses one thing after another."""

from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.exits import Exit
from fedling_protocol.net import probe as probing
from tests.broker.conftest import Here
from tests.protocol.net.ends import FakeBroker
from tests.support.access import access_settings, password_settings
from tests.support.small_broker import small_broker

WELL: dict[str, list[str]] = {"faults": [], "notes": []}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is missing after five seconds; what is there is there at once."""
    monkeypatch.setattr(probing, "WAIT_S", 5.0)


def faults(here: Here) -> list[str]:
    return list(here.json("check", code=Exit.FAILED)["mqtt"]["faults"])


def test_all_is_well(here: Here, mosquitto: Mosquitto) -> None:
    here.point(mosquitto.port)
    here.add_task()
    assert here.json("check")["mqtt"] == WELL
    assert "lets the aggregator do what it needs" in here("check")


def test_password_of_the_file_is_shown(here: Here, tmp_path: Path) -> None:
    settings = password_settings(tmp_path, "boss", "sesame")
    (tmp_path / "secret").write_text("sesame\n")
    (tmp_path / "secret").chmod(0o600)
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as broker:
        here.point(broker.port, 'user = "boss"\npassword_file = "secret"')
        assert here.json("check")["mqtt"] == WELL
        (tmp_path / "secret").chmod(0o644)
        assert "chmod 600" in here("check", code=Exit.BAD_CONFIG)


def test_password_that_is_missing(here: Here, tmp_path: Path) -> None:
    settings = password_settings(tmp_path, "boss", "sesame")
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as broker:
        here.point(broker.port)
        (fault,) = faults(here)
    assert "mqtt.user and mqtt.password_file" in fault


def test_model_that_may_not_be_written(here: Here, tmp_path: Path) -> None:
    settings = access_settings(tmp_path, ["topic read #"])
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as broker:
        here.point(broker.port)
        (fault,) = faults(here)
    assert "let this user write and read fedling/1/test/#" in fault


@pytest.mark.parametrize("limit", ["message_size_limit 500", "max_packet_size 500"])
def test_message_of_the_size_that_the_task_needs(here: Here, tmp_path: Path, limit: str) -> None:
    with Mosquitto(tmp_path / "mosquitto", settings=[limit]) as broker:
        here.point(broker.port)
        here.add_task()
        (fault,) = faults(here)
        said = here("check", code=Exit.FAILED)
    assert "as the tasks need it, does not pass" in fault
    assert f"WRONG  {fault}" in said


def test_broker_that_retains_nothing_for_wildcards(here: Here) -> None:
    """RabbitMQ: it will do for the aggregator, but not for devices that name no tasks."""
    with FakeBroker(small_broker(wildcards=False)) as rabbit:
        here.point(rabbit.port)
        said = here("check")
    assert 'every device must name its tasks in agent.toml: tasks = ["..."]' in said


def test_subscription_that_is_refused(here: Here) -> None:
    with FakeBroker(small_broker(refused={"fedling/1/test/+/join/+"})) as aedes:
        here.point(aedes.port)
        (fault,) = faults(here)
    assert fault.startswith("fedling/1/test/+/join/+: this MQTT broker refuses the subscription")


def test_no_broker(here: Here) -> None:
    here.point(1)
    assert faults(here) == ["127.0.0.1:1: Connection refused"]
