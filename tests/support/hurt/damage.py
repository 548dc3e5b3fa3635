"""One file of a state directory damaged in one way, at rest or under the services that use it."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from fedling_agent.service import report
from fedling_agent.store.store import Store as DeviceStore
from fedling_broker.commands.failures import EXITS
from fedling_broker.store.database import FILE
from fedling_protocol.command.failures import exit_code
from fedling_protocol.disk.errors import BadDatabase
from fedling_protocol.exits import Exit
from fedling_sim.virtual.node import Node
from tests.support.hurt.fleet import HurtFleet

SPREAD_S, LIMIT_S = 5.0, 7200.0
AGAIN_S = 10.0


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def one_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1])


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[len(data) // 3] ^= 16
    path.write_bytes(data)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def gone(path: Path) -> None:
    path.unlink()


DAMAGES: tuple[Callable[[Path], None], ...] = (zero, empty, one_byte, half, flip, folder, gone)
CUTS = (empty, one_byte, half)


@dataclass
class Outcome:
    """What became of a fleet."""

    whole: bool  # all rounds were held, each device has the newest models
    said: list[str]  # why a process did not come up, or why a task is stopped
    codes: set[Exit]


class DamagedFleet(HurtFleet):
    """In the middle of its first rounds a file is damaged."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, 7, 0.0)
        self.said: list[str] = []

    @property
    def nodes(self) -> list[Node]:
        return [self.fleet.aggregator, self.fleet.members[0].node]

    def begin(self) -> None:
        """Up to the middle of a round: there are plans, jobs, updates on their way."""
        self.fleet.start(within_s=SPREAD_S)
        assert self.fleet.run(self._in_the_middle, LIMIT_S)

    def _in_the_middle(self) -> bool:
        """Every folder has something in it."""
        aggregator, device = (node._directory for node in self.nodes)
        folders = (aggregator / "updates", device / "spool", device / "jobs", device / "frozen")
        return all(any(folder.iterdir()) for folder in folders if folder.exists()) and all(
            folder.exists() for folder in folders
        )

    def files(self) -> list[Path]:
        """All files of the aggregator and of one device, by their kind and order."""
        folders = [node._directory for node in self.nodes]
        return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())

    def go_on(self, *, limit_s: float = LIMIT_S) -> Outcome:
        """Live until all is done, or nothing more will be."""
        start = Node.start
        with patch.object(Node, "start", lambda node, _=None: self._come_up(start, node)):
            for node in [self.fleet.aggregator, *(m.node for m in self.fleet.members)]:
                node.start()
            whole = self.fleet.run(self._whole, limit_s)
        service = self.fleet.service
        halted = {} if service is None else service.service.runners.halts.halted
        stall = None if service is None else service.service.recovery.stall
        said = [*self.said, *(halt.says for halt in halted.values()), stall.reason if stall else ""]
        return Outcome(whole, said, set(self.ends))

    def _come_up(self, start: Callable[[Node], None], node: Node) -> None:
        try:
            start(node)
        except Exception as error:
            code = exit_code(error, EXITS)
            if code is None:
                raise  # a traceback instead of a sentence
            self.ends.append(code)
            self.said.append(str(error))
            node.crash()
            if code is not Exit.BAD_CONFIG:  # systemd does not start it again
                node.world.after(AGAIN_S, node.start, None)

    def stop(self) -> None:
        for node in [self.fleet.aggregator, *(m.node for m in self.fleet.members)]:
            node.crash()

    def status(self) -> None:
        """What `status` reads of the device's store, without a service."""
        directory = self.nodes[1]._directory
        try:
            store = DeviceStore(directory, read_only=True)
        except BadDatabase:
            return  # said with what to do
        with suppress(BadDatabase):  # said, too: a row that the service had no need of
            report.of_store(store, self.fleet.members[0].board.identity, "2026-01-01")
        store.close()


def put_back(path: Path, kept: Path) -> None:
    """As a person does, from a backup: a file of its own, or the whole state with its database."""
    if path.name.startswith(FILE):
        shutil.rmtree(path.parent)
        shutil.copytree(kept.parent, path.parent)
        return
    if path.is_dir():
        shutil.rmtree(path)
    shutil.copyfile(kept, path)
