"""MQTT over WebSockets at a real MQTT broker, NATS, and with a real web server before it, nginx."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import free_port
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.disk.errors import Missing
from fedling_protocol.exits import Exit
from fedling_protocol.net import upgrade
from fedling_protocol.net.probe import Probe
from fedling_protocol.runtime.loop import Loop
from fedling_sim.chaos.fault import Fault
from fedling_sim.chaos.proxy import Proxy
from tests.end_to_end.test_tls import accepted, examples
from tests.support.agent import Agent
from tests.support.certificates import Authority
from tests.support.fleet import ROOT, TASK, Aggregator
from tests.support.waiting import until
from tests.support.web import Nats, Nginx, password

DOCUMENT = (Path(__file__).parents[2] / "docs/brokers.md").read_text()
LARGE = "layers = [16000, 3]"  # 176,000 weights: 176 kB of model, 352 kB of update
HALF = 100_000  # bytes: in the middle of either


class Fleet:
    """An MQTT broker with WebSockets over TLS, an aggregator with a user there, and devices."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority(directory / "ca")
        self.server = self.authority.server()
        self.agents: list[Agent] = []
        self.nats = Nats(directory / "nats", ("aggregator", "one", "two"), self.server)
        self.nats.start()
        self.proxy = Proxy(self.nats.port)
        self.aggregator = Aggregator(directory / "aggregator", self.nats.port)
        self.let_in(self.aggregator.directory / "broker.toml", "aggregator")

    def let_in(self, file: Path, user: str) -> None:
        """Have an end go over WebSockets, with a user and a password."""
        secret = file.with_name("mqtt-password")
        secret.touch(0o600)
        secret.write_text(f"{password(user)}\n")
        keys = {"websocket_path": "/mqtt", "user": user, "password_file": str(secret)}
        change(file, keys | {"ca_file": str(self.authority.certificate), "tls": True})

    def device(self, name: str, port: int) -> Agent:
        agent = Agent(self.directory / name, port)
        agent.believe(ROOT.public)
        self.let_in(agent.config, name)
        facts = agent.json("init")
        self.aggregator.run("device", "add", facts["device"], facts["key"])
        agent.run("ingest", "wrist", text=examples())
        self.agents.append(agent)
        return agent

    def close(self) -> None:
        for agent in self.agents:
            if agent.process is not None:
                agent.kill()
        self.aggregator.kill()
        self.proxy.close()
        self.nats.kill()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    made.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def change(file: Path, keys: Mapping[str, object]) -> None:
    """Set keys of [mqtt], in the place of those that are there."""
    text = file.read_text()
    for key, value in keys.items():
        text = re.sub(rf"^{key} = .*\n", "", text, flags=re.MULTILINE)
        written = str(value).lower() if isinstance(value, bool | int) else f'"{value}"'
        text = text.replace("[mqtt]\n", f"[mqtt]\n{key} = {written}\n")
    file.write_text(text)


def test_a_whole_federation_with_large_messages_and_a_link_that_is_cut_within_them(
    fleet: Fleet, loop: Loop
) -> None:
    """In the middle of updates, in the middle of models, and everywhere since NATS is killed."""
    one, two = (fleet.device(name, fleet.proxy.add(name)) for name in ("one", "two"))
    fleet.proxy.show("one", Fault(up_bytes=HALF, times=2))
    fleet.proxy.show("two", Fault(down_bytes=HALF, times=2))
    file = fleet.aggregator.directory / "tiny.toml"
    task = TASK.format(rounds=3, goal=2, cohort="")
    file.write_text(task.replace("layers = [5, 3]", LARGE) + "\n[compression]\noff = true\n")
    fleet.aggregator.run("task", "add", str(file))
    fleet.aggregator.start()
    for agent in (one, two):
        agent.start()
    until(lambda: accepted(one) == accepted(two) == 1, loop.turn)
    fleet.nats.kill()
    fleet.nats.start()
    until(lambda: accepted(one) == accepted(two) == 3, loop.turn)
    assert "models recomputed" in fleet.aggregator.run("round", "verify", "--all")
    assert "by WebSockets and TLS" in one.log_text()
    assert all(fleet.proxy.traffic(name).connections > 3 for name in ("one", "two"))


# --- nginx before it, by the lines of docs/brokers.md --------------------------------------------


class Web:
    """The `server` of the documents, with its backend, certificate and port changed."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.port = free_port()
        self.backend = Nats(directory / "backend", ("aggregator", "one"), None)
        self.backend.start()
        (block,) = re.findall(r"^```\n(server \{.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
        changes = {
            "listen 443": f"listen 127.0.0.1:{self.port}",
            "/etc/ssl/certs/broker.example.pem": str(fleet.server.certificate),
            "/etc/ssl/private/broker.example.key": str(fleet.server.key),
            "127.0.0.1:9001": f"127.0.0.1:{self.backend.port}",
        }
        for old, new in changes.items():
            assert old in block
            block = block.replace(old, new)
        self.nginx = Nginx(directory / "nginx", block, self.port)
        self.nginx.start()


@pytest.fixture
def web(fleet: Fleet, tmp_path: Path) -> Iterator[Web]:
    made = Web(fleet, tmp_path)
    yield made
    made.nginx.kill()
    made.backend.kill()


def test_check_at_both_ends_tries_it_and_says_what_the_web_server_says(
    fleet: Fleet, web: Web
) -> None:
    agent, broker = fleet.device("one", web.port), fleet.aggregator.directory / "broker.toml"
    change(broker, {"port": web.port})
    fleet.aggregator.add_task()
    fleet.aggregator.start()
    until(lambda: "connected to" in fleet.aggregator.log_text())
    assert "lets the aggregator do what it needs" in fleet.aggregator.run("check")
    assert _of_broker(agent) == (
        f"127.0.0.1:{web.port} lets this device read, write and retain what it needs"
    )
    for file in (agent.config, broker):
        change(file, {"websocket_path": "/other"})
    said = (
        f"127.0.0.1:{web.port}: /other at the web server 127.0.0.1:{web.port} says HTTP 404 Not "
        "Found: nothing is there: set mqtt.websocket_path to what the web server or MQTT broker "
        "calls it"
    )
    assert _of_broker(agent) == said
    assert said in fleet.aggregator.run("check", code=Exit.FAILED)


def _of_broker(agent: Agent) -> str:
    rows = agent.json("check", code=Exit.FAILED)  # since no service runs
    (says,) = [row["says"] for row in rows if row["check"] == "MQTT broker"]
    return str(says)


def test_each_fault_on_the_way_is_told_with_the_way_out(
    fleet: Fleet, web: Web, tmp_path: Path
) -> None:
    """At TLS, at HTTP, behind it, at MQTT."""
    good = MqttSettings(
        "127.0.0.1",
        web.port,
        websocket_path="/mqtt",
        user="one",
        password_file=_secret(tmp_path / "right", password("one")),
        tls=True,
        ca_file=fleet.authority.certificate,
    )
    assert _fault(good) == ""
    wrong = replace(good, password_file=_secret(tmp_path / "wrong", "sesame"))
    assert "see mqtt.user and mqtt.password_file" in _fault(wrong)
    assert "nobody who this system trusts: set mqtt.ca_file" in _fault(replace(good, ca_file=None))
    other = replace(good, server_name="other.example")
    assert "is not for other.example: set mqtt.host, or mqtt.server_name" in _fault(other)

    plain = replace(good, tls=False, ca_file=None)
    assert "says HTTP 400 Bad Request" in _fault(plain)
    assert "where it speaks TLS, set mqtt.tls = true" in _fault(plain)
    bare = replace(plain, websocket_path="")
    assert "by WebSockets it may lead to an MQTT broker" in _fault(bare)
    assert "by WebSockets it may lead to an MQTT broker" in _fault(replace(good, websocket_path=""))

    behind = replace(plain, port=web.backend.port)
    assert _fault(behind) == ""
    assert 'or by WebSockets the path "/mqtt"' in _fault(replace(behind, websocket_path="/mqtt2"))
    assert upgrade.SILENT in _fault(replace(behind, port=web.backend.mqtt_port))
    assert upgrade.NOT_HTTP in _fault(replace(behind, port=web.backend.plain_port))
    assert "speaks no TLS" in _fault(replace(good, port=web.backend.port))

    web.backend.kill()
    assert "502 Bad Gateway: it does not reach the MQTT broker behind it" in _fault(good)


def _secret(file: Path, word: str) -> Path:
    file.touch(0o600)
    file.write_text(word)
    return file


def _fault(mqtt: MqttSettings) -> str:
    """Why it is not let in; empty: it is."""
    with Probe(mqtt, "one") as probe:
        try:
            probe.connect()
        except Missing as missing:
            return str(missing)
    return ""
