"""One script, played against mosquitto with real links and against the virtual broker.

What each client receives must be the same, in the same order for each topic. Messages of different
topics may overtake each other: mosquitto sends what is retained in the order of its tree.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Link, Will
from fedling_protocol.net.transport import PLAIN
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import ThreadWorker
from fedling_sim.virtual.cable import Cable
from fedling_sim.virtual.clock import NodeClock
from fedling_sim.virtual.link import VirtualLink
from fedling_sim.virtual.mqtt import Limits
from fedling_sim.virtual.network import Weather
from tests.firmware_sim.virtual.ends import LIMIT, Recorder, SmallWorld
from tests.support.tools import need
from tests.support.waiting import until

PATIENCE_S = 20.0
MOST = 50_000  # bytes of a packet, where the broker has a limit
END = "end/"  # topics by which a client knows that it has heard everything before

Op = tuple[str, ...]
Heard = dict[str, list[tuple[bytes, bool]]]  # by topic


class Side(Protocol):
    """Real or virtual: makes links, and lets time pass until something is true."""

    def make_link(self, client_id: str, owner: Recorder) -> Link: ...
    def until(self, condition: Callable[[], bool]) -> None: ...
    def restart(self, keep: bool) -> None: ...


@dataclass
class RealSide:
    loop: Loop
    mosquitto: Mosquitto

    def make_link(self, client_id: str, owner: Recorder) -> Link:
        names = ThreadWorker(self.loop, "names", patient=False)
        broker = Broker("127.0.0.1", self.mosquitto.port, 60)
        backoff = Backoff(0.05, 0.05, lambda: 0.9)
        client = partial(new_client, client_id, None)
        return MqttLink(
            self.loop, names, broker, backoff, lambda _topic: LIMIT, client, owner, PLAIN
        )

    def until(self, condition: Callable[[], bool]) -> None:
        until(condition, self.loop.turn)

    def restart(self, keep: bool) -> None:
        if keep:
            self.mosquitto.restart()
        else:
            self.mosquitto.kill()
            (self.mosquitto.directory / "mosquitto.db").unlink(missing_ok=True)
            self.mosquitto.start()


@dataclass
class VirtualSide:
    world: SmallWorld

    def make_link(self, client_id: str, owner: Recorder) -> Link:
        world, backoff = self.world, Backoff(0.05, 0.05, lambda: 0.9)
        clock, cable = NodeClock(world.clock), Cable(world.network)
        return VirtualLink(
            clock, cable, world.broker, client_id, 60, backoff, lambda _topic: LIMIT, owner
        )

    def until(self, condition: Callable[[], bool]) -> None:
        def turn(_seconds: float) -> None:
            assert self.world.clock.turn(), "it never happened"

        until(condition, turn)

    def restart(self, keep: bool) -> None:
        self.world.broker.restart(keep_database=keep)


@dataclass
class Player:
    """Plays a script on one side; each operation is over when the broker has acted on it.

    root: stands before every topic and filter, so that scripts may share a broker
    """

    side: Side
    root: str = ""
    links: dict[str, Link] = field(default_factory=dict)
    owners: dict[str, Recorder] = field(default_factory=dict)
    ends: int = 0

    def play(self, script: list[Op]) -> dict[str, Heard]:
        """What each client heard. A client's id is the first letter of its name."""
        self.connect("judge", "")
        for op, *words in script:
            getattr(self, op)(*words)
        for name in self.links:
            self.settle(name)
        for name in list(self.links):
            self.leave(name)
        return {name: self.heard(owner) for name, owner in self.owners.items() if name != "judge"}

    def heard(self, owner: Recorder) -> Heard:
        topics: Heard = {}
        for topic, payload, emptied in owner.messages:
            if not topic.startswith(self.root + END):
                topics.setdefault(topic.removeprefix(self.root), []).append((payload, emptied))
        return topics

    # --- operations ---

    def connect(self, name: str, will: str) -> None:
        if name not in self.links:
            topic, _, payload = will.partition("=")
            owner = Recorder(Will(self.root + topic, payload.encode()) if will else None)
            owner = self.owners.setdefault(name, owner)
            self.links[name] = self.side.make_link(self.root + name[0], owner)
            self.links[name].start()
            self.side.until(lambda: self.links[name].connected)

    def takeover(self, name: str, other: str, will: str) -> None:
        """The other one has the same client id; the first one does not try again."""
        self.connect(other, will)
        self.side.until(lambda: not self.links[name].connected)
        self.leave(name)

    def leave(self, name: str) -> None:
        self.stop(name, None)

    def say_and_leave(self, name: str, topic: str, payload: str) -> None:
        self.stop(name, Will(self.root + topic, payload.encode()))
        self.await_retained(self.root + topic, payload.encode())

    def reconnect(self, name: str) -> None:
        """Its will is published; nothing is subscribed then."""
        if link := self.links.get(name):
            link.reconnect("the script says so")
            self.side.until(lambda: link.connected)

    def publish(self, name: str, topic: str, payload: str, retain: str) -> None:
        if link := self.links.get(name):
            done: list[bool] = []
            data = bytes(2 * LIMIT) if payload == "large" else payload.encode()
            topic = topic if topic.startswith("$") else self.root + topic
            link.publish(topic, data, retain=bool(retain), done=lambda: done.append(True))
            self.side.until(lambda: bool(done))

    def publish_too_large(self, name: str) -> None:
        """The broker closes the connection; both links blame the largest message, in words too."""
        link, owner = self.links[name], self.owners[name]
        events, count = owner.events, owner.events.count("connected")

        def blame(size: int) -> Callable[[], None]:
            return lambda: owner.messages.append((self.root + "cut", str(size).encode(), False))

        for size in (MOST, 100, MOST + 10, MOST + 5):
            link.publish("x/1", bytes(size), cut=blame(size))
        self.side.until(lambda: events.count("connected") > count)
        told = f"while {MOST + 10:,} bytes on x/1 were on their way"
        assert any(told in str(event) for event in events)

    def publish_many(self, name: str) -> None:
        for number in range(2000):
            self.links[name].publish(f"many/{number:04}", b"x" * 300, retain=True)
        self.settle(name)

    def subscribe_to_many(self, name: str) -> None:
        """Its queue has no room for more, until it has heard what was queued."""
        self.links[name].subscribe(["many/#"])
        self.side.until(lambda: len(self.owners[name].messages) >= 1020)

    def subscribe(self, name: str, *filters: str) -> None:
        if link := self.links.get(name):
            link.subscribe([self.root + x for x in filters])
            self.settle(name)

    def unsubscribe(self, name: str, *filters: str) -> None:
        if link := self.links.get(name):
            link.unsubscribe([self.root + x for x in filters])
            self.settle(name)

    def restart(self, keep: str) -> None:
        before = {name: owner.events.count("connected") for name, owner in self.owners.items()}
        self.side.restart(bool(keep))
        for name in self.links:
            events, count = self.owners[name].events, before[name]
            self.side.until(lambda e=events, c=count: e.count("connected") > c)  # type: ignore[misc]

    # --- how they are awaited ---

    def stop(self, name: str, last_word: Will | None) -> None:
        if link := self.links.pop(name, None):
            done: list[bool] = []
            link.stop(last_word, lambda: done.append(True))
            self.side.until(lambda: bool(done))
            if "judge" in self.links:  # else who comes at once under that id finds the old one
                self.settle("judge")

    def settle(self, name: str) -> None:
        """Until the client has heard everything that was sent to it before."""
        self.ends += 1
        link, topic = self.links[name], f"{self.root}{END}{self.ends}"
        link.subscribe([topic])
        link.publish(topic, b"x")
        self.side.until(lambda: any(m[0] == topic for m in self.owners[name].messages))
        link.unsubscribe([topic])

    def await_retained(self, topic: str, payload: bytes) -> None:
        """The judge looks again and again."""
        owner = self.owners["judge"]
        while (topic, payload, False) not in owner.messages:
            self.subscribe("judge", topic.removeprefix(self.root))
        self.links["judge"].unsubscribe([topic])


SCRIPTS: dict[str, list[Op]] = {
    "retained comes on each subscribe, and is emptied": [
        ("connect", "a", ""),
        ("connect", "b", ""),
        ("publish", "a", "x/1", "one", "r"),
        ("subscribe", "b", "x/1"),
        ("subscribe", "b", "x/1"),
        ("publish", "a", "x/1", "two", "r"),
        ("publish", "a", "x/1", "three", ""),
        ("subscribe", "b", "x/+"),
        ("publish", "a", "x/1", "", "r"),
        ("subscribe", "b", "x/1"),
        ("reconnect", "b"),
        ("subscribe", "b", "#"),
    ],
    "wildcards": [
        ("connect", "a", ""),
        ("connect", "b", ""),
        ("connect", "c", ""),
        ("subscribe", "a", "x/+/z", "x/#"),
        ("subscribe", "b", "+/y/+", "+/+"),
        ("subscribe", "c", "#"),
        ("publish", "a", "x", "1", ""),
        ("publish", "a", "x/y", "2", "r"),
        ("publish", "a", "x/y/z", "3", "r"),
        ("publish", "a", "x/y/z/w", "4", ""),
        ("publish", "a", "/y/", "5", "r"),
        ("publish", "a", "$x/y", "6", ""),
        ("subscribe", "b", "+/y/#", "x/y/z"),
        ("publish", "c", "x/y/z", "7", ""),
        ("unsubscribe", "b", "x/y/z", "never/subscribed"),
        ("publish", "c", "x/y/z", "8", ""),
        ("unsubscribe", "a", "x/#"),
        ("publish", "c", "x/y/z", "9", ""),
    ],
    "wills and takeovers": [
        ("connect", "w", ""),
        ("subscribe", "w", "state/+"),
        ("connect", "a", "state/a=gone"),
        ("reconnect", "a"),
        ("publish", "a", "state/a", "here", "r"),
        ("leave", "a"),
        ("connect", "b1", "state/b1=gone"),
        ("takeover", "b1", "b2", "state/b2=gone"),
        ("publish", "b2", "state/b2", "here", "r"),
        ("subscribe", "w", "state/+"),
        ("say_and_leave", "b2", "state/b2", "bye"),
        ("subscribe", "w", "state/b2"),
    ],
    "restart with the database": [
        ("connect", "a", "state/a=gone"),
        ("publish", "a", "x/1", "one", "r"),
        ("publish", "a", "state/a", "here", "r"),
        ("subscribe", "a", "x/2"),
        ("restart", "k"),
        ("publish", "a", "x/2", "two", ""),
        ("subscribe", "a", "#"),
    ],
    "restart without": [
        ("connect", "a", "state/a=gone"),
        ("publish", "a", "x/1", "one", "r"),
        ("restart", ""),
        ("subscribe", "a", "#"),
        ("publish", "a", "x/1", "two", "r"),
    ],
    "a packet beyond the client's limit comes in empty": [
        ("connect", "a", ""),
        ("connect", "b", ""),
        ("subscribe", "b", "x/#"),
        ("publish", "a", "x/1", "large", "r"),
        ("publish", "a", "x/1", "small", ""),
        ("subscribe", "b", "x/1"),
    ],
    "a packet beyond the broker's limit costs the connection": [
        ("connect", "w", ""),
        ("subscribe", "w", "#"),
        ("connect", "a", "state/a=gone"),
        ("publish_too_large", "a"),
        ("publish", "a", "x/1", "small", ""),
    ],
}


@contextmanager
def real(directory: Path) -> Iterator[RealSide]:
    need("mosquitto")
    loop = Loop()
    defaults = ["max_queued_messages 1000", "max_inflight_messages 20"]
    settings_ = [f"max_packet_size {MOST}", *defaults]
    with Mosquitto(directory, persistence=True, settings=settings_) as mosquitto:
        yield RealSide(loop, mosquitto)
    loop.close()


def virtual(latency_s: float = 0.001) -> VirtualSide:
    return VirtualSide(SmallWorld(Weather(latency_s), Limits(packet=MOST, queue=1000)))


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_heard_as_from_mosquitto(name: str, tmp_path: Path) -> None:
    heard = Player(virtual()).play(SCRIPTS[name])
    with real(tmp_path) as side:
        assert heard == Player(side).play(SCRIPTS[name])
    assert sum(len(messages) for topics in heard.values() for messages in topics.values()) >= 1


def test_queue_of_a_client_holds_as_many_as_mosquitto(tmp_path: Path) -> None:
    """2,000 retained messages at once for one client: it gets 20 in flight and 1,000 queued."""
    script: list[Op] = [("connect", "a", ""), ("publish_many", "a"), ("connect", "b", "")]
    script += [("subscribe_to_many", "b")]
    heard = Player(virtual()).play(script)
    assert len(heard["b"]) == 1020
    with real(tmp_path) as side:
        assert heard["b"].keys() == Player(side).play(script)["b"].keys()


NAMES = st.sampled_from(["a", "b", "c"])
TOPICS = st.lists(st.sampled_from(["x", "y", ""]), min_size=1, max_size=3).map("/".join)
LEVELS = st.lists(st.sampled_from(["x", "y", "+"]), min_size=1, max_size=3).map("/".join)
FILTERS = LEVELS | LEVELS.map(lambda text: text + "/#")
OPS = st.one_of(
    st.tuples(st.just("connect"), NAMES, TOPICS.map(lambda topic: f"s/{topic}=gone")),
    st.tuples(st.just("reconnect"), NAMES),
    st.tuples(st.just("leave"), NAMES),
    st.tuples(st.just("publish"), NAMES, TOPICS, st.sampled_from(["1", "2", ""]), st.just("r")),
    st.tuples(st.just("publish"), NAMES, TOPICS, st.sampled_from(["3", "4", ""]), st.just("")),
    st.tuples(st.just("subscribe"), NAMES, FILTERS),
    st.tuples(st.just("subscribe"), NAMES, FILTERS, FILTERS),
    st.tuples(st.just("unsubscribe"), NAMES, FILTERS),
)
START: list[Op] = [("connect", name, f"s/{name}=gone") for name in ("a", "b", "c")]


def test_random_scripts_are_heard_as_from_mosquitto(tmp_path: Path) -> None:
    with real(tmp_path) as side:
        roots = (f"{number}/" for number in range(10**9))

        @settings(max_examples=60)
        @given(st.lists(OPS, max_size=25))
        def compare(script: list[Op]) -> None:
            root = next(roots)
            script = START + script
            assert Player(virtual(), root).play(script) == Player(side, root).play(script)

        compare()
