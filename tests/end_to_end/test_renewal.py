"""Certificates over months, in seconds: real agent, real aggregator and authority, real mosquitto.

Only what Python takes for the date is another one; mosquitto and OpenSSL have the real one.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.commands.test_enroll import CRASH, points
from tests.end_to_end.test_up import Home, end, invite
from tests.support.agent import TASK, rows
from tests.support.clock import sitecustomize as clock
from tests.support.crash import sitecustomize as crash
from tests.support.tools import SYSTEM_PATH, need
from tests.support.waiting import PATIENCE_S

DAY_S = 86_400
OWN = ("--config", "kitchen/agent.toml")


class House(Home):
    """A server and one device, each with a date of its own. environment: of what starts next"""

    def __init__(self) -> None:
        super().__init__()
        self.environment: dict[str, str] = {}

    def _environment(self, path: str) -> dict[str, str]:
        return super()._environment(path) | self.environment

    def at(self, *, days: float = 0.0, unix: float | None = None) -> None:
        """What starts next has this date: so many days from now, or this one."""
        folder = str(Path(clock.__file__).parent)
        self.environment = {
            "PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
        }
        if unix is not None:
            self.environment[clock.AT] = str(unix)
        else:
            self.environment[clock.SHIFT] = str(days * DAY_S)

    def serve(self, times: int = 1) -> subprocess.Popen[bytes]:
        server = self.up("--task", "watch.toml")
        self.until(lambda: self.said("up.log").count("connected to") == times)
        return server

    def enroll(self) -> None:
        (self.path / "kitchen").mkdir()
        words = (*OWN, "--state", "kitchen/state", "--name", "kitchen")
        self.run("fedling_agent.cli", "enroll", invite(self), *words)
        self.run("fedling_agent.cli", "stream", "add", "day.csv", "--name", "wrist", *OWN)

    def device(self) -> subprocess.Popen[bytes]:
        return self.start("fedling_agent.cli", "run", *OWN, log="kitchen.log", path=SYSTEM_PATH)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("fedling_agent.cli", "status", "--json", *OWN))
        return found

    @property
    def pair(self) -> bytes:
        return (self.path / "kitchen" / "state" / "tls.pem").read_bytes()


@pytest.fixture
def house() -> Iterator[House]:
    need("mosquitto")
    made = House()
    made.write("watch.toml", TASK)
    made.write("day.csv", rows(12, 40))
    try:
        yield made
    finally:
        made.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE_S)


@pytest.mark.long
def test_device_renews_by_itself_and_comes_back_with_the_new_pair(house: House) -> None:
    server = house.serve()
    house.enroll()
    first, until_s = house.pair, house.status()["certificate"]["until_s"]
    house.at(days=70)  # past two thirds of 90
    device = house.device()
    house.until(lambda: "was renewed" in house.said("kitchen.log"))
    house.until(lambda: house.pair != first)
    stop(device)
    house.at()
    assert house.status()["certificate"]["until_s"] >= until_s
    device = house.device()
    house.until(lambda: house.said("kitchen.log").count("connected to") == 2)
    stop(device)
    end(house, server, signal.SIGTERM)


@pytest.mark.long
def test_device_whose_certificate_is_over_and_whose_clock_is_in_1970_comes_back(
    house: House,
) -> None:
    """A winter in a drawer, a board without a battery, and nobody there."""
    server = house.serve()
    house.enroll()
    end(house, server, signal.SIGTERM)
    house.at(days=200)
    server = house.serve(2)
    house.at(unix=1000.0)
    device = house.device()
    house.run("fedling_agent.cli", "ingest", "wrist", "day.csv", *OWN)
    house.until(lambda: "was renewed" in house.said("kitchen.log"))
    certificate = house.status()["certificate"]
    assert certificate["name"] == "kitchen"
    assert certificate["issued_s"] > 1_000_000_000
    house.at(days=200)
    stop(device)
    end(house, server, signal.SIGTERM)


@pytest.mark.long
def test_real_authority_answers_again_wherever_the_device_was_killed(house: House) -> None:
    """The same command goes on: one token for one device is never used up by its own kills."""
    server = house.serve()
    path = os.pathsep.join([str(CRASH), os.environ.get("PYTHONPATH", "")])

    def killed(name: str, token: str, at: int) -> None:
        words = ("enroll", token, "--config", f"{name}/a.toml", "--state", f"{name}/state")
        count = house.path / f"points-{name}"
        house.environment = {"PYTHONPATH": path, crash.COUNT: str(count), crash.AT: str(at)}
        process = house.start("fedling_agent.cli", *words, log=f"{name}.log")
        code = process.wait(PATIENCE_S)
        house.environment = {}
        assert code == (-signal.SIGKILL if at else 0), house.said(f"{name}.log")
        if at:
            assert "in home" in house.run("fedling_agent.cli", *words)

    killed("whole", invite(house), 0)
    names = points(house.path / "points-whole")
    interesting = [n for n, name in enumerate(names, 1) if "commit" not in name][::3]
    for number in interesting:
        killed(f"k{number}", invite(house), number)
    listed = json.loads(house.run("fedling_broker", "device", "list", "--json"))
    assert len(listed) == 1 + len(interesting)
    end(house, server, signal.SIGTERM)
