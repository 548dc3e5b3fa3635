import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto, MosquittoMissing, PortTaken, holds_port

CONNECT = bytes.fromhex("100d00044d5154540402003c0001") + b"a"
CONNACK = bytes.fromhex("20020000")


def answer_to_connect(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(CONNECT)
        return connection.recv(4)


def test_start_answers_mqtt(mosquitto: Mosquitto) -> None:
    assert answer_to_connect(mosquitto.port) == CONNACK


def test_start_runs_as_the_caller(mosquitto: Mosquitto) -> None:
    assert Path(f"/proc/{mosquitto.pid}").stat().st_uid == os.geteuid()


def test_start_holds_the_port_itself(mosquitto: Mosquitto) -> None:
    assert holds_port(mosquitto.pid, mosquitto.port)
    assert not holds_port(os.getpid(), mosquitto.port)


def test_start_on_a_taken_port_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        broker = Mosquitto(tmp_path, other.getsockname()[1])
        with pytest.raises(PortTaken, match="another process listens"):
            broker.start()
        assert not broker.running


def test_start_without_the_program_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(MosquittoMissing, match="apt-get install mosquitto"):
        Mosquitto(tmp_path).start()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_restart_keeps_the_port(mosquitto: Mosquitto, end: str) -> None:
    pid, port = mosquitto.pid, mosquitto.port
    getattr(mosquitto, end)()
    assert not mosquitto.running
    mosquitto.start()
    assert (mosquitto.pid != pid, mosquitto.port) == (True, port)
    assert answer_to_connect(port) == CONNACK


def test_parent_killed_takes_it_along(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from fedling_broker.mosquitto.process import Mosquitto\n"
        "m = Mosquitto(pathlib.Path(sys.argv[1])); m.start(); print(m.pid, flush=True)\n"
        "sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    child = os.pidfd_open(pid)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    poll = select.poll()
    poll.register(child)
    assert poll.poll(5000), "mosquitto outlived its parent"
    os.close(child)
