"""The simulated fleet's aggregator: a real `fedling-broker serve`, and a look into its store."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fedling_broker import config as broker_config
from fedling_broker import verify
from fedling_broker.aggregation.state import ServerState
from fedling_broker.authority import directory as authorities
from fedling_broker.authority import roles, x509
from fedling_broker.authority.roles import DAY_S
from fedling_broker.cli import build_parser
from fedling_broker.commands import init
from fedling_broker.config import Config
from fedling_broker.mosquitto.configuration import CA, SLOTS
from fedling_broker.mosquitto.files import Files
from fedling_broker.mosquitto.passwords import Login
from fedling_broker.store.devices import Devices
from fedling_broker.store.invitations import Invitation
from fedling_broker.store.rounds import DecisionRow, PlanRow
from fedling_broker.store.store import Store
from fedling_broker.up.foundation import OWN_CERTIFICATE, OWN_KEY, Ground
from fedling_native import Net
from fedling_protocol.wire.digest import first_model_seed
from fedling_protocol.wire.identity import SigningKey, create_key, create_secret, device_id
from fedling_protocol.wire.messages import Role, Scale
from fedling_protocol.wire.token import Token
from fedling_sim import toml
from fedling_sim.process import Process
from fedling_sim.simulation import Scenario

BROKER = "fedling_broker"
HERE = "127.0.0.1"
RETRY = {"first_s": 0.1, "longest_s": 1.0}


class AggregatorFailed(RuntimeError):
    """An admin verb did not do what it should; its words."""


class Aggregator:
    """The aggregator of a simulated fleet: its files, its process, its facts."""

    def __init__(
        self,
        directory: Path,
        scenario: Scenario,
        ports: tuple[int, int],
        fleet: str,
        *,
        plain: bool = False,
    ) -> None:
        """ports: of MQTT, and of enrolment; plain: it speaks no TLS"""
        self.directory = directory
        self.config = directory / broker_config.FILE
        self.state = directory / "state"
        self.task = scenario.task
        self.root = SigningKey(scenario.secret("root key"))
        self._scenario = scenario
        self._ports = ports
        self._fleet = fleet
        self._plain = plain
        self._store: Store | None = None
        self._secret = scenario.secret("aggregator")
        arguments = ["serve", "--config", str(self.config)]
        log = directory / "broker.log"
        self.process = Process("the aggregator", BROKER, arguments, log)

    @property
    def files(self) -> Path:
        """What mosquitto reads."""
        return self.directory / "mosquitto"

    def prepare(self, devices: int) -> Token:
        """Make keys, authority, certificates, a token for all devices; the token.

        As `fedling-broker up` and `device invite` do it, with keys that follow from the seed.
        """
        self.directory.mkdir(parents=True)
        Store.create(self.state)
        self.config.write_text(self._settings())
        online = SigningKey(self._scenario.secret("online key"))
        create_key(self.state / broker_config.ONLINE_KEY, online)
        create_secret(self.state / broker_config.SECRET, self._secret)
        create_key(self.directory / "root.key", self.root)
        words = ["init", "--config", str(self.config)]
        words += ["--root-key", str(self.directory / "root.key")]
        found, _ = init.make(build_parser().parse_args(words))
        tls = x509.load_ca(found.authority)
        hosts = [x509.server_name(self._fleet), HERE]
        Ground(self.files, self.state).lay(tls, found.topics, hosts)
        return self._invite(found, devices)

    def _invite(self, found: Config, devices: int) -> Token:
        """Hand out a token, and have mosquitto know it from its start."""
        _, enrolment = self._ports
        token = Token.generate(self.root.public, found.topics, HERE, enrolment)
        now_s = int(time.time())
        self.store.invitations.add(Invitation(token, "", devices, now_s, now_s + DAY_S))
        logins = [Login(token.user(slot), token.password) for slot in range(SLOTS)]
        Files(self.files).tell(found.topics, (), None, logins)
        return token

    def certify(self, devices: Iterable[SigningKey]) -> None:
        """Take devices in by hand, as `device add` does it."""
        found = broker_config.load(self.config)
        own = authorities.open_(found.authority).authority_key()
        known, now_s = Devices(self.store.database, found.topics), int(time.time())
        for key in devices:
            known.certify(device_id(key.public), key.public, own, roles.term(Role.DEVICE, now_s))

    def add_task(self) -> None:
        """Have the fleet learn, as `task add` does; `serve` may run."""
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
                "mqtt": self._mqtt(),
                "enrolment": {"port": self._ports[1]},
                "mosquitto": {"files": "mosquitto"},
                "retry": RETRY,
            }
        )

    def _mqtt(self) -> toml.Table:
        here: dict[str, toml.Value] = {"host": HERE, "port": self._ports[0]}
        if self._plain:
            return here
        return here | {
            "tls": True,
            "server_name": x509.server_name(self._fleet),
            "ca_file": f"mosquitto/{CA}",
            "certificate_file": f"state/{OWN_CERTIFICATE}",
            "key_file": f"state/{OWN_KEY}",
        }

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
