"""A mosquitto of our own that nobody else can be mistaken for."""

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from fedling_broker.mosquitto.configuration import Configuration, Tls

START_S = 60.0  # far more than it needs; one that ended is told at once
STOP_S = 10.0
HERE = "127.0.0.1"
PR_SET_PDEATHSIG = 1
LISTEN = "0A"  # a state in /proc/net/tcp
LIBC = ctypes.CDLL(None, use_errno=True)


class MosquittoMissing(RuntimeError):
    """The program mosquitto is not installed."""


class PortTaken(RuntimeError):
    """Another process listens where ours should."""


class MosquittoFailed(RuntimeError):
    """mosquitto ended at start, or did not listen in time. Holds the end of its log."""


def executable() -> str:
    """Find mosquitto, also where Debian keeps it from users. Raises MosquittoMissing."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"
    found = shutil.which("mosquitto", path=path)
    if found is None:
        raise MosquittoMissing(
            "mosquitto is not installed: install the package mosquitto"
            " (Debian: sudo apt-get install mosquitto)"
        )
    return found


def own_user() -> str:
    """Whom mosquitto is told to stay, since as root it becomes another; nobody else can be one."""
    return pwd.getpwuid(0).pw_name if os.geteuid() == 0 else ""


def free_port() -> int:
    """Find a TCP port of 127.0.0.1 that nobody held a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def listening_inodes(pid: int, port: int) -> set[str]:
    """List inodes of sockets that listen on 127.0.0.1:port, as process pid's network sees them."""
    local = f"0100007F:{port:04X}"
    rows = [x.split() for x in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[1] == local and row[3] == LISTEN}


def holds_port(pid: int, port: int) -> bool:
    """Whether process pid itself listens on 127.0.0.1:port."""
    wanted = {f"socket:[{inode}]" for inode in listening_inodes(pid, port)}
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(descriptor) in wanted:
                return True
        except FileNotFoundError:  # closed while we looked
            continue
    return False


def die_with_parent() -> None:
    """Have the child (who calls it) killed when the parent's thread ends, however it ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Mosquitto:
    """One mosquitto on 127.0.0.1 with its own configuration, log and port, run as the caller.

    directory:   made if absent; holds mosquitto.conf, mosquitto.log and its database, if any
    port:        None takes a free one; it stays the same over restarts
    persistence: keep retained messages and sessions over a clean restart
    settings:    more lines of mosquitto.conf
    tls:         its listeners are those of a fleet; else it lets everybody in
    """

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        *,
        persistence: bool = False,
        settings: Sequence[str] = (),
        tls: Tls | None = None,
    ) -> None:
        self.directory = directory
        self.port = free_port() if port is None else port
        self.log = directory / "mosquitto.log"
        self._persistence = persistence
        self._settings = tuple(settings)
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises MosquittoFailed when it does not run."""
        if self._process is None:
            raise MosquittoFailed("mosquitto was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Return when it listens. Raises MosquittoMissing, PortTaken, MosquittoFailed."""
        if self.running:
            raise MosquittoFailed(f"mosquitto {self.pid} runs already")
        program = executable()
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(self.configuration())
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for us: we decide who stops first
                preexec_fn=die_with_parent,  # noqa: PLW1509  one system call, no lock, no memory
            )
        try:
            self._wait_until_ours()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in order: it writes its database, if it has one."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it, then start it on the same port."""
        self.stop()
        self.start()

    def reload(self) -> None:
        """Have it read its files again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def configuration(self) -> str:
        """Write the text of mosquitto.conf."""
        return Configuration(
            self.port,
            HERE,
            self._tls,
            user=own_user(),
            state=str(self.directory.absolute()) if self._persistence else "",
            more=self._settings,
        ).text()

    def log_tail(self, lines: int = 10) -> str:
        """The last lines of its log."""
        try:
            text = self.log.read_text(errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    def _wait_until_ours(self) -> None:
        deadline = time.monotonic() + START_S
        while not (self.running and holds_port(self.pid, self.port)):
            if not self.running:
                raise self._why_it_ended()
            if time.monotonic() > deadline:
                raise MosquittoFailed(f"mosquitto does not listen:\n{self.log_tail()}")
            time.sleep(0.005)

    def _why_it_ended(self) -> RuntimeError:
        if "Address already in use" in self.log_tail():
            return PortTaken(f"another process listens on 127.0.0.1:{self.port}")
        return MosquittoFailed(f"mosquitto ended at start:\n{self.log_tail()}")

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> "Mosquitto":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
