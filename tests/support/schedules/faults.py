"""What goes wrong in a schedule, and when it stops."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from fedling_agent.session.state import Sending

if TYPE_CHECKING:
    from tests.support.schedules.device import Device
    from tests.support.schedules.world import World


LEAST_SHARE = 0.2  # of many schedules suffer each fault
OFTEN = 0.25  # how many schedules have a fault at a random time, whatever else is in them
CUT = 0.4  # of the uploads, by a partition
LOSS = 0.25  # of the trainings and uploads, with the examples or the place that they are for


class Fault(StrEnum):
    """What may go wrong; in the words of who counts in how many schedules it did."""

    AGENT_KILLED = "kill -9 of an agent"
    DEVICE_POWER_CUT = "power cut of a device"
    AGGREGATOR_KILLED = "kill -9 of the aggregator"
    AGGREGATOR_POWER_CUT = "power cut of the aggregator"
    DEVICE_CUT_OFF = "partition of a device"
    UPLOAD_CUT_OFF = "partition during an upload"
    RECEIPT_CUT_OFF = "partition between an upload and its receipt"
    AGGREGATOR_CUT_OFF = "partition of the aggregator"
    BROKER_RESTARTED = "MQTT broker restarted with nothing"
    LOST = "message lost"
    DOUBLED = "message doubled"
    OVERTAKEN = "message overtaken by a later one"
    CONDITIONS = "conditions come and go"
    DEVICE_HUNG = "device hangs, its clock goes on"
    AGGREGATOR_HUNG = "aggregator hangs, its clock goes on"
    SLOW = "device many times slower than others"
    UPDATE_DAMAGED = "spooled update zeroed"
    TRAINING_FAILED = "training failed"
    EXAMPLES_ERASED = "examples erased that a plan has seen"
    DEVICE_REVOKED = "device with a place revoked, certified again"


class Faults:
    """Some at random times, some just when a device does something; none after `end_ms`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.end_ms = world.slowest_ms * world.choose(20, 60, 150)
        self.rate = world.choose(0.02, 0.1, 0.25)  # of actions that a fault follows
        self.damage = world.choose(0.0, 0.2, 0.8)  # of the updates that are to be sent
        self.fail = world.choose(0.0, 0.2, 0.5)  # of the trainings
        self.out: dict[bytes, set[str]] = {}  # plan: devices that dropped out of it
        self.may_jump = 1  # the aggregator's clock
        self.to_device: tuple[Callable[[Device], None], ...] = (
            self.crash,
            self.disconnect,
            self.conditions,
            self.conditions,
            self.conditions,
            self.jump,
            self.erase,
            self.revoke,
        )
        self.to_others: tuple[Callable[[], None], ...] = (
            self.crash_aggregator,
            self.crash_aggregator,
            self.disconnect_aggregator,
            self.jump_aggregator,
            self.restart_mqtt_broker,
        )

    def schedule(self) -> None:
        world = self.world
        world.after(self.end_ms, self.stop)
        for device in world.devices:
            world.after(world.between(0, self.end_ms), device.enrol)
        for _ in range(world.between(0, 5)):
            world.after(world.between(0, self.end_ms), self.strike, world.choose(*world.devices))
        for of_device in dict.fromkeys(self.to_device):
            if world.random() < OFTEN:
                device = world.choose(*world.devices)
                world.after(world.between(0, self.end_ms), self.hit, of_device, device)
        for of_other in dict.fromkeys(self.to_others):
            if world.random() < OFTEN:
                world.after(world.between(0, self.end_ms), self.hit, of_other)

    def hit(self, fault: Callable[..., None], *args: Device) -> None:
        if self.world.faulty:
            fault(*args)

    def may_do_without(self, device: Device, *plans: bytes) -> bool:
        """Whether all these rounds come to their end without it, too; it drops out then."""
        rows = self.world.aggregator.rows
        outs = [self.out.setdefault(plan, set()) for plan in plans if not rows[plan].closed]
        if any(len(out - {device.name}) >= self.world.aggregator.spare for out in outs):
            return False
        for out in outs:
            out.add(device.name)
        return True

    def may_follow(self, device: Device, within_ms: int) -> None:
        """The device does something that lasts about so long: that is the time for a fault."""
        world = self.world
        if world.faulty and world.random() < self.rate:
            world.after(world.between(0, within_ms), self.strike, device)

    def suffer(self, fault: Fault) -> None:
        """Count it: it has happened."""
        self.world.seen[fault] += 1

    def strike(self, device: Device) -> None:
        world = self.world
        if not world.faulty:
            return
        if world.random() < 0.7:
            world.choose(*self.to_device)(device)
        else:
            world.choose(*self.to_others)()

    # --- to a device ---

    def crash(self, device: Device) -> None:
        if device.up:
            device.crash(reboot=self.world.random() < 0.5)

    def disconnect(self, device: Device) -> None:
        phase = device.state.phase
        if device.connected and isinstance(phase, Sending):
            self.suffer(Fault.RECEIPT_CUT_OFF if phase.sent else Fault.UPLOAD_CUT_OFF)
        elif device.connected:
            self.suffer(Fault.DEVICE_CUT_OFF)
        device.disconnect()

    def may_cut(self, device: Device, lasts_ms: int) -> None:
        """An upload begins that lasts so long: a partition in it, or before its receipt."""
        world = self.world
        if world.faulty and world.random() < CUT:
            world.after(world.between(0, 2 * lasts_ms), self.hit, self.disconnect, device)

    def conditions(self, device: Device) -> None:
        """They change, and mostly back again soon."""
        world = self.world
        which = world.choose("train", "train", "transfer", "transfer", "enough", "takes_part")
        self.flip(device, which)
        if world.random() < 0.8:
            world.after(world.between(1, 20 * world.slowest_ms), self.flip, device, which)

    def flip(self, device: Device, which: str) -> None:
        if self.world.faulty:
            self.suffer(Fault.CONDITIONS)
            setattr(device, which, not getattr(device, which))
            device.tell_conditions()

    def jump(self, device: Device) -> None:
        """It was suspended: much time is gone for it at once."""
        self.suffer(Fault.DEVICE_HUNG)
        device.jump(self.world.slowest_ms * self.world.choose(1, 30, 1_000))

    def may_lose(self, device: Device, lasts_ms: int) -> None:
        """A training or an upload begins that lasts so long: the device loses what it is for."""
        world = self.world
        if world.faulty and world.random() < LOSS:
            loss = world.choose(self.erase, self.revoke)
            world.after(world.between(0, 2 * lasts_ms), self.hit, loss, device)

    def erase(self, device: Device) -> None:
        """All its examples go, and with them what was made of them."""
        plans = device.plans()
        if self.may_do_without(device, *plans):
            self.world.seen[Fault.EXAMPLES_ERASED] += bool(plans)
            device.erase()

    def revoke(self, device: Device) -> None:
        """The operator revokes it; a while later a restored state has it again."""
        world = self.world
        plans = world.aggregator.plans_of(device)
        if device.certified and self.may_do_without(device, *plans):
            world.seen[Fault.DEVICE_REVOKED] += bool(plans)
            device.certified = False
            world.aggregator.forget(device)
            world.after(world.between(1, 10 * world.slowest_ms), device.enrol)

    def damages(self, device: Device, plan: bytes) -> bool:
        """Whether an update is found to be damaged when it is to be sent."""
        return self.spoils(device, plan, self.damage, Fault.UPDATE_DAMAGED)

    def training_fails(self, device: Device, plan: bytes) -> bool:
        """Whether a training that is just done is said to have failed."""
        return self.spoils(device, plan, self.fail, Fault.TRAINING_FAILED)

    def spoils(self, device: Device, plan: bytes, rate: float, fault: Fault) -> bool:
        world = self.world
        if world.faulty and world.random() < rate and self.may_do_without(device, plan):
            self.suffer(fault)
            return True
        return False

    # --- to others ---

    def crash_aggregator(self) -> None:
        aggregator = self.world.aggregator
        if aggregator.up:
            aggregator.crash(reboot=self.world.random() < 0.5)

    def disconnect_aggregator(self) -> None:
        if self.world.aggregator.connected:
            self.suffer(Fault.AGGREGATOR_CUT_OFF)
        self.world.aggregator.disconnect()

    def jump_aggregator(self) -> None:
        """From now on a place may expire before its ticket, as devices count it."""
        if self.may_jump:
            self.may_jump -= 1
            self.suffer(Fault.AGGREGATOR_HUNG)
            self.world.aggregator.jumped = True
            self.world.aggregator.jump(self.world.slowest_ms * self.world.choose(1, 30, 1_000))

    def restart_mqtt_broker(self) -> None:
        """It comes back with nothing."""
        self.suffer(Fault.BROKER_RESTARTED)
        self.world.broker.plan = None
        self.world.broker.models = set()
        self.world.aggregator.disconnect()
        for device in self.world.devices:
            device.disconnect()

    def stop(self) -> None:
        """From here on the schedule must come to its end."""
        self.world.faulty = False
        for device in self.world.devices:
            if not (device.train and device.transfer and device.enough and device.takes_part):
                device.train = device.transfer = device.enough = device.takes_part = True
                device.tell_conditions()
            device.enrol()
