"""The files of a small fleet before its first round: each run starts from a copy of them."""

import hashlib
from pathlib import Path

from fedling_agent.store.identity import KEY_FILE, SECRET_FILE
from fedling_broker.config import ONLINE_KEY, SECRET
from fedling_protocol.wire.identity import SigningKey, create_key, create_secret, device_id
from fedling_sim.world import FakeDevice
from tests.support.agent import GOOD, STREAM, rows
from tests.support.crash.keeper import Keeper

DEVICES = 6
ROUNDS = 4  # the first of them, number 0, of statistics
KEPT = 1  # of them; the others are erased while it runs
TASK = "tiny"
SUBJECT = 0  # the device whose agent is killed

# A net of 8-8-3: four samples of two channels are an example.
TASK_FILE = """
[task]
name = "{task}"
stream = "wrist"
window = 4
stride = 4
channels = 2
labels = ["label 0", "label 1", "label 2"]
normalise = "fleet"
rounds = {rounds}
[model]
layers = [8, 3]
[training]
epochs = 2
batch = 8
learning_rate = 0.05
holdout = 0.25
holdout_block = 12
[cohort]
goal = {goal}
minimum = {goal}
devices = {devices}
wait_s = 1
[conditions]
"""

BROKER_FILE = """
fleet = "crash"
root_key = "{root_key}"
state_dir = "state"
keep_updates = "{keep}"
keep_rounds = {kept}
[mqtt]
host = "127.0.0.1"
port = {port}
[retry]
first_s = 0.05
longest_s = 0.1
"""

AGENT_FILE = """
fleet = "crash"
root_key = "{root_key}"
streams = ["wrist.toml"]
state_dir = "state"
[mqtt]
host = "127.0.0.1"
port = {port}
[training]
duty = 1.0
only_idle = false
[retry]
first_s = 0.05
longest_s = 0.1
answer_first_s = 0.1
answer_longest_s = 0.1
[policy]
dwell_s = 0
[paths]
sys = "sys"
"""


class Layout:
    """Where the files of a fleet lie in its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.broker = directory / "broker"
        self.broker_config = self.broker / "broker.toml"
        self.broker_state = self.broker / "state"
        self.devices = [directory / f"device{n}" for n in range(DEVICES)]
        self.count = directory / "points"

    def config_of(self, device: int) -> Path:
        return self.devices[device] / "agent.toml"

    def state_of(self, device: int) -> Path:
        return self.devices[device] / "state"


class Fleet:
    """Keys, secrets, certificates, task, recordings: all that follows from the seed."""

    def __init__(
        self, keeper: Keeper, directory: Path, port: int, seed: int = 1, rounds: int = ROUNDS
    ) -> None:
        """port: of the MQTT broker in every run. rounds: with that of statistics"""
        self.layout = Layout(directory)
        self.port = port
        self._keeper = keeper
        self._seed = seed
        self._rounds = rounds
        self._root = self._key("root")
        self.root_key = self._root.public
        self._keys = [self._key(f"device {number}") for number in range(DEVICES)]
        self.ids = [device_id(key.public) for key in self._keys]
        for number in range(DEVICES):
            self._make_device(number)
        self._make_broker()

    def keep(self, updates: str) -> None:
        """From now on: "fold" or "audit"."""
        root_key = self._root.public.hex()
        text = BROKER_FILE.format(root_key=root_key, port=self.port, keep=updates, kept=KEPT)
        self.layout.broker_config.write_text(text)

    def _make_broker(self) -> None:
        layout = self.layout
        layout.broker_state.mkdir(parents=True, mode=0o700)
        root_key = layout.broker / "root.key"
        create_key(root_key, self._root)
        create_key(layout.broker_state / ONLINE_KEY, self._key("online"))
        create_secret(layout.broker_state / SECRET, self._secret("aggregator"))
        self.keep("fold")
        self._run("broker", "init", "--config", layout.broker_config, "--root-key", root_key)
        config = ("--config", layout.broker_config)
        for owner, key in zip(self.ids, self._keys, strict=True):
            self._run("broker", "device", "add", *config, owner, key.public.hex())
        task = layout.broker / "task.toml"
        task.write_text(
            TASK_FILE.format(
                task=TASK,
                rounds=self._rounds - 1,
                goal=DEVICES,
                devices="[" + ", ".join(f'"{owner}"' for owner in self.ids) + "]",
            )
        )
        self._run("broker", "task", "add", *config, task)

    def _make_device(self, number: int) -> None:
        directory, state = self.layout.devices[number], self.layout.state_of(number)
        state.mkdir(parents=True, mode=0o700)
        create_key(state / KEY_FILE, self._keys[number])
        create_secret(state / SECRET_FILE, self._secret(f"device {number}"))
        FakeDevice(directory).show(GOOD)
        (directory / "wrist.toml").write_text(STREAM)
        config = self.layout.config_of(number)
        config.write_text(AGENT_FILE.format(root_key=self._root.public.hex(), port=self.port))
        csv = directory / "rows.csv"
        csv.write_text(rows(6, 20, seed=self._seed + number))
        self._run("agent", "ingest", "wrist", csv, "--config", config)

    def _run(self, program: str, *words: object) -> None:
        log = self.layout.directory / "made.log"
        code = self._keeper.run(program, words, log)
        assert code == 0, f"{program} {words}: {code}\n{log.read_text()}"

    def _secret(self, name: str) -> bytes:
        return hashlib.sha256(f"crash {self._seed} {name}".encode()).digest()

    def _key(self, name: str) -> SigningKey:
        return SigningKey(self._secret(f"key of {name}"))
