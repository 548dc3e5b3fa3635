"""Run by test_full_disk.py in a mount namespace whose `device/state` is a tmpfs of a few MB.

python -m tests.end_to_end.full_disk DIRECTORY MQTT_PORT
"""

import os
import sys
from pathlib import Path

from fedling_native import dense
from fedling_protocol.exits import Exit
from tests.support.agent import Agent, rows
from tests.support.aggregator import FakeAggregator, make_model

LAYERS = (dense(40, 1000, relu=True), dense(1000, 3))  # an update of 100 kB


def fill(agent: Agent) -> Path:
    """Take what is left of the state's disk."""
    ballast = agent.state / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 512):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


def main(directory: Path, port: int) -> None:
    agent, aggregator = Agent(directory, port), FakeAggregator(port)
    try:
        scenario(agent, aggregator)
    finally:
        print(agent.log_text()[-4000:])
        if agent.process is not None:
            agent.kill()
        aggregator.close()


def scenario(agent: Agent, aggregator: FakeAggregator) -> None:
    aggregator.certify(bytes.fromhex(agent.json("init")["key"]))
    agent.run("ingest", "wrist", text=rows(6, 200))
    agent.start()
    model = make_model(LAYERS)
    first = aggregator.offer(model, 1)
    aggregator.until(lambda: receipts(agent) == [first.plan_id.hex()])

    ballast = fill(agent)
    result = agent.run("ingest", "wrist", text=rows(6, 2000, seed=2), code=Exit.CANNOT_WRITE)
    assert "the disk is full" in result.stderr, result.stderr
    second = aggregator.offer(make_model(LAYERS, version=2), 2)
    aggregator.until(lambda: "the disk is full" in agent.doing())
    assert "the disk is full" in agent.run("status").stdout
    assert receipts(agent) == [first.plan_id.hex()]
    assert agent.process is not None
    assert agent.process.poll() is None

    os.unlink(ballast)
    aggregator.until(lambda: second.plan_id.hex() in receipts(agent))
    assert agent.json("ingest", "wrist", text=rows(1, 20, seed=3))["stored"] == 20
    assert agent.stop() == Exit.OK


def receipts(agent: Agent) -> list[str]:
    """Plans whose accepted receipt the agent holds, newest first."""
    task = agent.status().get("tasks", {}).get("watch", {})
    return [r["plan"] for r in task.get("receipts", []) if r["verdict"] == "accepted"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
