"""An aggregator in a page, for tests of the agent: it signs what it is told to, and remembers."""

import random
from array import array
from collections.abc import Callable
from functools import partial

from fedling_native import Layer, Loss, parameter_counts
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.net.transport import PLAIN
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import InlineWorker
from fedling_protocol.wire import digest, envelope
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_LARGE
from fedling_protocol.wire.messages import (
    Answer,
    Certificate,
    Conditions,
    Join,
    Message,
    Model,
    Plan,
    PlanKind,
    Receipt,
    Rest,
    Role,
    State,
    TaskSpec,
    Ticket,
    Training,
    Update,
    Verdict,
)
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.payload import kind_of
from fedling_protocol.wire.refused import Refused
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Received, Trust
from tests.support.waiting import PATIENCE_S, until

ROOT = SigningKey(b"r" * 32)
ONLINE = SigningKey(b"o" * 32)
STRANGER = SigningKey(b"s" * 32)
TOPICS = Topics("fedling", "test")

Answerer = Callable[[Join, str], Ticket | Receipt | None]


def make_model(
    layers: tuple[Layer, ...],
    version: int = 1,
    task: str = "watch",
    channels: int = 2,
    loss: Loss = Loss.SOFTMAX,
) -> Model:
    """Small random weights, the same for the same version."""
    dice = random.Random(version)
    weight_count, bias_count = parameter_counts(layers)
    weights = array("h", (128 + dice.randrange(-2000, 2000) for _ in range(weight_count)))
    window = layers[0].inputs // channels
    labels = tuple(f"label {k}" for k in range(layers[-1].outputs))
    labels = labels if loss is Loss.SOFTMAX else ()
    spec = TaskSpec(task, "wrist", window, window, channels, "device", labels, layers, loss)
    exponents = tuple(-7 if layer.weight_count else 0 for layer in layers)
    return Model(version, spec, exponents, weights.tobytes() + bytes(4 * bias_count))


def model_hash(model: Model) -> bytes:
    return digest.model_hash(model.spec, model.exponents, model.weights)


class FakeAggregator:
    """Runs in the test's own thread, while `until` waits for something."""

    def __init__(self, port: int) -> None:
        self.loop = Loop()
        self.joins: list[tuple[str, Join]] = []  # device, message
        self.updates: list[tuple[str, Update, bytes]] = []  # device, message, its hash
        self.states: list[tuple[str, State]] = []
        self.refused: list[Refused] = []
        self.certificates: dict[str, Certificate] = {}
        self.model: Model | None = None
        self.answer: Answerer = lambda join, _device: self.go(join)
        self.verdict = Verdict.ACCEPTED
        self.receipts = True  # False: says nothing about an update
        self._trust = Trust(TOPICS, ROOT.public)
        self._link = MqttLink(
            self.loop,
            InlineWorker(self.loop),
            Broker("127.0.0.1", port, 60),
            Backoff(0.05, 0.05, random.random),
            lambda _topic: MAX_LARGE,
            partial(new_client, "aggregator", None),
            self,
            PLAIN,
        )
        self._link.start()
        self.until(lambda: self._link.connected)
        self.certify(ONLINE.public, AGGREGATOR)

    # --- what a test tells it to do --------------------------------------------------------------

    def until(self, condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
        """Serve until the condition holds."""
        until(condition, self.loop.turn, says=self._seen, patience_s=patience_s)

    @property
    def connected(self) -> bool:
        return self._link.connected

    def certify(self, public: bytes, owner: str = "", serial: int = 1) -> None:
        """Sign and retain a certificate."""
        owner = owner or device_id(public)
        role = Role.AGGREGATOR if owner == AGGREGATOR else Role.DEVICE
        certificate = Certificate(public, role, TOPICS.fleet, owner, serial)
        self.certificates[owner] = certificate
        self.say(TOPICS.of(Kind.KEYS, owner), certificate, key=ROOT, retain=True)

    def offer(self, model: Model, number: int, **changes: object) -> Plan:
        """Open a round on this model."""
        self.model = model
        plan = make_plan(model, number, **changes)
        task = model.spec.task
        self.say(TOPICS.of(Kind.MODEL, task, model.version), model, retain=True)
        self.say(TOPICS.of(Kind.PLAN, task, PlanKind.TRAIN), plan, retain=True)
        return plan

    def rest(self, model: Model, look_again_s: int = 3600, paused: str | None = None) -> None:
        """Close the round: the newest model is this one."""
        task, size = model.spec.task, len(model.weights) + 1000
        digest = model_hash(model)
        rest = Rest(model.version, digest, model.spec, size, look_again_s, paused=paused)
        self.say(TOPICS.of(Kind.MODEL, task, model.version), model, retain=True)
        self.say(TOPICS.of(Kind.PLAN, task, PlanKind.TRAIN), rest, retain=True)

    def say(
        self, topic: str, message: Message, *, key: SigningKey = ONLINE, retain: bool = False
    ) -> None:
        self.say_bytes(topic, envelope.seal(message, TOPICS.bound(topic), key), retain=retain)

    def say_bytes(self, topic: str, data: bytes, *, retain: bool = False) -> None:
        """Publish anything, and wait until the MQTT broker has it."""
        done: list[bool] = []
        assert self._link.publish(topic, data, retain=retain, done=lambda: done.append(True))
        self.until(lambda: done)

    def close(self) -> None:
        done: list[bool] = []
        self._link.stop(None, lambda: done.append(True))
        self.until(lambda: done)
        self.loop.close()

    # --- how it answers --------------------------------------------------------------------------

    def go(self, join: Join, seconds: int = 600) -> Ticket:
        return Ticket(join.plan_id, join.nonce, Answer.GO, seconds, "")

    def wait(self, join: Join, seconds: int, reason: str) -> Ticket:
        return Ticket(join.plan_id, join.nonce, Answer.WAIT, seconds, reason)

    def _on_join(self, join: Join, device: str) -> None:
        self.joins.append((device, join))
        if device not in self.certificates:
            answer: Ticket | Receipt | None = self.wait(join, 1, "not enrolled")
        elif join.have is not None and (seen := self._update(join.have)):
            answer = Receipt(seen.plan_id, join.have, self.verdict, "", None)
        else:
            answer = self.answer(join, device)
        if answer is not None:
            self._reply(answer, device)

    def _on_update(self, update: Update, device: str, message_hash: bytes) -> None:
        self.updates.append((device, update, message_hash))
        if self.receipts:
            self._reply(Receipt(update.plan_id, message_hash, self.verdict, "", None), device)

    def _reply(self, message: Ticket | Receipt, device: str) -> None:
        assert self.model is not None
        topic = TOPICS.of(kind_of(message), self.model.spec.task, device)
        self._link.publish(topic, envelope.seal(message, TOPICS.bound(topic), ONLINE))

    def _update(self, message_hash: bytes) -> Update | None:
        return next((u for _, u, h in self.updates if h == message_hash), None)

    # --- an owner of its link --------------------------------------------------------------------

    def will(self) -> Will | None:
        return None

    def on_connected(self) -> None:
        self._link.subscribe(
            [*TOPICS.aggregator_subscriptions(), *TOPICS.subscriptions(Kind.STATE)]
        )

    def on_disconnected(self, reason: str, retry_s: float) -> None:
        """It comes back by itself."""

    def on_traffic(self, traffic: Traffic) -> None:
        """Nobody asks."""

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        if not payload:
            return  # a retained message was removed
        try:
            received = self._open(topic, payload)
        except Refused as refused:
            self.refused.append(refused)
            return
        device = received.address.device or ""
        match received.message:
            case Join() as join:
                self._on_join(join, device)
            case Update() as update:
                self._on_update(update, device, received.hash)
            case State() as state:
                self.states.append((device, state))

    def _open(self, topic: str, payload: bytes) -> Received:
        """With the certificates that were handed out by now."""
        for owner, certificate in self.certificates.items():
            if self._trust.known(owner) is None:
                keys = TOPICS.of(Kind.KEYS, owner)
                self._trust.open(keys, envelope.seal(certificate, TOPICS.bound(keys), ROOT))
        return self._trust.open(topic, payload)

    def _seen(self) -> str:
        states = [state.code for _, state in self.states]
        return f"{len(self.joins)} joins, {len(self.updates)} updates, {states}, {self.refused}"


def make_plan(model: Model, number: int, **changes: object) -> Plan:
    """A plan to train this model; changes: fields of Training, `conditions`, `cohort`."""
    training = {
        "epochs": 1,
        "batch": 8,
        "lr_q24": 2**18,
        "min_examples": 4,
        "weight_cap": 1000,
        "holdout": 0,
        "holdout_block": 1000,
        "momentum": 0,
        "clip_q16": 0,
        "frozen": 0,
        "proximal_q16": 0,
    }
    for name in training:
        training[name] = int(str(changes.pop(name, training[name])))
    conditions = changes.pop("conditions", Conditions(False, 0, 90))
    cohort = changes.pop("cohort", None)
    assert isinstance(conditions, Conditions)
    assert cohort is None or isinstance(cohort, tuple)
    assert not changes, f"unknown: {changes}"
    base = model_hash(model)
    plan_id = digest.plan_id(b"secret", TOPICS.fleet, model.spec.task, number, base, 0, 0)
    return Plan(
        plan_id,
        number,
        model.version,
        base,
        model.spec,
        Training(**training),
        conditions,
        0,
        Codec.RAW_INT16,
        cohort,
        len(model.weights) + 1000,
    )
