"""A fake aggregator on a real mosquitto, and real agents that are ended whatever happens."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from tests.support.agent import Agent
from tests.support.aggregator import FakeAggregator


@pytest.fixture
def aggregator(mosquitto: Mosquitto) -> Iterator[FakeAggregator]:
    aggregator = FakeAggregator(mosquitto.port)
    yield aggregator
    aggregator.close()


@pytest.fixture
def make_agent(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Callable[..., Agent]]:
    """make_agent(name, **options of Agent) -> Agent, on this test's mosquitto."""
    agents: list[Agent] = []

    def make(name: str = "device", port: int = 0, **options: object) -> Agent:
        agent = Agent(tmp_path / name, port or mosquitto.port, **options)  # type: ignore[arg-type]
        agents.append(agent)
        return agent

    yield make
    for agent in agents:
        if agent.process is not None:
            agent.kill()
        print(f"--- {agent.directory.name}\n{agent.log_text()[-5000:]}")
