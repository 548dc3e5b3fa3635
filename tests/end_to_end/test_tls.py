"""A whole federation over mutual TLS: what the documents say, typed; real agent, real aggregator.

mosquitto knows each end by its certificate alone, and lets each do what is its own.
"""

import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.common_settings import PLAINTEXT
from fedling_protocol.exits import Exit
from fedling_protocol.runtime.loop import Loop
from tests.support.access import access_settings
from tests.support.agent import Agent, rows
from tests.support.fleet import ROOT, Aggregator
from tests.support.tools import need
from tests.support.waiting import Manager, until

DOCUMENT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
NEW = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
LABELS = {"label 0": "up", "label 1": "down", "label 2": "still"}


def examples() -> str:
    """Rows with the labels of the task that the documents name."""
    table = rows(6, 60)
    for old, new in LABELS.items():
        table = table.replace(old, new)
    return table


def block(begins: str) -> list[str]:
    """The lines of the one block that begins so."""
    pattern = rf"^```(?:toml)?\n({re.escape(begins)}.*?)^```$"
    (text,) = re.findall(pattern, DOCUMENT, re.MULTILINE | re.DOTALL)
    return str(text).splitlines()


class Fleet:
    """An authority, a mosquitto, an aggregator and devices, by the lines of docs/operations.md."""

    def __init__(self, directory: Path) -> None:
        need("mosquitto")
        need("openssl")
        self.directory = directory
        self.agents: list[Agent] = []
        (authority,) = block(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days"
        )
        self.type(authority)
        self.server, self.aggregator_line, self.device_line = block(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -CA"
        )
        self.type(self.server, "broker.local", "localhost")
        self.type(self.aggregator_line)
        self.mosquitto = Mosquitto(directory / "mosquitto", settings=self._settings())
        self.mosquitto.start()
        self.aggregator = Aggregator(directory / "aggregator", self.mosquitto.port)
        self._secure(directory / "aggregator" / "broker.toml", "aggregator")

    def type(self, line: str, old: str = "", new: str = "") -> None:
        """Run a line of the documents, with another word for one of its own."""
        words = shlex.split(line.replace(old, new) if old else line)
        subprocess.run(words, cwd=self.directory, check=True, capture_output=True)

    def _settings(self) -> list[str]:
        access_settings(
            self.directory, [r.replace("/home/", "/test/") for r in block("user aggregator")]
        )
        lines = block("listener 8883")[1:]  # a free port instead
        places = [
            ("/etc/mosquitto/certs/", f"{self.directory}/"),
            ("/etc/mosquitto/", f"{self.directory}/"),
        ]
        for old, new in places:
            lines = [line.replace(old, new) for line in lines]
        return lines

    def _secure(self, file: Path, name: str) -> None:
        """Give an end's configuration the keys of the documents."""
        keys = "\n".join(block('[mqtt]\nhost = "broker.local"')[2:]).replace("device", name)
        keys = re.sub(r'"([a-z0-9]+\.(crt|key))"', rf'"{self.directory}/\1"', keys)
        text = file.read_text().replace("tls = false\n", "")
        file.write_text(text.replace('host = "127.0.0.1"', f'host = "localhost"\n{keys}'))

    def device(self, name: str) -> Agent:
        """A device with a certificate and examples, enrolled."""
        agent = Agent(self.directory / name, self.mosquitto.port)
        agent.believe(ROOT.public)
        facts = agent.json("init")
        self.certify(facts["device"], name)
        self._secure(agent.config, name)
        self.aggregator.run("device", "add", facts["device"], facts["key"])
        agent.run("ingest", "wrist", text=examples())
        self.agents.append(agent)
        return agent

    def certify(self, device: str, name: str) -> None:
        line = self.device_line.replace("a" * 16, device)
        self.type(line, "device.", f"{name}.")

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        for agent in self.agents:
            if agent.process is not None:
                agent.kill()
            print(f"--- {agent.directory.name}\n{agent.log_text()[-3000:]}")
        self.aggregator.kill()
        print(self.aggregator.log_text()[-3000:])
        self.mosquitto.stop()
        print(self.mosquitto.log_tail(30))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path) as fleet:
        yield fleet


def accepted(agent: Agent) -> int:
    tasks = agent.status().get("tasks", {})
    return int(tasks.get("tiny", {}).get("verdicts", {}).get("accepted", 0))


def test_a_whole_federation_over_mutual_tls(fleet: Fleet, loop: Loop) -> None:
    agents = [fleet.device(name) for name in ("one", "two")]
    fleet.aggregator.add_task(rounds=2, goal=2)
    fleet.aggregator.start()
    for agent in agents:
        agent.start()
    until(lambda: all(accepted(agent) == 2 for agent in agents), loop.turn)
    connection = agents[0].status()["connection"]
    assert (connection["tls"], connection["plaintext"]) == (True, False)
    address = f"localhost:{fleet.mosquitto.port}"
    assert f"{address} by TLS, connected for" in agents[0].run("status").stdout
    assert f"connected to {address} by TLS" in agents[0].log_text()
    assert f"connected to {address} by TLS" in fleet.aggregator.log_text()
    assert "models recomputed" in fleet.aggregator.run("round", "verify", "--all")


def test_check_at_both_ends(fleet: Fleet, loop: Loop) -> None:
    """Of one id with the service: mosquitto knows who it is, whatever name it gives itself."""
    agent = fleet.device("one")
    for file in (agent.config, fleet.aggregator.directory / "broker.toml"):  # as they are out there
        file.write_text(re.sub("^(first|longest)_s = .*$", "", file.read_text(), flags=re.M))
    fleet.aggregator.add_task(rounds=1, goal=2)
    assert "lets the aggregator do what it needs" in fleet.aggregator.run("check")
    fleet.aggregator.start()
    until(lambda: "connected to" in fleet.aggregator.log_text(), loop.turn)
    agent.start()
    until(lambda: "tiny" in agent.status().get("tasks", {}), loop.turn)
    found = {r["check"]: r["says"] for r in agent.json("check")}
    assert "lets this device read, write and retain" in found["MQTT broker"]
    assert f"{fleet.directory / 'one.crt'} holds until 20" in found["MQTT broker"]
    assert f"{fleet.directory / 'aggregator.crt'} holds until 20" in fleet.aggregator.run("check")

    device = agent.json("status")["device"]
    for line, stem in ((fleet.device_line, "one"), (fleet.aggregator_line, "aggregator")):
        short = line.replace("a" * 16, device).replace("-days 825", "-days 29")
        fleet.type(short, "device.", f"{stem}.")
    found = {r["check"]: r["says"] for r in agent.json("check", code=Exit.FAILED)}
    assert found["MQTT broker"].endswith(": renew it")
    assert ": renew it" in fleet.aggregator.run("check", code=Exit.FAILED)


def test_fault_of_tls_is_what_check_and_log_say_at_both_ends(fleet: Fleet, loop: Loop) -> None:
    agent = fleet.device("one")
    words = "is not for localhost: set mqtt.host, or mqtt.server_name, to a name that is in it"
    fleet.type(fleet.server)  # for broker.local alone
    fleet.mosquitto.restart()
    assert words in fleet.aggregator.run("check", code=Exit.FAILED)
    found = {r["check"]: r["says"] for r in agent.json("check", code=Exit.FAILED)}
    assert words in found["MQTT broker"]
    fleet.aggregator.start()
    agent.start()
    until(lambda: words in fleet.aggregator.log_text(), loop.turn)
    until(lambda: words in agent.status().get("connection", {}).get("reason", ""), loop.turn)
    assert words in agent.log_text()


@pytest.mark.parametrize("which", ["agent", "aggregator"])
def test_new_certificate_is_taken_up_by_a_reload(fleet: Fleet, tmp_path: Path, which: str) -> None:
    """mosquitto sees the new one; a file that is of no use changes nothing, and is named."""
    end: Agent | Aggregator = fleet.device("one") if which == "agent" else fleet.aggregator
    certificate = tmp_path / ("one.crt" if which == "agent" else "aggregator.crt")
    with Manager() as manager:
        hear = manager.hear
        end.start(**manager.environment)
        process = end.process
        assert process is not None
        hear("READY=1")
        certificate.write_text("nonsense")
        process.send_signal(signal.SIGHUP)
        hear(f"STATUS=not reloaded: {certificate}")
        line = fleet.device_line if which == "agent" else fleet.aggregator_line
        fleet.type(re.sub("/CN=[a-z]+", "/CN=renewed", line), "device.", f"{certificate.stem}.")
        process.send_signal(signal.SIGHUP)
        hear("READY=1")
        until(lambda: "u'renewed'" in fleet.mosquitto.log_tail(1000))
        assert end.stop() == Exit.OK


def test_plain_tcp_that_was_asked_for_is_told_everywhere(tmp_path: Path, loop: Loop) -> None:
    """127.1 is this machine, which only the resolver knows: it must be asked for."""
    need("mosquitto")
    with Mosquitto(tmp_path / "mosquitto") as mosquitto:
        aggregator = Aggregator(tmp_path / "aggregator", mosquitto.port)
        agent = Agent(tmp_path / "device", mosquitto.port)
        for file in (aggregator.directory / "broker.toml", agent.config):
            file.write_text(file.read_text().replace('"127.0.0.1"', '"127.1"'))
        for said in (
            aggregator.run("check", code=Exit.BAD_CONFIG),
            agent.run("run", code=Exit.BAD_CONFIG).stderr,
        ):
            assert 'host = "127.1" is another machine' in said
            assert "allow_plaintext = true" in said
        for file in (aggregator.directory / "broker.toml", agent.config):
            text = file.read_text()
            file.write_text(text.replace("[mqtt]\n", "[mqtt]\nallow_plaintext = true\n"))
        assert PLAINTEXT in aggregator.run("check")
        aggregator.add_task()
        aggregator.start()
        told = f"connected to 127.1:{mosquitto.port}, not encrypted (mqtt.tls)"
        until(lambda: told in aggregator.log_text(), loop.turn)
        agent.believe(ROOT.public)
        agent.start()
        until(lambda: told in agent.log_text(), loop.turn)
        until(lambda: agent.status().get("connection", {}).get("connected"), loop.turn)
        assert PLAINTEXT in agent.run("status").stdout
        found = {r["check"]: r["says"] for r in agent.json("check", code=Exit.FAILED)}
        assert PLAINTEXT in found["MQTT broker"]
        agent.kill()
        aggregator.kill()
