"""`fedling-broker init`: keys, authority, secret, database, broker.toml."""

import argparse
from contextlib import AbstractContextManager
from pathlib import Path

from fedling_broker import agreement, config
from fedling_broker.authority import directory, signing
from fedling_broker.authority.directory import Directory
from fedling_broker.commands import installation
from fedling_broker.config import ONLINE_KEY, SECRET, UNIT, BrokerFile, Config
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_protocol import settings
from fedling_protocol.command import output
from fedling_protocol.common_settings import PLAIN_PORT, TLS_FILES, TLS_PORT
from fedling_protocol.disk import ownership
from fedling_protocol.disk.errors import writing
from fedling_protocol.exits import Exit
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire import identity
from fedling_protocol.wire.identity import IdentityError, SigningKey
from fedling_protocol.wire.names import AGGREGATOR


def run(args: argparse.Namespace) -> Exit:
    new = not _path(args).exists()
    found, certified = make(args)
    facts = {
        "config": str(found.path),
        "written": new,
        "fleet": found.file.fleet,
        "state": str(found.state_dir),
        "root_key": found.file.root_key,
        "certified": certified,
    }
    output.print_answer("\n".join(_words(found, new, certified)), facts, as_json=args.json)
    return Exit.OK


def make(args: argparse.Namespace) -> tuple[Config, bool]:
    """Make what is missing; the configuration, and whether the online key is certified."""
    path, root = _path(args), installation.given_root_key(args)
    if not path.exists():
        _write(args, path, root)
    found = config.load(path)
    if root is not None and args.trust is None:
        _check(found, root)
    with found.acting():
        return found, _make(found, root)


def _path(args: argparse.Namespace) -> Path:
    path: Path = args.config or Path(config.FILE)
    return path


def _check(found: Config, root: SigningKey) -> None:
    """Nothing is made with a root key of another fleet. Raises IdentityError."""
    own = _authority(found)
    if root.public != (found.root_key if own is None else own.newest_root):
        raise IdentityError(f"that is not the root key of fleet {found.file.fleet}")


def _authority(found: Config) -> Directory | None:
    """The authority's directory, if it is here."""
    with found.acting():
        there = (found.authority / directory.SETTINGS).exists()
        return directory.open_(found.authority) if there else None


def _make(found: Config, root: SigningKey | None) -> bool:
    """Make what is missing of a state; whether its online key is certified."""
    Store.create(found.state_dir)
    with writing(str(found.state_dir)):
        online = identity.ensure_key(found.state_dir / ONLINE_KEY)
        identity.ensure_secret(found.state_dir / SECRET)
    if root is not None:
        directory.create(found.authority, found.file.fleet, root, signing.now_s())
    store = Store(found.state_dir)
    try:
        agreement.agree(found, store)
        online = installation.online_key(found)
        own = Devices(store.database, found.topics).find(AGGREGATOR)
        if own is not None and own.key == online.public:
            return True
        if not (found.authority / directory.SETTINGS).exists():
            return False
        with directory.alone(found.authority) as here:
            signer, now_s = root or here.root_key(), signing.now_s()
            made = here.office(AGGREGATOR, online.public, signer, now_s)
            agreement.settle(found, store, made)
        return True
    finally:
        store.close()


def _words(found: Config, new: bool, certified: bool) -> list[str]:
    stays = f"was there already and stays as it is: fleet {found.file.fleet}"
    words = [
        f"{found.path} {'is written' if new else stays}",
        f"the state is in {found.state_dir}",
        "every device's agent.toml has the public half of the root key:",
        f'root_key = "{found.file.root_key}"',
    ]
    if not certified:
        with found.acting():
            key = installation.online_key(found).public.hex()
        return [
            *words,
            "where the authority is, have the online key certified, and bring the file here:",
            f"fedling-broker authority certify {AGGREGATOR} {key} --to aggregator.certificates",
            "fedling-broker device add --certificate aggregator.certificates",
        ]
    own = _authority(found)
    if own is not None and own.has_root_key:
        where = own.path / directory.ROOT_KEY
        words.append(f"the root key is in {where}: who has it has the fleet; take it away:")
        words.append("fedling-broker authority take-root /media/stick/root.key")
    return words


def _write(args: argparse.Namespace, path: Path, root: SigningKey | None) -> None:
    """Write the configuration, if it is one. Raises SettingsError, CannotWrite."""
    text = _text(args, bytes(32))
    planned = Config(settings.parse(text, "fedling-broker init", BrokerFile), path)
    if args.trust is not None:
        key = bytes.fromhex(args.trust)
    else:
        with writing(str(path.parent)):
            ownership.make_folder_for_services(path.parent)
        with _acting(planned):
            made = directory.create(planned.authority, args.fleet, root, signing.now_s())
        if made.file.fleet != args.fleet:
            raise SettingsError(f"{made.path}: is the authority of fleet {made.file.fleet}")
        key = made.first_root
    with writing(str(path.parent)):
        ownership.make_folder_for_services(path.parent)
    # For the service, whatever root's umask: it has no secrets.
    installation.write(path, _text(args, key).encode(), exact=True)


def _acting(planned: Config) -> AbstractContextManager[None]:
    """Be who keeps the state, before there is a configuration that says where that is."""
    return ownership.acting(planned.state_dir, UNIT)


def _text(args: argparse.Namespace, root_key: bytes) -> str:
    return config.TEMPLATE.format(
        fleet=settings.quoted(args.fleet),
        root_key=root_key.hex(),
        state_dir=settings.quoted(str(args.state or _state(args.config))),
        topic_root=settings.quoted(args.topic_root),
        host=settings.quoted(args.host),
        port=args.port or (TLS_PORT if args.tls else PLAIN_PORT),
        security=_security(args),
        more=_more(args),
    )


def _more(args: argparse.Namespace) -> str:
    """Write the tables that a server of ours has, and an aggregator at another's broker has not."""
    host, port, files = args.enrolment_host, args.enrolment_port, args.mosquitto
    lines = ["", "[enrolment]"] if host or port else []
    lines += [f"host = {settings.quoted(host)}"] * bool(host) + [f"port = {port}"] * bool(port)
    lines += ["", "[mosquitto]", f"files = {settings.quoted(files)}"] if files else []
    return "".join(f"{line}\n" for line in lines)


def _security(args: argparse.Namespace) -> str:
    """Write the keys of [mqtt] that say how safe the way to the MQTT broker is."""
    lines = [f"tls = {str(args.tls).lower()}"]
    files = ((key, getattr(args, key)) for key in TLS_FILES)
    lines += [f"{key} = {settings.quoted(_seen(args, file))}" for key, file in files if file]
    name = f"server_name = {settings.quoted(args.server_name)}"
    lines += [name] * bool(args.server_name)
    return "\n".join(lines + ["allow_plaintext = true"] * args.allow_plaintext)


def _seen(args: argparse.Namespace, file: Path) -> str:
    """Write a path as broker.toml means it: what is beside it moves with it."""
    folder, file = _path(args).absolute().parent, file.absolute()
    return str(file.relative_to(folder) if file.is_relative_to(folder) else file)


def _state(path: Path | None) -> str:
    """Where a state is that nobody has named: the unit's, beside its configuration."""
    return str(config.UNIT.state if path == config.SYSTEM_FILE else "broker-state")
