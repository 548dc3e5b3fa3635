"""The fleet of tests/support/crash on a real mosquitto, each process behind a link that may fail.

Names of links: "0" to "5" are devices, "aggregator" is the aggregator's.
"""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedling_agent.store.store import Store
from fedling_broker.mosquitto.process import Mosquitto
from fedling_broker.store.database import FILE
from fedling_protocol.disk.errors import Missing
from fedling_sim.chaos.fault import MUTE, REFUSING, WHOLE, End, Fault, Spell, flapping
from fedling_sim.chaos.messages import Habits, Moment
from fedling_sim.chaos.proxy import Proxy
from tests.support.crash.evidence import Evidence, collect
from tests.support.crash.federation import has_finished
from tests.support.crash.fleet import DEVICES, TASK, Fleet, Layout
from tests.support.crash.keeper import Keeper
from tests.support.waiting import PATIENCE_S, until

AGGREGATOR = "aggregator"
NAMES = (*map(str, range(DEVICES)), AGGREGATOR)
KEEPALIVE_S = 2  # so that a link that says nothing is given up soon
LOOK_S = 0.02
SHOWN = 5000  # characters of each log, when something is wrong


@dataclass(frozen=True, slots=True)
class Trouble:
    """What befalls a link, from a moment on.

    words: one of them is in the log of who had it; none: it may go unnoticed
    """

    spells: tuple[Spell, ...] = ()
    end: End | None = None
    words: tuple[str, ...] = ()


CLOSED = ("Connection reset by peer", "Broken pipe", "the broker closed the connection")
# A device that waits for a model gives up about when the keepalive does.
SILENT = ("the connection was lost", "a model is not wanted any more", *CLOSED)
# No byte comes for so long that both ends give up, and then everything comes that was sent.
LONG_S = 3 * KEEPALIVE_S

TROUBLES: Mapping[str, Trouble] = {
    "cut": Trouble(end=End.CUT, words=CLOSED),
    "half-open": Trouble(end=End.HALF_OPEN, words=SILENT),
    "client-holds": Trouble(end=End.CLIENT_HOLDS, words=SILENT),
    "server-holds": Trouble(end=End.SERVER_HOLDS, words=CLOSED),
    "refused": Trouble(((1.0, REFUSING), (0, WHOLE)), words=(*CLOSED, "Connection refused")),
    "mute for a moment": Trouble(((0.5, MUTE), (0, WHOLE))),
    "mute for long": Trouble(((LONG_S, MUTE), (0, WHOLE)), words=SILENT),
    "slow": Trouble(((3.0, Fault(up_rate=2000, down_rate=2000)), (0, WHOLE))),
    "late": Trouble(((3.0, Fault(delay_s=0.2, jitter_s=0.3)), (0, WHOLE))),
    "cut again and again": Trouble(
        ((3.0, Fault(up_bytes=2500, down_bytes=4000, times=4)), (0, WHOLE)), words=CLOSED
    ),
}

# Of links that flap.
GOOD_S, BAD_S = 0.8, 0.6
WEATHER = (
    REFUSING,
    MUTE,
    Fault(up_rate=2000, down_rate=2000),
    Fault(delay_s=0.1, jitter_s=0.3),
    Fault(up_bytes=700, down_bytes=1500),
    Fault(up_bytes=1500, down_bytes=3000, end=End.SERVER_HOLDS),
    Fault(up_bytes=1500, down_bytes=3000, end=End.HALF_OPEN, times=1),
)

# When: the word of the topic, whether a device sends it, the share of it that has passed.
PHASES: Mapping[str, tuple[str, bool, float]] = {
    "plan": ("/plan/", False, 0.5),
    "join": ("/join/", True, 0.5),
    "join, acknowledged or not": ("/join/", True, 1),
    "ticket": ("/ticket/", False, 0.5),
    "model": ("/model/", False, 0.5),
    "training": ("/model/", False, 1),
    "update": ("/up/", True, 0.5),
    "update, acknowledged or not": ("/up/", True, 1),
    "receipt": ("/receipt/", False, 0.5),
}


def moment(phase: str, trouble: Trouble, name: str) -> Moment:
    """Of a device's link, or of the aggregator's, where what goes up comes down."""
    word, of_device, share = PHASES[phase]
    up = of_device != (name == AGGREGATOR)
    return Moment(up, word, share, trouble.spells, trouble.end)


@dataclass(slots=True)
class Plan:
    """What becomes of which link."""

    moments: Mapping[str, Sequence[Moment]] = field(default_factory=dict)
    habits: Mapping[str, Habits] = field(default_factory=dict)
    faults: Mapping[str, Fault] = field(default_factory=dict)  # from the beginning on
    flapping: int | None = None  # all links come and go, by this seed


Decision = tuple[str, int, str, str]  # task, round, device, verdict


@dataclass(frozen=True, slots=True)
class Result:
    """What a run left behind."""

    evidence: Evidence
    logs: Mapping[str, str]
    missed: Mapping[str, int]  # moments that never came, by link
    counted: Counter[Decision]


class Links:
    """Runs of one fleet, each in a copy of its directory.

    A run that failed is left there. more: further tasks, on the same recordings
    """

    def __init__(self, keeper: Keeper, directory: Path, more: Sequence[str] = ()) -> None:
        self._keeper = keeper
        self._directory = directory
        self._fleet = Fleet(keeper, directory / "fleet", 1)  # no port: every run sets its own
        self._runs = 0
        self.ids = self._fleet.ids
        self.tasks = (TASK, *more)
        for name in more:
            self._add_task(name)

    def _add_task(self, name: str) -> None:
        layout = self._fleet.layout
        file = layout.broker / "task.toml"
        file.write_text(file.read_text().replace(TASK, name, 1))
        words = ("task", "add", "--config", layout.broker_config, file)
        assert self._keeper.run("broker", words, layout.directory / "made.log") == 0

    def run(self, plan: Plan) -> Result:
        """Run to the last receipt and the last model. Raises AssertionError with all logs."""
        self._runs += 1
        directory = self._directory / str(self._runs)
        shutil.copytree(self._fleet.layout.directory, directory)
        with Mosquitto(directory / "mosquitto") as mosquitto:
            proxy = Proxy(mosquitto.port, mqtt=True)
            run = _Run(self._keeper, Layout(directory), proxy, plan, self.tasks)
            try:
                run.start()
                run.until(run.finished)
                run.stop()
            finally:
                self._keeper.kill_all()
                run.close()
                missed = {name: left for name in NAMES if (left := proxy.awaits(name))}
                proxy.close()
        evidence = collect(self._keeper, Layout(directory), self._fleet.ids)
        result = Result(evidence, run.logs(), missed, _counted(Layout(directory)))
        shutil.rmtree(directory)
        return result


class _Run:
    """The processes of a run."""

    def __init__(
        self, keeper: Keeper, layout: Layout, proxy: Proxy, plan: Plan, tasks: Sequence[str]
    ) -> None:
        self._tasks = tasks
        self._keeper = keeper
        self._layout = layout
        self._pids: dict[str, int] = {}
        self._unfinished = list(range(DEVICES))
        self._store: Store | None = None
        for name in NAMES:
            self._set_port(name, proxy.add(name))
            proxy.wait_for(name, *plan.moments.get(name, ()))
            proxy.have_habits(name, plan.habits.get(name))
            proxy.show(name, plan.faults.get(name, WHOLE))
            if plan.flapping is not None:
                seed = 100 * plan.flapping + NAMES.index(name)
                proxy.play(name, flapping(seed, WEATHER, GOOD_S, BAD_S))

    def _set_port(self, name: str, port: int) -> None:
        config = self._config(name)
        text = config.read_text()
        text = text.replace("port = 1", f"port = {port}\nkeepalive_s = {KEEPALIVE_S}")
        config.write_text(text.replace("answer_first_s", "transfer_s = 3\nanswer_first_s"))

    def _config(self, name: str) -> Path:
        layout = self._layout
        return layout.broker_config if name == AGGREGATOR else layout.config_of(int(name))

    def start(self) -> None:
        for name in NAMES:
            program, verb = ("broker", "serve") if name == AGGREGATOR else ("agent", "run")
            words = (verb, "--config", self._config(name))
            self._pids[name] = self._keeper.start(program, words, self._log(name), forks=True)

    def until(self, condition: Callable[[], bool]) -> None:
        until(condition, self._turn, says=self._lack, look_s=LOOK_S, patience_s=PATIENCE_S)

    def _lack(self) -> str:
        return f"unfinished: {self._unfinished}\n{self._words()}"

    def _turn(self, seconds: float) -> None:
        self._keeper.wait(seconds)
        ended = [name for name, pid in self._pids.items() if pid in self._keeper.ended]
        assert not ended, f"{ended} ended\n{self._words()}"

    def finished(self) -> bool:
        """Whether every device has all its receipts, and the last model."""
        while self._unfinished:
            try:
                state = self._layout.state_of(self._unfinished[-1])
                self._store = self._store or Store(state, read_only=True)
                if not all(has_finished(self._store, task) for task in self._tasks):
                    return False
            except Missing:
                return False
            self.close()
            self._unfinished.pop()
        return True

    def stop(self) -> None:
        codes = self._keeper.stop_all(list(self._pids.values()))
        assert not any(codes), f"exit codes {codes}\n{self._words()}"

    def close(self) -> None:
        """Let go of the store that was looked at."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def logs(self) -> dict[str, str]:
        return {
            name: self._log(name).read_text(errors="replace")
            for name in NAMES
            if self._log(name).exists()
        }

    def _words(self) -> str:
        return "\n".join(f"--- {name}\n{text[-SHOWN:]}" for name, text in self.logs().items())

    def _log(self, name: str) -> Path:
        return self._layout.directory / f"{name}.log"


def _counted(layout: Layout) -> Counter[Decision]:
    """How often the aggregator has decided what; it has ended."""
    sql = (
        "SELECT task, plans.round, device, verdict FROM decisions JOIN plans USING (task, plan_id)"
    )
    connection = sqlite3.connect(layout.broker_state / FILE)
    try:
        return Counter(connection.execute(sql).fetchall())
    finally:
        connection.close()
