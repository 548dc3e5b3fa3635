"""The simulated fleet's aggregator: a real `fedling-broker serve`, and a look into its store."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedling_broker import config as broker_config
from fedling_broker import verify
from fedling_broker.aggregation.state import ServerState
from fedling_broker.store.devices import Devices
from fedling_broker.store.rounds import DecisionRow, PlanRow
from fedling_broker.store.store import Store
from fedling_native import Net
from fedling_protocol.wire.digest import first_model_seed
from fedling_protocol.wire.identity import SigningKey, create_key, create_secret, device_id
from fedling_protocol.wire.messages import Scale
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.topics import Topics
from fedling_sim import toml
from fedling_sim.process import Process
from fedling_sim.simulation import Scenario

BROKER = "fedling_broker"
RETRY = {"first_s": 0.1, "longest_s": 1.0}


class AggregatorFailed(RuntimeError):
    """An admin verb did not do what it should; its words."""


class Aggregator:
    """The aggregator of a simulated fleet: its files, its process, its facts."""

    def __init__(self, directory: Path, scenario: Scenario, port: int, fleet: str) -> None:
        self.directory = directory
        self.config = directory / broker_config.FILE
        self.state = directory / "state"
        self.task = scenario.task
        self.root = SigningKey.from_seed(scenario.secret("root key"))
        self._scenario = scenario
        self._port = port
        self._fleet = fleet
        self._store: Store | None = None
        self._secret = scenario.secret("aggregator")
        arguments = ["serve", "--config", str(self.config)]
        log = directory / "broker.log"
        self.process = Process("the aggregator", BROKER, arguments, log)

    def prepare(self, devices: Sequence[SigningKey]) -> None:
        """Make keys, certificates of all devices, the task; everything but the process.

        As `fedling-broker init`, `device add`, `task add` do it, with keys that follow from the
        seed and in one go.
        """
        self.directory.mkdir(parents=True)
        Store.create(self.state)
        self.config.write_text(self._settings())
        online = SigningKey.from_seed(self._scenario.secret("online key"))
        create_key(self.state / broker_config.ONLINE_KEY, online)
        create_secret(self.state / broker_config.SECRET, self._secret)
        certificates = Devices(self.store.database, Topics("fedling", self._fleet))
        certificates.certify(AGGREGATOR, online.public, self.root)
        for key in devices:
            certificates.certify(device_id(key.public), key.public, self.root)
        self.store.add_task(self.task, self._scenario.task_text, self._seed)

    @property
    def _seed(self) -> bytes:
        return first_model_seed(self._secret, self._fleet, self.task.name)

    def first_state(self) -> ServerState:
        """What the first round begins from."""
        return verify.first_state(self.store, self.task.spec, self._seed)

    def _settings(self) -> str:
        return toml.text(
            {
                "fleet": self._fleet,
                "root_key": self.root.public.hex(),
                "state_dir": "state",
                "keep_updates": "audit",
                "mqtt": {"host": "127.0.0.1", "port": self._port},
                "retry": RETRY,
            }
        )

    def command(self, *words: str) -> Any:
        """Run `fedling-broker WORDS --json`; returns what it prints. Raises AggregatorFailed."""
        command = [sys.executable, "-m", BROKER, *words, "--config", str(self.config), "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if not done.stdout:  # `round verify` exits 1 and prints what it found
            what = (done.stderr or done.stdout).strip()
            raise AggregatorFailed(f"fedling-broker {' '.join(words)}: {what}")
        return json.loads(done.stdout)

    # --- its facts, also while it runs -----------------------------------------------------------

    @property
    def store(self) -> Store:
        """Its store, open until close(); only to be read while the aggregator runs."""
        if self._store is None:
            self._store = Store(self.state)
        return self._store

    def plans(self) -> list[PlanRow]:
        """List all rounds, by number; 0: of statistics."""
        return self.store.rounds.plans(self.task.name)

    def decisions(self, plan_id: bytes) -> list[DecisionRow]:
        """List the verdicts of a round."""
        return self.store.rounds.decisions(self.task.name, plan_id)

    def net(self, version: int) -> tuple[Net, tuple[Scale, ...] | None]:
        """Make a published model ready to predict; with the scale of its inputs, if it has one."""
        rows = self.store.models.rows(self.task.name)
        row = next(row for row in rows if row.version == version)
        spec, weights = self.task.spec, self.store.models.bytes_of(row, self.task.spec)
        return Net(spec.layers, row.exponents, weights, spec.loss), row.scale

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()
            self._store = None
