"""One simulated device: a real `fedling-agent` in a directory with a sysfs of its own."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from fedling_agent.service.control import Client, RequestFailed, Unavailable
from fedling_agent.service.report import of_bytes
from fedling_agent.store import identity
from fedling_agent.store.store import Store
from fedling_protocol.classes import dataclass
from fedling_protocol.wire.identity import SigningKey, create_key, create_secret, device_id
from fedling_sim import toml
from fedling_sim.process import Process
from fedling_sim.splitting import DeviceData
from fedling_sim.world import FakeDevice, Trace, Weather

ANSWER_S = 5.0
AGENT = "fedling_agent.cli"
LONG_AGO = {"dwell_s": 1.0, "check_s": 0.5}  # a simulated day is short
RETRY = {
    "first_s": 0.2,
    "longest_s": 1.0,
    "answer_first_s": 3.0,
    "answer_longest_s": 10.0,
    "transfer_s": 60.0,
}


class DeviceFailed(RuntimeError):
    """A command of the device did not do what it should; its words."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a device knows of the end of one update."""

    update_hash: bytes
    verdict: str  # a duplicate's first one
    sizes: frozenset[int]  # bytes of the message, each time that it was sent


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a device lives and whom it knows."""

    directory: Path
    port: int  # of the MQTT broker, by way of the proxy
    fleet: str
    root_key: bytes
    stream: Path  # the stream's file


class Device:
    """A simulated device: its files, its process, its surroundings."""

    def __init__(
        self, data: DeviceData, place: Surroundings, key: SigningKey, secret: bytes, trace: Trace
    ) -> None:
        self.data = data
        self.key = key
        self.secret = secret
        self.id = device_id(key.public)
        self.trace = trace
        self.place = place
        self.config = place.directory / "agent.toml"
        self.state = place.directory / "state"
        self.world = FakeDevice(place.directory)
        self.weather: Weather | None = None
        self._client: Client | None = None
        arguments = ["run", "--config", str(self.config)]
        log = place.directory / "agent.log"
        self.process = Process(f"device {self.name}", AGENT, arguments, log)

    @property
    def name(self) -> str:
        """The name that the data has for it; the fleet knows the id."""
        return self.data.name

    def prepare(self, duty: float) -> None:
        """Make everything on disk but the examples."""
        directory, place = self.place.directory, self.place
        directory.mkdir(parents=True)
        self.state.mkdir(mode=0o700)
        create_key(self.state / identity.KEY_FILE, self.key)
        create_secret(self.state / identity.SECRET_FILE, self.secret)
        shutil.copy(place.stream, directory / "stream.toml")
        lines = [line for part in self.data.training for line in part.lines]
        (directory / "training.csv").write_text("\n".join([self.data.header, *lines]) + "\n")
        self.config.write_text(self._settings(duty))

    def _settings(self, duty: float) -> str:
        return toml.text(
            {
                "fleet": self.place.fleet,
                "root_key": self.place.root_key.hex(),
                "streams": ["stream.toml"],
                "state_dir": "state",
                "mqtt": {"host": "127.0.0.1", "port": self.place.port, "keepalive_s": 60},
                "floor": {"min_examples": 1},  # nobody's privacy is at stake here
                # devices that share a machine have no processor that others leave them
                "training": {"duty": duty, "only_idle": False},
                "policy": LONG_AGO,
                "retry": RETRY,
                "paths": {"sys": "sys"},
            }
        )

    def show(self, weather: Weather) -> None:
        """Change its surroundings from now on, as far as files tell them."""
        self.world.show(weather)
        self.weather = weather

    def enroll(self, token: str) -> None:
        """Come into the fleet; from then on it reaches the MQTT broker through the proxy.

        Raises DeviceFailed.
        """
        self.command("enroll", token)
        text = self.config.read_text()
        port = re.compile(r"^port = \d+$", re.MULTILINE)
        self.config.write_text(port.sub(f"port = {self.place.port}", text))

    def ingest(self, stream: str) -> "subprocess.CompletedProcess[str]":
        """Run `fedling-agent ingest` on the training part."""
        file = self.place.directory / "training.csv"
        command = [sys.executable, "-m", AGENT, "ingest", stream, str(file)]
        command += ["--config", str(self.config)]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def command(self, *words: str) -> Any:
        """Run `fedling-agent WORDS --json`; returns what it prints. Raises DeviceFailed."""
        verb, *rest = words
        command = [sys.executable, "-m", AGENT, verb, "--config", str(self.config), "--json", *rest]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise DeviceFailed(f"{self.name}: fedling-agent {verb}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    # --- the running service ---------------------------------------------------------------------

    def ask(self, request: dict[str, object]) -> dict[str, Any]:
        """Send one request over its control socket. Raises Unavailable, DeviceFailed."""
        if self._client is None:
            self._client = Client(self.state, ANSWER_S)
        try:
            return self._client.ask(request)
        except Unavailable:
            self._hang_up()
            raise
        except RequestFailed as error:
            raise DeviceFailed(f"{self.name}: {request['do']}: {error}") from error

    def status(self) -> dict[str, Any]:
        """Ask for its status; empty while it does not answer."""
        try:
            return self.ask({"do": "status"})
        except Unavailable:
            return {}

    def is_connected(self) -> bool:
        """Whether it is connected, or would be if its trace had not cut it off."""
        if self.weather is not None and not self.weather.network:
            return bool(self.status())
        return bool(self.status().get("connection", {}).get("connected"))

    def model_version(self, task: str) -> int:
        """The version of the model that it holds; 0: none."""
        model = self.status().get("tasks", {}).get(task, {}).get("model")
        return 0 if model is None else int(model["version"])

    def owes_nothing(self, task: str) -> bool:
        """Whether every update that it has finished has its receipt."""
        facts = self.status().get("tasks", {}).get(task)
        return facts is not None and not facts["spool"]

    def ask_to_stop(self) -> None:
        """Tell its process to end soon."""
        self._hang_up()
        self.process.ask_to_stop()

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    # --- its store, once the service has stopped -------------------------------------------------

    def traffic(self) -> tuple[int, int]:
        """The bytes (up, down) that the agent has counted at its socket."""
        store = Store(self.state, read_only=True)
        try:
            total: Any = of_bytes(store.ledger.traffic(), "")["total"]
        finally:
            store.close()
        return int(total["sent"]), int(total["received"])

    def updates(self) -> tuple[int, int]:
        """How many updates the agent has sent, each time it did, and their bytes."""
        store = Store(self.state, read_only=True)
        try:
            sizes = [sent.size for sent in store.ledger.sent() if sent.kind == "update"]
        finally:
            store.close()
        return len(sizes), sum(sizes)

    def held(self, task: str) -> dict[bytes, "Held"]:
        """List, by plan, the receipts about updates, and how large those updates were."""
        store = Store(self.state, read_only=True)
        try:
            receipts = store.spool.receipts(task)
            sent = [s for s in store.ledger.sent() if s.kind == "update"]
        finally:
            store.close()
        return {
            r.plan_id: Held(
                r.update_hash,
                str(r.verdict),
                frozenset(s.size for s in sent if s.plan_id == r.plan_id),
            )
            for r in receipts
            if r.update_hash is not None and r.verdict is not None
        }
