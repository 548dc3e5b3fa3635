"""An agent as most devices have it on most days: enrolled, with a model and no open plan."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.support.sensor import CHANNELS, RESOLUTION
from fedling_broker.mosquitto.process import Mosquitto, free_port
from fedling_native import dense
from tests.support.agent import Agent, rows
from tests.support.aggregator import ROOT, TOPICS, FakeAggregator, make_model
from tests.support.certificates import Authority, mosquitto_settings, mqtt_keys

LAYERS = (dense(600, 64, relu=True), dense(64, 7))  # the watch example's model
IN_MEMORY = ("tmpfs", "ramfs")


class DefaultAgent(Agent):
    """An agent whose agent.toml says what it must, and whose log is as loud as by default.

    Only sysfs is one of ours: mains, a full battery, a cool processor, whatever this machine has.
    """

    def __init__(
        self, directory: Path, port: int, mqtt: str = "", channels: Sequence[str] = CHANNELS
    ) -> None:
        super().__init__(directory, port)
        tables = [
            f'[[channel]]\nname = "{name}"\nunit = "m/s2"\nresolution = {RESOLUTION}\n'
            for name in channels
        ]
        (directory / "wrist.toml").write_text('name = "wrist"\n' + "".join(tables))
        self.config.write_text(
            f'fleet = "{TOPICS.fleet}"\nroot_key = "{ROOT.public.hex()}"\n'
            'streams = ["wrist.toml"]\nstate_dir = "state"\n'
            f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n{mqtt}\n'
            '[paths]\nsys = "sys"\n'
        )

    def start(self, **environment: str) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command("run"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the service."""
        assert self.process is not None
        return self.process.pid

    def end(self) -> None:
        """Stop it, if it runs."""
        if self.process is not None:
            self.stop(signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Place:
    """A device, and what it speaks to."""

    agent: DefaultAgent
    aggregator: FakeAggregator
    mosquitto: Mosquitto


@contextmanager
def over_tls(folder: Path, channels: Sequence[str] = CHANNELS) -> Iterator[Place]:
    """An agent, not started yet, that will know its MQTT broker by TLS and be known by it.

    The aggregator is on a plain listener of the same broker.
    """
    authority, port = Authority(folder / "authority"), free_port()
    listener = mosquitto_settings(authority, authority.server(), mutual=True)
    settings = [f"listener {port} 127.0.0.1", *listener]
    with Mosquitto(folder / "mosquitto", settings=settings) as mosquitto:
        keys = mqtt_keys(authority, authority.client("it"))
        agent = DefaultAgent(folder / "agent", port, keys, channels)
        aggregator = FakeAggregator(mosquitto.port)
        try:
            yield Place(agent, aggregator, mosquitto)
        finally:
            agent.end()
            if aggregator.connected:
                aggregator.close()


def become_idle(
    agent: Agent,
    aggregator: FakeAggregator,
    *,
    examples: str = "",
    channels: int = 2,
    **environment: str,
) -> None:
    """Enrolled, with examples, a round behind it and the next model: an ordinary quiet day."""
    aggregator.certify(bytes.fromhex(agent.json("init")["key"]))
    agent.run("ingest", "wrist", text=examples or rows(4, 600))
    agent.start(**environment)
    aggregator.offer(make_model(LAYERS, channels=channels), 1)
    aggregator.until(lambda: aggregator.updates)
    newest = make_model(LAYERS, version=2, channels=channels)
    aggregator.rest(newest, look_again_s=86_400 * 7)
    aggregator.until(lambda: model_version(agent) == 2)
    aggregator.until(lambda: "no open plan" in agent.doing())
    aggregator.close()


def model_version(agent: Agent) -> int:
    """The newest model of the device; 0: it has none."""
    model = agent.status().get("tasks", {}).get("watch", {}).get("model")
    return int(model["version"]) if model else 0


@contextmanager
def on_disk(directory: Path | None) -> Iterator[Path]:
    """A folder for a while, where writing costs something. Raises SystemExit: it is in memory."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        kind = file_system(Path(name), Path("/proc/self/mounts").read_text())
        if kind in IN_MEMORY:
            raise SystemExit(f"{name} is a {kind}: name a folder on a disk with --directory")
        yield Path(name)


def file_system(path: Path, mounts: str) -> str:
    """The kind of the file system that holds a path. mounts: as /proc/self/mounts lists them."""
    lines = [line.split() for line in mounts.splitlines()]
    over = [(len(words[1]), words[2]) for words in lines if path.is_relative_to(words[1])]
    longest = max(length for length, _ in over)
    return [kind for length, kind in over if length == longest][-1]  # the last hides the others
