"""What the agent takes of a device: CPU, wake-ups, writes to its disk, time to store and to start.

It is `fedling-agent run` under a watchdog of 60 s as its unit has it, enrolled, by mutual TLS with
a real mosquitto, with a model. Its agent.toml leaves everything at its default (keepalive 300 s,
policy.check_s, policy.dwell_s, training.duty, retry, store, the level of the log); only sysfs is
one of ours, on which a device has mains, a battery and a temperature. The log is a file on the
disk. What is said of a day is what was counted in 10 minutes times 144, of `--minutes N` under
another name.

    idle_cpu_s_per_day          no open plan, of all processes
    idle_wakeups_per_minute     how often a thread slept and was woken
    idle_disk_bytes_per_day     pages for the disk, and 24 times what closing the hour's books takes
    streaming_cpu_s_per_day     the same day with a sensor of 6 channels at 50 Hz, which is piped
                                into `fedling-agent ingest`: service and command, not the sensor
    streaming_disk_ratio        pages for the disk, those that the write-ahead log owes the database
                                among them / bytes of the samples in the store
    ingest_windows_per_minute   windows of 100 samples of 6 channels, from a file by `ingest` to the
                                service, both on one core; a kill -9 loses none of them
    ingest_short_ratio          40,000 recordings of one row / one recording of 40,000 rows, in time
                                for a row, without the start of the command: medians of five each
    start_s                     from the start of `run`, as pip installs it, to READY=1 and an
                                answer to `status`, with no file in memory; who may not empty it
                                gets start_warm_s
    round_written_ratio         pages for the disk in a round of a model of 159,010 parameters whose
                                change was fetched / bytes of its int8 weights
    round_whole_written_ratio   the same in a round whose model was fetched whole
    security_score              of the unit, by systemd-analyze: 0 to 10, less is better

With `--flower VENV`, flower-supernode right after it for as many minutes, without TLS, with nothing
to do, and started in turn with it. Its superlink runs from the same files: what both map is in
memory at the node's cold start, and counts half in its PSS. What ours and the superlink both map,
as Python, is in memory at ours then.

    flower_idle_cpu_s_per_day, flower_idle_wakeups_per_minute, flower_idle_disk_bytes_per_day
    flower_idle_pss_mb          of its processes, after the last of those minutes
    flower_idle_tcp_bytes_per_day   payload, both ways
    flower_start_s              from the start of the program to its first bytes to the superlink
    ratio_flower_start          its start / ours right before it, median of nine such pairs; ours
                                has answered `status` by then
"""

import argparse
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.report import Report
from bench.support import flower, wheel
from bench.support.meters import ServiceManager, Spent, descendants, number_of
from bench.support.ordinary_agent import DefaultAgent, Place, become_idle, on_disk, over_tls
from bench.support.sensor import CHANNELS, csv_of
from fedling_agent.store.store import Store
from fedling_native import dense, parameter_counts
from fedling_native.integers import write_integers
from fedling_protocol.wire import envelope
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Change, Model, PlanKind
from fedling_sim.chaos.proxy import Proxy
from tests.support.aggregator import ONLINE, TOPICS, make_model, make_plan
from tests.support.waiting import Manager, until

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "agent/systemd/fedling-agent.service"
DROP = Path("/proc/sys/vm/drop_caches")
DAY_S = 86_400
MINUTES = 10
FEWEST, MOST = 5, 50  # rows wait two minutes; books are closed each hour, and are counted apart
WATCHDOG_S = 60.0
SETTLE_S = 30.0  # the last word about its state, the aggregator's farewell
QUIET_S = 1.0  # without a write: nothing more comes
LOOK_S = 0.1
PATIENCE_S = 600.0
WIDTH = 2 * len(CHANNELS)  # bytes of a sample in the store
RATE = 50  # samples a second
WINDOW = 100  # samples
RECORDINGS, LENGTH = 20, 10_000  # of the file that is stored
SHORT = 40_000  # recordings of one row
TIMES = 5
STARTS = 9
BIG = (dense(784, 200, relu=True), dense(200, 10))
BIG_CHANNELS = CHANNELS[:4]
PARAMETERS = sum(parameter_counts(BIG))
TARGET = PARAMETERS // 8  # a bit for each, as by default


def main(arguments: Sequence[str]) -> None:
    """Measure all of it, or with --only a part, whose results have a name of their own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of idling, of streaming")
    parser.add_argument("--only", choices=tuple(PARTS), help="measure nothing else")
    parser.add_argument("--flower", type=Path, help="an environment with flwr")
    parser.add_argument("--directory", type=Path, help="a folder on the disk that is written to")
    args = parser.parse_args(arguments)
    if not FEWEST <= args.minutes <= MOST:
        parser.error(f"--minutes: allowed: {FEWEST} to {MOST}")
    venv = None if args.flower is None else args.flower.absolute()
    if venv is not None and not flower.version(venv):
        parser.error(f"--flower: no flwr in {venv}")
    report = Report(f"agent-{args.only}" if args.only else "agent")
    for name, part in PARTS.items():
        if args.only in (None, name):
            with on_disk(args.directory) as folder:
                part(report, folder, Asked(args.minutes, venv))
    report.finish()


@dataclass(frozen=True, slots=True)
class Asked:
    """How it is measured."""

    minutes: float  # of idling, of streaming
    flower: Path | None  # an environment with it


# --- a quiet day, and one with a sensor -----------------------------------------------------------


def day(report: Report, folder: Path, asked: Asked) -> None:
    """Count while nothing is to be done, then what closes the books, then while rows stream in."""
    minutes = asked.minutes
    with over_tls(folder) as place, ServiceManager(WATCHDOG_S) as manager:
        examples = csv_of(["walk", "run", "rest", "climb"], 600)
        become_idle(
            place.agent, place.aggregator, examples=examples, channels=len(CHANNELS),
            **manager.environment,
        )  # fmt: skip
        time.sleep(SETTLE_S)
        idle = count(report, "idle", minutes, place.agent.pid)
        books = of_books(place)
        report.row(phase="books", written=books)
        report.figure(named("idle_cpu_s_per_day", minutes), per_day(idle.cpu_s, idle))
        wakeups = idle.wakeups / idle.at_s * 60
        report.figure(named("idle_wakeups_per_minute", minutes), wakeups)
        written = per_day(idle.written, idle) + 24 * books
        report.figure(named("idle_disk_bytes_per_day", minutes), written)
        stream(report, place.agent, minutes)
    if asked.flower is not None:
        day_of_flower(report, asked.flower, folder / "flower", minutes)


def day_of_flower(report: Report, venv: Path, folder: Path, minutes: float) -> None:
    """Count while Flower's node has nothing to do."""
    folder.mkdir()
    with flower.superlink(venv, folder) as proxy:
        port = proxy.add(flower.NODE)
        with flower.supernode(venv, folder, port) as node:
            flower.await_(lambda: proxy.traffic(flower.NODE).down > 0, flower.START_S, folder)
            time.sleep(SETTLE_S)
            before = proxy.traffic(flower.NODE)
            idle = count(report, "flower", minutes, node.pid)
            after = proxy.traffic(flower.NODE)
            pss_kb = sum(map(pss_kb_of, [node.pid, *descendants(node.pid)]))
    moved = after.up + after.down - before.up - before.down
    wakeups = idle.wakeups / idle.at_s * 60
    report.figure(named("flower_idle_cpu_s_per_day", minutes), per_day(idle.cpu_s, idle))
    report.figure(named("flower_idle_wakeups_per_minute", minutes), wakeups)
    report.figure(named("flower_idle_disk_bytes_per_day", minutes), per_day(idle.written, idle))
    report.figure(named("flower_idle_tcp_bytes_per_day", minutes), per_day(moved, idle))
    report.figure("flower_idle_pss_mb", pss_kb / 1000)


def pss_kb_of(pid: int) -> int:
    return number_of("Pss:", f"/proc/{pid}/smaps_rollup")


def of_books(place: Place) -> int:
    """Bytes that are written when the connection ends, as each hour: an hour's counts."""
    before = Spent.by(place.agent.pid)
    place.mosquitto.kill()
    until(lambda: not place.agent.status()["connection"]["connected"], patience_s=PATIENCE_S)
    at_rest(place.agent)
    written = (Spent.by(place.agent.pid) - before).written
    place.mosquitto.start()
    until(lambda: place.agent.status()["connection"]["connected"], patience_s=PATIENCE_S)
    return written


def stream(report: Report, agent: DefaultAgent, minutes: float) -> None:
    """Count while a sensor's rows come."""
    program = [sys.executable, "-m", "bench.support.sensor", str(RATE)]
    sensor = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE)
    words = agent.command("ingest", "wrist", "--format", "ndjson")
    command = subprocess.Popen(words, stdin=sensor.stdout, stdout=subprocess.DEVNULL)
    try:
        until(lambda: stored(agent, "day") > 0, patience_s=PATIENCE_S)
        time.sleep(SETTLE_S)
        empty_log(agent)
        before = stored(agent, "day")
        spent = count(report, "streaming", minutes, agent.pid, command.pid)
        size, owed = WIDTH * (stored(agent, "day") - before), empty_log(agent)
    finally:
        sensor.kill()
        command.wait()
        sensor.wait()
    report.row(phase="streaming", samples=size // WIDTH, owed=owed)
    report.figure(named("streaming_cpu_s_per_day", minutes), per_day(spent.cpu_s, spent))
    report.figure(named("streaming_disk_ratio", minutes), (spent.written + owed) / size)


def empty_log(agent: DefaultAgent) -> int:
    """Have all of the write-ahead log in the database; how many bytes that takes."""
    before = number_of("write_bytes:", "/proc/self/io")
    connection = sqlite3.connect(agent.state / "store.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    return number_of("write_bytes:", "/proc/self/io") - before


def count(report: Report, phase: str, minutes: float, *pids: int) -> Spent:
    """Let time pass; a row for each minute."""
    first = before = Spent.by(*pids)
    end_s = first.at_s + 60 * minutes
    while before.at_s < end_s:
        time.sleep(min(60.0, max(0.0, end_s - time.monotonic())))
        now = Spent.by(*pids)
        spent, before = now - before, now
        report.row(
            phase=phase, seconds=spent.at_s, cpu_s=spent.cpu_s, wakeups=spent.wakeups,
            written=spent.written,
        )  # fmt: skip
    return before - first


def per_day(amount: float, over: Spent) -> float:
    """What a day takes that goes on as it was counted."""
    return amount / over.at_s * DAY_S


def named(key: str, minutes: float) -> str:
    """The name of a figure that was counted over so long; documents quote those of MINUTES."""
    return key if minutes == MINUTES else f"{key}_of_{minutes:g}_min"


# --- rows from a file -----------------------------------------------------------------------------


def ingest(report: Report, folder: Path, _asked: Asked) -> None:
    """Bring files to the service; what it acknowledged is looked for after a kill -9."""
    examples = csv_of(["walk"], 600)
    with one_core(), over_tls(folder) as place:
        become_idle(place.agent, place.aggregator, examples=examples, channels=len(CHANNELS))
        took_s = bring(report, place.agent, [f"long{n}" for n in range(RECORDINGS)], LENGTH)
        windows = RECORDINGS * LENGTH / WINDOW
        report.figure("ingest_windows_per_minute", windows / took_s * 60)
        start_s, one_s, short_s = zip(
            *[both_shapes(report, place, n) for n in range(TIMES)], strict=True
        )
        start = statistics.median(start_s)
        ratio = (statistics.median(short_s) - start) / (statistics.median(one_s) - start)
        report.figure("ingest_short_ratio", ratio)
        place.agent.kill()
        kept = stored(place.agent)
        report.row(phase="after kill -9", stored=kept)
        brought = RECORDINGS * LENGTH + TIMES * (1 + 2 * SHORT)
        if kept != brought + examples.count("\n") - 1:
            raise SystemExit(f"of {brought} rows that were acknowledged not all are in the store")


def both_shapes(report: Report, place: Place, time_: int) -> tuple[float, float, float]:
    """How many seconds the command takes for one row, one recording, and as many of one row."""
    start_s = bring(report, place.agent, [f"start{time_}"], 1)
    one_s = bring(report, place.agent, [f"one{time_}"], SHORT)
    short_s = bring(report, place.agent, [f"short{time_}-{n}" for n in range(SHORT)], 1)
    return start_s, one_s, short_s


def bring(report: Report, agent: DefaultAgent, names: Sequence[str], samples: int) -> float:
    """How many seconds a file of recordings of so many samples takes."""
    file = agent.directory / "rows.csv"
    file.write_text(csv_of(names, samples))
    begun = time.monotonic()
    words = agent.command("ingest", "wrist", str(file))
    said = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
    took_s = time.monotonic() - begun
    assert f"stored {len(names) * samples} rows" in said, said
    assert "by the service" in said, said
    report.row(phase="ingest", recordings=len(names), samples=samples, seconds=took_s)
    return took_s


def stored(agent: DefaultAgent, name: str = "") -> int:
    """Samples in the store, of one recording or of all."""
    store = Store(agent.state, read_only=True)
    try:
        if not name:
            return store.recordings.summary()["wrist"].samples
        found = store.recordings.by_id("wrist", name)
        return 0 if found is None else found.samples
    finally:
        store.close()


@contextmanager
def one_core() -> Iterator[None]:
    """What is started inside has one core together."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


# --- a start --------------------------------------------------------------------------------------


def start(report: Report, folder: Path, asked: Asked) -> None:
    """Start it again and again as pip installed it, with nothing of it in memory if possible.

    Flower's node is started after each of ours: a machine is not as quick all the time.
    """
    times, others = [], []
    with over_tls(folder) as place, ExitStack() as held:
        examples = csv_of(["walk"], 600)
        become_idle(place.agent, place.aggregator, examples=examples, channels=len(CHANNELS))
        place.agent.stop()
        venv = wheel.bare(folder)
        wheel.install(venv, folder)
        place.agent.program = [str(venv / "bin/fedling-agent")]
        link = None
        if asked.flower is not None:
            (folder / "flower").mkdir()
            link = held.enter_context(flower.superlink(asked.flower, folder / "flower"))
        for number in range(STARTS):
            cold = forget_files()
            times.append(start_of(place.agent))
            report.row(phase="start" if cold else "start_warm", seconds=times[-1])
            place.agent.stop()
            if asked.flower is not None and link is not None:
                name = f"{flower.NODE}{number}"
                others.append(start_of_flower(asked.flower, folder / "flower", link, name))
                report.row(phase="flower start", seconds=others[-1])
    name = "start_s" if cold else "start_warm_s"
    report.figure(name, statistics.median(times))
    if others:
        report.figure(f"flower_{name}", statistics.median(others))
        ratio = statistics.median(other / own for own, other in zip(times, others, strict=True))
        report.figure("ratio_flower_start" if cold else "ratio_flower_start_warm", ratio)


def start_of_flower(venv: Path, folder: Path, link: Proxy, name: str) -> float:
    """How many seconds pass until the node has said something to its superlink."""
    port = link.add(name)
    forget_files()
    begun = time.monotonic()
    with flower.supernode(venv, folder, port):
        spoke = partial(has_spoken, link, name)
        flower.await_(spoke, flower.START_S, folder, look_s=LOOK_S / 10)
        return time.monotonic() - begun


def has_spoken(proxy: Proxy, name: str) -> bool:
    return proxy.traffic(name).up > 0


def start_of(agent: DefaultAgent) -> float:
    """How many seconds pass until it is ready and answers."""
    with Manager() as manager:
        begun = time.monotonic()
        agent.start(**manager.environment, PYTHONPATH="", PYTHONPYCACHEPREFIX="")
        manager.hear("READY=1")
        until(agent.status)
        return time.monotonic() - begun


def forget_files() -> bool:
    """Empty the kernel's memory of files; False: this user may not."""
    os.sync()
    try:
        DROP.write_text("3")
    except OSError:
        return False
    return True


# --- a round --------------------------------------------------------------------------------------


def play(report: Report, folder: Path, _asked: Asked) -> None:
    """Two rounds: of a model that comes whole, and of the next one, which comes as a change."""
    with over_tls(folder, BIG_CHANNELS) as place:
        agent, aggregator = place.agent, place.aggregator
        aggregator.certify(bytes.fromhex(agent.json("init")["key"]))
        window = BIG[0].inputs // len(BIG_CHANNELS)
        names = [f"r{number}" for number in range(8)]
        text = csv_of(names, 8 * window, BIG_CHANNELS, BIG[-1].outputs)
        agent.run("ingest", "wrist", text=text)
        agent.start()
        until(agent.status)
        model = on_grid(1)
        whole = of_round(report, place, model)
        model, change = changed(model)
        by_change = of_round(report, place, model, change)
    report.figure("round_written_ratio", by_change / PARAMETERS)
    report.figure("round_whole_written_ratio", whole / PARAMETERS)


def of_round(report: Report, place: Place, model: Model, change: Change | None = None) -> int:
    """Bytes that a round takes on the disk; its model comes as a change if there is one."""
    agent, aggregator, task = place.agent, place.aggregator, model.spec.task
    kind = Kind.MODEL if change is None else Kind.CHANGE
    topic = TOPICS.of(kind, task, model.version)
    message = envelope.seal(change or model, TOPICS.bound(topic), ONLINE)
    plan = replace(make_plan(model, model.version), codec=Codec.CODED, target=TARGET)
    plan = replace(plan, change_size=None if change is None else len(message))
    before, heard = Spent.by(agent.pid), len(aggregator.updates)
    aggregator.model = model
    aggregator.say_bytes(topic, message, retain=True)
    aggregator.say(TOPICS.of(Kind.PLAN, task, PlanKind.TRAIN), plan, retain=True)
    aggregator.until(lambda: len(aggregator.updates) > heard, PATIENCE_S)
    at_rest(agent, aggregator.loop.turn)
    spent = Spent.by(agent.pid) - before
    report.row(phase=f"round, {kind}", cpu_s=spent.cpu_s, written=spent.written, came=len(message))
    return spent.written


def on_grid(version: int) -> Model:
    """A model as an aggregator publishes it after a round: masters on the grid of int8."""
    dice = random.Random(version)
    steps = array("i", (dice.randrange(-8, 9) for _ in range(parameter_counts(BIG)[0])))
    return with_steps(make_model(BIG, version, channels=len(BIG_CHANNELS)), steps)


def with_steps(model: Model, steps: "array[int]") -> Model:
    """The model with weights so many steps from 0."""
    masters = array("h", (256 * step + 128 for step in steps))
    return replace(model, weights=masters.tobytes() + model.weights[2 * len(steps) :])


def changed(model: Model) -> tuple[Model, Change]:
    """The next model, and what the one before must change by: each weight by -1, 0 or 1."""
    dice = random.Random(model.version)
    count, biases = parameter_counts(BIG)
    gone = array("i", (dice.randrange(-1, 2) for _ in range(count)))
    before = array("h", model.weights[: 2 * count])
    steps = array("i", ((b - 128) // 256 + g for b, g in zip(before, gone, strict=True)))
    later = with_steps(replace(model, version=model.version + 1), steps)
    written = write_integers(gone + array("i", [0] * biases))
    return later, Change(later.version, later.exponents, written)


def at_rest(agent: DefaultAgent, turn: Callable[[float], object] = time.sleep) -> None:
    """Wait until nothing has been written for QUIET_S. turn: passes so many seconds"""
    last, since = -1, 0.0
    while time.monotonic() < since + QUIET_S:
        if (written := Spent.by(agent.pid).written) != last:
            last, since = written, time.monotonic()
        turn(LOOK_S)


# --- its sandbox ----------------------------------------------------------------------------------


def security(report: Report, _folder: Path, _asked: Asked) -> None:
    """Ask systemd what it thinks of the unit; without systemd there is no figure."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        report.row(phase="security", missing="systemd-analyze")
        return
    words = [tool, "security", "--offline=true", "--no-pager", str(UNIT)]
    said = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
    report.figure("security_score", score_of(said))


def score_of(said: str) -> float:
    """The number of the last line of systemd-analyze."""
    line = next(line for line in said.splitlines() if "Overall exposure level" in line)
    return float(line.partition("service: ")[2].split()[0])


PARTS: dict[str, Callable[[Report, Path, Asked], None]] = {
    "day": day,
    "ingest": ingest,
    "start": start,
    "round": play,
    "security": security,
}


if __name__ == "__main__":
    main(sys.argv[1:])
