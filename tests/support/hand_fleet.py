"""A real mosquitto of a fleet, and its aggregator by hand, who answers those who enrol.

Everything happens while `run` waits for a command to end: no thread, no sleep.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fedling_broker.mosquitto import access
from fedling_broker.mosquitto.configuration import SLOTS
from fedling_broker.mosquitto.passwords import Login
from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Enrol
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from fedling_protocol.wire.token import Token
from tests.protocol.net.ends import End
from tests.support.access import password_settings
from tests.support.guarded import FLEET, TOPICS, Guarded
from tests.support.hand_authority import ROOT, HandAuthority

Reply = Callable[[Enrol], bytes | None]
COMMAND = (sys.executable, "-m", "fedling_agent.cli")
END_S = 60.0


class HandFleet:
    """`with HandFleet(directory) as fleet:` the aggregator is connected, nobody is enrolled."""

    def __init__(self, directory: Path) -> None:
        self.guarded = Guarded(directory)
        self.prepare(directory, self.guarded.mosquitto.port)

    def prepare(self, directory: Path, port: int) -> None:
        """Nobody has a token. port: of the MQTT broker, for devices"""
        self.authority = HandAuthority(directory, topics=TOPICS, port=port)
        self.tokens: list[Token] = []
        self.asked: list[Enrol] = []
        self.granted: dict[bytes, bytes] = {}  # answers by the key that asked
        self.reply: Reply = self.grant
        self.loop = Loop()
        self._read = 0
        self.end: End

    def __enter__(self) -> "HandFleet":
        self.guarded.__enter__()
        self.end = self.guarded.end(self.loop, access.aggregator(FLEET), f"{TOPICS.prefix}gone")
        return self.begin()

    def begin(self) -> "HandFleet":
        """The aggregator comes."""
        self.end.connect()
        self.end.link.subscribe([TOPICS.subscriptions(Kind.ENROL)[0]])
        self.retain(AUTHORITY, self.authority.of_authority())
        self.retain(AGGREGATOR, self.authority.of_aggregator())
        return self

    def __exit__(self, *_: object) -> None:
        self.end.stop()
        self.loop.close()
        self.guarded.__exit__()

    def retain(self, owner: str, certificate: bytes) -> None:
        self.end.link.publish(TOPICS.of(Kind.KEYS, owner), certificate, retain=True)

    def revoke(self, key: bytes) -> None:
        """Say so on the device's own topic; the MQTT broker lets it connect and hear that."""
        self.retain(device_id(key), self.authority.of_device(key, revoked=True))

    def invite(self) -> Token:
        """A token that counts."""
        token = Token.generate(ROOT.public, TOPICS, "127.0.0.1", self.guarded.enrolment)
        self.tokens.append(token)
        self._tell()
        return token

    def withdraw(self) -> None:
        """No token counts any more."""
        self.tokens.clear()
        self._tell()

    def _tell(self) -> None:
        logins = [
            Login(token.user(slot), token.password)
            for token in self.tokens
            for slot in range(SLOTS)
        ]
        self.guarded.tell((), logins)
        self.guarded.reload(self.loop)

    def grant(self, ask: Enrol) -> bytes | None:
        """Grant what is asked; the same to who asks again."""
        token = next((one for one in self.tokens if one.id == ask.token_id), None)
        key = ask.key + ask.nonce
        if key not in self.granted:
            self.granted[key] = self.authority.granted(ask, token)
            device = device_id(ask.key)
            self.retain(device, self.authority.last[device][2])
        return self.granted[key]

    # --- commands ----------------------------------------------------------------------------

    def run(
        self,
        *words: str,
        text: str = "",
        code: int | None = 0,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = COMMAND,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the agent's while the aggregator answers. code: None: any"""
        env = dict(environment or {})
        process = subprocess.Popen(
            [*program, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | env,
        )
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.close()
        process.stdin = None
        self.until(lambda: process.poll() is not None)
        out, err = process.communicate()
        assert code is None or process.returncode == code, out + err
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def until(self, condition: Callable[[], bool]) -> None:
        """Answer until something is so."""
        late: list[bool] = []
        timer = self.loop.after(END_S, lambda: late.append(True))
        while not condition():
            assert not late
            self.loop.turn(0.02)
            self._answer()
        timer.cancel()

    def _answer(self) -> None:
        for topic, data, _ in self.end.heard.messages[self._read :]:
            self._read += 1
            if TOPICS.parse(topic).kind is Kind.ENROL:
                ask = self.authority.opened(topic, data)
                self.asked.append(ask)
                answer = self.reply(ask)
                if answer is not None:
                    self.end.link.publish(self.authority.back(ask), answer)


class OwnFleet(HandFleet):
    """The same at an MQTT broker of the owner's: a user with a password, no TLS, one listener."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        settings = password_settings(directory, "pi", "sesame", others=True)
        self.mosquitto = Mosquitto(directory / "mosquitto", settings=settings)
        self.prepare(directory, self.mosquitto.port)

    def __enter__(self) -> "OwnFleet":
        self.mosquitto.start()
        self.end = End(self.loop, self.mosquitto.port, "aggregator")
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.stop()
        self.loop.close()
        self.mosquitto.stop()

    def invite(self) -> Token:
        self.tokens.append(Token.generate(ROOT.public, TOPICS, "127.0.0.1", self.mosquitto.port))
        return self.tokens[-1]
