"""The agent's real service on ports that a test holds: nothing happens unless the test says so."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from fedling_agent.conditions.condition import Condition, Roots
from fedling_agent.conditions.watcher import Watcher
from fedling_agent.config import AgentConfig
from fedling_agent.service.runner import SessionRunner
from fedling_agent.service.service import Ports, Service
from fedling_agent.store.identity import Identity
from fedling_agent.store.store import Store
from fedling_agent.training.held_out import HeldOutTest
from fedling_agent.training.job import Job
from fedling_agent.training.process import ChildEvent, Exited, Step, Tell
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.disk.errors import BadDatabase
from fedling_protocol.net.ports import Owner
from fedling_protocol.wire import envelope
from fedling_protocol.wire.digest import message_hash
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import (
    Answer,
    Certificate,
    Chunked,
    Join,
    Message,
    Model,
    Plan,
    PlanKind,
    Receipt,
    Role,
    Ticket,
    Training,
    Update,
    Verdict,
)
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Trust
from fedling_sim.world import FakeDevice, Weather
from tests.support.device import (
    FLEET,
    SECRET,
    STREAM,
    TRAINING,
    csv_lines,
    make_model,
    make_plan,
    parse,
)
from tests.support.ports import HandClock, HandLink, HandWorker

M = TypeVar("M")
ROOT, ONLINE, DEVICE = (SigningKey(seed * 32) for seed in (b"R", b"O", b"D"))
TOPICS = Topics("fedling", FLEET)
ID = device_id(DEVICE.public)
GOOD = Weather(mains=True, battery=90, temperature=40, network=True)


@dataclass
class HandProcess:
    """A training child that does what the test says."""

    job: Job
    pid: int | None = None
    did: list[object] = field(default_factory=list)
    tell: Tell | None = None

    def waited_s(self) -> float:
        return 0.0

    def start(self, tell: Tell) -> None:
        self.did.append("start")
        self.tell = tell

    def grant(self, seconds: float) -> None:
        self.did.append(seconds)

    def stop(self) -> None:
        self.did.append("stop")

    def kill(self) -> None:
        self.did.append("kill")
        self.tell = None

    def finish(self, weights: bytes | None = None) -> None:
        """It has trained all batches. weights: of a personal model; None: as the base has them"""
        assert self.tell is not None
        base = self.job.base()
        if self.job.recipe.personal:
            examine(self.job, base, weights or base)
            self.job.write_result(weights or base, 0)
        else:
            examine(self.job, base)
            self.job.write_result(bytes(len(base)), 0)
        self.tell(Step(self.job.total_steps, self.job.total_steps))
        self.tell(Exited(0))

    def say(self, *events: ChildEvent) -> None:
        assert self.tell is not None
        for event in events:
            self.tell(event)

    def exit(self, code: int = 0) -> None:
        assert self.tell is not None
        self.tell(Exited(code))


def examine(job: Job, *models: bytes) -> None:
    """Test models as the child does."""
    if tests := job.tests():
        test = HeldOutTest(job.recipe, models, tests, None)
        while not test.finished:
            test.step()
        job.write_tally(test.tally)


class HandService:
    """A device with examples, its service, and the words of an aggregator to it."""

    make_clock: type[HandClock] = HandClock

    def __init__(self, directory: Path, *, recordings: int = 4) -> None:
        self.directory = directory
        self.now = 1000.0
        self.world = FakeDevice(directory / "world")
        self.world.show(GOOD)
        self.children: list[HandProcess] = []
        self.ruined: list[BadDatabase] = []  # what the service ended with
        self.link = HandLink()
        self.trust = Trust(TOPICS, ROOT.public)
        self.trust.know(ID, DEVICE.public, 1)
        self.config = AgentConfig(FLEET, ROOT.public.hex(), MqttSettings("localhost"))
        store = Store(directory / "state")
        if recordings:
            store.recordings.ingest(STREAM, parse(csv_lines(recordings)), 1000)
        store.close()
        self.boot()

    def boot(self) -> None:
        """A new process on what is on disk; whatever an old one waits for never comes."""
        self.clock = self.make_clock(self.now)
        self.disk, self.sensors = HandWorker(self.clock), HandWorker(self.clock)
        self.store = Store(self.directory / "state")
        rows = self.rows
        roots = Roots(self.world.sysfs)
        ports = Ports(
            clock=self.clock,
            disk=self.disk,
            watcher=Watcher(rows, roots, self.clock, self.sensors),
            make_link=self._make_link,
            make_process=self._make_process,
            dice=lambda count: b"d" * count,
            draw=lambda: 0.5,
            begin_anew=self.ruined.append,
        )
        identity = Identity(DEVICE, SECRET)
        self.service = Service(ports, self.config, {"wrist": STREAM}, identity, self.store)
        try:
            self.service.start()
        except BadDatabase as error:  # as `run` does
            self.service.meet(error)
        self.clock.settle()

    @property
    def rows(self) -> tuple[Condition, ...]:
        """The conditions, and how they are read."""
        return self.config.policy.rows

    def _make_link(self, client_id: str, owner: Owner) -> HandLink:
        assert client_id == ID
        self.link = HandLink(owner)
        return self.link

    def _make_process(self, job: Job) -> HandProcess:
        self.children.append(HandProcess(job))
        return self.children[-1]

    @property
    def runner(self) -> SessionRunner:
        (runner,) = self.service.runners
        return runner

    @property
    def phase(self) -> str:
        return type(self.runner.session.phase).__name__

    # --- what the aggregator says ----------------------------------------------------------------

    def connect(self) -> None:
        self.link.connected = True
        self.service.on_connected()
        for owner, key, role in (
            ("aggregator", ONLINE, Role.AGGREGATOR),
            (ID, DEVICE, Role.DEVICE),
        ):
            certificate = Certificate(key.public, role, FLEET, owner, 1)
            self.hear(TOPICS.of(Kind.KEYS, owner), certificate, ROOT)
        self.clock.settle()

    def hear(self, topic: str, message: Message, key: SigningKey = ONLINE) -> None:
        sealed = envelope.seal(message, TOPICS.bound(topic), key)
        self.service.on_message(topic, sealed, False)
        self.clock.settle()

    def offer(
        self,
        number: int = 1,
        *,
        model: Model | None = None,
        kind: PlanKind = PlanKind.TRAIN,
        training: Training = TRAINING,
        chunked: Chunked | None = None,
    ) -> Plan:
        """A plan, and its base model to who asks for it."""
        model = model or make_model()
        plan = make_plan(model, number, training, kind)
        if chunked is not None:  # the model is none of what is cut
            plan = replace(plan, chunked=chunked, model_size=min(plan.model_size, chunked.size))
        self.hear(TOPICS.of(Kind.PLAN, "watch", plan.kind), plan)
        topic = TOPICS.of(Kind.MODEL, "watch", model.version)
        if topic in self.link.subscribed:
            self.hear(topic, model)
        return plan

    def go(self, plan: Plan, seconds: int = 3600) -> None:
        """Leave to take part, for the last join."""
        join = self.sent(Join)[-1]
        ticket = Ticket(plan.plan_id, join.nonce, Answer.GO, seconds, "")
        self.hear(TOPICS.of(Kind.TICKET, "watch", ID), ticket)

    def go_to(self, plan: Plan, *, epoch: int) -> None:
        """Leave to take part, said in an epoch."""
        join = self.sent(Join)[-1]
        assert join.plan_id == plan.plan_id
        ticket = Ticket(plan.plan_id, join.nonce, Answer.GO, 3600, "", epoch)
        self.hear(TOPICS.of(Kind.TICKET, "watch", ID), ticket)

    def receipt(self, plan: Plan, update_hash: bytes | None, verdict: Verdict) -> None:
        receipt = Receipt(plan.plan_id, update_hash, verdict, "", None)
        self.hear(TOPICS.of(Kind.RECEIPT, "watch", ID), receipt)

    # --- what the device has said ----------------------------------------------------------------

    def sent(self, kind: type[M]) -> list[M]:
        found = [self.trust.open(p.topic, p.payload).message for p in self.link.published]
        return [message for message in found if isinstance(message, kind)]

    @property
    def updates(self) -> list[tuple[Update, bytes]]:
        """Messages and their hashes."""
        return [
            (message, message_hash(p.payload))
            for p in self.link.published
            if isinstance(message := self.trust.open(p.topic, p.payload).message, Update)
        ]

    # --- the course of a round -------------------------------------------------------------------

    def begin(self, number: int = 1) -> Plan:
        """Up to a child that runs."""
        plan = self.offer(number)
        self.go(plan)
        self.settle(lambda: self.children and self.children[-1].did[:1] == ["start"])
        return plan

    def settle(self, until: Callable[[], object] = lambda: False) -> None:
        """Let slices run, in which no time passes."""
        for _ in range(1000):
            if until():
                return
            self.clock.settle()

    def crash(self) -> None:
        """kill -9, and another start."""
        self.now = self.clock.now()
        self.store.close()
        self.boot()

    def close(self) -> None:
        self.store.close()
