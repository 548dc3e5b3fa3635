"""`fedling-broker up`: a fleet's whole server from nothing, without root, until Ctrl-C."""

import argparse
import random
import resource
import signal
import sys
from functools import partial
from pathlib import Path

from fedling_broker import cli, config
from fedling_broker.authority import directory, x509
from fedling_broker.commands import init, task
from fedling_broker.config import Config
from fedling_broker.mosquitto import process
from fedling_broker.mosquitto.configuration import CA
from fedling_broker.mosquitto.files import Files, Stamp
from fedling_broker.store.tasks import TaskExists
from fedling_broker.tasks import task_file
from fedling_broker.up import addresses
from fedling_broker.up.foundation import OWN_CERTIFICATE, OWN_KEY, Ground
from fedling_broker.up.supervisor import Program, Supervisor
from fedling_protocol.classes import dataclass
from fedling_protocol.command import output
from fedling_protocol.disk import lock
from fedling_protocol.exits import Exit
from fedling_protocol.runtime import sdnotify
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.settings import SettingsError

MOSQUITTO, SERVE = "mosquitto", "fedling-broker"
FLEET, FILES, STATE = "home", "mosquitto", "broker-state"
PORT, ENROLMENT_PORT = 8883, 8884
LOOK_S = 1.0  # a token counts a second after it was handed out
OPEN_FILES = 65_536  # one a connection; a system often allows 1,024 that nobody has asked for more
FINAL = frozenset({Exit.BAD_CONFIG, Exit.NOT_ALLOWED, Exit.TRY_LATER})


@dataclass(frozen=True, slots=True)
class Server:
    """What runs here, and where it listens."""

    found: Config
    ground: Ground
    program: str  # mosquitto's

    @property
    def programs(self) -> list[Program]:
        """mosquitto first: `serve` says a last word to it."""
        serve = [sys.executable, "-m", "fedling_broker", "serve", "--config", str(self.found.path)]
        broker = [self.program, "-c", str(self.ground.configuration)]
        return [
            Program(MOSQUITTO, broker, self.ground.log),
            Program(SERVE, serve, final=FINAL),
        ]

    @property
    def ports(self) -> tuple[int, int]:
        return self.found.file.mqtt.tcp_port, self.found.file.enrolment.port


def run(args: argparse.Namespace) -> Exit:
    program = process.executable()
    for file in args.task:  # before anything is made
        task_file.load_task(file)
    with lock.exclusive(args.directory, "fedling-up"):
        found = _found(args)
        server = Server(found, _ground(found), program)
        addresses.check_free(*server.ports)
        _lay(server)
        for file in args.task:
            _add(args, found, file)
        _tell(server)
        return _supervise(server)


# --- what is made --------------------------------------------------------------------------------


def _found(args: argparse.Namespace) -> Config:
    """The configuration, made if there is none. Raises SettingsError."""
    path = args.config or args.directory / config.FILE
    if not path.exists():
        addresses.check_free(args.port or PORT, args.enrolment_port or ENROLMENT_PORT)
        init.make(init_words(args, path, STATE, FILES))
    found = config.load(path)
    _check_same(args, found)
    if found.files is None:
        raise SettingsError(
            f"{path}: has no mosquitto.files: this fleet has an MQTT broker of somebody else, who"
            " runs it; start the aggregator: fedling-broker serve"
        )
    return found


def init_words(args: argparse.Namespace, path: Path, state: str, files: str) -> argparse.Namespace:
    """The command line of an init that one would have to type. files: of mosquitto"""
    fleet = args.fleet or FLEET
    own = [path.parent / state / name for name in (OWN_CERTIFICATE, OWN_KEY)]
    words = [
        *("init", "--config", str(path), "--fleet", fleet, "--state", state),
        *("--host", addresses.HERE, "--port", str(args.port or PORT), "--tls"),
        *("--server-name", x509.server_name(fleet)),
        *("--ca-file", str(path.parent / files / CA)),
        *("--certificate-file", str(own[0]), "--key-file", str(own[1])),
        *("--mosquitto", files, "--enrolment-port", str(args.enrolment_port or ENROLMENT_PORT)),
        *("--enrolment-host", args.host or addresses.own_address()),
    ]
    return cli.build_parser().parse_args(words)


def _check_same(args: argparse.Namespace, found: Config) -> None:
    """What was asked for is what is there: broker.toml is changed by hand. Raises SettingsError."""
    there = {
        "fleet": (args.fleet, found.file.fleet),
        "port": (args.port, found.file.mqtt.tcp_port),
        "enrolment_port": (args.enrolment_port, found.file.enrolment.port),
        "host": (args.host, found.for_devices[0]),
    }
    for name, (asked, is_there) in there.items():
        if asked is not None and asked != is_there:
            option = name.replace("_", "-")
            raise SettingsError(
                f"{found.path}: {option} is {is_there} there: change it in the file, not by"
                f" --{option}"
            )


def _ground(found: Config) -> Ground:
    assert found.files is not None
    return Ground(found.files, found.state_dir)


def _lay(server: Server) -> None:
    """Make what mosquitto needs. Raises CannotWrite, IdentityError, SettingsError."""
    found = server.found
    host, _ = found.for_devices
    tls = directory.open_(found.authority).tls()
    hosts = addresses.names(x509.server_name(found.file.fleet), host)
    server.ground.lay(tls, found.topics, hosts)
    server.ground.configure(*server.ports)


def _add(args: argparse.Namespace, found: Config, file: Path) -> None:
    """Add a task, if the fleet has none of that name yet."""
    words = ["task", "add", str(file), "--config", str(found.path)]
    try:
        task.add(cli.build_parser().parse_args(words))
    except TaskExists as error:
        print(f"{error}; it stays as it is")


def _tell(server: Server) -> None:
    """Print what runs and what is next."""
    found = server.found
    host, port = found.for_devices
    own = directory.open_(found.authority)
    lines = [(MOSQUITTO, f"listens on {host}:{port}, TLS; log: {server.ground.log}")]
    if own.has_root_key:
        key = own.path / directory.ROOT_KEY
        what = f"the root key is in {key}: take it away: fedling-broker authority take-root FILE"
        lines.append(("keys", what))
    lines.append(("invite", f"fedling-broker device invite{_named(found.path)}"))
    lines.append(("stop", "Ctrl-C; the same command goes on from here"))
    output.print_pairs(lines)
    sys.stdout.flush()


def _named(path: Path) -> str:
    """What names the configuration, where it is not found by itself."""
    return "" if path.absolute() == Path(config.FILE).absolute() else f" --config {path}"


# --- what runs -----------------------------------------------------------------------------------


def _supervise(server: Server) -> Exit:
    """Run all until a signal, or until one of them ends for good."""
    _open_more_files()
    loop = Loop()
    supervisor = Supervisor(loop, server.programs, _say, random.random)
    watch = _Watch(loop, supervisor, Files(server.ground.files))
    loop.on_end(partial(supervisor.stop, loop.stop))
    if sdnotify.managed():
        loop.on_signal(signal.SIGHUP, partial(_begin_anew, supervisor, watch))
    try:
        supervisor.start()
        watch.look()
        sdnotify.ready("running")
        loop.run()
    finally:
        supervisor.kill()
        loop.close()
    return Exit(supervisor.code)


def _begin_anew(supervisor: Supervisor, watch: "_Watch") -> None:
    """Have both read everything again; `serve`, which no service manager watches, by a new life."""
    watch.forget()
    supervisor.again(SERVE)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _open_more_files() -> None:
    """Allow our children as many files as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Watch:
    """Has mosquitto read its files again when one has changed.

    It alone, and once a look: mosquitto forgets a signal that comes while it reads.
    """

    def __init__(self, loop: Loop, supervisor: Supervisor, files: Files) -> None:
        self._loop = loop
        self._supervisor = supervisor
        self._files = files
        self._seen: Stamp | None = files.stamp()

    def forget(self) -> None:
        """Have it read them at the next look, changed or not."""
        self._seen = None

    def look(self) -> None:
        """Look now, and from now on."""
        stamp = self._files.stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._supervisor.signal(MOSQUITTO, signal.SIGHUP)
        self._loop.after(LOOK_S, self.look)
