"""A real `fedling-agent run` on a large store, watched from outside while it does everything.

Somebody streams rows into it and asks for status and predictions, a round comes, it counts,
freezes 65,536 windows, trains a little, sends. The service feeds its watchdog from its loop every
10 ms, and a gap that is longer is a time in which the loop did nothing else that was due either.
Whatever else runs on the machine makes gaps, too: the same loop with nothing to do shows those.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.support.meters import ServiceManager, peak_bytes
from fedling_agent.service.control import Client, Json, RequestFailed
from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.wire.messages import Model
from tests.support.agent import Agent
from tests.support.aggregator import FakeAggregator

STREAM = """
name = "wrist"
[[channel]]
name = "x"
unit = "g"
resolution = 0.001
"""
QUIET_S = 3.0
PATIENCE_S = 300.0
ROWS = 50  # in a piece of the stream


@dataclass(frozen=True, slots=True)
class Seen:
    """What one device showed."""

    stall_s: float  # the longest, from the plan to the receipt
    idle_stall_s: float  # the same while nothing was to be done
    peak_mb: float
    round_s: float
    pieces: int  # streamed into it meanwhile


def watch(directory: Path, fill: Callable[[Path], None], model: Model, window: int) -> Seen:
    """fill: writes the store into a state directory."""
    with Mosquitto(directory / "mosquitto") as mosquitto, ServiceManager() as manager:
        aggregator = FakeAggregator(mosquitto.port)
        agent = Agent(directory / "device", mosquitto.port, settings="store.bytes = 1073741824")
        (agent.directory / "wrist.toml").write_text(STREAM)
        agent.state.mkdir(mode=0o700)
        fill(agent.state)
        aggregator.certify(bytes.fromhex(agent.json("init")["key"]))
        agent.start(**manager.environment)
        try:
            aggregator.until(lambda: agent.status().get("connection", {}).get("connected"))
            return _measure(aggregator, agent, manager, model, window)
        finally:
            agent.stop()


def _measure(
    aggregator: FakeAggregator, agent: Agent, manager: ServiceManager, model: Model, window: int
) -> Seen:
    assert agent.process is not None
    idle_from = time.time()
    aggregator.until(lambda: time.time() > idle_from + QUIET_S)
    idle_to = time.time()
    sensor = _Sensor(agent.state, window)
    begun = time.time()
    sensor.start()
    aggregator.offer(model, 1, min_examples=60_000, batch=256, holdout=200, holdout_block=2000)
    aggregator.until(lambda: aggregator.updates, PATIENCE_S)
    ended = time.time()
    sensor.stop()
    aggregator.until(lambda: manager.fed_since(ended), PATIENCE_S)
    return Seen(
        manager.longest_stall_s(begun, ended),
        manager.longest_stall_s(idle_from, idle_to),
        peak_bytes(agent.process.pid) / 2**20,
        ended - begun,
        sensor.pieces,
    )


class _Sensor(threading.Thread):
    """Streams rows, asks what goes on, and has windows predicted as soon as there is a model."""

    def __init__(self, state: Path, window: int) -> None:
        super().__init__(daemon=True)
        self._state = state
        self._lines = ["x\n", *(f"{n / 1000:.3f}\n" for n in range(window))]
        self._ended = threading.Event()
        self.pieces = 0

    def run(self) -> None:
        with Client(self._state) as client:
            form: Json = {"do": "ingest", "stream": "wrist", "form": "csv"}
            header = ["recording,label,x\n"]
            while not self._ended.wait(0.05):
                lines = header + [f"sensor,up,{n / 1000:.3f}\n" for n in range(ROWS)]
                header = []
                client.ask(form | {"lines": lines})
                client.ask({"do": "status"})
                self._predict(client)
                self.pieces += 1

    def _predict(self, client: Client) -> None:
        request: Json = {"do": "predict", "task": "watch", "form": "csv", "lines": self._lines}
        with suppress(RequestFailed):  # there is no model yet
            client.ask(request)

    def stop(self) -> None:
        self._ended.set()
        self.join()
