"""Pulls the plug of a training agent twenty times.

batch_ms     wall clock of a batch (a net that the wire just allows)
pulls        how often
worst_steps  batches that ended after the change was readable, the most of all pulls
worst_cpu_ms CPU of agent and child in the 2 s after, the most of all pulls
within       pulls with at most one batch and at most one batch's CPU + 60 ms
"""

import tempfile
import time
from pathlib import Path

from bench.report import Report
from fedling_broker.mosquitto.process import Mosquitto
from tests.support import plug
from tests.support.agent import Agent
from tests.support.aggregator import FakeAggregator

PULLS = 20
WATCH_S = 2.0
BATCH = 256
ALLOWED_S = 0.060
SAMPLE = 4  # batches of undisturbed training, to know what one costs


def main() -> None:
    report = Report("plug")
    with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name) / "mosquitto") as mosquitto:
        aggregator = FakeAggregator(mosquitto.port)
        agent = Agent(Path(name) / "agent", mosquitto.port)
        try:
            measure(report, agent, aggregator)
        finally:
            agent.kill()
            aggregator.close()
    report.finish()


def measure(report: Report, agent: Agent, aggregator: FakeAggregator) -> None:
    plug.prepare(agent, aggregator)
    aggregator.offer(plug.model(plug.SLOW_LAYERS), 1, batch=BATCH, epochs=40)
    aggregator.until(lambda: plug.done(agent) >= 2)
    wall_s, cpu_s = batch_cost(agent, aggregator)
    pulls = []
    for number in range(PULLS):
        result = plug.pull(agent, aggregator, WATCH_S)
        pulls.append(result)
        report.row(pull=number + 1, steps=result.steps, cpu_ms=result.cpu_s * 1000)
        before = plug.done(agent)
        plug.plug_in(agent)
        aggregator.until(lambda least=before + 1: plug.done(agent) >= least)  # type: ignore[misc]
    good = [p for p in pulls if p.steps <= 1 and p.cpu_s <= cpu_s + ALLOWED_S]
    report.figure("batch_ms", wall_s * 1000)
    report.figure("batch_cpu_ms", cpu_s * 1000)
    report.figure("pulls", len(pulls))
    report.figure("worst_steps", max(p.steps for p in pulls))
    report.figure("worst_cpu_ms", max(p.cpu_s for p in pulls) * 1000)
    report.figure("within", len(good))


def batch_cost(agent: Agent, aggregator: FakeAggregator) -> tuple[float, float]:
    """Seconds of wall clock and of CPU that a batch takes when nobody disturbs."""
    before = plug.done(agent)
    aggregator.until(lambda: plug.done(agent) > before)  # just begun
    first, start = plug.cpu(agent), time.monotonic()
    aggregator.until(lambda: plug.done(agent) > before + SAMPLE)
    last, batches = plug.cpu(agent), plug.done(agent) - before - 1
    spent = sum(last[pid] - first.get(pid, 0) for pid in last) / 1e9
    return (time.monotonic() - start) / batches, spent / batches


if __name__ == "__main__":
    main()
