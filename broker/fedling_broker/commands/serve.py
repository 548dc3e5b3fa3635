"""`fedling-broker serve`: the service, from its configuration to its end."""

import argparse
import fcntl
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedling_broker.commands import installation
from fedling_broker.service.service import Service
from fedling_protocol.exits import Exit
from fedling_protocol.runtime.loop import Loop

LOCK = "broker.lock"


def serve(args: argparse.Namespace) -> Exit:
    logging.basicConfig(
        level=args.log.upper(), format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    with installation.opened(args) as (found, store), _alone(found.state_dir) as free:
        if not free:
            print(f"{found.state_dir}: another fedling-broker serves it", file=sys.stderr)
            return Exit.TRY_LATER
        loop = Loop()
        try:
            Service(
                loop, found, store, installation.online_key(found), installation.secret(found)
            ).start()
            loop.run()
        finally:
            loop.close()
    return Exit.OK


@contextmanager
def _alone(directory: Path) -> Iterator[bool]:
    """Hold the state directory; False: another process does."""
    handle = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
