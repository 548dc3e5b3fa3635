"""An aggregator's whole service under devices that sign anything."""

import shutil
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from random import Random

import cbor2

from fedling_broker.config import KeepUpdates
from fedling_broker.rounds.state import Open
from fedling_broker.store.devices import Devices
from fedling_broker.tasks.task_file import parse_task
from fedling_broker.verify import verify
from fedling_native import Sums
from fedling_protocol.disk.errors import Busy
from fedling_protocol.wire.chunks import Whole
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.digest import message_hash
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import CHUNK_ROOM, MAX_TESTED
from fedling_protocol.wire.messages import (
    Chunk,
    Enrol,
    Hits,
    Join,
    Message,
    State,
    StateCode,
    Update,
)
from fedling_protocol.wire.sums import pack
from tests.support.fuzz.clock import WatchedClock
from tests.support.fuzz.seal import hurt, plain, seal
from tests.support.hand_aggregator import ONLINE, ROOT, TOPICS, HandAggregator, key_of

TASKS = ("tiny", "other")
ROUNDS = 1000
ENROLLED, STRANGERS = range(1, 13), range(101, 105)
NEXT = 1000  # a device that was revoked comes back with another key
EPISODE = 500  # messages, after which another aggregator begins
HURT = 0.3
MOVES_S = (0.0, 0.1, 1.0, 2.0, 61.0, 400.0)
EACH = 256  # bytes of an update in a chunk
SEED = b"s" * 32  # of first models


class AggregatorFuzzer:
    """Makes messages from a seed, and gives them to one aggregator after another."""

    def __init__(self, seed: int, directory: Path) -> None:
        """directory: empty; on a tmpfs if there is one"""
        self.dice = Random(seed)
        self.count = 0
        self.spoken = sha256()  # all that was given to it
        self.reached: Counter[str] = Counter()  # refusals, verdicts with their reasons
        self._directory = directory
        self._aggregator: _Aggregator | None = None
        self._said: list[tuple[str, bytes]] = []  # to be replayed
        self._updates: dict[str, bytes] = {}  # the last one of a device: its hash
        self._plans: list[bytes] = []
        self._cut: dict[str, bytes] = {}  # an update that goes in chunks, by its topic

    def run(self, messages: int) -> None:
        """Fuzz so many. Whatever is raised is a fault."""
        for _ in range(messages):
            if self._aggregator is None or self.count % EPISODE == 0:
                self._begin()
            self.count += 1
            self._speak()
            self._happen()

    def close(self) -> None:
        """End the last aggregator: all that it has published is recomputed."""
        aggregator, self._aggregator = self._aggregator, None
        if aggregator is None:
            return
        aggregator.clock.move(200.0)
        self.reached.update(aggregator.store.ledger.counters())
        for row in aggregator.store.tasks.rows():
            task = parse_task(row.text, row.name)
            checks = list(verify(aggregator.store, task, SEED))
            assert [check.fault for check in checks if check.fault] == []
            self.reached["models"] += len(checks)
        aggregator.store.close()

    @property
    def aggregator(self) -> "_Aggregator":
        assert self._aggregator is not None
        return self._aggregator

    # --- an aggregator's life --------------------------------------------------------------------

    def _begin(self) -> None:
        self.close()
        place = self._directory / "aggregator"
        shutil.rmtree(place, ignore_errors=True)
        self._aggregator = aggregator = _Aggregator(
            place, keep_updates=KeepUpdates.AUDIT, largest_packet=EACH + CHUNK_ROOM
        )
        self._said, self._updates, self._plans, self._cut = [], {}, [], {}
        self.enrolled = list(ENROLLED)
        for task in TASKS:
            self._add(task)
        aggregator.enrol(*ENROLLED)
        aggregator.connect()

    def _happen(self) -> None:
        """Turns are taken, time passes, the operator does something, the power goes."""
        dice, aggregator = self.dice, self.aggregator
        if dice.random() < 0.7:
            aggregator.settle()
        if dice.random() < 0.1:
            aggregator.clock.move(dice.choice(MOVES_S))
        if dice.random() < 0.02:
            aggregator.connect()
        if dice.random() < 0.01:
            self._count_words()
            aggregator.start()
            aggregator.connect()
        if dice.random() < 0.02:
            aggregator.settle()
            self._operate()
        for published in aggregator.link.published:
            if published.done is not None and dice.random() < 0.9:
                published.done()
        self._count_words()

    def _operate(self) -> None:
        """What an operator's commands write, each in a process of its own."""
        dice, task = self.dice, self.dice.choice(TASKS)
        try:
            if dice.random() < 0.2:
                other = self.aggregator.another_store()
                removed = other.tasks.remove(task)
                other.close()
                if removed:
                    self.aggregator.clock.move(2.0)
                    self._add(task)
            else:
                place = dice.randrange(len(self.enrolled))
                number = self.enrolled[place]
                other = self.aggregator.another_store()
                Devices(other.database, TOPICS).revoke(device_id(key_of(number).public), ROOT)
                other.close()
                self.aggregator.clock.move(2.0)
                self.enrolled[place] = number + NEXT
                self.aggregator.enrol(self.enrolled[place])
        except Busy:
            self.reached["busy"] += 1
        self.aggregator.clock.move(2.0)

    def _add(self, task: str) -> None:
        """Half of the tasks begin with a round of statistics."""
        goal, normalise = self.dice.randint(1, 3), self.dice.choice(("fleet", "device"))
        held, raw = (0.2, "") if task == TASKS[0] else (0.0, "[compression]\noff = true\n")
        self.aggregator.add_task(
            task, rounds=ROUNDS, goal=goal, normalise=normalise, holdout=held, more=raw
        )

    def _cut_hashes(self) -> set[bytes]:
        return {message_hash(data) for data in self._cut.values()}

    def _count_words(self) -> None:
        published = self.aggregator.link.published
        for one in published:
            address = TOPICS.parse(one.topic)
            if one.payload and address.kind is Kind.RECEIPT:
                values = cbor2.loads(cbor2.loads(one.payload).value[2])
                self.reached[f"{values[3]}: {values[4]}"] += 1
                if values[2] in self._cut_hashes():
                    self.reached[f"{values[3]}, of chunks"] += 1
            elif address.kind is not Kind.TICKET:
                self.reached[address.kind.word] += 1
        published.clear()

    # --- what devices say ------------------------------------------------------------------------

    def _speak(self) -> None:
        dice = self.dice
        if self._said and dice.random() < 0.1:
            topic, data = dice.choice(self._said)
        else:
            number = dice.choice(
                (*self.enrolled, *self.enrolled, *ENROLLED, dice.choice(STRANGERS))
            )
            topic, data = self._sealed(number)
            self._said = [*self._said[-60:], (topic, data)]
        empty = dice.random() < 0.01
        self.spoken.update(data)
        self.aggregator.service.on_message(topic, b"" if empty else data, empty)

    def _sealed(self, number: int) -> tuple[str, bytes]:
        dice, key = self.dice, key_of(number)
        task = dice.choice((*TASKS, TASKS[0], TASKS[0]))
        message, topic = self._whole(number, task)
        if dice.random() < 0.02:
            topic = dice.choice(self._topics(task, key))
        if dice.random() < 0.03:
            key = dice.choice((ROOT, ONLINE, key_of(number + 1), key_of(999)))
        payload = hurt(message, dice) if dice.random() < HURT else cbor2.dumps(plain(message))
        data = seal(payload, topic.partition("/")[2].encode(), key)
        if isinstance(message, Update):
            self._updates[device_id(key.public)] = message_hash(data)
        if dice.random() < 0.03:
            at = dice.randrange(dice.choice((20, len(data))))
            data = data[:at] + dice.randbytes(1) + data[at + 1 :]
        return topic, data

    def _whole(self, number: int, task: str) -> tuple[Message, str]:
        """A message that fits what the aggregator is doing."""
        dice, device = self.dice, device_id(key_of(number).public)
        runner = self.aggregator.service.runners.find(task)
        phase = None if runner is None else runner.rounds.phase
        if isinstance(phase, Open):
            plan_id = phase.plan_id
            if plan_id not in self._plans:
                self._plans = [*self._plans[-10:], plan_id]
        if not isinstance(phase, Open) or dice.random() < 0.1:
            plan_id = dice.choice([*self._plans, b"p" * 16])
        if dice.random() < 0.03:
            return self._enrol(number), TOPICS.of(Kind.ENROL, device)
        if dice.random() < 0.03:
            state = State(dice.choice(list(StateCode)), dice.randint(0, 3))
            return state, TOPICS.of(Kind.STATE, device)
        if isinstance(phase, Open) and dice.random() < _eagerness(phase, device):
            topic = TOPICS.of(Kind.UPDATE, task, device, plan_id, 0)
            if topic in self._cut and dice.random() < 0.8:
                return self._chunk(topic)
            update = self._update(phase, plan_id)
            if dice.random() < 0.3:
                bound, values = TOPICS.bound(topic), cbor2.dumps(plain(update))
                self._cut[topic] = data = seal(values, bound, key_of(number))
                self._updates[device] = message_hash(data)
            return update, topic
        have = dice.choice((None, None, self._updates.get(device), b"h" * 32))
        own = key_of(number).public if dice.random() < 0.3 or number in STRANGERS else None
        return Join(plan_id, dice.randbytes(8), have, own), TOPICS.of(Kind.JOIN, task, device)

    def _update(self, phase: Open, plan_id: bytes) -> Update:
        dice, terms = self.dice, phase.terms
        size = terms.vector_size if dice.random() < 0.95 else dice.choice((1, 2, 400))
        byte = dice.choice((b"\0", b"\xff", b"\x7f", b"\x80", dice.randbytes(1)))
        vector = byte * size
        if terms.codec is Codec.SUMS and dice.random() < 0.8:
            zeros = (0,) * ((size - 8) // 16)
            vector = pack(Sums(dice.choice((1, 7)), zeros, zeros))
        weight = dice.choice((1, 7, terms.weight_cap, terms.weight_cap + dice.randint(0, 1)))
        update = Update(
            plan_id, terms.base_version, terms.base_hash, weight, terms.codec, vector,
            dice.choice((0, 2**32 - 1)), 1, self._tested(terms.classes),
        )  # fmt: skip
        if dice.random() < 0.04:
            return replace(update, base_hash=dice.randbytes(32))
        return update

    def _chunk(self, topic: str) -> tuple[Chunk, str]:
        """One chunk of an update that goes so; the others come, too."""
        data = self._cut[topic]
        whole = Whole(message_hash(data), len(data), min(EACH, len(data) - 1))
        number = self.dice.randrange(whole.count)
        return whole.chunk(data, number), topic[:-1] + str(number)

    def _enrol(self, number: int) -> Enrol:
        """With a token that nobody made, or without one."""
        dice = self.dice
        name, seal_key = dice.choice(("", "kitchen")), dice.choice((None, dice.randbytes(32)))
        point = b"\2" + bytes(range(32))
        token_id, mac = dice.choice(((None, None), (dice.randbytes(8), dice.randbytes(32))))
        nonce = dice.randbytes(16)
        return Enrol(key_of(number).public, nonce, point, name, token_id, mac, seal_key)

    def _tested(self, classes: int) -> tuple[Hits, ...] | None:
        """A test that may be: mostly one that was asked for."""
        dice = self.dice
        if dice.random() < 0.05:
            classes = dice.choice((1, 2, 3, 256))
        if not classes or dice.random() < 0.2:
            return None
        each = MAX_TESTED // classes
        windows = [dice.choice((1, each, dice.randint(1, each))) for _ in range(classes)]
        return tuple(Hits(n, dice.choice((0, n, dice.randint(0, n)))) for n in windows)

    def _topics(self, task: str, key: SigningKey) -> list[str]:
        device = device_id(key.public)
        return [
            TOPICS.of(Kind.JOIN, "unknown", device),
            TOPICS.of(Kind.UPDATE, "unknown", device, b"p" * 16, 0),
            TOPICS.of(Kind.UPDATE, task, device, b"p" * 16, 1),
            TOPICS.of(Kind.PLAN, task, "train"),
            TOPICS.of(Kind.KEYS, device),
            TOPICS.of(Kind.TASKS),
            TOPICS.of(Kind.TICKET, task, device),
            TOPICS.of(Kind.ENROL, device),
            TOPICS.of(Kind.ENROLLED, device),
            TOPICS.of(Kind.ROOTS),
            "fedling/2/test/x",
            "elsewhere/1/test/tasks/list",
        ]


def _eagerness(phase: Open, device: str) -> float:
    """How likely a device sends its update: mostly when it has a place, and has not sent one."""
    if phase.cohort.decision(device) is not None:
        return 0.15
    return 0.08 if phase.cohort.until(device) is None else 0.8


class _Aggregator(HandAggregator):
    """With a clock that is watched."""

    make_clock = WatchedClock
