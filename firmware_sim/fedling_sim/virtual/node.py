"""A board in the world: what survives a crash of its process, and how one is started on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Protocol

from fedling_protocol.classes import dataclass
from fedling_protocol.net.framing import Largest
from fedling_protocol.net.ports import Link, Owner
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.worker import Worker
from fedling_sim.virtual.cable import Cable
from fedling_sim.virtual.clock import NodeClock, WorldClock
from fedling_sim.virtual.link import VirtualLink
from fedling_sim.virtual.mqtt import VirtualBroker
from fedling_sim.virtual.worker import Hook, VirtualWorker


class Process(Protocol):
    """A shell, made from a state directory."""

    def start(self) -> None:
        """Begin, as after a power cut: everything comes from the disk."""

    def bury(self) -> None:
        """It was killed: give back what the kernel would (files, connections); write nothing."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How the processes of a board reach the broker and their disk."""

    keepalive_s: int = 60
    retry_s: tuple[float, float] = (1.0, 300.0)  # the first back-off, the longest
    largest: Largest = lambda _topic: 1 << 20
    draw: Callable[[], float] = field(default=lambda: 0.5)  # in [0, 1), for the back-off
    latency: Callable[[], float] | None = None  # of a call of a worker, seconds
    hook: Hook | None = None  # where a process may be killed


class Life:
    """What one process gets: nothing of it is used by the next one on its board."""

    def __init__(
        self,
        clock: NodeClock,
        boot: str,
        cable: Cable,
        broker: VirtualBroker,
        habits: Habits,
        end: Callable[[Callable[[], None]], None],
    ) -> None:
        """boot: names the boot of the board, since other boots had other clocks

        end: ends this process; then what it is given is called, and the next process starts
        """
        self.clock = clock
        self.end = end
        self.boot = boot
        self.links: list[VirtualLink] = []
        self._cable = cable
        self._broker = broker
        self._habits = habits

    def make_worker(self, blocked: Callable[[], bool] | None = None) -> Worker:
        return VirtualWorker(self.clock, self._habits.latency, self._habits.hook, blocked)

    def make_link(self, client_id: str, owner: Owner) -> Link:
        habits = self._habits
        backoff = Backoff(*habits.retry_s, habits.draw)
        link = VirtualLink(
            self.clock,
            self._cable,
            self._broker,
            client_id,
            habits.keepalive_s,
            backoff,
            habits.largest,
            owner,
            habits.hook,
        )
        self.links.append(link)
        return link


Build = Callable[[Path, Life], Process]


class Node:
    """A board with a disk and a cable, on which one process runs at a time.

    build: makes the process from the directory, which is all that it knows of the one before
    """

    def __init__(
        self,
        world: WorldClock,
        cable: Cable,
        broker: VirtualBroker,
        directory: Path,
        build: Build,
        habits: Habits | None = None,
        boot_s: float = 0.0,
    ) -> None:
        self.world = world
        self.cable = cable
        self.habits = habits or Habits()
        self.deaths = 0
        self.boots = 1
        self.process: Process | None = None
        self._first: Callable[[], None] | None = None  # what the next process does first
        self._broker = broker
        self._directory = directory
        self._build = build
        self._clock = NodeClock(world, boot_s)
        self._life: Life | None = None

    @property
    def up(self) -> bool:
        return self._life is not None

    @property
    def clock(self) -> NodeClock:
        """That of the present process, or of the last one."""
        return self._clock

    def start(self, _: object = None) -> None:
        """Have a process, if none runs. It may be killed by what it does here."""
        if self._life is not None:
            return
        first, self._first = self._first, None
        if first is not None:
            first()
        self._clock = NodeClock(self.world, self._clock.now(), self._clock.wall())
        boot = f"boot {self.boots}"
        self._life = Life(self._clock, boot, self.cable, self._broker, self.habits, self._end)
        self.process = self._build(self._directory, self._life)
        self.process.start()

    def crash(self, *, reboot: bool = False, again_s: float | None = None) -> None:
        """kill -9, or a power cut: then boot time begins anew, and the broker is not told.

        again_s: when the next process starts; None: when somebody calls start()
        """
        if self._life is None:
            return
        life, self._life = self._life, None
        self.deaths += 1
        self._clock.close()
        for link in life.links:
            link.vanish(silently=reboot)
        if self.process is not None:
            self.process.bury()
        self.process = None
        if reboot:
            self.boots += 1
            self._clock = NodeClock(self.world, 0.0, self._clock.wall())
        if again_s is not None:
            self.world.after(again_s, self.start, None)

    def _end(self, between: Callable[[], None]) -> None:
        """Not in the callback that asks for it: its process is still on the stack."""
        life = self._life

        def end(_: object) -> None:
            if self._life is life:
                self.crash()
                self._first = between
                self.start()

        self.world.after(0, end, None)

    def dies(self, *, reboot: bool = False, again_s: float | None = None) -> Callable[[], None]:
        """For a Fuse: what becomes of the process that it kills."""
        return partial(self.crash, reboot=reboot, again_s=again_s)
