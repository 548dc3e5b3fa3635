"""`fedling-sim proxy`: its options become faults, and it tells what became of connections."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fedling_protocol.exits import Exit
from fedling_sim.cli import main
from tests.support.waiting import line_of, receive

PATIENCE_S = 30.0


class Command:
    """The command in a process of its own, before a server that the test plays."""

    def __init__(self, *options: str) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(PATIENCE_S)
        words = ["proxy", "--to", f"127.0.0.1:{self.server.getsockname()[1]}", "--json", *options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fedling_sim.cli", *words], stdout=subprocess.PIPE, text=True
        )
        listening = self.line()
        assert listening.startswith("listening on 127.0.0.1:")
        self.port = int(listening.rpartition(":")[2])

    def line(self) -> str:
        return str(json.loads(line_of(self.process, bool))["what"])

    def pair(self) -> tuple[socket.socket, socket.socket]:
        near = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        far, _ = self.server.accept()
        far.settimeout(PATIENCE_S)
        assert self.line() == "connected"
        return near, far

    def end(self, number: signal.Signals) -> str:
        """Its last line."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == Exit.OK
        return str(json.loads(out.splitlines()[-1])["what"])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.server.close()


@pytest.fixture
def commands() -> Iterator[list[Command]]:
    commands: list[Command] = []
    yield commands
    for command in commands:
        command.close()


def start(commands: list[Command], *options: str) -> Command:
    commands.append(Command(*options))
    return commands[-1]


def test_connection_is_cut_after_so_many_bytes_and_told(commands: list[Command]) -> None:
    command = start(commands, "--cut-after", "1k", "--end", "server-holds", "--times", "1")
    near, far = command.pair()
    near.sendall(bytes(2000))
    with pytest.raises(ConnectionResetError):
        near.recv(1)
    assert command.line() == "server-holds"
    assert receive(far, 1024) == bytes(1024)
    near, far = command.pair()
    near.sendall(b"x" * 2000)
    receive(far, 2000)
    said = command.end(signal.SIGINT)
    assert said == "2 connections, 4000 bytes up, 0 bytes down"


def test_fault_begins_in_the_middle_of_a_message(commands: list[Command]) -> None:
    command = start(commands, "--at", "/receipt/", "--end", "client-holds")
    near, far = command.pair()
    message = b"\x32\x0f\x00\x0ba/receipt/b\x00\x01"
    far.sendall(message)
    half = len(message) // 2
    assert receive(near, half) == message[:half]
    assert command.line() == "client-holds"
    assert command.end(signal.SIGTERM) == f"1 connections, 0 bytes up, {half} bytes down"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("--to nobody", Exit.USAGE, "allowed: HOST:PORT"),
        ("--to h:99999", Exit.USAGE, "allowed: HOST:PORT"),
        ("--to 127.0.0.1:1 --lost 2", Exit.USAGE, "allowed: 0 to 1"),
        ("--to 127.0.0.1:1 --delay -1", Exit.USAGE, "allowed: 0 to 86400"),
        ("--to 127.0.0.1:1 --delay nan", Exit.USAGE, "allowed: 0 to 86400"),
        ("--to 127.0.0.1:1 --up-rate 0", Exit.USAGE, "allowed: bytes"),
        ("--to nobody.invalid:1883", Exit.NOT_FOUND, "--to nobody.invalid: "),
        ("--to 127.0.0.1:1 --listen 203.0.113.1:1", Exit.FAILED, "--listen 203.0.113.1:1: "),
    ],
)
def test_what_cannot_be_is_said(
    words: str, code: Exit, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found: object = None
    with contextlib.suppress(SystemExit):  # of argparse
        found = main(["proxy", *words.split()])
    assert found == (None if code is Exit.USAGE else code)
    assert says in capsys.readouterr().err
