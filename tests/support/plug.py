"""Pulls the plug of a training agent, and sees what it still does."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fedling_native import Layer, dense
from fedling_protocol.wire.messages import Model
from fedling_sim.world import Weather
from tests.support.agent import GOOD, Agent, rows
from tests.support.aggregator import FakeAggregator, make_model

# The largest that the wire allows: hundreds of milliseconds a batch of 256.
SLOW_LAYERS = (
    dense(1000, 1180, relu=True),
    *[dense(1180, 1180, relu=True)] * 5,
    dense(1180, 3),
)
WIDE_LAYERS = (dense(1000, 1180, relu=True), dense(1180, 3))
BATCH = 256
ONE_BATCH = 0.001  # a duty: whatever a batch costs here, the second is a thousand times as far off
WINDOWS = 2048
UNPLUGGED = Weather(mains=False, battery=20, temperature=40, network=True)
POLL_S = 0.002


@dataclass(frozen=True, slots=True)
class Pull:
    """What happened after the change was readable."""

    steps: int  # batches
    cpu_s: float  # of agent and child while it was watched


def model(layers: tuple[Layer, ...]) -> Model:
    """A model whose windows overlap, so that few rows make many."""
    made = make_model(layers)
    return replace(made, spec=replace(made.spec, stride=1))


def prepare(agent: Agent, aggregator: FakeAggregator) -> None:
    """Enrolled, with WINDOWS windows, running."""
    aggregator.certify(bytes.fromhex(agent.json("init")["key"]))
    agent.run("ingest", "wrist", text=rows(4, WINDOWS // 4 - 1 + 500))
    agent.start()


def done(agent: Agent) -> int:
    """The child's step counter, as far as it has told."""
    task = agent.status().get("tasks", {}).get("watch", {})
    return int((task.get("progress") or {}).get("done", 0))


def pull(agent: Agent, aggregator: FakeAggregator, watch_s: float) -> Pull:
    """Unplug in training; returns when the agent has paused and watch_s have passed."""
    first = cpu(agent)
    agent.world.show(UNPLUGGED)
    end = time.monotonic() + watch_s  # nothing tells that nothing happens: a while is watched
    before = done(agent)  # a batch that ends now began before the change
    last = dict(first)
    while time.monotonic() < end:  # a child that ends takes its counter with it
        last |= cpu(agent)
        time.sleep(POLL_S)  # so its last value is read this often
    aggregator.until(lambda: agent.status()["child"] is None)
    return Pull(done(agent) - before, sum(last[pid] - first.get(pid, 0) for pid in last) / 1e9)


def plug_in(agent: Agent) -> None:
    agent.world.show(GOOD)


def cpu(agent: Agent) -> dict[int, int]:
    """Nanoseconds of the agent and of its child, by process; a child that has ended is missing."""
    assert agent.process is not None
    found = {}
    for pid in tree(agent.process.pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            found[pid] = cpu_ns(pid)
    return found


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
