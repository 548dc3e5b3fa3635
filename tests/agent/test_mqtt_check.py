"""`fedling-agent check` at a real mosquitto that refuses one thing after another."""

import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.commands import mqtt_check
from fedling_agent.config import AgentConfig
from fedling_broker.mosquitto.process import Mosquitto
from fedling_native import dense
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.disk.errors import Missing
from fedling_protocol.exits import Exit
from fedling_protocol.net import probe as probing
from fedling_protocol.net.probe import Missed
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Chunked, Rest
from tests.protocol.net.ends import FakeBroker
from tests.support.access import access_settings, password_settings
from tests.support.agent import Agent
from tests.support.aggregator import ROOT, STRANGER, TOPICS, FakeAggregator, make_model
from tests.support.small_broker import small_broker
from tests.support.tools import need

DEVICE = "a" * 16
MODEL = make_model((dense(42, 600), dense(600, 3)))  # 54 kB
WORDS = {
    "keys": "topic read fedling/1/test/keys/+",
    "plan": "topic read fedling/1/test/+/plan/+",
    "model": "topic read fedling/1/test/+/model/+",
    "ticket": f"topic read fedling/1/test/+/ticket/{DEVICE}",
    "receipt": f"topic read fedling/1/test/+/receipt/{DEVICE}",
    "join": f"topic readwrite fedling/1/test/+/join/{DEVICE}",
    "up": f"topic readwrite fedling/1/test/+/up/{DEVICE}/+/+",
    "state": f"topic readwrite fedling/1/test/state/{DEVICE}",
}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is missing after five seconds; what is there is there at once."""
    monkeypatch.setattr(probing, "WAIT_S", 5.0)


@contextmanager
def broker(
    directory: Path, settings: Sequence[str] = (), *, offers: bool = True
) -> Iterator[AgentConfig]:
    """A mosquitto that an aggregator was connected to; the configuration of a device of its."""
    need("mosquitto")
    with Mosquitto(directory / "mosquitto", settings=settings) as mosquitto:
        aggregator = FakeAggregator(mosquitto.port)
        if offers:
            aggregator.offer(MODEL, 1)
        mqtt = MqttSettings("localhost", mosquitto.port)
        yield AgentConfig(fleet=TOPICS.fleet, root_key=ROOT.public.hex(), mqtt=mqtt)
        aggregator.close()


@contextmanager
def guarded(directory: Path, *without: str, more: str = "") -> Iterator[AgentConfig]:
    """The same, where the device has a user, and may not do something."""
    password = directory / "password"
    password.write_text("sesame\n")
    password.chmod(0o600)
    rules = ["topic readwrite #", "user pi", *(r for w, r in WORDS.items() if w not in without)]
    settings = [
        *password_settings(directory, "pi", "sesame", others=True),
        *access_settings(directory, [*rules, more]),
    ]
    with broker(directory, settings) as config:
        yield replace(config, mqtt=replace(config.mqtt, user="pi", password_file=password))


def faults(config: AgentConfig) -> list[str]:
    with pytest.raises(Missed) as missed:
        mqtt_check.run(config, DEVICE)
    return missed.value.faults


def test_all_is_well(tmp_path: Path) -> None:
    with broker(tmp_path) as config:
        assert "lets this device read, write and retain" in mqtt_check.run(config, DEVICE)


def test_all_is_well_with_a_user_who_may_what_the_documents_say(tmp_path: Path) -> None:
    with guarded(tmp_path) as config:
        mqtt_check.run(config, DEVICE)


def test_configuration_of_mosquitto_in_the_documents_lets_a_device_work(tmp_path: Path) -> None:
    """Users, passwords and access list, as whoever runs a fleet copies them."""
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    (rules,) = re.findall(r"^```\n(user aggregator\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (lines,) = re.findall(r"^```\n(listener 1883\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    told = dict(line.split(" ", 1) for line in lines.splitlines())
    assert told.pop("listener") == "1883"  # a free port instead
    password_settings(tmp_path, DEVICE, "sesame")
    access_settings(tmp_path, rules.replace("/home/", "/test/").splitlines())
    (tmp_path / "passwords").rename(tmp_path / "users")
    files = {
        "/etc/mosquitto/passwords": tmp_path / "users",
        "/etc/mosquitto/access": tmp_path / "access",
    }
    settings = [f"{key} {files.get(value, value)}" for key, value in told.items()]
    password = tmp_path / "password"
    password.write_text("sesame\n")
    password.chmod(0o600)
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as mosquitto:
        mqtt = MqttSettings("localhost", mosquitto.port, user=DEVICE, password_file=password)
        config = AgentConfig(fleet=TOPICS.fleet, root_key=ROOT.public.hex(), mqtt=mqtt)
        assert all("nothing is retained on" in fault for fault in faults(config))  # nobody is there
        with pytest.raises(Missing, match=r"ot authorized|user"):
            mqtt_check.run(replace(config, mqtt=MqttSettings("localhost", mosquitto.port)), DEVICE)


def test_nothing_of_it_stays_at_the_broker(tmp_path: Path) -> None:
    with broker(tmp_path) as config:
        mqtt_check.run(config, DEVICE)
        with probing.Probe(config.mqtt, "witness") as witness:
            witness.connect()
            witness.listen(["#"])
            end = "fedling/end"
            assert witness.retains(end, end) == [True]
            topics = {topic for topic, payload in witness.heard if payload}
    assert topics == {
        end,
        TOPICS.of(Kind.KEYS, "aggregator"),
        TOPICS.of(Kind.MODEL, "watch", 1),
        TOPICS.of(Kind.PLAN, "watch", "train"),
    }


def test_plan_that_may_not_be_read(tmp_path: Path) -> None:
    with guarded(tmp_path, "plan") as config:
        (fault,) = faults(config)
    assert fault.startswith("nothing is retained on fedling/1/test/+/plan/+")
    assert "may not read there" in fault


def test_certificate_that_may_not_be_read(tmp_path: Path) -> None:
    with guarded(tmp_path, "keys") as config:
        (fault,) = faults(config)
    assert fault.startswith("nothing is retained on fedling/1/test/keys/aggregator")


def test_update_that_may_not_be_written(tmp_path: Path) -> None:
    """mosquitto acknowledges it and drops it."""
    more = f"topic read fedling/1/test/+/up/{DEVICE}/#"
    with guarded(tmp_path, "up", more=more) as config:
        (fault,) = faults(config)
    assert fault.endswith(f"let this user write and read fedling/1/test/+/up/{DEVICE}/#")


def test_no_task_yet(tmp_path: Path) -> None:
    with broker(tmp_path, offers=False) as config:
        (fault,) = faults(config)
    assert "the aggregator has no such task" in fault


def test_another_root_key(tmp_path: Path) -> None:
    with broker(tmp_path) as config:
        (fault,) = faults(replace(config, root_key=STRANGER.public.hex()))
    assert "root_key of agent.toml" in fault
    assert "root_key or fleet (test) in agent.toml is another fleet's" in fault


def test_another_fleet(tmp_path: Path) -> None:
    with broker(tmp_path) as config:
        (fault,) = faults(replace(config, fleet="tset"))
    assert "its fleet is not called tset" in fault


@pytest.mark.parametrize(
    ("limit", "why"),
    [("message_size_limit 40000", "it was dropped"), ("max_packet_size 40000", "closed")],
)
def test_message_of_the_size_that_the_task_needs(tmp_path: Path, limit: str, why: str) -> None:
    """The limit is set after the model was retained: as after an upgrade of the broker."""
    need("mosquitto")
    folder = tmp_path / "mosquitto"
    with Mosquitto(folder, persistence=True) as mosquitto:
        aggregator = FakeAggregator(mosquitto.port)
        aggregator.offer(MODEL, 1)
        aggregator.close()
        port = mosquitto.port
    with Mosquitto(folder, port, persistence=True, settings=[limit]):
        mqtt = MqttSettings("localhost", port)
        config = AgentConfig(fleet=TOPICS.fleet, root_key=ROOT.public.hex(), mqtt=mqtt)
        told = faults(config)
    assert len(told) == 1
    assert "as the tasks need it, does not pass" in told[0]
    assert "max_packet_size, message_size_limit" in told[0]
    assert ("it was dropped" in told[0]) is (why == "it was dropped")


@pytest.mark.parametrize(("each", "passes"), [(39_000, True), (41_000, False)])
def test_where_messages_are_cut_a_chunk_is_what_has_to_pass(
    tmp_path: Path, each: int, passes: bool
) -> None:
    need("mosquitto")
    with Mosquitto(tmp_path / "mosquitto", settings=["max_packet_size 40000"]) as mosquitto:
        aggregator = FakeAggregator(mosquitto.port)
        rest = Rest(1, b"h" * 32, MODEL.spec, 90_000, 60, chunked=Chunked(each, b"w" * 32))
        aggregator.say(TOPICS.of(Kind.PLAN, "watch", "train"), rest, retain=True)
        mqtt = MqttSettings("localhost", mosquitto.port)
        config = AgentConfig(fleet=TOPICS.fleet, root_key=ROOT.public.hex(), mqtt=mqtt)
        if passes:
            assert "lets this device" in mqtt_check.run(config, DEVICE)
        else:
            assert "does not pass" in faults(config)[0]
        aggregator.close()


def test_password_that_is_missing(tmp_path: Path) -> None:
    settings = password_settings(tmp_path, "pi", "sesame")
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as mosquitto:
        mqtt = MqttSettings("127.0.0.1", mosquitto.port)
        config = AgentConfig(fleet="test", root_key=ROOT.public.hex(), mqtt=mqtt)
        with pytest.raises(Missing, match=r"mqtt.user and mqtt.password_file"):
            mqtt_check.run(config, DEVICE)


def test_port_of_a_web_server() -> None:
    def talk(peer: socket.socket) -> None:
        peer.recv(100)
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with FakeBroker(talk) as web:
        mqtt = MqttSettings("127.0.0.1", web.port)
        config = AgentConfig(fleet="test", root_key=ROOT.public.hex(), mqtt=mqtt)
        with pytest.raises(Missing, match="no MQTT broker, a web server answers on this port"):
            mqtt_check.run(config, DEVICE)


def test_broker_that_retains_a_moment_after_it_acknowledges_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NATS, if it is busy: what is missing at last is the aggregator, and nothing else."""
    monkeypatch.setattr(probing, "WAIT_S", 1.0)
    with FakeBroker(small_broker(late=True)) as nats:
        (fault,) = faults(of_small_broker(nats.port))
    assert "keys/aggregator" in fault


def of_small_broker(port: int, tasks: tuple[str, ...] = ()) -> AgentConfig:
    mqtt = MqttSettings("127.0.0.1", port)
    return AgentConfig(fleet="test", root_key=ROOT.public.hex(), mqtt=mqtt, tasks=tasks)


def test_broker_that_retains_nothing_for_wildcards(tmp_path: Path) -> None:
    """RabbitMQ: no plan ever comes, unless the tasks are named."""
    with FakeBroker(small_broker(wildcards=False)) as rabbit:
        (fault,) = faults(of_small_broker(rabbit.port))
    assert 'name the tasks in agent.toml: tasks = ["..."]' in fault
    with FakeBroker(small_broker(wildcards=False)) as rabbit:
        (fault,) = faults(of_small_broker(rabbit.port, ("watch",)))
    assert "keys/aggregator" in fault  # nobody was there; wildcards do not matter


def test_subscription_that_is_refused() -> None:
    plans = "fedling/1/test/+/plan/+"
    with FakeBroker(small_broker(refused={plans})) as aedes:
        told = faults(of_small_broker(aedes.port))
    assert told[0] == (
        f"{plans}: this MQTT broker refuses the subscription; let this user read there"
    )


def test_running_service_is_not_put_off(tmp_path: Path) -> None:
    with broker(tmp_path) as config, probing.Probe(config.mqtt, DEVICE) as service:
        service.connect()
        mqtt_check.run(config, DEVICE)
        assert service.retains("t", "t") == [True]
        assert not service.lost


def test_check_has_a_line_for_each_fault(tmp_path: Path, mosquitto: Mosquitto) -> None:
    agent = Agent(tmp_path / "agent", mosquitto.port)
    agent.run("init")
    found = [r for r in agent.json("check", code=Exit.FAILED) if r["check"] == "MQTT broker"]
    assert [r["ok"] for r in found] == [False]
    assert "the aggregator was never connected here" in found[0]["says"]
    assert found[0]["says"] in agent.run("check", code=Exit.FAILED).stdout
