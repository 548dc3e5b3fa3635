"""`fedling-broker init`: keys, secret, database, broker.toml."""

import argparse
from pathlib import Path

from fedling_broker import config
from fedling_broker.config import ONLINE_KEY, SECRET
from fedling_broker.devices import Devices
from fedling_broker.store import Store
from fedling_protocol import durable, identity
from fedling_protocol.exits import Exit
from fedling_protocol.topics import AGGREGATOR, Topics

READABLE = 0o644


def init(args: argparse.Namespace) -> Exit:
    path: Path = args.config or Path(config.FILE)
    root = identity.ensure_key(args.root_key)
    if not path.exists():
        text = config.TEMPLATE.format(
            fleet=args.fleet,
            root_key=root.public.hex(),
            state_dir=args.state,
            root_topic=args.root_topic,
            host=args.host,
            port=args.port,
        )
        durable.write_file(path, text.encode(), READABLE)
    found = config.load(path)
    Store.create(found.state_dir)
    online = identity.ensure_key(found.state_dir / ONLINE_KEY)
    identity.ensure_secret(found.state_dir / SECRET)
    _certify_online_key(found.state_dir, found.topics, online.public, root)
    print(f"{path} is written; the state is in {found.state_dir}")
    print(f"the root key is in {args.root_key}: `device add` needs it, `serve` does not; keep it")
    print("off this machine if you can. Every device's agent.toml has its public half:")
    print(f'root_key = "{root.public.hex()}"')
    return Exit.OK


def _certify_online_key(
    state: Path, topics: Topics, public: bytes, root: identity.SigningKey
) -> None:
    store = Store(state)
    try:
        devices = Devices(store.database, topics)
        certified = devices.find(AGGREGATOR)
        if certified is None or certified.key != public:
            devices.certify(AGGREGATOR, public, root)
    finally:
        store.close()
