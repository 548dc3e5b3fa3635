"""A small fleet with two tasks in virtual time; its processes end as commands do and come again."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fedling_agent.config import AgentConfig, AgentRetrySettings, FloorSettings
from fedling_agent.service.control import Json, Peer, RequestFailed
from fedling_agent.service.desk import Desk
from fedling_agent.store.store import Store as DeviceStore
from fedling_broker.commands.failures import EXITS
from fedling_broker.store.store import Store
from fedling_broker.tasks.task_file import parse_task
from fedling_broker.verify import verify
from fedling_protocol.command.failures import exit_code
from fedling_protocol.exits import Exit
from fedling_sim.virtual.fleet import MQTT, NAME, Setup, VirtualFleet
from fedling_sim.virtual.network import Weather
from fedling_sim.virtual.node import Node
from tests.support.hurt.injector import Injector
from tests.support.shells.world import EXAMPLES, FILE, LABELS, templates

TASKS = ("one", "two")
DEVICES, GOAL = 4, 2
ROUNDS = 3
AGAIN_S = 10.0  # systemd's RestartSec
SICK_S, LIMIT_S = 300.0, 4 * 86_400.0

ASK_S = 60.0
REQUESTS: tuple[Json, ...] = (
    {"do": "status"},
    {"do": "conditions"},
    {"do": "recordings"},
    {"do": "windows", "task": TASKS[0]},
    {"do": "predict", "task": TASKS[0], "form": "csv", "lines": ["x\n", "0.5\n"]},
    {
        "do": "label",
        "stream": "wrist",
        "recording": "r",
        "label": LABELS[0],
        "first": 0,
        "last": 0,
    },
)


def text_of(task: str) -> str:
    return FILE.format(
        task=task, labels=LABELS, normalise="device", rounds=ROUNDS, goal=GOAL, minimum=1,
        deadline_s=600, devices=[], pause_s=1, spread_s=1,
    )  # fmt: skip


def setup(seed: int) -> Setup:
    agent = AgentConfig(
        NAME, "", MQTT, floor=FloorSettings(min_examples=1), retry=AgentRetrySettings(
            answer_first_s=5, answer_longest_s=60, transfer_s=30),
    )  # fmt: skip
    return Setup(
        DEVICES,
        tuple(text_of(task) for task in TASKS),
        EXAMPLES,
        seed,
        keep_rounds=1,
        agent=agent,
        weather=Weather(latency_s=0.2),
    )


class HurtFleet:
    """One course: everything may fail for a while, then nothing does, and all rounds are held."""

    def __init__(self, directory: Path, seed: int, rate: float) -> None:
        self.fleet = VirtualFleet(setup(seed), directory, templates())
        self.injector = Injector(seed, rate)
        self.answers: list[Json | RequestFailed] = []
        self._ask_at_s = 0.0
        self.ends: list[Exit] = []  # of processes that did not come up
        self.identities = [member.id for member in self.fleet.members]

    def play(self) -> bool:
        """Whether all rounds of all tasks are over at the end."""
        start = Node.start
        with patch.object(Node, "start", lambda node, _=None: self._start(start, node)):
            self.fleet.start()
            try:
                self.fleet.run(self._sick, SICK_S)
            finally:
                self.injector.disarm()
            return self.fleet.run(self._whole, LIMIT_S)

    def _over(self) -> bool:
        """Whether all rounds of both tasks are held; asks no disk. A stopped task has no runner."""
        service = self.fleet.service
        tasks = 0 if service is None else len(list(service.service.runners))
        return tasks == len(TASKS) and self.fleet.over()

    def _whole(self) -> bool:
        """Whether all rounds are held, and each device has the newest model of each task."""
        service = self.fleet.service
        if service is None or service.store.database.writes or not self._over():
            return False
        newest = {name: service.store.models.newest(name).model_hash for name in TASKS}
        devices = [member.process for member in self.fleet.members]
        return all(
            device is not None
            and (model := device.store.models.newest(name)) is not None
            and model.hash == name_hash
            for device in devices
            for name, name_hash in newest.items()
        )

    def _sick(self) -> bool:
        self.injector.arm()
        if self._now_s() >= self._ask_at_s:
            self._ask_at_s = self._now_s() + ASK_S
            for member in self.fleet.members:
                if member.process is not None:
                    self._ask(Desk(member.process.service))
        return self._over()

    def _ask(self, desk: Desk) -> None:
        """What people ask a device is answered, if only by a sentence."""
        for request in REQUESTS:
            with suppress(RequestFailed):
                desk.handle(dict(request), Peer(), self.answers.append)

    def _start(self, start: Any, node: Node) -> None:
        """A process that fails before its loop runs ends as its command does."""
        try:
            start(node)
        except Exception as error:  # noqa: BLE001 (as main() does)
            known = exit_code(error, EXITS)
            self.ends.append(Exit.FAILED if known is None else known)
            node.crash()
            node.world.after(AGAIN_S, node.start, None)
        if self._now_s() < SICK_S:
            self.injector.arm()

    def _now_s(self) -> float:
        return self.fleet.world.now_us / 1e6

    def faults(self) -> list[str]:
        """What `round verify` says, and what is wrong with devices."""
        store = Store(self.fleet.config.state_dir)
        found = []
        for name in TASKS:
            task, seed = parse_task(text_of(name), name), _seed(name)
            found += [check.fault for check in verify(store, task, seed) if check.fault]
            if store.models.folded(name) != ROUNDS:
                found.append(f"{name}: {store.models.folded(name)} rounds")
        store.close()
        for member in self.fleet.members:
            device = DeviceStore(member.node._directory)
            models = {name: device.models.newest(name) for name in TASKS}
            found += [f"{member.id}: no model of {n}" for n, model in models.items() if not model]
            device.close()
        return found


def _seed(task: str) -> bytes:
    """As VirtualFleet draws a first model."""
    return hashlib.sha256(text_of(task).encode()).digest()
