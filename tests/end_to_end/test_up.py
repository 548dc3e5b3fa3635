"""From nothing to a device that trains, over TLS with certificates: what a person types, for real.

Where root runs the tests, the commands are those of a user without rights.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import free_port
from fedling_protocol.exits import Exit
from tests.support.agent import TASK, rows
from tests.support.machine import blocks, lines
from tests.support.tools import SYSTEM_PATH, absent, need, unshare_works
from tests.support.waiting import PATIENCE_S, until

# What trains has its share: a machine of tests is not idle for minutes.
BUSY = "\n[training]\nonly_idle = false\n"
README = Path(__file__).parent.parent.parent / "README.md"
SECRETS = re.compile(
    r"\.key$|\.pem$|^secret$|^passwords$|\.secret$|\.sqlite|store\.db|^authority\."
)
PUBLIC = {"tls-revoked.pem", "revoked.pem", "authority.toml"}


def without_rights() -> list[str]:
    """Prefix of a command of a user who is nobody, and can read what this one reads.

    Python and checkout often lie below a closed home.
    """
    if not unshare_works("-U"):
        absent("without user namespaces root cannot become a user without rights that reads this")
    return [need("unshare", "util-linux"), "-U", "--map-user=1000", "--map-group=1000"]


class Home:
    """A directory of a user without rights, and programs that this user starts there."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="fedling-up-", dir="/tmp"))
        self.prefix = without_rights() if os.geteuid() == 0 else []
        self.ports = [free_port(), free_port()]
        self.running: list[subprocess.Popen[bytes]] = []

    def write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def start(
        self, module: str, *words: str, log: str, path: str = SYSTEM_PATH
    ) -> subprocess.Popen[bytes]:
        with (self.path / log).open("ab") as said:
            process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", module, *words],
                cwd=self.path,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=self._environment(path),
                umask=0o022,
            )
        self.running.append(process)
        return process

    def up(self, *words: str) -> subprocess.Popen[bytes]:
        """Start the server; it says what it says into up.log."""
        mqtt, enrolment = map(str, self.ports)
        here = ("--host", "127.0.0.1", "--port", mqtt, "--enrolment-port", enrolment)
        return self.start("fedling_broker", "up", *here, *words, log="up.log")

    def run(self, module: str, *words: str, expect: Exit = Exit.OK) -> str:
        """Run a command to its end; what it printed."""
        process = self.start(module, *words, log="last.log")
        code = process.wait(PATIENCE_S)
        said = self.said("last.log")
        (self.path / "last.log").unlink()
        assert code == expect, said
        return said

    def said(self, log: str) -> str:
        path = self.path / log
        return path.read_text() if path.exists() else ""

    def until(self, condition: Callable[[], bool]) -> None:
        until(condition, says=lambda: {p.name: p.read_text() for p in self.path.rglob("*.log")})

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.path)

    def _environment(self, path: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        return {**kept, "PATH": path, "HOME": str(self.path), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def home() -> Iterator[Home]:
    need("mosquitto")
    made = Home()
    try:
        yield made
    finally:
        made.close()


def invite(home: Home, *words: str) -> str:
    """Have a token made; returns it."""
    return str(
        json.loads(home.run("fedling_broker", "device", "invite", *words, "--json"))["token"]
    )


def enroll(home: Home, token: str, name: str) -> subprocess.Popen[bytes]:
    """Enrol a device, tell it of its sensor, and let it run: each has a folder."""
    (home.path / name).mkdir()
    own = ("--config", f"{name}/agent.toml")
    words = (*own, "--state", f"{name}/state", "--name", name)
    assert f"as {name}" in home.run("fedling_agent.cli", "enroll", token, *words)
    home.run("fedling_agent.cli", "stream", "add", "day.csv", "--name", "wrist", *own)
    with (home.path / name / "agent.toml").open("a") as config:
        config.write(BUSY)
    return home.start("fedling_agent.cli", "run", *own, log=f"{name}.log")


def at(name: str) -> tuple[str, ...]:
    return ("--config", f"{name}/agent.toml")


def is_folded(home: Home, number: int) -> bool:
    found = json.loads(home.run("fedling_broker", "round", "list", "--json"))
    return any(row["round"] == number and row["state"] == "folded" for row in found)


def end(home: Home, process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == 0
    assert not listens(home.ports[0])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.long
def test_from_nothing_to_a_device_that_trains_in_four_commands(home: Home) -> None:
    """up, invite, enroll, run; and data. Then it is revoked, and the server begins anew."""
    home.write("watch.toml", TASK)
    home.write("day.csv", rows(12, 40))
    up, invitation, enrolment, run = readme()
    assert (enrolment, run) == (["fedling-agent", "enroll", "TOKEN"], ["fedling-agent", "run"])
    assert (up[:2], invitation) == (
        ["fedling-broker", "up"],
        ["fedling-broker", "device", "invite"],
    )
    server = home.up(*up[2:])
    home.until(lambda: "connected to" in home.said("up.log"))
    device = enroll(home, invite(home), "kitchen")
    home.until(lambda: "connected to" in home.said("kitchen.log"))
    home.run("fedling_agent.cli", "ingest", "wrist", "day.csv", *at("kitchen"))
    home.until(lambda: is_folded(home, 2))
    (listed,) = json.loads(home.run("fedling_broker", "device", "list", "--json"))
    assert (listed["name"], listed["accepted"] > 0) == ("kitchen", True)
    assert "by TLS" in home.said("kitchen.log")
    nobody_else_reads(home)

    home.run("fedling_broker", "device", "revoke", "kitchen")
    home.until(lambda: "its connection is cut" in home.said("up.log"))
    home.until(lambda: "revoked" in home.said("kitchen.log"))
    end(home, server, signal.SIGINT)

    before = contents(home.path / "mosquitto")
    server = home.up("--task", "watch.toml")
    home.until(lambda: home.said("up.log").count("connected to") == 2)
    assert "task watch" in home.said("up.log")
    assert contents(home.path / "mosquitto") == before
    second = enroll(home, invite(home), "hall")
    home.until(lambda: "connected to" in home.said("hall.log"))
    for process in (second, device):
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
    end(home, server, signal.SIGTERM)


def readme() -> list[list[str]]:
    """The commands of README.md."""
    text = README.read_text().split("in four commands\n")[1].split("\n## ")[0]
    return [line.split() for block in blocks(text) for line in lines(block)]


def nobody_else_reads(home: Home) -> None:
    """Every file that holds a secret is its owner's alone, whatever the umask."""
    files = [p for p in home.path.rglob("*") if p.is_file()]
    secret = [p for p in files if SECRETS.search(p.name) and p.name not in PUBLIC]
    assert {p.name for p in secret} >= {
        *("root.key", "authority.key", "tls-ca.key", "online.key", "secret", "server.key"),
        *("tls.key", "passwords", "device.key", "device.secret", "tls.pem"),
    }
    assert {p: oct(p.stat().st_mode) for p in secret if p.stat().st_mode & 0o077} == {}


def contents(directory: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in directory.iterdir() if not p.name.endswith(".log")}


def test_child_that_dies_is_started_again(home: Home) -> None:
    server = home.up()
    home.until(lambda: "connected to" in home.said("up.log"))
    (mosquitto,) = children(server, "mosquitto")
    os.kill(mosquitto, signal.SIGKILL)
    home.until(lambda: home.said("up.log").count("connected to") == 2)
    assert "mosquitto was ended by signal 9; it is started again in" in home.said("up.log")
    (serve,) = children(server, "serve")
    os.kill(serve, signal.SIGKILL)
    home.until(lambda: home.said("up.log").count("connected to") == 3)
    end(home, server, signal.SIGTERM)


def test_children_end_with_it_however_it_ends(home: Home) -> None:
    server = home.up()
    home.until(lambda: "connected to" in home.said("up.log"))
    server.kill()
    server.wait()
    home.until(lambda: not listens(home.ports[0]))


def children(parent: subprocess.Popen[bytes], word: str) -> list[int]:
    """The processes that it has started, by a word of their command line."""
    found = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    return [
        int(pid)
        for pid in found
        if word in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").split("--config")[0]
    ]


@pytest.mark.parametrize("which", [0, 1])
def test_port_that_is_taken_is_one_sentence(home: Home, which: int) -> None:
    with socket.create_server(("127.0.0.1", home.ports[which])):
        assert home.up().wait(PATIENCE_S) == Exit.UNAVAILABLE
    said = home.said("up.log").splitlines()
    assert said == [
        f"fedling-broker: another program listens on port {home.ports[which]}: end it, or take"
        " another port: --port"
    ]
    assert not (home.path / "broker.toml").exists()


def test_second_one_in_the_same_directory_is_told(home: Home) -> None:
    server = home.up()
    home.until(lambda: "connected to" in home.said("up.log"))
    said = home.run("fedling_broker", "up", expect=Exit.TRY_LATER)
    assert "in use by another fedling-up" in said
    end(home, server, signal.SIGTERM)


@pytest.mark.parametrize("words", [("--fleet", "other"), ("--port", "1"), ("--host", "elsewhere")])
def test_another_wish_than_what_is_there_is_told(home: Home, words: tuple[str, str]) -> None:
    server = home.up()
    home.until(lambda: "connected to" in home.said("up.log"))
    end(home, server, signal.SIGTERM)
    option, _ = words
    said = home.run("fedling_broker", "up", *words, expect=Exit.BAD_CONFIG)
    assert f"change it in the file, not by {option}" in said


def test_user_is_without_rights(home: Home) -> None:
    """What is tried here is tried as such a one, also where root runs it."""
    code = "import os; print(os.geteuid(), open('/proc/self/status').read())"
    done = subprocess.run(
        [*home.prefix, sys.executable, "-c", code], capture_output=True, text=True
    )
    assert not done.stdout.startswith("0 ")
    assert "CapEff:\t0000000000000000" in done.stdout
