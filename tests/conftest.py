"""Fixtures for every test."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.runtime.loop import Loop
from tests.support.tools import need

# No deadline: a test says nothing about speed. In CI the same examples for the same commit.
hypothesis.settings.register_profile("fedling", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("fedling")

# What is ignored stays so in a child: under nohup, or behind a & in a script, it is ignored here,
# and no service that a test starts could be ended by it. A handler is of this process alone.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked so is first: one process begins with it while others go on to all else."""
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what passed tests counted: record_property("counted", words)."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "counted":
                terminalreporter.write_line(value)


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A real MQTT broker of this test's own, started, on 127.0.0.1:mosquitto.port."""
    need("mosquitto")
    larger = ["max_packet_size 100000000"]  # than any message of ours: both ends bound it, too
    with Mosquitto(tmp_path / "mosquitto", settings=larger) as broker:
        yield broker
    print(broker.log_tail(30))  # pytest shows it when the test fails
