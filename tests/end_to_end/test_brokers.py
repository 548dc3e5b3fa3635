"""A whole federation at an MQTT broker of somebody else: users and passwords, no certificates."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.mosquitto.passwords import Login
from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.exits import Exit
from fedling_protocol.runtime.loop import Loop
from tests.end_to_end.test_tls import accepted, block, examples
from tests.support.access import access_settings
from tests.support.agent import Agent
from tests.support.fleet import ROOT, Aggregator
from tests.support.reading import read_again
from tests.support.tools import need
from tests.support.waiting import until


class Household:
    """A mosquitto with passwords, and the access list of docs/operations.md."""

    def __init__(self, directory: Path) -> None:
        need("mosquitto")
        self.directory = directory
        self.agents: list[Agent] = []
        self.passwords = directory / "passwords"
        self.passwords.touch(0o600)
        rules = [rule.replace("/home/", "/test/") for rule in block("user aggregator")]
        settings = [*access_settings(directory, rules), "allow_anonymous false"]
        settings += ["use_username_as_clientid true", f"password_file {self.passwords}"]
        self.mosquitto = Mosquitto(directory / "mosquitto", settings=settings)
        self.mosquitto.start()
        self.aggregator = Aggregator(directory / "aggregator", self.mosquitto.port)
        self.let_in(directory / "aggregator" / "broker.toml", "aggregator")

    def let_in(self, file: Path, user: str) -> None:
        """Give an end a user, a password in a file, and both to mosquitto."""
        login = Login(user, f"secret of {user}")
        with self.passwords.open("a") as lines:
            lines.write(login.line(os.urandom(12)) + "\n")
        read_again(self.mosquitto)
        secret = file.with_name("mqtt-password")
        secret.touch(0o600)
        secret.write_text(login.password + "\n")
        keys = f'user = "{user}"\npassword_file = "{secret}"'
        file.write_text(file.read_text().replace("[mqtt]", f"[mqtt]\n{keys}"))

    def device(self, name: str) -> Agent:
        """A device with a user of its id, and examples, enrolled by hand."""
        agent = Agent(self.directory / name, self.mosquitto.port)
        agent.believe(ROOT.public)
        facts = agent.json("init")
        self.let_in(agent.config, facts["device"])
        self.aggregator.run("device", "add", facts["device"], facts["key"])
        agent.run("ingest", "wrist", text=examples())
        self.agents.append(agent)
        return agent

    def close(self) -> None:
        for agent in self.agents:
            if agent.process is not None:
                agent.kill()
        self.aggregator.kill()
        self.mosquitto.stop()


@pytest.fixture
def household(tmp_path: Path) -> Iterator[Household]:
    made = Household(tmp_path)
    yield made
    made.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_a_whole_federation_with_users_and_passwords(household: Household, loop: Loop) -> None:
    agents = [household.device(name) for name in ("one", "two")]
    household.aggregator.add_task(rounds=2, goal=2)
    household.aggregator.start()
    for agent in agents:
        agent.start()
    until(lambda: all(accepted(agent) == 2 for agent in agents), loop.turn)
    assert "models recomputed" in household.aggregator.run("round", "verify", "--all")
    logs = [household.aggregator.log_text(), *(agent.log_text() for agent in agents)]
    assert not any("secret of" in log for log in logs)


def test_check_tells_who_is_not_let_in(household: Household) -> None:
    """At both ends, with the keys to look at."""
    agent = household.device("one")
    assert "lets the aggregator do what it needs" in household.aggregator.run("check")
    household.passwords.write_text("")
    read_again(household.mosquitto)
    words = "see mqtt.user and mqtt.password_file"
    assert words in household.aggregator.run("check", code=Exit.FAILED)
    found = {row["check"]: row["says"] for row in agent.json("check", code=Exit.FAILED)}
    assert words in found["MQTT broker"]
