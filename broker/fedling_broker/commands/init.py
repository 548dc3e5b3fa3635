"""`fedling-broker init`: keys, secret, database, broker.toml."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedling_broker import config
from fedling_broker.commands import installation
from fedling_broker.config import ONLINE_KEY, SECRET, BrokerFile, Config
from fedling_broker.store.database import FILE
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_protocol import settings
from fedling_protocol.command import output
from fedling_protocol.common_settings import PLAIN_PORT, TLS_FILES, TLS_PORT
from fedling_protocol.disk.errors import writing
from fedling_protocol.exits import Exit
from fedling_protocol.wire import identity
from fedling_protocol.wire.names import AGGREGATOR


def run(args: argparse.Namespace) -> Exit:
    path: Path = args.config or Path(config.FILE)
    new = not path.exists()
    if new:
        _write(args, path)
    found = config.load(path)
    if not (found.state_dir / FILE).exists():
        installation.root_key(found, args.root_key)  # before half of a state is made
    with found.acting():
        Store.create(found.state_dir)
        with writing(str(found.state_dir)):
            online = identity.ensure_key(found.state_dir / ONLINE_KEY)
            identity.ensure_secret(found.state_dir / SECRET)
    _ensure_certificate(found, online.public, args.root_key)
    facts = {
        "config": str(path),
        "written": new,
        "fleet": found.file.fleet,
        "state": str(found.state_dir),
        "root_key": found.file.root_key,
    }
    output.print_answer("\n".join(_words(found, new)), facts, as_json=args.json)
    return Exit.OK


def _words(found: Config, new: bool) -> list[str]:
    stays = f"was there already and stays as it is: fleet {found.file.fleet}"
    return [
        f"{found.path} {'is written' if new else stays}",
        f"the state is in {found.state_dir}",
        "`device add` needs the root key, `serve` does not: keep it off this machine if you can",
        "every device's agent.toml has its public half:",
        f'root_key = "{found.file.root_key}"',
    ]


def _write(args: argparse.Namespace, path: Path) -> None:
    """Write the configuration, if it is one. Raises SettingsError, CannotWrite."""
    settings.parse(_text(args, bytes(32)), "fedling-broker init", BrokerFile)
    with writing(str(path.parent)):
        path.parent.mkdir(exist_ok=True)
    text = _text(args, identity.ensure_key(args.root_key).public)
    installation.write(path, text.encode())
    path.chmod(installation.READABLE)  # for the service, whatever root's umask: it has no secrets


def _text(args: argparse.Namespace, root_key: bytes) -> str:
    return config.TEMPLATE.format(
        fleet=settings.quoted(args.fleet),
        root_key=root_key.hex(),
        state_dir=settings.quoted(str(args.state or _state(args.config))),
        topic_root=settings.quoted(args.topic_root),
        host=settings.quoted(args.host),
        port=args.port or (TLS_PORT if args.tls else PLAIN_PORT),
        security=_security(args),
    )


def _security(args: argparse.Namespace) -> str:
    """Write the keys of [mqtt] that say how safe the way to the MQTT broker is."""
    lines = [f"tls = {str(args.tls).lower()}"]
    files = ((key, getattr(args, key)) for key in TLS_FILES)
    lines += [f"{key} = {settings.quoted(str(file.absolute()))}" for key, file in files if file]
    return "\n".join(lines + ["allow_plaintext = true"] * args.allow_plaintext)


def _state(path: Path | None) -> str:
    """Where a state is that nobody has named: the unit's, beside its configuration."""
    return str(config.UNIT.state if path == config.SYSTEM_FILE else "broker-state")


def _ensure_certificate(found: Config, online: bytes, root_key: Path) -> None:
    """The root key vouches for the online key; once that is done, it may be away."""
    with _devices(found) as devices:
        certified = devices.find(AGGREGATOR)
    if certified is None or certified.key != online:
        root = installation.root_key(found, root_key)
        with _devices(found) as devices:
            devices.certify(AGGREGATOR, online, root)


@contextmanager
def _devices(found: Config) -> Iterator[Devices]:
    with found.acting():
        store = Store(found.state_dir)
        try:
            yield Devices(store.database, found.topics)
        finally:
            store.close()
