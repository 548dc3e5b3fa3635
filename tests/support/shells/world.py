"""One schedule: a fleet made from a seed, what happens to it, and how it comes to rest."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from fedling_agent.conditions.policy import Policy
from fedling_agent.config import AgentConfig, AgentRetrySettings, FloorSettings
from fedling_agent.data.streams import Channel, Parser, Stream
from fedling_agent.service.runner import SessionRunner
from fedling_broker.service.runner import RoundsRunner
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.names import AGGREGATOR
from fedling_sim.virtual.clock import US, Endless, Killed
from fedling_sim.virtual.fleet import (
    MQTT,
    NAME,
    Examples,
    Member,
    Setup,
    Templates,
    VirtualFleet,
    rare_collections,
)
from fedling_sim.virtual.network import Weather
from fedling_sim.virtual.node import Habits
from fedling_sim.virtual.training import Pace
from tests.support.shells.faults import Faults, Focus
from tests.support.shells.judge import TASK, Judge
from tests.support.shells.taps import QuickKey, tapped
from tests.support.shells.violation import Violation

T = TypeVar("T")

STREAM = Stream("wrist", (Channel("x", "g", 0.001),))
LABELS = ["up", "down-the-stairs-to-the-cellar"]  # so that a model is larger than a certificate
LINES = ["recording,label,x\n", *(f"r,{LABELS[i % 2]},{i / 10}\n" for i in range(4))]
EXAMPLES = Examples(STREAM, list(Parser(STREAM, "csv").feed(LINES)))
SHARED = Path("/dev/shm")
UPDATE_BYTES, MODEL_BYTES = 400, 400  # about so many: to choose rates by
PATIENCE_S = 4 * 86_400.0  # after the last fault; a place without deadline is kept for a day
MOST_EVENTS = 400_000  # of the world: a day in which a device asks every 10 s
LOOK_EVENTS = 20  # of the world: it is looked so often whether the schedule is at its end

Bug = Callable[[], AbstractContextManager[object]]

FILE = """
[task]
name = "{task}"
stream = "wrist"
window = 1
stride = 1
channels = 1
labels = {labels}
normalise = "{normalise}"
rounds = {rounds}
[model]
layers = [2]
[training]
epochs = 1
batch = 2
learning_rate = 0.1
holdout = 0
[cohort]
goal = {goal}
minimum = {minimum}
over_selection = 0.3
deadline_s = {deadline_s}
devices = {devices}
pause_s = {pause_s}
wait_s = 60
spread_s = {spread_s}
"""


@cache
def memory() -> Path:
    """Where schedules live; nothing of them need outlive a power cut."""
    made = tempfile.mkdtemp(prefix="fedling-", dir=SHARED if SHARED.is_dir() else None)
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


@cache
def templates() -> Templates:
    return Templates(memory() / "templates")


class World:
    """Everything of one schedule, made from its seed."""

    def __init__(self, seed: int, bug: Bug = nullcontext, focus: Focus = Focus.NOTHING) -> None:
        self.seed = seed
        self.bug = bug
        self.random = Random(seed).random
        self.seen: Counter[object] = Counter()  # what happened, so that a test can ask for more
        self.events = 0  # steps of a machine
        self.faulty = True
        self.disk_full = False  # the aggregator's
        self.slowest_s = self.choose(0.05, 0.5, 4.0)  # everything else is drawn relative to it
        self.crash_rate = self.choose(0.0, 0.005, 0.02)
        self.look_s = max(1.0, 5 * self.slowest_s)
        self.latency_s = self.choose(0.0, 0.01, min(0.1, self.slowest_s / 5))
        self.setup = self._draw_setup()
        self.directory = Path(tempfile.mkdtemp(dir=memory()))
        self.fleet = VirtualFleet(self.setup, self.directory, templates())
        self.faults = Faults(self, focus)
        self.judge = Judge(self)
        for node in (self.fleet.aggregator, *(m.node for m in self.members)):
            self._make_mortal(node)

    @property
    def members(self) -> list[Member]:
        return self.fleet.members

    @property
    def now_s(self) -> float:
        return self.fleet.world.now_us / US

    # --- dice ------------------------------------------------------------------------------------

    def between(self, low: float, high: float) -> float:
        return low + self.random() * (high - low)

    def choose(self, *of: T) -> T:
        return of[int(self.random() * len(of))]

    def _draw_setup(self) -> Setup:
        slowest, devices = self.slowest_s, self.choose(4, 4, 5)
        setup = Setup(devices, (), EXAMPLES, self.seed, key=QuickKey)
        self.named = self.random() < 0.4
        ids = [device_id(setup.key_of(f"device {n}").public) for n in range(devices)]
        enrolled = [self.random() < 0.85 for _ in ids]
        stocked = [self.random() < 0.95 for _ in ids]
        batch_s = [slowest * self.choose(0.5, 2.0, 10.0) for _ in ids]
        latency = (lambda: self.latency_s * self.random()) if self.latency_s else None
        self.rate = rate = self.choose(None, 1.0, 5.0)  # slowest_s that a large message takes
        return Setup(
            devices,
            (self._draw_task(ids),),
            EXAMPLES,
            self.seed,
            agent=self._draw_config(),
            weather=Weather(
                latency_s=slowest / 50,
                jitter_s=slowest,
                broken=self.choose(0.0, 0.0, 0.02),
                lost=self.choose(0.0, 0.02, 0.1),
                doubled=self.choose(0.0, 0.05, 0.2),
                overtaking=self.choose(0.0, 0.0, 0.2),
            ),
            keep_rounds=1 + self.seed % 2,
            aggregator=Habits(latency=latency, retry_s=(slowest, 4 * slowest)),
            device=Habits(latency=latency, retry_s=(slowest, 10 * slowest)),
            rates=(
                None if rate is None else UPDATE_BYTES / (slowest * rate),
                None if rate is None else MODEL_BYTES / (slowest * rate),
            ),
            pace=lambda n: Pace(
                batch_s[n],
                10 * slowest,
                lambda job: self.faults.of_child(n, job),
                lambda job: self.judge.on_batch(n, job),
            ),
            enrolled=enrolled.__getitem__,
            stocked=stocked.__getitem__,
            key=QuickKey,
        )

    def _draw_task(self, ids: list[str]) -> str:
        """A fixed cohort without deadline, or whoever comes first."""
        members = ids[int(self.random() * 2) :] if self.named else []
        # Two may be lost: one place that expired, one training that failed.
        goal = len(members) or 1 + int(self.random() * (len(ids) - 2))
        deadline_s = 0 if self.named else self.choose(0, 10, 40, 200) * self.slowest_s
        text = FILE.format(
            task=TASK,
            labels=LABELS,
            normalise="fleet" if self.seed % 2 else "device",
            rounds=self.choose(2, 2, 3),
            goal=goal,
            minimum=1 + int(self.random() * goal),
            deadline_s=int(deadline_s) + (deadline_s > 0),
            devices=members,
            pause_s=self.choose(0, 0, 5),
            spread_s=self.choose(0, 0, 1, 10),
        )
        if self.seed % 4 != 2:  # where the fleet measures, all devices must have the same samples
            return text
        return text.replace("holdout = 0\n", "holdout = 0.5\nholdout_block = 1\n")

    def other_task(self, text: str) -> str:
        """Another task of the same name, and of the same cohort."""
        back = [*LABELS[::-1]]
        there = f"labels = {LABELS}" in text
        layers = ("layers = [2]", "layers = [3, 2]")
        text = text.replace(layers[0], layers[1]) if there else text.replace(layers[1], layers[0])
        labels = (LABELS, back) if there else (back, LABELS)
        return text.replace(f"labels = {labels[0]}", f"labels = {labels[1]}")

    def _draw_config(self) -> AgentConfig:
        """Some give up before an answer can come."""
        slowest = self.slowest_s
        retry = AgentRetrySettings(
            answer_first_s=slowest * self.choose(1, 4, 20),
            answer_longest_s=slowest * 400,
            # A transfer that nobody has the patience for would be begun again for ever.
            transfer_s=max(1.0, slowest * (self.choose(3, 30) if self.rate is None else 60)),
        )
        policy = Policy(
            dwell_s=self.choose(0.0, slowest), check_s=max(5.0, slowest * self.choose(1, 10))
        )
        floor = FloorSettings(min_examples=1)  # there are few, so that worlds are small
        return AgentConfig(NAME, "", MQTT, floor=floor, policy=policy, retry=retry)

    # --- what it hears ---------------------------------------------------------------------------

    def on_device_action(self, runner: SessionRunner, action: Any) -> None:
        self.seen[type(action)] += 1
        member = self.member(runner._parts.identity.device)
        self.judge.on_device_action(member, action)
        self.faults.may_follow(member, action)
        self._may_die(member.node)

    def on_aggregator_action(self, _runner: RoundsRunner, action: Any) -> None:
        self.seen[type(action)] += 1
        self.judge.on_aggregator_action(action)
        self._may_die(self.fleet.aggregator)

    def member(self, device: str) -> Member:
        return next(member for member in self.members if member.id == device)

    # --- death -----------------------------------------------------------------------------------

    def _make_mortal(self, node: Any) -> None:
        """It may be killed at each call of a worker, and at each message."""
        node.habits = replace(node.habits, hook=lambda _moment: self._may_die(node))

    def _may_die(self, node: Any) -> None:
        if self.faulty and node.up and self.random() < self.crash_rate:
            reboot, again_s = self.random() < 0.4, self.between(0, 10 * self.slowest_s)
            raise Killed(node.dies(reboot=reboot, again_s=again_s))

    # --- its course ------------------------------------------------------------------------------

    def run(self) -> int:
        """Play the schedule to its end; how many steps the machines made."""
        try:
            with rare_collections(), self.bug(), tapped(self):
                self._play()
        finally:
            self.judge.close()
            self.fleet.close()
            shutil.rmtree(self.directory)
        return self.events

    def _play(self) -> None:
        fleet = self.fleet
        fleet.world.at(0, fleet.aggregator.start, None)
        for member in self.members:
            fleet.world.after(self.between(0, self.slowest_s), member.node.start, None)
        self.faults.schedule()
        world, limit_us = fleet.world, (self.faults.end_s + PATIENCE_S) * US
        while self.faulty or not self.finished():
            looked = world.events + LOOK_EVENTS
            while world.events < looked:
                try:
                    goes_on = world.turn()
                except Endless as error:
                    raise Violation(f"time stands still {error}") from error
                if not goes_on or world.now_us > limit_us or world.events > MOST_EVENTS:
                    raise Violation(f"nothing goes on: {self.describe()}")
        self.judge.check_end()

    def finished(self) -> bool:
        process = self.fleet.service
        if process is None or process.store.database.writes:  # what it knows is not on disk yet
            return False
        return self.fleet.over() and all(self.judge.at_rest(member) for member in self.members)

    def describe(self) -> str:
        process = self.fleet.service
        phases = [] if process is None else [r.rounds for r in process.service.runners]
        sessions = [
            (m.id, [r.session for r in m.process.service.runners], m.process.service.stall)
            if m.process
            else (m.id, "down")
            for m in self.members
        ]
        return f"{self.now_s} s, {AGGREGATOR} {phases}, {sessions}"
