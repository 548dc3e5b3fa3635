"""A real `fedling-broker serve` for tests, and devices in a page that speak to it by script."""

import io
import json
import os
import random
import subprocess
import sys
from array import array
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from fedling_broker.cli import main
from fedling_broker.store.store import Store
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.net.transport import PLAIN
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import InlineWorker
from fedling_protocol.wire import digest, envelope, identity
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_LARGE
from fedling_protocol.wire.messages import (
    Answer,
    Certificate,
    Join,
    Message,
    Model,
    Plan,
    Receipt,
    Rest,
    Ticket,
    Update,
)
from fedling_protocol.wire.refused import Refused
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Trust
from tests.support.waiting import PATIENCE_S, until

ROOT = SigningKey(b"R" * 32)
COMMAND = [sys.executable, "-m", "fedling_broker"]

TASK = """
[task]
name = "tiny"
stream = "wrist"
window = 4
stride = 4
channels = 2
labels = ["up", "down", "still"]
normalise = "device"
rounds = {rounds}
[model]
layers = [5, 3]
[training]
epochs = 1
batch = 4
learning_rate = 0.1
[server]
momentum = 0.5
[cohort]
goal = {goal}
{cohort}
"""


class Aggregator:
    """State directory, configuration and process of one aggregator."""

    def __init__(self, directory: Path, port: int, *, keep_updates: str = "fold") -> None:
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(exist_ok=True)
        identity.create_key(directory / "root.key", ROOT)
        self.run("init", "--fleet", "test", "--port", str(port))
        config = directory / "broker.toml"
        text = config.read_text().replace('"fold"', f'"{keep_updates}"', 1)
        config.write_text(text + "\n[retry]\nfirst_s = 0.02\nlongest_s = 0.1\n")
        self.topics = Topics("fedling", "test")

    def run(self, *words: str, code: int = 0) -> str:
        """A command, in this process; its output. Asserts its exit code."""
        options = ["--config", str(self.directory / "broker.toml")]
        if words[0] == "init":
            options += ["--root-key", str(self.directory / "root.key")]
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(out):
            found = main([*words, *options])
        assert found == code, out.getvalue()
        return out.getvalue()

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json"))

    def add_task(self, *, rounds: int = 2, goal: int = 2, cohort: str = "") -> None:
        file = self.directory / "tiny.toml"
        file.write_text(TASK.format(rounds=rounds, goal=goal, cohort=cohort))
        self.run("task", "add", str(file))

    def enrol(self, device: "Device") -> None:
        self.run("device", "add", device.id, device.key.public.hex())

    def start(self, **environment: str) -> None:
        log = (self.directory / "serve.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve"],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
            )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(timeout=PATIENCE_S)
        self.process = None
        return code

    def log_text(self) -> str:
        log = self.directory / "serve.log"
        return log.read_text() if log.exists() else ""

    def files(self, kind: str) -> list[Path]:
        """What lies in the state directory under updates, sums, states or models."""
        return list((self.directory / "broker-state" / kind).iterdir())

    def retained(self, task: str) -> list[int]:
        """Versions of the model that the MQTT broker may hold, as the aggregator knows it."""
        store = Store(self.directory / "broker-state")
        try:
            return store.models.retained(task)
        finally:
            store.close()

    def counters(self) -> dict[str, int]:
        """What the process has written down of refusals; it must have ended."""
        from fedling_broker.store.database import FILE
        from fedling_protocol.disk import durable

        connection = durable.connect_database(
            self.directory / "broker-state" / FILE, read_only=True
        )
        try:
            return dict(connection.execute("SELECT name, value FROM counters").fetchall())
        finally:
            connection.close()


class Device:
    """A device by script: it connects, remembers what it is told, and sends what it is asked to."""

    def __init__(self, loop: Loop, port: int, number: int, *, root: SigningKey = ROOT) -> None:
        self.loop = loop
        self.key = SigningKey(number.to_bytes(32, "big"))
        self.id = device_id(self.key.public)
        self.topics = Topics("fedling", "test")
        self.trust = Trust(self.topics, root.public)
        self.plan: Plan | None = None
        self.rest: Rest | None = None
        self.models: dict[int, Model] = {}
        self.tickets: list[Ticket] = []
        self.receipts: list[Receipt] = []
        self.enrolled = False
        backoff = Backoff(0.02, 0.1, random.random)
        client = partial(new_client, self.id, None)
        self.link = MqttLink(
            loop,
            InlineWorker(loop),
            Broker("127.0.0.1", port, 60),
            backoff,
            lambda _topic: MAX_LARGE,
            client,
            self,
            PLAIN,
        )
        self.link.start()

    # --- what it does ----------------------------------------------------------------------------

    def send(self, topic: str, message: Message) -> bytes:
        """Seal and publish; the message hash."""
        sealed = envelope.seal(message, self.topics.bound(topic), self.key)
        self.link.publish(topic, sealed)
        return digest.message_hash(sealed)

    def join(self, plan_id: bytes, have: bytes | None = None, *, key: bool = False) -> bytes:
        """Ask; the nonce."""
        nonce = os.urandom(8)
        join = Join(plan_id, nonce, have, self.key.public if key else None)
        self.send(self.topics.of(Kind.JOIN, "tiny", self.id), join)
        return nonce

    def make_update(self, plan: Plan, step: int) -> Update:
        """A vector that is `step` everywhere."""
        layers = plan.spec.layers
        weights = sum(layer.inputs * layer.outputs for layer in layers)
        biases = sum(layer.outputs for layer in layers)
        vector = array("h", [step] * weights).tobytes() + array("i", [step] * biases).tobytes()
        return Update(plan.plan_id, plan.base_version, plan.base_hash, 7, plan.codec, vector, 0, 1)

    def send_update(self, update: Update) -> bytes:
        return self.send(self.topics.of(Kind.UPDATE, "tiny", self.id, update.plan_id, 0), update)

    def wait_plan(self, number: int) -> Plan:
        until(lambda: self.plan and self.plan.round == number, self.loop.turn)
        assert self.plan is not None
        return self.plan

    def ask(
        self, plan_id: bytes, have: bytes | None = None, *, key: bool = False
    ) -> Ticket | Receipt:
        """Join until an answer comes, as a device does."""
        tickets, receipts = len(self.tickets), len(self.receipts)
        nonces: list[bytes] = []

        def answered() -> bool:
            mine = [t for t in self.tickets[tickets:] if t.nonce in nonces]
            return bool(mine) or len(self.receipts) > receipts

        def again() -> None:
            if not answered():
                nonces.append(self.join(plan_id, have, key=key))
                self.loop.after(0.5, again)

        again()
        until(answered, self.loop.turn)
        mine = [t for t in self.tickets[tickets:] if t.nonce in nonces]
        return mine[0] if mine else self.receipts[-1]

    def deliver(self, update: Update) -> Receipt:
        """Take a place, send, and ask on until there is a receipt."""
        answer = self.ask(update.plan_id)
        assert isinstance(answer, Ticket)
        assert answer.answer is Answer.GO
        have = self.send_update(update)
        return self.receipt_for(have, lambda: self.send_update(update))

    def receipt_for(self, have: bytes, send: Callable[[], object]) -> Receipt:
        """Wait for the receipt about a hash; send again every half second.

        The first that comes from now on: others may follow, if it was sent more than once.
        """
        begun = len(self.receipts)

        def find() -> Receipt | None:
            return next((r for r in self.receipts[begun:] if r.update_hash == have), None)

        def again() -> None:
            if find() is None:
                send()
                self.loop.after(0.5, again)

        self.loop.after(0.5, again)
        until(find, self.loop.turn)
        found = find()
        assert found is not None
        return found

    # --- told by the link ------------------------------------------------------------------------

    def will(self) -> Will | None:
        return None

    def on_connected(self) -> None:
        self.link.subscribe(self.topics.device_subscriptions(self.id))

    def on_disconnected(self, _reason: str, _retry_s: float) -> None:
        pass

    def on_traffic(self, _traffic: Traffic) -> None:
        pass

    def on_message(self, topic: str, payload: bytes, _emptied: bool) -> None:
        if not payload:
            return
        try:
            message = self.trust.open(topic, payload).message
        except Refused:
            return
        match message:
            case Certificate():
                self.enrolled = self.enrolled or message.id == self.id
                if message.id == "aggregator":
                    self.link.subscribe(self.topics.device_subscriptions(self.id)[2:])
            case Plan():
                self.plan, self.rest = message, None
            case Rest():
                self.rest, self.plan = message, None
            case Model():
                self.models[message.version] = message
            case Ticket():
                self.tickets.append(message)
            case Receipt():
                self.receipts.append(message)
