"""Owners that write down what they hear, and a small world for them."""

from collections.abc import Callable
from random import Random

from fedling_protocol.net.ports import Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime.backoff import Backoff
from fedling_sim.virtual.cable import Cable
from fedling_sim.virtual.clock import US, NodeClock, WorldClock
from fedling_sim.virtual.link import VirtualLink
from fedling_sim.virtual.mqtt import Limits, VirtualBroker
from fedling_sim.virtual.network import CALM, Network, Weather
from fedling_sim.virtual.worker import Hook

LIMIT = 10_000


class Recorder:
    """A link's owner."""

    def __init__(self, will: Will | None = None) -> None:
        self.last_will = will
        self.events: list[str] = []
        self.retries: list[float] = []
        self.messages: list[tuple[str, bytes, bool]] = []
        self.traffic = Traffic()
        self.react: Callable[[str], None] = lambda _topic: None

    def will(self) -> Will | None:
        return self.last_will

    def on_connected(self) -> None:
        self.events.append("connected")

    def on_disconnected(self, reason: str, retry_s: float) -> None:
        self.events.append(reason)
        self.retries.append(retry_s)

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        self.messages.append((topic, payload, emptied))
        self.react(topic)

    def on_traffic(self, traffic: Traffic) -> None:
        self.traffic += traffic


class End:
    """A process that is nothing but a link."""

    def __init__(
        self,
        world: "SmallWorld",
        name: str,
        will: Will | None,
        rate: float | None,
        hook: Hook | None,
    ) -> None:
        self.heard = Recorder(will)
        self.clock = NodeClock(world.clock, world.random.random() * 1e6)
        self.cable = Cable(world.network, rate, rate)
        backoff = Backoff(1.0, 60.0, world.random.random)
        self.link = VirtualLink(
            *(self.clock, self.cable, world.broker, name, 60),
            *(backoff, lambda _topic: LIMIT, self.heard, hook),
        )
        self.link.start()

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload, _ in self.heard.messages]


class SmallWorld:
    """Clock, network and broker, made from a seed."""

    def __init__(
        self, weather: Weather = CALM, limits: Limits | None = None, seed: int = 1
    ) -> None:
        self.random = Random(seed)
        self.clock = WorldClock()
        self.network = Network(self.clock, self.random, weather)
        self.broker = VirtualBroker(limits)

    def end(
        self,
        name: str,
        will: Will | None = None,
        rate: float | None = None,
        hook: Hook | None = None,
    ) -> End:
        """A link that is connected, if nothing hinders it."""
        end = End(self, name, will, rate, hook)
        self.run(1.0)
        return end

    def run(self, seconds: float) -> None:
        self.clock.run(self.clock.now_us + round(seconds * US))
