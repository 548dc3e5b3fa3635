"""A device in virtual time: the agent's real service, its sensors and its training children."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import field, replace
from functools import lru_cache, partial
from pathlib import Path

from fedling_agent.conditions.condition import Condition, Roots, Signal, Value
from fedling_agent.conditions.watcher import Watcher
from fedling_agent.config import AgentConfig
from fedling_agent.data.streams import Stream
from fedling_agent.service.service import Ports, Service
from fedling_agent.store.identity import Identity
from fedling_agent.store.store import Store
from fedling_agent.training.job import Job
from fedling_agent.training.process import TrainingProcess
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadDatabase, CannotWrite
from fedling_sim.virtual.node import Life
from fedling_sim.virtual.training import Pace, VirtualTraining


@dataclass(slots=True)
class Surroundings:
    """What the sensors of a board would say. Its fields are the names of conditions."""

    mains: bool = True
    battery: int = 100  # percent
    temperature: int = 40  # degrees Celsius
    network: bool = True
    unmetered: bool = True
    load: float = 0.0  # percent of its processors that others use
    unattended: bool = True

    def rows(self, rows: tuple[Condition, ...]) -> tuple[Condition, ...]:
        """The conditions, with readers that look here if they tell of surroundings."""
        return tuple(
            replace(row, read=partial(self._read, row.name)) if hasattr(self, row.name) else row
            for row in rows
        )

    def _read(self, name: str, _roots: Roots) -> Signal:
        return _signal(getattr(self, name))


@lru_cache(maxsize=256, typed=True)
def _signal(value: Value) -> Signal:
    return Signal(value, "surroundings")


@dataclass(frozen=True, slots=True)
class Random:
    """Where a board's dice come from."""

    dice: Callable[[int], bytes]
    draw: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Board:
    """What a device is, whatever process runs on it. It is a Build."""

    config: AgentConfig
    streams: Mapping[str, Stream]
    identity: Identity
    random: Random
    surroundings: Surroundings = field(default_factory=Surroundings)
    pace: Pace = field(default_factory=Pace)

    def __call__(self, directory: Path, life: Life) -> Device:
        return Device(self, directory, life)


class Device:
    """The process of `fedling-agent run`."""

    __slots__ = ("_board", "_clock", "service", "store")

    def __init__(self, board: Board, directory: Path, life: Life) -> None:
        self._board = board
        self._clock = life.clock
        config = board.config
        self.store = Store.open_or_begin_anew(directory, config.bounds, int(life.clock.wall()))
        rows = board.surroundings.rows(config.policy.rows)
        ports = Ports(
            clock=life.clock,
            disk=life.make_worker(),
            watcher=Watcher(rows, config.roots, life.clock, life.make_worker()),
            make_link=life.make_link,
            make_process=self._make_process,
            dice=board.random.dice,
            draw=board.random.draw,
            begin_anew=partial(self._begin_anew, life),
        )
        self.service = Service(ports, config, dict(board.streams), board.identity, self.store)

    def start(self) -> None:
        """As `run` does."""
        try:
            self.service.start()
        except BadDatabase as error:
            self.service.meet(error)

    def _begin_anew(self, life: Life, error: BadDatabase) -> None:
        """As `run` does, which has another service on another database then."""
        now_s = int(life.clock.wall())

        def replace_database() -> None:
            with suppress(CannotWrite):  # `run` ends with 73, and is started again on the old one
                store = Store.begin_anew(
                    self.store.directory, self._board.config.bounds, now_s, error
                )
                store.close()

        life.end(replace_database)

    def bury(self) -> None:
        """What is not committed is undone by SQLite, as at the next start after a power cut."""
        self.store.close()

    def _make_process(self, job: Job) -> TrainingProcess:
        return VirtualTraining(self._clock, self._board.pace, job)
