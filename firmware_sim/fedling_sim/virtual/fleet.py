"""A whole fleet in virtual time: one aggregator, many devices, all with their real services."""

from __future__ import annotations

import gc
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path
from random import Random as Dice

from fedling_agent.config import AgentConfig
from fedling_agent.data.streams import Row, RowError, Stream
from fedling_agent.store.identity import Identity
from fedling_agent.store.store import Store as DeviceStore
from fedling_broker.config import BrokerFile, Config
from fedling_broker.rounds.state import Over
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_broker.tasks import task_file
from fedling_protocol.classes import dataclass
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.names import AGGREGATOR
from fedling_sim.virtual.aggregator import Aggregator, Desk
from fedling_sim.virtual.cable import Cable
from fedling_sim.virtual.clock import US, WorldClock
from fedling_sim.virtual.device import Board, Device, Random, Surroundings
from fedling_sim.virtual.mqtt import Limits, VirtualBroker
from fedling_sim.virtual.network import CALM, Network, Weather
from fedling_sim.virtual.node import Habits, Node
from fedling_sim.virtual.training import Pace

NAME = "virtual"  # of the fleet
MQTT = MqttSettings("localhost")
SECRET = bytes(range(32))  # of the aggregator

MakeKey = Callable[[bytes], SigningKey]

MADE_BETWEEN_COLLECTIONS = 300_000  # objects; Python's own choice is 700
MOST_AT_ONCE = 1000  # events of a node in one instant: more of them are a circle


@dataclass(frozen=True, slots=True)
class Examples:
    """What every device has stored before it is first started."""

    stream: Stream
    rows: Sequence[Row | RowError]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a fleet is. Everything that happens in it follows from this.

    tasks: texts of task files
    pace, enrolled, stocked: of a device, by its number; stocked: it has the examples
    key: makes a key of 32 bytes
    """

    devices: int
    tasks: tuple[str, ...]
    examples: Examples
    seed: int = 1
    agent: AgentConfig | None = None  # fleet and root key are filled in; None: the defaults
    weather: Weather = CALM
    limits: Limits = field(default_factory=Limits)
    keep_rounds: int = 100  # of broker.toml
    aggregator: Habits = field(default_factory=Habits)
    device: Habits = field(default_factory=Habits)
    rates: tuple[float | None, float | None] = (None, None)  # of devices, as Cable has them
    pace: Callable[[int], Pace] = lambda _number: Pace()
    enrolled: Callable[[int], bool] = lambda _number: True
    stocked: Callable[[int], bool] = lambda _number: True
    key: MakeKey = SigningKey

    def key_of(self, who: str) -> SigningKey:
        """The same in every fleet of this seed."""
        return self.key(hashlib.sha256(f"{self.seed} {who}".encode()).digest())


class Templates:
    """State directories that are copied: tables are made once, not for every device."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def aggregator(self) -> Path:
        """Of one without tasks."""
        made = self._directory / "aggregator"
        if not made.exists():
            Store.create(made)
        return made

    def device(self, examples: Examples | None) -> Path:
        """Of one that has never run. The same stream has the same examples, always."""
        name = "device" if examples is None else f"device-{examples.stream.name}"
        made = self._directory / name
        if not made.exists():
            store = DeviceStore(made)
            if examples is not None:
                store.recordings.ingest(examples.stream, examples.rows, 0)
            store.close()
        return made


class Member:
    """A device of the fleet: its board, and the node that its processes run on."""

    __slots__ = ("board", "node", "number")

    def __init__(self, number: int, board: Board, node: Node) -> None:
        self.number = number
        self.board = board
        self.node = node

    @property
    def id(self) -> str:
        return self.board.identity.device

    @property
    def process(self) -> Device | None:
        """None while none runs."""
        process = self.node.process
        assert process is None or isinstance(process, Device)
        return process


class VirtualFleet:
    """Made and enrolled on disk; start() and run() let it live, close() ends it."""

    def __init__(self, setup: Setup, directory: Path, templates: Templates | None = None) -> None:
        """directory: empty; on a tmpfs if there is one, since nothing here need outlive a crash"""
        self.setup = setup
        self.directory = directory
        self._templates = templates or Templates(directory / "templates")
        self.dice = Dice(setup.seed)
        self.world = WorldClock(MOST_AT_ONCE * (setup.devices + 1))
        self.network = Network(self.world, self.dice, setup.weather)
        self.broker = VirtualBroker(setup.limits)
        self.root = setup.key_of("root")
        self.online = setup.key_of("aggregator")
        self._random = Random(self.dice.randbytes, self.dice.random)
        self.aggregator = self._make_aggregator()
        self.members = [self._make_member(number) for number in range(setup.devices)]
        self._fill()

    # --- made on disk ----------------------------------------------------------------------------

    @cached_property
    def config(self) -> Config:
        """The aggregator's."""
        file = BrokerFile(
            NAME, self.root.public.hex(), Path(AGGREGATOR), MQTT, keep_rounds=self.setup.keep_rounds
        )
        return Config(file, self.directory / "broker.toml")

    def _make_aggregator(self) -> Node:
        found = self.config
        shutil.copytree(self._templates.aggregator(), found.state_dir)
        desk = Desk(found, self.online, SECRET, self.dice.random)
        return self._node(found.state_dir, desk, self.setup.aggregator, Cable(self.network))

    def _make_member(self, number: int) -> Member:
        setup, directory = self.setup, self.directory / f"device-{number}"
        examples = setup.examples if setup.stocked(number) else None
        shutil.copytree(self._templates.device(examples), directory)
        key = setup.key_of(f"device {number}")
        board = Board(
            self._agent_config,
            self._streams,
            Identity(key, hashlib.sha256(key.public).digest()),
            self._random,
            Surroundings(),
            setup.pace(number),
        )
        cable = Cable(self.network, *setup.rates)
        return Member(number, board, self._node(directory, board, setup.device, cable))

    @cached_property
    def _agent_config(self) -> AgentConfig:
        root = self.root.public.hex()
        given = self.setup.agent
        return replace(given, root_key=root) if given else AgentConfig(NAME, root, MQTT)

    @cached_property
    def _streams(self) -> dict[str, Stream]:
        return {self.setup.examples.stream.name: self.setup.examples.stream}

    def _node(self, directory: Path, build: Desk | Board, habits: Habits, cable: Cable) -> Node:
        habits = replace(habits, draw=self.dice.random, largest=self.config.topics.largest)
        return Node(self.world, cable, self.broker, directory, build, habits, 1.0)

    def _fill(self) -> None:
        """Add tasks and devices; these by one transaction: many `device add` take a second each."""
        store = Store(self.config.state_dir, wall=lambda: 0.0)
        for text in self.setup.tasks:
            task = task_file.parse_task(text, "a virtual task")
            store.add_task(task, text, hashlib.sha256(text.encode()).digest())
        devices = Devices(store.database, self.config.topics)
        with store.database.transaction("certificates"):
            devices.certify(AGGREGATOR, self.online.public, self.root)
            for member in self.members:
                if self.setup.enrolled(member.number):
                    key = member.board.identity.key
                    devices.certify(member.id, key.public, self.root)
        store.close()

    # --- life ------------------------------------------------------------------------------------

    @property
    def service(self) -> Aggregator | None:
        """The aggregator's process; None while none runs."""
        process = self.aggregator.process
        assert process is None or isinstance(process, Aggregator)
        return process

    def start(self, within_s: float = 0.0) -> None:
        """The aggregator at once, devices at random times."""
        self.aggregator.start()
        for member in self.members:
            self.world.after(within_s * self.dice.random(), member.node.start, None)

    def run(self, until: Callable[[], bool], limit_s: float = 86_400.0) -> bool:
        """Let time pass until a condition holds; False: it did not within the time."""
        limit_us = self.world.now_us + round(limit_s * US)
        with rare_collections():
            while not until():
                next_us = self.world.next_us()
                if next_us is None or next_us > limit_us:
                    return False
                self.world.turn()
        return True

    def over(self) -> bool:
        """Whether all rounds of all tasks are done."""
        process = self.service
        runners = [] if process is None else list(process.service.runners)
        return runners != [] and all(isinstance(runner.rounds.phase, Over) for runner in runners)

    def rounds(self) -> list[RoundReport]:
        """What became of the rounds, as the database tells it."""
        store = Store(self.config.state_dir)
        found = []
        for row in store.tasks.rows():
            folds = {fold.round: fold.weight for fold in store.models.folds(row.name)}
            for plan in store.rounds.plans(row.name):
                members = len(store.rounds.members(row.name, plan.plan_id))
                found.append(RoundReport(row.name, plan.round, members, folds.get(plan.round)))
        store.close()
        return found

    def close(self) -> None:
        """Every process is killed; the directory stays."""
        for node in (self.aggregator, *(member.node for member in self.members)):
            node.crash()


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look seldom for garbage: a fleet's objects live as long as it does."""
    before = gc.get_threshold()
    gc.set_threshold(MADE_BETWEEN_COLLECTIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What a round was."""

    task: str
    number: int
    members: int  # updates that were accepted
    weight: int | None  # of the sum; None: not folded
