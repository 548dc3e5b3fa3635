"""What goes wrong in a schedule, and when it stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.schedules.device import Device
    from tests.support.schedules.world import World


class Faults:
    """Some at random times, some just when a device does something; none after `end_ms`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.end_ms = world.slowest_ms * world.choose(20, 60, 150)
        self.rate = world.choose(0.02, 0.1, 0.25)  # of actions that a fault follows
        self.may_fail = world.choose(0, 0, 1) if not world.named else 0  # trainings
        self.may_erase = 0 if world.named or self.may_fail else world.choose(0, 1)
        self.may_jump = 1  # the aggregator's clock
        self.to_device: tuple[Callable[[Device], None], ...] = (
            self.crash,
            self.disconnect,
            self.conditions,
            self.conditions,
            self.conditions,
            self.jump,
            self.erase,
        )
        self.to_others: tuple[Callable[[], None], ...] = (
            self.crash_aggregator,
            self.crash_aggregator,
            self.world.aggregator.disconnect,
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

    def may_follow(self, device: Device, within_ms: int) -> None:
        """The device does something that lasts about so long: that is the time for a fault."""
        world = self.world
        if world.faulty and world.random() < self.rate:
            world.after(world.between(0, within_ms), self.strike, device)

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
        device.disconnect()

    def conditions(self, device: Device) -> None:
        """They change, and mostly back again soon."""
        world = self.world
        which = world.choose("train", "train", "transfer", "transfer", "enough")
        self.flip(device, which)
        if world.random() < 0.8:
            world.after(world.between(1, 20 * world.slowest_ms), self.flip, device, which)

    def flip(self, device: Device, which: str) -> None:
        if self.world.faulty:
            setattr(device, which, not getattr(device, which))
            device.tell_conditions()

    def jump(self, device: Device) -> None:
        """It was suspended: much time is gone for it at once."""
        device.jump(self.world.slowest_ms * self.world.choose(1, 30, 1_000))

    def erase(self, device: Device) -> None:
        if self.may_erase:
            self.may_erase -= 1
            device.erase()

    def training_fails(self) -> bool:
        """Whether a training that is just done is said to have failed."""
        if self.may_fail and self.world.faulty and self.world.random() < 0.3:
            self.may_fail -= 1
            return True
        return False

    # --- to others ---

    def crash_aggregator(self) -> None:
        aggregator = self.world.aggregator
        if aggregator.up:
            aggregator.crash(reboot=self.world.random() < 0.5)

    def jump_aggregator(self) -> None:
        """From now on a place may expire before its ticket, as devices count it."""
        if self.may_jump:
            self.may_jump -= 1
            self.world.aggregator.jumped = True
            self.world.aggregator.jump(self.world.slowest_ms * self.world.choose(1, 30, 1_000))

    def restart_mqtt_broker(self) -> None:
        """It comes back with nothing."""
        self.world.broker.plan = None
        self.world.broker.models = set()
        self.world.aggregator.disconnect()
        for device in self.world.devices:
            device.disconnect()

    def stop(self) -> None:
        """From here on the schedule must come to its end."""
        self.world.faulty = False
        for device in self.world.devices:
            if not (device.train and device.transfer and device.enough):
                device.train = device.transfer = device.enough = True
                device.tell_conditions()
            device.enrol()
