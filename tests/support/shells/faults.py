"""What goes wrong in a schedule, and when it stops."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedling_agent.session.events import FetchModel, SendJoin, SendUpdate, StartTraining
from fedling_agent.training.job import Job
from fedling_broker.service import service as broker_service
from fedling_broker.store.devices import Devices
from fedling_broker.tasks import task_file
from fedling_protocol.net.framing import publish_size
from fedling_sim.virtual.connection import Message
from fedling_sim.virtual.fleet import Member
from fedling_sim.virtual.network import Weather
from tests.support.shells.judge import TASK

if TYPE_CHECKING:
    from tests.support.shells.world import World


class Focus(Enum):
    """What a schedule is full of, to find what shows only then."""

    NOTHING = auto()
    CONDITIONS = auto()
    HISTORY = auto()


LASTING = (SendJoin, FetchModel, SendUpdate, StartTraining)
HOUR_S = 3600.0
GOOD = {"temperature": 40, "network": True}
BAD = {"temperature": 90, "network": False}  # no training; no transfer


class Faults:
    """Some at random times, some just when a device does something; none after `end_s`."""

    def __init__(self, world: World, focus: Focus) -> None:
        self.world = world
        self.focus = focus
        self.end_s = world.slowest_s * world.choose(20, 60, 150)
        self.rate = world.choose(0.02, 0.1, 0.25)  # of actions that a fault follows
        self.may_fail = world.choose(0, 0, 1) if not world.named else 0  # trainings
        self.failing: set[tuple[int, bytes]] = set()  # device, plan: told about all its children
        self.may_jump = 1  # the aggregator's clock
        self.jumped = False  # it has: a place may expire before its ticket, as devices count it
        self.copy: Path | None = None  # of the aggregator's state, as it was
        self.to_device: tuple[Callable[[Member], None], ...] = (
            self.crash,
            self.disconnect,
            self.conditions,
            self.conditions,
            self.conditions,
            self.jump,
            self.block,
        )
        if focus is Focus.CONDITIONS:
            self.rate, self.to_device = 0.25, (self.conditions,)
        self.to_others: tuple[Callable[[], None], ...] = (
            self.crash_aggregator,
            self.crash_aggregator,
            self.disconnect_aggregator,
            self.jump_aggregator,
            self.restart_mqtt_broker,
            self.fill_disk,
        )

    def schedule(self) -> None:
        world = self.world
        self.after(self.end_s, self.stop)
        for member in world.members:
            at_s = world.between(0, self.end_s)
            if not world.setup.enrolled(member.number):
                self.after(at_s, self.enrol, member)
            if not world.setup.stocked(member.number):
                self.after(at_s, self.stock, member)
        for _ in range(int(world.random() * 6)):
            self.after(world.between(0, self.end_s), self.strike, world.choose(*world.members))
        self.schedule_breaks()
        if world.random() < 0.5:  # else a place is seldom given away
            self.after(world.between(0, self.end_s), self.jump_aggregator)

    def after(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        self.world.fleet.world.after(seconds, lambda _: call(*args), None)

    def may_follow(self, member: Member, action: object) -> None:
        """The device does something that lasts: that is the time for a fault."""
        world = self.world
        if isinstance(action, LASTING) and world.faulty and world.random() < self.rate:
            lasts_s = world.slowest_s * (2 + (world.rate or 0))
            self.after(world.between(0, lasts_s), self.strike, member)

    def strike(self, member: Member) -> None:
        world = self.world
        if not world.faulty:
            return
        if world.random() < 0.7:
            world.choose(*self.to_device)(member)
        else:
            world.choose(*self.to_others)()

    # --- to a device -----------------------------------------------------------------------------

    def crash(self, member: Member) -> None:
        world = self.world
        again_s = world.between(0, 10 * world.slowest_s)
        member.node.crash(reboot=world.random() < 0.5, again_s=again_s)

    def disconnect(self, member: Member) -> None:
        world = self.world
        member.node.cable.cut(world.choose(0.0, world.slowest_s * 3))

    def block(self, member: Member) -> None:
        """A black hole for a while; longer than anybody waits, at times."""
        world = self.world
        member.node.cable.block(world.slowest_s * world.choose(1, 5, 60))

    def conditions(self, member: Member) -> None:
        """They change, and mostly back again soon."""
        world = self.world
        which = world.choose(*GOOD)
        self.flip(member, which)
        if world.random() < 0.8:
            self.after(world.between(0, 20 * world.slowest_s), self.flip, member, which)

    def flip(self, member: Member, which: str) -> None:
        if self.world.faulty:
            good = getattr(member.board.surroundings, which) == BAD[which]
            self.set(member, which, good=good)

    def set(self, member: Member, which: str, *, good: bool) -> None:
        setattr(member.board.surroundings, which, GOOD[which] if good else BAD[which])
        self.world.judge.on_conditions(member, which, good)

    def jump(self, member: Member) -> None:
        """It was suspended: much time is gone for it at once."""
        world = self.world
        member.node.clock.jump(world.slowest_s * world.choose(1, 30, 1_000))

    def of_child(self, number: int, job: Job) -> str | None:
        """Why the children of this job end badly, if they do."""
        key = (number, job.plan_id)
        if self.may_fail and self.world.faulty and self.world.random() < 0.3:
            self.may_fail -= 1
            self.failing.add(key)
        return "planted" if key in self.failing else None

    def enrol(self, member: Member) -> None:
        """As `device add` does, in another process: it waits while the aggregator writes."""
        world = self.world
        process = world.fleet.service
        if process is not None and process.store.database.writes:
            self.after(0.001, self.enrol, member)
            return
        devices = Devices(world.judge.store.database, world.fleet.config.topics)
        if devices.find(member.id) is None:
            devices.certify(member.id, member.board.identity.key.public, world.fleet.root)

    def stock(self, member: Member) -> None:
        """Its first examples come, as from the command `ingest`."""
        process, examples = member.process, self.world.setup.examples
        if process is None:
            self.after(self.world.slowest_s, self.stock, member)
            return
        store, service = process.store, process.service
        if store.recordings.newest(examples.stream.name):
            return
        service.writer.do(
            partial(store.recordings.ingest, examples.stream, examples.rows, 0),
            lambda ingested: service.runners.examples_changed(ingested.changes),
        )

    # --- to others -------------------------------------------------------------------------------

    def crash_aggregator(self) -> None:
        world = self.world
        again_s = world.between(0, 10 * world.slowest_s)
        world.fleet.aggregator.crash(reboot=world.random() < 0.5, again_s=again_s)

    def disconnect_aggregator(self) -> None:
        self.world.fleet.aggregator.cable.cut(self.world.choose(0.0, self.world.slowest_s))

    def jump_aggregator(self) -> None:
        """From now on a place may expire before its ticket, as devices count it."""
        world = self.world
        if self.may_jump:
            self.may_jump -= 1
            self.jumped = True
            world.fleet.aggregator.clock.jump(world.slowest_s * world.choose(1, 30, 1_000))

    def restart_mqtt_broker(self) -> None:
        """It comes back with nothing."""
        self.world.fleet.broker.restart(keep_database=False)

    # --- breaks in history -----------------------------------------------------------------------

    def schedule_breaks(self) -> None:
        """In half of all schedules, one or two; and what a stranger recorded, now and then."""
        world = self.world
        breaks = 2 if self.focus is Focus.HISTORY else world.choose(0, 0, 1, 2)
        if breaks:
            self.after(world.between(0, self.end_s / 2), self.take_copy)
        for _ in range(breaks):
            fault = world.choose(self.add_again, self.put_back)
            self.after(world.between(0, self.end_s), fault)
            for _ in range(int(world.random() * 6)):
                self.after(world.between(0, self.end_s), self.replay)

    def idle(self) -> bool:
        """Whether a verb gets the database; it waits otherwise."""
        process = self.world.fleet.service
        return process is None or not process.store.database.writes

    def add_again(self) -> None:
        """`task remove`, then `task add` of another one with its name: other layers and labels."""
        world, judge = self.world, self.world.judge
        if not world.faulty:
            return
        if not self.idle():
            self.after(0.001, self.add_again)
            return
        text = world.other_task(judge.store.tasks.rows()[0].text)
        judge.task = task_file.parse_task(text, "another task")
        judge.on_break()
        assert judge.store.tasks.remove(TASK)
        judge.store.add_task(judge.task, text, hashlib.sha256(text.encode()).digest())
        world.seen["added again"] += 1

    def take_copy(self) -> None:
        """The aggregator is stopped, its state copied, and it is started again."""
        world, state = self.world, self.world.fleet.config.state_dir
        if self.copy is None and world.faulty:
            self.copy = world.directory / "copy"
            self.crash_aggregator()
            shutil.copytree(state, self.copy)

    def put_back(self) -> None:
        """The copy takes the place of the state, as with rm and cp."""
        world, state, judge = self.world, self.world.fleet.config.state_dir, self.world.judge
        if self.copy is None or not world.faulty:
            return
        self.crash_aggregator()
        judge.close()
        shutil.rmtree(state)
        shutil.copytree(self.copy, state)
        judge.store = judge.open()
        judge.on_put_back()
        world.seen["put back"] += 1

    def replay(self) -> None:
        """A stranger publishes something that the aggregator has signed, and it is retained."""
        world = self.world
        if world.judge.said and world.faulty:
            topic, data = world.choose(*world.judge.said)
            size = publish_size(topic, len(data))
            world.fleet.broker.publish(Message(topic, data, True, size))
            world.seen["replayed"] += 1

    def fill_disk(self) -> None:
        """The aggregator's, for a while."""
        self.world.disk_full = True
        self.after(self.world.between(0, 5 * self.world.slowest_s), self.empty_disk)

    def empty_disk(self) -> None:
        self.world.disk_full = False

    def stop(self) -> None:
        """From here on the schedule must come to its end."""
        world = self.world
        world.faulty = world.disk_full = False
        self.disconnect_aggregator()  # what is retained is what it says, not what a stranger did
        broker_service.LOOK_S = HOUR_S  # what is enrolled now is seen at the next look
        world.fleet.network.weather = Weather(latency_s=0.01)
        for member in world.members:
            for which in GOOD:
                self.set(member, which, good=True)
            self.enrol(member)
            if not world.setup.stocked(member.number):
                self.stock(member)
