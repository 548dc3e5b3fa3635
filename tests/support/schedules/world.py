"""One schedule: virtual time, and a network that loses, doubles, delays and reorders."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any, TypeVar

from fedling_agent.session import machine as session
from fedling_agent.session.events import Action as DeviceAction
from fedling_agent.session.events import Event as DeviceEvent
from fedling_agent.session.state import Session, Spooled, Timing, restore
from fedling_broker.rounds import machine as rounds
from fedling_broker.rounds.events import Action as RoundsAction
from fedling_broker.rounds.events import Event as RoundsEvent
from fedling_broker.rounds.state import Over, Rounds
from fedling_broker.rounds.synchronous import Synchronous
from fedling_protocol.wire.messages import Plan, Rest
from tests.support.schedules.aggregator import Aggregator
from tests.support.schedules.device import Device
from tests.support.schedules.faults import Fault, Faults
from tests.support.schedules.violation import Violation

T = TypeVar("T")

PATIENCE_MS = 4 * 86_400_000  # after the last fault; a place without deadline is kept for a day


@dataclass(frozen=True, slots=True)
class Machines:
    """What is under test: the two machines, or a planted bug."""

    session: Callable[[Session, DeviceEvent, int], tuple[Session, list[DeviceAction]]] = (
        session.step
    )
    rounds: Callable[[Rounds, RoundsEvent, int], tuple[Rounds, list[RoundsAction]]] = rounds.step
    restore: Callable[[Timing, bytes, Plan | None, tuple[Spooled, ...]], Session] = restore
    forgotten: frozenset[type] = frozenset()  # durable actions that do nothing
    keeps_sent: bool = True  # an update stays on a device's disk until its receipt
    watched: bool = True  # receipts are compared with the disk at once, not only in the end


@dataclass(slots=True)
class MqttBroker:
    """What the MQTT broker retains; it has no truth, and may lose all of it."""

    plan: Plan | Rest | None = None
    models: set[int] = field(default_factory=set)  # versions


class World:
    """Everything of one schedule, made from its seed."""

    def __init__(self, seed: int, machines: Machines | None = None) -> None:
        self.random = Random(seed).random
        self.seen: Counter[object] = Counter()  # what happened, so that a test can ask for more
        self.machines = machines or Machines()
        self.now = 0
        self.events = 0  # steps of a machine
        self.queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self.queued = 0
        self.latest_ms = 0  # when the last of the messages under way arrives
        self.broker = MqttBroker()
        self.faulty = True
        self.loss = self.choose(0.0, 0.02, 0.15)
        self.doubling = self.choose(0.0, 0.05, 0.2)
        self.slowest_ms = self.choose(20, 500, 8_000)  # everything else is drawn relative to it
        self.crash_rate = self.choose(0.0, 0.005, 0.03)
        self.timing = self.draw_timing()
        self.spread_s = self.choose(None, None, 1, 10)
        self.devices = [Device(self, f"device{i}") for i in range(self.choose(4, 4, 5))]
        self.named = self.random() < 0.4
        rounds, pause_s = self.choose(2, 2, 3), self.choose(0, 0, 5)
        self.aggregator = Aggregator(self, self.draw_policy(), rounds, pause_s)
        self.faults = Faults(self)

    # --- dice ---

    def between(self, low: int, high: int) -> int:
        """Both ends included."""
        return low + int(self.random() * (high - low + 1))

    def choose(self, *of: T) -> T:
        return of[int(self.random() * len(of))]

    def draw_timing(self) -> Timing:
        """Some give up before an answer can come."""
        slowest = self.slowest_ms
        return Timing(slowest * self.choose(1, 4, 20), slowest * 400, slowest * self.choose(3, 30))

    def draw_policy(self) -> Synchronous:
        """Named devices without deadline, in half of the cases all of them, or who comes first."""
        n = len(self.devices)
        if self.named:
            members = frozenset(d.name for d in self.devices[self.between(0, 1) :])
            goal = len(members) - self.between(0, 1)
            return Synchronous(goal, goal, members=members)
        goal = self.between(1, n - 2)
        deadline_ms = self.choose(None, 10, 40, 200)
        if deadline_ms:
            deadline_ms *= self.slowest_ms
        beyond = self.choose(300, 1000)
        return Synchronous(goal, self.between(1, goal), beyond, deadline_ms, wait_s=60)

    # --- time ---

    def after(self, delay_ms: int, act: Callable[..., None], *args: Any) -> None:
        self.queued += 1
        heappush(self.queue, (self.now + delay_ms, self.queued, act, args))

    def carry(self, arrive: Callable[..., None], *args: Any) -> None:
        """A small message from one machine to another."""
        if not self.faulty:
            self.after(10, arrive, *args)
        elif self.random() < self.loss:
            self.seen[Fault.LOST] += 1
        else:
            delay_ms = self.delay()
            self.seen[Fault.OVERTAKEN] += self.now + delay_ms < self.latest_ms
            self.latest_ms = max(self.latest_ms, self.now + delay_ms)
            self.after(delay_ms, arrive, *args)
            if self.random() < self.doubling:
                self.seen[Fault.DOUBLED] += 1
                self.after(self.delay() * 3, arrive, *args)

    def delay(self) -> int:
        """Mostly short; reordering comes from the difference."""
        return 1 + int(self.slowest_ms * self.random() ** 3) if self.faulty else 10

    def run(self) -> int:
        """Play the schedule to its end; how many steps the machines made."""
        self.aggregator.start()
        for device in self.devices:
            device.start()
        self.faults.schedule()
        queue = self.queue
        limit = self.faults.end_ms + PATIENCE_MS
        while self.faulty or not self.finished():
            if not queue or queue[0][0] > limit:
                raise Violation(f"nothing goes on: {self.describe()}")
            self.now, _, act, args = heappop(queue)
            act(*args)
        self.check_end()
        return self.events

    # --- the MQTT broker ---

    def publish(self, plan: Plan | Rest, versions: set[int]) -> None:
        """Retain, then send to everyone who is subscribed."""
        self.broker.plan = plan
        self.broker.models = versions
        for device in self.devices:
            if device.connected:
                self.after(self.delay(), device.on_plan_topic, plan)
            device.look_for_model()

    def retained_to(self, device: Device) -> None:
        if self.broker.plan:
            self.after(self.delay(), device.on_plan_topic, self.broker.plan)

    # --- the end ---

    def finished(self) -> bool:
        if not isinstance(self.aggregator.state.phase, Over):
            return False
        newest = self.aggregator.version
        return all(d.at_rest() and newest in d.models for d in self.devices)

    def check_end(self) -> None:
        """Each update that was signed has one receipt; each accepted one is in one sum."""
        folded: dict[tuple[str, bytes], bytes] = {}
        for fold in self.aggregator.journal:
            if fold.total != sum(int.from_bytes(h, "big") for h in fold.members.values()):
                raise Violation("a sum is not the sum of its members")
            for name, update_hash in fold.members.items():
                if (name, fold.plan_id) in folded:
                    raise Violation("an update was counted twice")
                folded[name, fold.plan_id] = update_hash
        for device in self.devices:
            device.check_end(folded)
        if folded:
            raise Violation(f"in a sum, not known to be accepted: {folded}")

    def describe(self) -> str:
        phases = [f"{d.name} {d.state.phase} {d.spool}" for d in self.devices]
        return f"{self.now} ms, {self.aggregator.state}, " + ", ".join(phases)
