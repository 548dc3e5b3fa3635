"""Listens to all that goes over the wire of a fleet, keeps what was said, and asks."""

import os
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net import credentials
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import InlineWorker
from fedling_protocol.wire import envelope
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_LARGE
from fedling_protocol.wire.messages import (
    Join,
    Plan,
    Receipt,
    Rest,
    State,
    StateCode,
    Tasks,
    Ticket,
    Update,
    Verdict,
)
from fedling_protocol.wire.refused import Refused
from fedling_protocol.wire.trust import Received, Trust
from tests.support.waiting import until

Receipted = tuple[str, bytes, bytes]  # device, plan, hash of the update


class Witness:
    """A certified device that no cohort names: it never takes part, and is answered that.

    heard: told of each message after it was kept
    """

    def __init__(
        self,
        loop: Loop,
        mqtt: MqttSettings,
        trust: Trust,
        key: SigningKey,
        task: str,
        heard: Callable[[Received], None],
    ) -> None:
        self.id = device_id(key.public)
        self.updates: dict[bytes, tuple[str, bytes]] = {}  # device and plan, by hash
        self.receipted: Counter[Receipted] = Counter()  # as accepted
        self.plans: dict[bytes, Plan] = {}
        self.models: dict[int, set[bytes]] = {}  # what was said to be each version: hashes
        self.plan: Plan | None = None  # the newest
        self.epoch = 0  # of the aggregator, the latest
        self.answers = 0  # to us
        self.answered = 0  # the epoch of the last of them
        self._trust, self._topics, self._key, self._task = trust, trust.topics, key, task
        self._early: list[tuple[str, bytes]] = []  # certificates of who signed them are to come
        self._loop, self._heard = loop, heard
        access = credentials.load(mqtt)
        self.link = MqttLink(
            loop,
            InlineWorker(loop),
            Broker(mqtt.host, mqtt.tcp_port, mqtt.silence_s),
            Backoff(0.05, 0.05, random.random),
            lambda _topic: MAX_LARGE,
            partial(new_client, self.id, access.credentials),
            self,
            access.layer,
        )
        self.link.start()

    def ask(self) -> None:
        """Ask for a place, which it does not get."""
        if self.plan is None or not self.link.connected:
            return
        topic = self._topics.of(Kind.JOIN, self._task, self.id)
        join = Join(self.plan.plan_id, os.urandom(8), None, None)
        self.link.publish(topic, envelope.seal(join, self._topics.bound(topic), self._key))

    def close(self) -> None:
        """Listen no more."""
        gone: list[bool] = []
        self.link.stop(None, lambda: gone.append(True))
        until(lambda: gone, self._loop.turn)

    # --- told by the link ------------------------------------------------------------------------

    def will(self) -> Will | None:
        return None

    def on_connected(self) -> None:
        self.link.subscribe([f"{self._topics.prefix}#"])

    def on_disconnected(self, reason: str, _retry_s: float) -> None:
        raise AssertionError(f"the witness heard nothing for a while: {reason}")

    def on_traffic(self, _traffic: Traffic) -> None:
        pass

    def on_message(self, topic: str, payload: bytes, _emptied: bool) -> None:
        if not payload:
            return
        try:
            received = self._trust.open(topic, payload)
        except Refused:
            self._early.append((topic, payload))
            return
        self._keep(received)
        if received.address.kind is Kind.KEYS:
            early, self._early = self._early, []
            for words in early:
                self.on_message(*words, False)
        self._heard(received)

    def _keep(self, received: Received) -> None:
        device, message = received.address.device or "", received.message
        if isinstance(message, Plan | Rest | Tasks | Ticket | Receipt):
            self.epoch = max(self.epoch, message.epoch)
            if isinstance(message, Ticket | Receipt) and device == self.id:
                self.answers += 1
                self.answered = max(self.answered, message.epoch)
        match message:
            case Update() as update:
                self.updates[received.hash] = device, update.plan_id
            case Receipt(verdict=Verdict.ACCEPTED) | Receipt(of=Verdict.ACCEPTED) as receipt:
                if receipt.update_hash is not None:
                    self.receipted[device, receipt.plan_id, receipt.update_hash] += 1
            case Plan() as plan:
                self.plan = self.plans[plan.plan_id] = plan
                self.models.setdefault(plan.base_version, set()).add(plan.base_hash)


def is_word_of(received: Received, device: str) -> bool:
    """Whether a device says this itself: its will is said by the MQTT broker."""
    message = received.message
    if received.address.device != device or not received.address.kind.from_device:
        return False
    return not (isinstance(message, State) and message.code is StateCode.OFFLINE)
