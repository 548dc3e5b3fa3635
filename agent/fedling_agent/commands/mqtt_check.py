"""Whether the MQTT broker lets this device do what the service will do there."""

import time

from fedling_agent.config import AgentConfig
from fedling_native import weights_size
from fedling_protocol.command.output import size
from fedling_protocol.common_settings import PLAINTEXT
from fedling_protocol.net import probe as probing
from fedling_protocol.net import tls_ending
from fedling_protocol.net.probe import OWN, Missed, Probe
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import CHUNK_ROOM, MAX_PLAN, MAX_SMALL
from fedling_protocol.wire.messages import Plan, Rest
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.refused import Refused
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Trust

_NO_WILDCARDS = (
    "this MQTT broker sends nothing retained to subscriptions with wildcards, so no plan comes: "
    'name the tasks in agent.toml: tasks = ["..."]'
)


def run(config: AgentConfig, device: str) -> str:
    """Try everything; what is well. Raises Missing: no connection; Missed: not all of it works."""
    faults = probing.tried(
        config.mqtt, f"{device}{OWN}", lambda probe: _Check(config, device, probe).faults()
    )
    ends, soon = tls_ending.ending(config.mqtt, time.time())
    if soon:
        faults.append(f"{ends}: renew it")
    if faults:
        raise Missed(faults)
    more = PLAINTEXT if config.mqtt.plaintext else ends
    well = f"{config.mqtt.address} lets this device read, write and retain what it needs"
    return f"{well}; {more}" if more else well


class _Check:
    """One run, step by step; each returns its faults."""

    def __init__(self, config: AgentConfig, device: str, probe: Probe) -> None:
        self._config = config
        self._device = device
        self._probe = probe
        self._topics: Topics = config.topics
        self._prefix = self._topics.prefix

    def faults(self) -> list[str]:
        faults = self._subscribed()
        task = self._config.tasks[0] if self._config.tasks else OWN
        # As deep as an update's: an access list may name each part of one.
        below = f"up/{self._device}/{OWN}/{OWN}"
        topic = f"{self._prefix}{task}/{below}"
        here, anywhere = self._probe.retains(topic, topic, f"{self._prefix}+/{below}")
        if self._probe.lost:
            return [*faults, probing.cut(topic, self._probe.lost)]
        if not here:
            allow = f"{self._prefix}+/up/{self._device}/#"
            return [*faults, *self._retained(), probing.dropped(topic, allow)]
        if not anywhere and not self._config.tasks:
            faults.append(_NO_WILDCARDS)
            return faults
        faults += self._retained()
        return faults + self._large(topic)

    def _subscribed(self) -> list[str]:
        topics = self._topics.device_subscriptions(self._device, self._config.tasks)
        return [probing.unheard(topic) for topic in self._probe.listen(topics)]

    def _retained(self) -> list[str]:
        """What the aggregator says to all must come: its certificate, and a plan or rest."""
        self._probe.until(lambda: bool(self._certificate and self._plans))
        faults, fleet = [], self._config.fleet
        if not self._certificate:
            faults.append(
                f"nothing is retained on {self._topics.of(Kind.KEYS, AGGREGATOR)}: the aggregator "
                f"was never connected here, or its fleet is not called {fleet}, or this device may "
                "not read there"
            )
        elif not self._plans:
            plans = ", ".join(self._topics.subscriptions(Kind.PLAN, tasks=self._config.tasks))
            faults.append(
                f"nothing is retained on {plans}: the aggregator has no such task, or this device "
                "may not read there"
            )
        return faults

    def _large(self, topic: str) -> list[str]:
        """A model or an update of the largest task, or a plan as large as one may be."""
        try:
            sizes = self._sizes()
        except Refused as refused:
            return [
                f"the aggregator's certificate is not what root_key of agent.toml signs: {refused};"
                f" root_key or fleet ({self._config.fleet}) in agent.toml is another fleet's"
            ]
        most = max(sizes, default=MAX_PLAN)
        why = self._probe.carries(topic, most)
        return [probing.too_large(size(most), why)] if why else []

    @property
    def _certificate(self) -> bytes:
        return self._heard(self._topics.of(Kind.KEYS, AGGREGATOR))

    @property
    def _chain(self) -> bytes:
        """The successors of the root key, if it has any."""
        return self._heard(self._topics.of(Kind.ROOTS))

    def _heard(self, topic: str) -> bytes:
        return next((payload for at, payload in self._probe.heard if at == topic and payload), b"")

    @property
    def _plans(self) -> dict[str, bytes]:
        """What is retained of plans, by topic."""
        found = {}
        for topic, payload in self._probe.heard:
            words = topic.removeprefix(self._prefix).split("/")
            if payload and len(words) == 3 and words[1] == Kind.PLAN.word:
                found[topic] = payload
        return found

    def _sizes(self) -> list[int]:
        """Bytes of the largest message of each task, as plans that are signed by this fleet's
        aggregator tell. Raises Refused."""
        trust = Trust(self._topics, self._config.root_public)
        if not self._certificate:
            return []
        if self._chain:
            trust.open(self._topics.of(Kind.ROOTS), self._chain)
        trust.open(self._topics.of(Kind.KEYS, AGGREGATOR), self._certificate)
        found = []
        for topic, payload in self._plans.items():
            message = trust.open(topic, payload).message
            if isinstance(message, Plan | Rest):
                size = weights_size(message.spec.layers) + MAX_SMALL
                cut = message.chunked
                found.append(size if cut is None else min(size, cut.size + CHUNK_ROOM // 2))
        return found
