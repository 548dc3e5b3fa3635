"""`fedling-broker serve`: the service, from its configuration to its end."""

import argparse
import logging

from fedling_broker.commands import installation
from fedling_broker.service.service import Service
from fedling_broker.store.database import PROGRAM
from fedling_broker.store.store import Store
from fedling_protocol.disk import lock
from fedling_protocol.exits import Exit
from fedling_protocol.runtime.loop import Loop


def run(args: argparse.Namespace) -> Exit:
    logging.basicConfig(
        level=args.log.upper(), format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    found = installation.load(args)
    key, secret = installation.online_key(found), installation.secret(found)
    with lock.exclusive(found.state_dir, PROGRAM):
        store = Store(found.state_dir, alone=True)
        loop = Loop()
        try:
            Service(loop, found, store, key, secret).start()
            loop.run()
        finally:
            loop.close()
            store.close()
    return Exit.OK
