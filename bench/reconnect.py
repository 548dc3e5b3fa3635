"""All links of a fleet fail at once: how the devices come back, and what it costs the aggregator.

    reconnect_s           from the cut of 1,000 connections until the last one is back
    most_in_a_second      connections that came back within the same second, at most
    joined_s              from the cut until the last device has the answer to its new join
    aggregator_cpu_s      CPU of the aggregator meanwhile, its answers to 1,000 joins included
    restart_...           the same where the MQTT broker itself was killed and starts again, so that
                          the aggregator has to tell it everything once more

A device here is a connection with the product's own link, back-off and signatures, and no store; an
agent's first delay is drawn from 0 to 1 s. All of them share this process and its CPU with a proxy.
"""

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.report import Report
from bench.support.meters import cpu_s, own_cpu_s
from bench.support.swarm import certify, keys
from fedling_agent.config import AgentRetrySettings
from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.net.transport import PLAIN
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import InlineWorker
from fedling_protocol.wire import envelope
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_LARGE
from fedling_protocol.wire.messages import Join, Plan
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Trust
from fedling_sim.chaos.proxy import Proxy
from tests.support.fleet import ROOT, Aggregator
from tests.support.waiting import until

DEVICES = 1000
SPREAD_S = 10  # of joins, as the plan says
PATIENCE_S = 300.0
LOOK_S = 0.05  # a look is at all devices
LINKS = "devices"  # all of them, as the proxy knows them
SETTINGS = ("max_queued_messages 0", "max_inflight_messages 0", "max_connections -1")


class Light:
    """A device that keeps its connection, and asks to take part after each connect."""

    def __init__(self, loop: Loop, port: int, key: SigningKey, seed: int, spread_s: int) -> None:
        self.back_at = 0.0  # connected again
        self.answered_at = 0.0  # has a ticket
        self.connects = 0
        self._loop = loop
        self._key = key
        self._id = device_id(key.public)
        self._topics = Topics("fedling", "test")
        self._trust = Trust(self._topics, ROOT.public)
        self._dice = random.Random(seed)
        self._spread_s = spread_s
        retry = AgentRetrySettings()
        backoff = Backoff(retry.first_s, retry.longest_s, self._dice.random)
        broker = Broker("127.0.0.1", port, 300)
        client = partial(new_client, self._id, None)
        self.link = MqttLink(
            loop, InlineWorker(loop), broker, backoff, lambda _topic: MAX_LARGE, client, self, PLAIN
        )
        self.link.start()

    def will(self) -> Will | None:
        return None

    def on_connected(self) -> None:
        self.connects += 1
        self.back_at = self._loop.now()
        self.link.subscribe(self._topics.device_subscriptions(self._id))

    def on_disconnected(self, _reason: str, _retry_s: float) -> None:
        self.back_at = self.answered_at = 0.0

    def on_traffic(self, _traffic: Traffic) -> None:
        """Nobody asks."""

    def on_message(self, topic: str, payload: bytes, _emptied: bool) -> None:
        kind = self._topics.parse(topic).kind
        if kind is Kind.TICKET:
            self.answered_at = self.answered_at or self._loop.now()
        elif payload and kind in (Kind.KEYS, Kind.PLAN):
            message = self._trust.open(topic, payload).message
            if isinstance(message, Plan):
                self._loop.after(self._spread_s * self._dice.random(), partial(self._join, message))

    def _join(self, plan: Plan) -> None:
        topic = self._topics.of(Kind.JOIN, "tiny", self._id)
        join = Join(plan.plan_id, self._dice.randbytes(8), None, None)
        self.link.publish(topic, envelope.seal(join, self._topics.bound(topic), self._key))


def play(
    report: Report,
    prefix: str,
    devices: Sequence[Light],
    loop: Loop,
    aggregator: int,
    fail: Callable[[], None],
) -> None:
    """Have all links fail, wait until all devices are back and answered; write it down."""
    before, own_before, start = cpu_s(aggregator), own_cpu_s(), loop.now()
    connects = [device.connects for device in devices]
    fail()

    def back() -> bool:
        return all(d.connects > n and d.answered_at for d, n in zip(devices, connects, strict=True))

    until(back, loop.turn, look_s=LOOK_S, patience_s=PATIENCE_S)
    took_s, own_s = cpu_s(aggregator) - before, own_cpu_s() - own_before
    times = sorted(device.back_at - start for device in devices)
    most = max(Counter(int(at) for at in times).values())
    joined_s = max(device.answered_at for device in devices) - start
    report.row(
        devices=len(devices), failed=prefix.strip("_") or "links", first_s=times[0],
        median_s=times[len(times) // 2], last_s=times[-1], most_in_a_second=most,
        connects=sum(d.connects for d in devices) - sum(connects), joined_s=joined_s,
        aggregator_s=took_s, bench_s=own_s,
    )  # fmt: skip
    report.figure(f"{prefix}reconnect_s", times[-1])
    report.figure(f"{prefix}most_in_a_second", most)
    report.figure(f"{prefix}joined_s", joined_s)
    report.figure(f"{prefix}aggregator_cpu_s", took_s)


def run(report: Report, count: int, directory: Path, spread_s: int = SPREAD_S) -> None:
    """Play both failures with so many devices."""
    directory.mkdir(exist_ok=True)
    with Mosquitto(directory / "mosquitto", settings=SETTINGS) as mosquitto:
        aggregator = Aggregator(directory / "aggregator", mosquitto.port)
        fleet = keys(count)
        certify(aggregator, fleet)
        aggregator.add_task(rounds=1, goal=count, cohort=f"spread_s = {spread_s}")
        aggregator.start()
        proxy, loop = Proxy(mosquitto.port), Loop()
        try:
            port = proxy.add(LINKS)
            devices = [Light(loop, port, key, seed, spread_s) for seed, key in enumerate(fleet)]
            until(
                lambda: all(d.answered_at for d in devices),
                loop.turn, look_s=LOOK_S, patience_s=PATIENCE_S,
            )  # fmt: skip
            assert aggregator.process is not None
            pid = aggregator.process.pid

            def restart() -> None:
                mosquitto.kill()
                mosquitto.start()

            play(report, "", devices, loop, pid, lambda: proxy.end(LINKS))
            play(report, "restart_", devices, loop, pid, restart)
            stopped: list[Light] = []
            for device in devices:
                device.link.stop(None, partial(stopped.append, device))
            until(lambda: len(stopped) == len(devices), loop.turn, look_s=LOOK_S)
        finally:
            proxy.close()
            aggregator.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--devices", type=int, default=DEVICES)
    args = parser.parse_args()
    report = Report("reconnect" if args.devices == DEVICES else f"reconnect-{args.devices}")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        run(report, args.devices, Path(directory))
    report.figure("bench_wall_s", time.monotonic() - start)
    report.finish()


if __name__ == "__main__":
    main()
