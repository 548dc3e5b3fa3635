"""What a command finds, and does, in the state directory while no service runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fedling_agent.commands import uptime
from fedling_agent.commands.installation import Installation
from fedling_agent.conditions.owner import Owner, Pause
from fedling_agent.store import identity
from fedling_agent.store.database import PROGRAM
from fedling_agent.store.identity import Identity
from fedling_agent.store.recordings import Bounds
from fedling_agent.store.store import Store
from fedling_protocol.disk import lock
from fedling_protocol.disk.errors import Missing, WrongTables


def device(where: Installation) -> Identity:
    """The device's identity. Raises Missing if none was made, NotOurs."""
    me = identity.load(where.kept())
    if me is None:
        raise Missing(f"{where.state}: no device yet; make one with: fedling-agent init")
    return me


@contextmanager
def alone(where: Installation) -> Iterator[Store]:
    """Give the store, to write, to this command alone. Raises Locked."""
    with lock.exclusive(where.kept(), PROGRAM):
        store = Store(where.state, Bounds() if where.config is None else where.config.bounds)
        try:
            yield store
        finally:
            store.close()


def owner(where: Installation) -> Owner | None:
    """What the owner has said to this device; None: no store says it, or not to this version."""
    with suppress(Missing, WrongTables):
        store = Store(where.state, read_only=True)
        try:
            return owner_of(store)
        finally:
            store.close()
    return None


def owner_of(store: Store) -> Owner:
    """What the owner has said, as the store has it."""
    said = Owner(uptime.up_s, time.time)
    kept = store.pauses.find(uptime.up_ms())
    if kept is not None:
        due = None if kept.left_ms is None else uptime.up_s() + kept.left_ms / 1000
        said.pause = Pause(kept.reason, due)
    return said
