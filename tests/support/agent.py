"""A real `fedling-agent run` in a process of its own, with a world that the test makes."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedling_agent import cli
from fedling_agent.service.control import Client, Unavailable
from fedling_sim.world import FakeDevice, Weather
from tests.support.aggregator import ROOT, TOPICS
from tests.support.commands import run_here
from tests.support.waiting import PATIENCE_S, until

GOOD = Weather(mains=True, battery=90, temperature=40, network=True)

STREAM = """
name = "wrist"
[[channel]]
name = "x"
unit = "m/s2"
resolution = 0.01
[[channel]]
name = "y"
unit = "m/s2"
resolution = 0.01
"""
ROUNDS = 2
TASK = f"""
[task]
name = "watch"
stream = "wrist"
window = 4
stride = 4
channels = 2
labels = ["label 0", "label 1", "label 2"]
rounds = {ROUNDS}
[model]
layers = [8, 3]
[training]
epochs = 1
batch = 4
learning_rate = 0.1
[cohort]
goal = 1
"""


class Agent:
    """One device in a directory: agent.toml, a stream, a fake sysfs, its state, its log.

    settings: more lines of agent.toml; `training`, `policy`, `mqtt` lines are put into those tables
    prefix: of each command, as `setpriv ...`
    apart: commands are processes of their own, not only `run`; with a prefix they always are
    module: of the program
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        settings: str = "",
        duty: float = 1.0,
        training: str = "only_idle = false",
        policy: str = "",
        mqtt: str = "",
        keepalive_s: int = 60,
        prefix: Sequence[str] = (),
        apart: bool = False,
        module: str = "fedling_agent",
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.state = directory / "state"
        self.config = directory / "agent.toml"
        self.log = directory / "agent.log"
        self.world = FakeDevice(directory)
        self.world.show(GOOD)
        self.process: subprocess.Popen[bytes] | None = None
        self._prefix = list(prefix)
        self._apart = apart or bool(prefix)
        self.program = [sys.executable, "-m", module]
        (directory / "wrist.toml").write_text(STREAM)
        self.config.write_text(
            f"""
fleet = "{TOPICS.fleet}"
root_key = "{ROOT.public.hex()}"
streams = ["wrist.toml"]
state_dir = "state"
{settings}
[mqtt]
host = "127.0.0.1"
port = {port}
keepalive_s = {keepalive_s}
{mqtt}
[training]
duty = {duty}
{training}
[retry]
first_s = 0.05
longest_s = 0.2
answer_first_s = 1.0
answer_longest_s = 2.0
[policy]
dwell_s = 0
check_s = 0.1
{policy}
[paths]
sys = "sys"
"""
        )

    def set_duty(self, duty: float) -> None:
        """Change how hard it may work, from its next start on."""
        text = self.config.read_text()
        self.config.write_text(re.sub("^duty = .*$", f"duty = {duty}", text, flags=re.MULTILINE))

    def believe(self, root: bytes) -> None:
        """Configure the public half of another root key."""
        text = self.config.read_text()
        self.config.write_text(re.sub("root_key = .*", f'root_key = "{root.hex()}"', text))

    def command(self, *words: str) -> list[str]:
        """A command line of this device."""
        return [*self._prefix, *self.program, *words, "--config", str(self.config)]

    def run(
        self, *words: str, text: str = "", code: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. code: the exit code that is expected; None: any."""
        result = self._run(words, text)
        assert code is None or result.returncode == code, result.stdout + result.stderr
        return result

    def _run(self, words: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
        if self._apart or words[0] == "run":
            command = self.command(*words)
            return subprocess.run(
                command, input=text, capture_output=True, text=True, timeout=PATIENCE_S
            )
        return run_here(cli.main, [*words, "--config", str(self.config)], text)

    def json(self, *words: str, text: str = "", code: int | None = 0) -> Any:
        """What a command prints with --json."""
        return json.loads(self.run(*words, "--json", text=text, code=code).stdout)

    def start(self, **environment: str) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command("run", "--log", "debug"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | environment,
                start_new_session=True,
            )

    def serve(self) -> None:
        """Start it, and wait until it answers."""
        self.start()
        until(self._answers, says=self.log_text)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log_text()
        return bool(self.status())

    def status(self) -> dict[str, Any]:
        """From the running service; empty while it does not answer."""
        try:
            with Client(self.state) as client:
                return client.ask({"do": "status"})
        except Unavailable:
            return {}

    def doing(self) -> str:
        return str(self.status().get("doing", ""))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; returns its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self.process = None
        return code

    def kill(self) -> None:
        """As a power cut would. Its child dies with it."""
        self.stop(signal.SIGKILL)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def rows(recordings: int, samples: int, classes: int = 3, seed: int = 1) -> str:
    """CSV of labelled recordings on two channels; a label can be told from the values."""
    dice = random.Random(seed)
    lines = ["recording,label,x,y"]
    for number in range(recordings):
        kind = number % classes
        for _ in range(samples):
            x, y = dice.gauss(3 * kind, 1), dice.gauss(-2 * kind, 1)
            lines.append(f"r{number},label {kind},{x:.2f},{y:.2f}")
    return "\n".join(lines) + "\n"
