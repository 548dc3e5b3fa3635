"""Flower's own programs on this machine: a superlink, one supernode, the app of flower_app/."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from fedling_broker.mosquitto.process import free_port
from fedling_sim.chaos.line import Traffic
from fedling_sim.chaos.proxy import Proxy

APP = Path(__file__).parent / "flower_app"
START_S, ROUND_S = 120.0, 60.0  # of a machine that has other things to do
POLL_S, STOP_S = 0.2, 20.0
NODE, LOG, TAIL = "node", "log", 20


class FlowerFailed(Exception):
    """What Flower did not do, with the end of its log."""


def version(venv: Path) -> str:
    """Of the flwr in an environment; empty: there is none."""
    code = "import importlib.metadata as of; print(of.version('flwr'))"
    try:
        done = subprocess.run([venv / "bin/python", "-c", code], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


def play(venv: Path, rounds: int, directory: Path) -> Traffic:
    """Play so many rounds; what the node has sent and received in all of them.

    directory: empty. Raises FlowerFailed
    """
    done = directory / "done"
    with superlink(venv, directory) as proxy, supernode(venv, directory, proxy.add(NODE)):
        submit(venv, directory, f'rounds={rounds} done="{done}"')
        await_(lambda: text_of(done) != "", START_S + rounds * ROUND_S, directory)
        traffic = proxy.traffic(NODE)
    if text_of(done) != str(rounds):
        raise FlowerFailed(f"{text_of(done)} of {rounds} rounds{log_of(directory)}")
    return traffic


@contextmanager
def superlink(venv: Path, directory: Path) -> Iterator[Proxy]:
    """A superlink that answers, behind a proxy. directory: empty. Raises FlowerFailed"""
    link, home = free_port(), directory / "home"
    home.mkdir()
    configuration = f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{link}"'
    (home / "config.toml").write_text(f"{configuration}\ninsecure = true\n")
    words = ["flower-superlink", "--insecure", "--disable-runtime-dependency-installation"]
    with closing(Proxy(link)) as proxy, running(venv, directory, [*words, "--port", str(link)]):
        await_port(link, directory)
        yield proxy


@contextmanager
def supernode(venv: Path, directory: Path, port: int) -> "Iterator[subprocess.Popen[bytes]]":
    """A node of the superlink that is behind a port."""
    words = ["flower-supernode", "--insecure", "--port", str(free_port())]
    with running(venv, directory, [*words, "--superlink", f"127.0.0.1:{port}"]) as program:
        yield program


def submit(venv: Path, directory: Path, config: str) -> None:
    """Hand the app to the superlink, which runs it. Raises FlowerFailed."""
    command = [str(venv / "bin/flwr"), "run", str(APP), "--run-config", config]
    environment = environment_of(venv, directory)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise FlowerFailed(f"flwr run: {done.stdout}{done.stderr}")


def environment_of(venv: Path, directory: Path) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    own |= {"PATH": f"{venv / 'bin'}:{own['PATH']}", "FLWR_TELEMETRY_ENABLED": "0"}
    return own | {"FLWR_HOME": str(directory / "home")}


@contextmanager
def running(venv: Path, directory: Path, words: list[str]) -> "Iterator[subprocess.Popen[bytes]]":
    """Have a program of the environment run, and end it.

    Those that it starts look whether it lives, and end by themselves.
    """
    with (directory / LOG).open("ab") as log:
        program = subprocess.Popen(
            [venv / "bin" / words[0], *words[1:]],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env=environment_of(venv, directory),
        )  # fmt: skip
    try:
        yield program
    finally:
        end_group(program)


def await_port(port: int, directory: Path) -> None:
    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    await_(answers, START_S, directory)


def await_(so: Callable[[], bool], seconds: float, directory: Path, look_s: float = POLL_S) -> None:
    """Raises FlowerFailed when it is not so in time."""
    deadline = time.monotonic() + seconds
    while not so():
        if time.monotonic() > deadline:
            raise FlowerFailed(f"nothing in {seconds:.0f} s{log_of(directory)}")
        time.sleep(look_s)


def text_of(path: Path) -> str:
    """Empty while there is no file."""
    return path.read_text(errors="replace") if path.exists() else ""


def log_of(directory: Path) -> str:
    lines = text_of(directory / LOG).splitlines()
    return "; the end of its log:\n" + "\n".join(lines[-TAIL:])


def end_group(program: "subprocess.Popen[bytes]") -> None:
    """End a program, and then what it has left of its process group."""
    program.terminate()
    with suppress(subprocess.TimeoutExpired):
        program.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()
