"""A device whose commands are answered by its service, or do it themselves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_protocol.exits import Exit
from tests.support.agent import Agent

NOWHERE = 1  # a port that nobody listens on


@pytest.fixture(params=[True, False], ids=["service", "alone"])
def agent(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Agent]:
    agent = Agent(tmp_path / "device", NOWHERE)
    agent.run("init")
    if request.param:
        agent.serve()
    yield agent
    if agent.process is not None:
        assert agent.stop() == Exit.OK
    assert "Traceback" not in agent.log_text()
