"""An aggregator in virtual time: its real service on a node of the world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fedling_broker.config import Config
from fedling_broker.service.service import Ports, Service
from fedling_broker.store.store import Store
from fedling_protocol.classes import dataclass
from fedling_protocol.wire.identity import SigningKey
from fedling_sim.virtual.node import Life


@dataclass(frozen=True, slots=True)
class Desk:
    """What an aggregator is, whatever process runs as it. It is a Build."""

    config: Config
    key: SigningKey
    secret: bytes
    draw: Callable[[], float]

    def __call__(self, directory: Path, life: Life) -> Aggregator:
        return Aggregator(self, directory, life)


class Aggregator:
    """The process of `fedling-broker serve`."""

    def __init__(self, desk: Desk, directory: Path, life: Life) -> None:
        clock = life.clock  # many starts in a second are usual here: epochs are milliseconds
        self.store = store = Store(
            directory, alone=True, boot=life.boot, wall=lambda: 1000 * clock.wall()
        )
        ports = Ports(
            clock=life.clock,
            disk=life.make_worker(),
            # Elsewhere it has a thread and a connection of its own, and waits for the lock. Here
            # its statements would become a part of the transaction that a turn has left open.
            compute=life.make_worker(lambda: store.database.writes),
            make_link=life.make_link,
            draw=desk.draw,
            status=lambda _line: None,
        )
        self.service = Service(ports, desk.config, store, desk.key, desk.secret)

    def start(self) -> None:
        self.service.start()

    def bury(self) -> None:
        """The transaction of the turn that was under way is undone by SQLite."""
        self.store.close()
