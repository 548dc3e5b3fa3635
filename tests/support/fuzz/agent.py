"""A device's whole service under an aggregator that signs anything."""

import shutil
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TypeVar

import cbor2

from fedling_agent.conditions.condition import Condition
from fedling_agent.service.runner import SessionRunner
from fedling_agent.session import state
from fedling_agent.training.process import Asked, Note, Step
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import (
    CODECS_OF,
    Answer,
    Certificate,
    Chunk,
    Enrolled,
    EnrolReason,
    Grant,
    Message,
    Model,
    Plan,
    PlanKind,
    Receipt,
    Rest,
    Role,
    Roots,
    TaskInForce,
    Tasks,
    Ticket,
    Verdict,
    WaitReason,
)
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from fedling_protocol.wire.roots import succeed
from fedling_sim.virtual.device import Surroundings
from tests.support.chunks import Cut
from tests.support.device import FLEET, SPEC, hash_of, make_model, make_plan
from tests.support.fuzz.clock import WatchedClock
from tests.support.fuzz.seal import hurt, plain, seal
from tests.support.service import DEVICE, ID, ONLINE, ROOT, TOPICS, HandService

P = TypeVar("P", Plan, Rest)
TASKS = ("watch", "other", "third")
EPISODE = 150  # messages, after which another device begins
HURT = 0.45  # of the messages
MOST_FILES = 80  # of a state: 8 models of each task, jobs, spooled updates, frozen sets
FORMER_KEY = SigningKey(b"F" * 32)
AUTHORITY_KEY, SECOND_ROOT, THIEF = (SigningKey(seed * 32) for seed in (b"A", b"2", b"T"))
KEYS = (ROOT, ONLINE, DEVICE, FORMER_KEY, AUTHORITY_KEY, SECOND_ROOT)
MOVES_S = (0.0, 0.1, 0.3, 1.0, 1.0, 11.0, 31.0, 61.0, 130.0)
DAY_S = 90_000.0


class AgentFuzzer:
    """Makes messages from a seed, and gives them to one device after another."""

    def __init__(self, seed: int, directory: Path) -> None:
        """directory: empty; on a tmpfs if there is one"""
        self.dice = Random(seed)
        self.count = 0
        self.spoken = sha256()  # all that was given to it
        self.reached: Counter[str] = Counter()  # refusals, phases, verdicts, actions
        self._directory = directory
        self._device: _Device | None = None
        self._models: dict[str, list[Model]] = {}
        self._said: list[tuple[str, bytes]] = []  # to be replayed
        self._chunks: dict[Chunk, str] = {}  # where each belongs
        self._epoch = self._generation = self._round = 0

    def run(self, messages: int) -> None:
        """Fuzz so many. Whatever is raised is a fault."""
        for _ in range(messages):
            if self._device is None or self.count % EPISODE == 0:
                self._begin()
            self.count += 1
            self._speak()
            self._settle()
            self._happen()

    def close(self) -> None:
        """End the last device, and remember what it has counted."""
        device, self._device = self._device, None
        if device is not None:
            self.reached.update(device.service.books.counters())
            ended = device.store.spool.receipts()
            self.reached.update(Counter(f"over: {one.verdict}" for one in ended))
            device.close()
            files = sum(path.is_file() for path in device.directory.rglob("*"))
            assert files <= MOST_FILES, "something is left of what is over"

    @property
    def device(self) -> "_Device":
        assert self._device is not None
        return self._device

    # --- a device's life -------------------------------------------------------------------------

    def _begin(self) -> None:
        self.close()
        template, place = self._directory / "template", self._directory / "device"
        if not template.exists():
            HandService(template).close()
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(template, place)
        self._device = device = _Device(place)
        self._models, self._said = {task: [] for task in TASKS}, []
        self._chunks = {}
        self._epoch, self._generation, self._round = 1, 1, 0
        device.connect()

    def _settle(self) -> None:
        self.device.clock.settle()
        for runner in self.device.service.runners:
            self.reached[type(runner.session.phase).__name__] += 1
        self.device.link.published.clear()

    def _happen(self) -> None:
        """Time passes, children say something, the weather changes, the power goes."""
        dice, device = self.dice, self.device
        if device.children and dice.random() < 0.3:
            self._child()
        if dice.random() < 0.2:
            device.clock.move(dice.choice(MOVES_S))
        if dice.random() < 0.001:
            device.clock.move(DAY_S)
        if dice.random() < 0.05:
            here = device.surroundings
            here.mains, here.battery = dice.random() < 0.7, dice.choice((5, 60, 100))
            here.network = dice.random() < 0.9
        if device.children and device.children[-1].tell is not None and dice.random() < 0.4:
            device.surroundings.mains, device.surroundings.battery = False, 5
            device.clock.move(1.0)
        if dice.random() < 0.01:
            device.link.connected = False
            device.service.on_disconnected("fuzz", 1.0)
            device.clock.move(1.0)
            device.connect()
        if dice.random() < 0.005:
            device.children.clear()
            device.crash()
            device.connect()
        for published in device.link.published:
            if published.done is not None and dice.random() < 0.8:
                published.done()
        self._settle()

    def _child(self) -> None:
        child, dice = self.device.children[-1], self.dice
        if child.tell is None:
            return
        chance, total = dice.random(), child.job.total_steps
        if chance < 0.4 and child.job.result() is None:
            child.finish()
            child.tell = None
        elif chance < 0.6:
            child.say(Step(dice.randint(0, total), total, dice.choice((0.0, 0.1, 60.0))))
        elif chance < 0.8:
            child.say(Asked())
        elif chance < 0.9:
            child.say(Note("fuzz"))
        else:
            child.exit(dice.choice((0, 1, -9, 70)))
            child.tell = None

    # --- what the aggregator says ----------------------------------------------------------------

    def _speak(self) -> None:
        dice = self.dice
        if self._said and dice.random() < 0.08:  # a replay
            topic, data = dice.choice(self._said)
        elif dice.random() < 0.02:
            topic, data = dice.choice(self._topics(dice.choice(TASKS))), b""
        else:
            topic, data = self._sealed(*self._whole())
            self._said = [*self._said[-50:], (topic, data)]
        self.spoken.update(data)
        self.device.service.on_message(topic, data, not data and dice.random() < 0.3)

    def _sealed(self, message: Message, topic: str) -> tuple[str, bytes]:
        dice = self.dice
        key = self._signer(message)
        if dice.random() < 0.03:
            key = dice.choice(KEYS)
        if dice.random() < 0.06:
            topic = dice.choice(self._topics(dice.choice(TASKS)))
        payload = hurt(message, dice) if dice.random() < HURT else cbor2.dumps(plain(message))
        bound = topic.partition("/")[2].encode()
        data = seal(payload, bound, key)
        if dice.random() < 0.03:
            at = dice.randrange(dice.choice((20, len(data))))
            data = data[:at] + dice.randbytes(1) + data[at + 1 :]
        return topic, data

    def _whole(self) -> tuple[Message, str]:
        """A message that fits what the device is doing."""
        dice, task = self.dice, self.dice.choice(TASKS[: self.dice.choice((1, 1, 2, 3))])
        runner = self.device.service.runners.find(task)
        if dice.random() < 0.06:
            about = dice.choice((self._certificate, self._roots, self._roots, self._enrolled))()
            return about, self._topic(about, task)
        if runner is not None and dice.random() < 0.9:
            message = self._answer(task, runner)
            if message is not None:
                return message, self._topic(message, task)
        choice = dice.random()
        if choice < 0.55:
            message = self._plan(task)
        elif choice < 0.7:
            message = self._rest(task)
        elif choice < 0.72:
            message = self._tasks()
        elif choice < 0.77:
            message = self._certificate()
        elif choice < 0.9:
            message = Ticket(b"p" * 16, dice.randbytes(8), Answer.GO, 60, "", self._epoch)
        else:
            message = self._model(task)
        return message, self._topic(message, task)

    def _answer(self, task: str, runner: SessionRunner) -> Message | None:
        """What the session waits for."""
        dice, session, phase = self.dice, runner.session, runner.session.phase
        if session.fetch is not None and dice.random() < 0.6:
            found = [m for m in self._models[task] if hash_of(m) == session.fetch.model_hash]
            if found:
                return self._part(found[0], task) if runner.asked(Kind.CHUNK) else found[0]
        if isinstance(phase, state.Joining) and dice.random() < 0.8:
            wait = dice.random() < 0.3
            answer = Answer.WAIT if wait else Answer.GO
            reason = dice.choice([*map(str, WaitReason), "later"]) if wait else ""
            seconds = dice.choice((0, 1, 60, 3600, 2**32 - 1))
            return Ticket(phase.plan_id, phase.nonce, answer, seconds, reason, self._epoch)
        if session.spool and dice.random() < 0.7:
            entry = session.spool[0]
            return self._receipt(entry.plan_id, dice.choice((entry.update_hash, None, b"h" * 32)))
        plan = session.begun or session.offer
        if plan is not None and dice.random() < 0.1:
            return self._receipt(plan.plan_id, None)
        return None

    def _part(self, model: Model, task: str) -> Chunk:
        """One of its chunks."""
        cut = Cut(model, task)
        number = self.dice.randrange(cut.count)
        chunk = cut.chunk(number)
        self._chunks[chunk] = cut.topic(number)
        return chunk

    def _named(self, named: P, model: Model, task: str) -> P:
        """The same plan or rest, of a model that comes in chunks or as one message."""
        if self.dice.random() < 0.6:
            return replace(named, model_size=len(model.weights) + 1000)
        cut = Cut(model, task)
        return replace(named, model_size=len(cut.data), chunked=cut.chunked)

    def _receipt(self, plan_id: bytes, update_hash: bytes | None) -> Receipt:
        verdict = self.dice.choice(list(Verdict))
        of = self.dice.choice(list(Verdict)) if verdict is Verdict.DUPLICATE else None
        return Receipt(plan_id, update_hash, verdict, "fuzz", of, self._epoch)

    def _model(self, task: str, *, new: bool = False) -> Model:
        models = self._models[task]
        if new or not models:
            version = models[-1].version + 1 if models else 1
            spec = replace(SPEC, task=task)
            self._models[task] = [*models[-8:], make_model(version, self.dice.randint(0, 3), spec)]
        return self._models[task][-1]

    def _plan(self, task: str) -> Plan:
        dice = self.dice
        model = self._model(task, new=dice.random() < 0.7)
        if dice.random() < 0.05:
            self._epoch += 1
        if dice.random() < 0.03:
            self._generation += 1
        self._round += 1
        plan = make_plan(model, self._round)
        spread = dice.choice((None, None, 1, 3600))
        changed = replace(plan, epoch=self._epoch, generation=self._generation, spread_s=spread)
        changed = self._named(changed, model, task)
        if dice.random() < 0.15:
            kind, spec = PlanKind.STATISTICS, replace(changed.spec, normalise="fleet")
            changed = replace(changed, kind=kind, codec=CODECS_OF[kind][0], spec=spec)
        if dice.random() < 0.02:
            changed = replace(changed, spec=replace(changed.spec, stream="ankle"))
        if dice.random() < 0.05:  # the id of another plan, perhaps of another task
            runner = self.device.service.runners.find(dice.choice(TASKS))
            if runner is not None and runner.plan is not None:
                changed = replace(changed, plan_id=runner.plan.plan_id)
        return changed

    def _rest(self, task: str) -> Rest:
        model, look = self._model(task), self.dice.choice((0, 1, 3600, 2**32 - 1))
        epoch = max(1, self._epoch - self.dice.choice((0, 0, 0, 1)))
        rest = Rest(
            model.version,
            hash_of(model),
            model.spec,
            1,
            look,
            epoch,
            self._generation,
            paused=self.dice.choice((None, "", "firmware week")),
        )
        return self._named(rest, model, task)

    def _tasks(self) -> Tasks:
        known = self.dice.sample(TASKS, self.dice.randint(1, 3))
        lives = tuple(TaskInForce(task, self._generation) for task in known)
        return Tasks(self._generation, lives, self._epoch)

    def _certificate(self) -> Certificate:
        """Mostly one that does not end the device's part in this: a fifth are tombstones."""
        dice = self.dice
        owner, role, key = dice.choice(
            (
                (ID, Role.DEVICE, DEVICE),
                (AGGREGATOR, Role.AGGREGATOR, ONLINE),
                (AUTHORITY, Role.AUTHORITY, AUTHORITY_KEY),
            )
        )
        issued_s, until_s = dice.choice(((0, 0), (0, 0), (1, 2), (1_700_000_000, 2**32 - 1)))
        name, revoked = dice.choice(("", "", "kitchen")), dice.random() < 0.2
        serial = 4 if revoked else dice.randint(1, 3)
        return Certificate(key.public, role, FLEET, owner, serial, issued_s, until_s, name, revoked)

    def _roots(self) -> Roots:
        """A successor of the root, now and then the thief of its key."""
        successor = THIEF if self.dice.random() < 0.4 else SECOND_ROOT
        return Roots((succeed(ROOT, successor.public, FLEET, 1, self._epoch),))

    def _enrolled(self) -> Enrolled:
        """An answer to what this device did not ask."""
        dice = self.dice
        mac = dice.choice((None, dice.randbytes(32)))
        if dice.random() < 0.3:
            return Enrolled(dice.randbytes(16), dice.choice(list(EnrolReason)), None, mac)
        one, two, three = (dice.randbytes(dice.choice((1, 300, 1024))) for _ in range(3))
        tls = dice.choice((None, dice.randbytes(500)))
        grant = Grant(ROOT.public, one, two, three, "localhost", 8883, None, tls, tls)
        return Enrolled(dice.randbytes(16), "", grant, mac)

    def _signer(self, message: Message) -> SigningKey:
        """Whoever may sign it."""
        match message:
            case Certificate(role=Role.DEVICE):
                return self.dice.choice((ROOT, AUTHORITY_KEY))
            case Certificate():
                return ROOT if self.dice.random() < 0.8 else SECOND_ROOT
            case Roots():
                is_thief = message.links[0].key == THIEF.public
                return THIEF if is_thief else SECOND_ROOT
        return ONLINE

    # --- where -----------------------------------------------------------------------------------

    def _topic(self, message: Message, task: str) -> str:
        match message:
            case Certificate():
                return TOPICS.of(Kind.KEYS, message.id)
            case Roots():
                return TOPICS.of(Kind.ROOTS)
            case Enrolled():
                return TOPICS.of(Kind.ENROLLED, ID)
            case Tasks():
                return TOPICS.of(Kind.TASKS)
            case Plan():
                return TOPICS.of(Kind.PLAN, task, message.kind)
            case Rest():
                return TOPICS.of(Kind.PLAN, task, PlanKind.TRAIN)
            case Model():
                return TOPICS.of(Kind.MODEL, task, message.version)
            case Chunk():
                return self._chunks[message]
            case Ticket():
                return TOPICS.of(Kind.TICKET, task, ID)
        return TOPICS.of(Kind.RECEIPT, task, ID)

    def _topics(self, task: str) -> list[str]:
        return [
            TOPICS.of(Kind.KEYS, AGGREGATOR),
            TOPICS.of(Kind.KEYS, AUTHORITY),
            TOPICS.of(Kind.KEYS, "a" * 16),
            TOPICS.of(Kind.ROOTS),
            TOPICS.of(Kind.ENROL, ID),
            TOPICS.of(Kind.ENROLLED, "a" * 16),
            TOPICS.of(Kind.PLAN, task, "later"),
            TOPICS.of(Kind.PLAN, task, PlanKind.TRAIN),
            TOPICS.of(Kind.MODEL, task, 1),
            TOPICS.of(Kind.CHUNK, task, "model", 1, 0),
            TOPICS.of(Kind.TICKET, task, "a" * 16),
            TOPICS.of(Kind.RECEIPT, task, ID),
            TOPICS.of(Kind.JOIN, task, ID),
            TOPICS.of(Kind.STATE, ID),
            TOPICS.of(Kind.TASKS),
            "fedling/2/test/x",
            "elsewhere/1/test/tasks/list",
        ]


class _Device(HandService):
    """Begun on a state that is there, with a clock that is watched."""

    make_clock = WatchedClock

    def __init__(self, directory: Path) -> None:
        self.surroundings = Surroundings()
        super().__init__(directory, recordings=0)

    @property
    def rows(self) -> tuple[Condition, ...]:
        return self.surroundings.rows(self.config.policy.rows)
