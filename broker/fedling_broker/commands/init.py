"""`fedling-broker init`: keys, secret, database, broker.toml."""

import argparse
from pathlib import Path

from fedling_broker import config
from fedling_broker.commands import installation
from fedling_broker.config import ONLINE_KEY, SECRET, Config
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import writing
from fedling_protocol.exits import Exit
from fedling_protocol.wire import identity
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.names import AGGREGATOR

READABLE = 0o644


def run(args: argparse.Namespace) -> Exit:
    path: Path = args.config or Path(config.FILE)
    if not path.exists():
        root = identity.ensure_key(args.root_key)
        with writing(str(path)):
            durable.write_file(path, _text(args, root).encode(), READABLE)
        print(f"{path} is written")
    found = config.load(path)
    Store.create(found.state_dir)
    with writing(str(found.state_dir)):
        online = identity.ensure_key(found.state_dir / ONLINE_KEY)
        identity.ensure_secret(found.state_dir / SECRET)
    _ensure_certificate(found, online.public, args.root_key)
    print(f"the state is in {found.state_dir}")
    print("`device add` needs the root key, `serve` does not: keep it off this machine if you can")
    print("every device's agent.toml has its public half:")
    print(f'root_key = "{found.file.root_key}"')
    return Exit.OK


def _text(args: argparse.Namespace, root: SigningKey) -> str:
    return config.TEMPLATE.format(
        fleet=args.fleet,
        root_key=root.public.hex(),
        state_dir=args.state,
        topic_root=args.topic_root,
        host=args.host,
        port=args.port,
    )


def _ensure_certificate(found: Config, online: bytes, root_key: Path) -> None:
    """The root key vouches for the online key; once that is done, it may be away."""
    store = Store(found.state_dir)
    try:
        devices = Devices(store.database, found.topics)
        certified = devices.find(AGGREGATOR)
        if certified is None or certified.key != online:
            devices.certify(AGGREGATOR, online, installation.root_key(found, root_key))
    finally:
        store.close()
