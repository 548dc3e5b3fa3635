"""One run of a fleet to the end of its rounds, in which one process may be killed once."""

import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fedling_agent.store.store import Store
from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.disk.errors import Missing
from tests.support.crash.evidence import Evidence, collect
from tests.support.crash.fleet import DEVICES, ROUNDS, SUBJECT, TASK, Fleet, Layout
from tests.support.crash.keeper import Keeper
from tests.support.crash.sitecustomize import AT, COUNT, RECORD
from tests.support.waiting import PATIENCE_S, until

LOOK_S = 0.01
SHOWN = 4000  # characters of each log, when something is wrong


class Subject(StrEnum):
    """The process under test."""

    AGGREGATOR = "aggregator"
    AGENT = "agent"  # with its training child


class Failed(AssertionError):
    """A run that did not come to its end, with the logs."""

    def __init__(self, words: str, *, killed: bool = False) -> None:
        super().__init__(words)
        self.killed = killed  # the process under test had reached its point


@dataclass(frozen=True, slots=True)
class Result:
    """What a run left behind."""

    evidence: Evidence
    points: tuple[str, ...]  # that the process under test has counted, by name
    killed: bool


def run(keeper: Keeper, fleet: Fleet, directory: Path, subject: Subject, at: int) -> Result:
    """Run a copy of the fleet in a directory, which is removed when all went well.

    at: the point that kills the process under test; 0: none
    """
    shutil.copytree(fleet.layout.directory, directory)
    with Mosquitto(directory / "mosquitto", fleet.port):
        federation = _Federation(keeper, Layout(directory), subject, at)
        try:
            federation.start()
            federation.until(federation.settled)
            federation.stop()
        except (Failed, TimeoutError) as error:
            words = f"{subject}, point {at}: {error}\n{federation.logs()}"
            raise Failed(words, killed=federation.killed) from error
        finally:
            keeper.kill_all()
            federation.close()
    evidence = collect(keeper, Layout(directory), fleet.ids)
    result = Result(evidence, federation.points(), federation.killed)
    shutil.rmtree(directory)
    return result


class _Federation:
    """The processes of a run."""

    def __init__(self, keeper: Keeper, layout: Layout, subject: Subject, at: int) -> None:
        self._keeper = keeper
        self._layout = layout
        self._subject = DEVICES if subject is Subject.AGGREGATOR else SUBJECT
        self._at = at
        self._pids: dict[int, int] = {}  # by device number; DEVICES is the aggregator
        # Whoever is killed is looked at last: an open database would spare it the recovery.
        self._unfinished = sorted(range(DEVICES), key=lambda number: number != self._subject)
        self._store: Store | None = None
        self._connects = 0  # of the process under test, before it was killed
        self.killed = False

    def start(self) -> None:
        for number in (DEVICES, *range(DEVICES)):
            self._start(number, counting=number == self._subject)

    def _start(self, number: int, *, counting: bool) -> None:
        layout = self._layout
        environment = {COUNT: str(layout.count), AT: str(self._at)} if counting else {}
        if number == DEVICES:
            program, words = "broker", ("serve", "--config", layout.broker_config)
        else:
            program, words = "agent", ("run", "--config", layout.config_of(number))
        forks = number != self._subject
        self._pids[number] = self._keeper.start(
            program, words, self._log(number), environment, forks=forks
        )

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for it; start again what was killed."""
        try:
            until(condition, self._turn, look_s=LOOK_S, patience_s=PATIENCE_S)
        except AssertionError as error:
            raise Failed(f"not at its end; unfinished: {self._unfinished}") from error

    def _turn(self, seconds: float) -> None:
        self._keeper.wait(seconds)
        for number, pid in list(self._pids.items()):
            if pid in self._keeper.ended:
                self._on_end(number, self._keeper.ended[pid])

    def _on_end(self, number: int, code: int) -> None:
        if number != self._subject or self.killed or self._at == 0 or code != -signal.SIGKILL:
            raise Failed(f"process {number} ended with {code}")
        self.killed = True
        self._connects = self._count_connects()
        self._start(number, counting=False)

    def settled(self) -> bool:
        """Whether all is finished, and the process under test is, or is again, at work."""
        return self.finished() and self._count_connects() > self._connects

    def finished(self) -> bool:
        """Whether every device has all its receipts, and the last model."""
        while self._unfinished:
            number = self._unfinished[-1]
            try:
                self._store = self._store or Store(self._layout.state_of(number), read_only=True)
                done = has_finished(self._store)
            except Missing:
                done = False
            if done or number == self._subject:
                self.close()
            if not done:
                return False
            self._unfinished.pop()
        return True

    def stop(self) -> None:
        """In order. The process under test may reach its point while it stops."""
        codes = self._stop()
        if codes[self._subject] == -signal.SIGKILL:
            self._on_end(self._subject, codes[self._subject])
            self.until(self.settled)
            codes |= self._stop()
        if any(codes.values()):
            raise Failed(f"exit codes {codes}")

    def _stop(self) -> dict[int, int]:
        pids, self._pids = self._pids, {}
        return dict(zip(pids, self._keeper.stop_all(list(pids.values())), strict=True))

    def close(self) -> None:
        """Let go of the store that was looked at."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def points(self) -> tuple[str, ...]:
        """In their order."""
        data = self._layout.count.read_bytes()
        return tuple(data[i : i + RECORD].decode().strip() for i in range(0, len(data), RECORD))

    def logs(self) -> str:
        """The ends of all logs; the points."""
        texts = [f"--- {self._log(n)}\n{_tail(self._log(n))}" for n in range(DEVICES + 1)]
        return "\n".join([*texts, "--- points", *self.points()[-30:]])

    def _count_connects(self) -> int:
        """To the MQTT broker, as the log of the process under test tells."""
        return self._log(self._subject).read_text(errors="replace").count(" connected to ")

    def _log(self, number: int) -> Path:
        return self._layout.directory / ("broker.log" if number == DEVICES else f"{number}.log")


def has_finished(store: Store, task: str = TASK) -> bool:
    """Whether a device has a receipt for each round, nothing in its spool, the last model."""
    newest = store.models.newest(task)
    return (
        newest is not None
        and newest.version > ROUNDS
        and len(store.spool.receipts(task)) >= ROUNDS
        and not store.spool.entries(task)
    )


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-SHOWN:] if path.exists() else "(no log)"
