"""Drives the talk of a device that enrols (enrol/machine.py) over a real connection."""

import random
import secrets
import time
from contextlib import ExitStack

from fedling_agent.config import AgentConfig
from fedling_agent.enrol import asking, machine
from fedling_agent.enrol.asking import Denied
from fedling_agent.enrol.machine import (
    Answered,
    Begun,
    Connect,
    Connected,
    Event,
    GiveUp,
    Keep,
    Lost,
    Silence,
    State,
)
from fedling_agent.store.identity import Identity
from fedling_agent.store.ledger import Ledger, Sent
from fedling_protocol.classes import dataclass
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.disk.errors import Missing
from fedling_protocol.exits import Exit, Failure
from fedling_protocol.net import tls
from fedling_protocol.net.credentials import Access
from fedling_protocol.net.ports import Credentials
from fedling_protocol.net.probe import OWN, Probe
from fedling_protocol.wire import envelope
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Enrol
from fedling_protocol.wire.refused import Refused
from fedling_protocol.wire.token import Token
from fedling_protocol.wire.topics import Topics

SLOTS = 16  # user names that the MQTT broker has for one token
NONCE = 16
UNKNOWN = "it knows no such token: one that is used up, too old, or another fleet's"
PAUSE_S = 0.25  # before the second connection; it doubles
LATER = {"busy": Exit.TRY_LATER}


class NotEnrolled(Failure):
    """The talk came to nothing. reason: the aggregator's word, if it was that"""

    def __init__(self, action: GiveUp) -> None:
        code = LATER.get(action.reason, Exit.FAILED if action.reason else Exit.UNAVAILABLE)
        super().__init__(action.words, code)
        self.reason = action.reason


@dataclass(frozen=True, slots=True)
class Said:
    """A question, and the envelope of the answer to it that is believed."""

    ask: Enrol
    answer: bytes


class Talk:
    """One talk. Everything that leaves is in the log of what was sent before it leaves."""

    def __init__(
        self,
        token: Token,
        me: Identity,
        tls_key: bytes,
        name: str,
        ledger: Ledger,
        own: AgentConfig | None,
    ) -> None:
        """own: whose MQTT broker is used, the owner's user with it; None: the token's"""
        self._token = token
        self._device = me.device
        self._key = me.key
        self._ledger = ledger
        self._own = own
        self._topics = Topics(token.topic_root, token.fleet)
        self._ask = asking.ask(me.key.public, tls_key, secrets.token_bytes(NONCE), name, token)
        self._probe: Probe | None = None
        self._answer = b""
        self._seen = 0  # of what the probe has heard

    def run(self) -> Said:
        """Ask until there is an answer that is believed. Raises NotEnrolled."""
        state, action = machine.step(State(), Begun())
        with ExitStack() as held:
            while not isinstance(action, Keep | GiveUp):
                if isinstance(action, Connect):
                    event = self._connect(action, held)
                else:
                    event = self._say(action.wait_s)
                state, action = machine.step(state, event)
        if isinstance(action, GiveUp):
            raise NotEnrolled(action)
        return Said(self._ask, self._answer)

    def _connect(self, action: Connect, held: ExitStack) -> Event:
        held.close()
        time.sleep(PAUSE_S * (2**action.tries - 1) * random.random())
        self._probe = held.enter_context(self._new_probe())
        try:
            self._probe.connect()
        except Missing as missing:
            return Lost(str(missing))
        refused = self._probe.listen([self._topics.of(Kind.ENROLLED, self._device)])
        if self._probe.lost or refused:
            return Lost(self._probe.lost or "the MQTT broker does not let us hear the answer")
        return Connected()

    def _new_probe(self) -> Probe:
        if self._own is not None:
            return Probe(self._own.mqtt, f"{self._device}{OWN}")
        token, user = self._token, self._token.user(random.randrange(SLOTS))
        mqtt = MqttSettings(token.host, token.port, tls=True)
        credentials = Credentials(user, token.password.encode(), UNKNOWN)
        # Nobody is asked for a certificate: the token does not say who signs that of the MQTT
        # broker, and could not without being twice as long. What is believed is the answer.
        return Probe(mqtt, user, Access(credentials, tls.layer_of_strangers(mqtt)))

    def _say(self, wait_s: float) -> Event:
        assert self._probe is not None
        probe, topic = self._probe, self._topics.of(Kind.ENROL, self._device)
        data = envelope.seal(self._ask, self._topics.bound(topic), self._key)
        name = f" as {self._ask.name}" if self._ask.name else ""
        meaning = f"asks to come into fleet {self._token.fleet}{name}"
        now_ms = int(time.time() * 1000)
        self._ledger.record_sent(Sent(now_ms, Kind.ENROL.word, topic, len(data), None, meaning))
        self._seen = len(probe.heard)
        if not probe.publish(topic, data) and probe.lost:
            return Lost(probe.lost)
        return self._hear(probe, wait_s)

    def _hear(self, probe: Probe, wait_s: float) -> Event:
        """Wait for an answer that is believed; others are passed over."""
        disbelieved = ""
        while probe.until(lambda: len(probe.heard) > self._seen, wait_s):
            for _, data in probe.heard[self._seen :]:
                self._seen += 1
                try:
                    answer = asking.believe(data, self._ask, self._token)
                except Refused as refused:
                    disbelieved = str(refused)
                    continue
                self._answer = data
                if isinstance(answer, Denied) and answer.for_now:
                    probe.until(lambda: False, 2 * PAUSE_S * (1 + random.random()))
                return Answered(answer)
        return Lost(probe.lost) if probe.lost else Silence(disbelieved)
