"""What a simulated device and the simulated aggregator have in common: a process that may die."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from tests.support.schedules.faults import Fault

if TYPE_CHECKING:
    from tests.support.schedules.world import World


class Node:
    """A process with a machine, a clock of its own, and a connection.

    A subclass has a table `ACTIONS` from action type to method, what its `CRASHES` are called, and
    the methods below that are not implemented here.
    """

    ACTIONS: ClassVar[dict[type, Callable[..., None]]]
    CRASHES: ClassVar[tuple[Fault, Fault]]  # killed, without power

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.up = False
        self.connected = False
        self.connection = 0  # number of the connection; what belongs to an older one is void
        self.clock = world.between(0, 10**9)  # its boot-time clock is so much ahead of world.now
        self.tick_at: int | None = None
        self.pending: list[Any] = []  # events that actions brought about

    def step(self, event: Any, now_ms: int) -> list[Any]:
        """Let the machine make a step; its actions."""
        raise NotImplementedError

    def due(self) -> int | None:
        raise NotImplementedError

    def give(self, event: Any) -> None:
        """The shell's loop: a step, its actions one after another, what they brought about."""
        world = self.world
        while True:
            world.events += 1
            actions = self.step(event, world.now + self.clock)
            survives = None
            if world.faulty and world.random() < world.crash_rate:
                survives = world.between(0, len(actions))  # so many actions, then it is killed
            for action in actions[:survives]:
                kind = type(action)
                world.seen[kind] += 1
                if kind not in world.machines.forgotten:
                    self.ACTIONS[kind](self, action)
            if survives is not None:
                self.crash(reboot=world.random() < 0.3)
                return
            if not self.pending:
                break
            event = self.pending.pop(0)
        self.set_timer()

    def set_timer(self) -> None:
        due = self.due()
        if due is not None and due != self.tick_at:
            delay = due - self.clock - self.world.now
            self.world.after(delay if delay > 0 else 0, self.on_timer, due)
        self.tick_at = due

    def jump(self, ms: int) -> None:
        """Its clock is ahead by so much at once."""
        self.clock += ms
        if self.up:
            self.tick_at = None
            self.set_timer()

    def on_timer(self, due: int) -> None:
        raise NotImplementedError

    def crash(self, reboot: bool) -> None:
        """kill -9 or a power cut: memory is lost, the disk stays."""
        world = self.world
        world.seen[self.CRASHES[reboot]] += 1
        self.up = self.connected = False
        self.connection += 1
        self.pending.clear()
        self.tick_at = None
        if reboot:
            self.clock = world.between(0, 10**9) - world.now
        world.after(world.between(1, 10 * world.slowest_ms), self.start)

    def start(self) -> None:
        raise NotImplementedError

    def connect(self, connection: int) -> None:
        raise NotImplementedError

    def disconnect(self) -> None:
        raise NotImplementedError
