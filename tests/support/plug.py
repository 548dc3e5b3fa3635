"""Pulls the plug of a training agent, and sees what it still does."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fedling_native import Layer
from fedling_protocol.messages import Model
from fedling_sim.world import Weather
from tests.support.agent import GOOD, Agent, rows
from tests.support.aggregator import FakeAggregator, make_model

# The largest that the wire allows: hundreds of milliseconds a batch.
SLOW_LAYERS = (
    Layer(1000, 1180, True),
    *[Layer(1180, 1180, True)] * 5,
    Layer(1180, 3, False),
)
BATCH = 256
BATCHES = 12
UNPLUGGED = Weather(mains=False, battery=20, temperature=40, network=True)
POLL_S = 0.002
WATCH_S = 2.0  # after the change


@dataclass(frozen=True, slots=True)
class Pull:
    """What happened after the change was readable."""

    steps: int  # batches
    cpu_s: float  # of agent and child in the 2 s after


def slow_model() -> Model:
    model = make_model(SLOW_LAYERS)
    return replace(model, spec=replace(model.spec, stride=10))


def prepare(agent: Agent, aggregator: FakeAggregator) -> None:
    """Enrolled, with BATCHES * BATCH windows, running."""
    aggregator.certify(bytes.fromhex(agent.json("init")["key"]))
    samples = (BATCH * BATCHES // 3 - 1) * 10 + 500
    agent.run("ingest", "wrist", text=rows(3, samples))
    agent.start()


def done(agent: Agent) -> int:
    """The child's step counter, as far as it has told."""
    task = agent.status().get("tasks", {}).get("watch", {})
    return int((task.get("progress") or {}).get("done", 0))


def pull(agent: Agent, aggregator: FakeAggregator) -> Pull:
    """Unplug in the middle of a batch; returns when the agent has paused and 2 s have passed."""
    agent.world.show(UNPLUGGED)
    changed = time.monotonic()
    before = done(agent)  # a batch that ends now began before the change
    cpu = cpu_until(agent, changed + WATCH_S)
    aggregator.until(lambda: agent.status()["child"] is None)
    return Pull(done(agent) - before, cpu)


def plug_in(agent: Agent) -> None:
    agent.world.show(GOOD)


def cpu_until(agent: Agent, end: float) -> float:
    """CPU seconds of agent and children from now to the end."""
    assert agent.process is not None
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    while time.monotonic() < end:
        for pid in tree(agent.process.pid):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                last[pid] = cpu_ns(pid)
                first.setdefault(pid, last[pid])
        time.sleep(POLL_S)
    return sum(last[pid] - first[pid] for pid in last) / 1e9


def tree(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    with suppress(FileNotFoundError, ProcessLookupError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from tree(int(child))


def cpu_ns(pid: int) -> int:
    """Of all threads, as the scheduler counts it."""
    return sum(
        int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
        for thread in os.listdir(f"/proc/{pid}/task")
    )
