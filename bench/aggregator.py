"""What a device and round cost the aggregator, from outside, over a real mosquitto.

    cpu_ms_per_update_4k    CPU (user and system) of the aggregator for a device and round: join,
    cpu_ms_per_update_160k  ticket, update, receipt and its part of the fold; 1,000 devices, median
                            of three rounds
    growth_1k_10k           the first, of 10,000 devices in one round, by that of 1,000
    growth_of_first_round   the same, by the first rounds of 1,000 alone: the one of 10,000 is a
                            task's first, too, whose sum is made at the end, out of what is on disk
    updates_per_s           accepted updates of 4 KB: 1,000 by the wall time from the first byte
                            sent to the last receipt; each is durable before its receipt is sent
    worst_stall_ms          in the round and fold of 10,000 devices: the longest time for which the
                            main loop was late with feeding its watchdog, as systemd sees it
    forged_us               to refuse a message whose key is unknown or another device's, at 10,000
                            certificates; the dearer of the two
    wrong_signature_us      to refuse one that names the right key: no way around one verification,
                            whose own cost stands in the rows
    start_s                 CPU of the aggregator from its start with 10,000 certificates to the
                            first answered join
    peak_mb_16mb_model      largest resident memory with a model of 16 MB, in a round of four
                            devices and its fold

Updates go as they are, two bytes a weight; what reading a coded one costs is in `communication`.

Aggregator, mosquitto and the load generator share the machine. The generator has few connections,
everything is signed before the clock starts, and its CPU stands in the rows: on two cores
`updates_per_s` is short of what the other two could do by at most that. Rows name the three parts
of a round: all join, all but one send their update, the last one sends its own and the round is
folded. At most 1,000 wait for an answer at any time.

mosquitto is set up as an operator of such a fleet has to: its defaults queue 1,000 messages for the
aggregator and drop more without a word, and hand over 20 at a time. The state is on the disk that
the tree is on, so an fsync is one.

`--part NAME` measures one of the parts alone and writes its figures under another name.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.report import RESULTS, Report
from bench.support import forged
from bench.support.generator import Generator
from bench.support.meters import Cost, ServiceManager, cpu_s, is_quiet, peak_bytes
from bench.support.swarm import (
    PATIENCE_S,
    Ears,
    ask_all,
    certify,
    join_packet,
    keys,
    serve_for,
    sign_round,
    wait_quiet,
)
from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.wire.messages import Plan
from tests.support.fleet import Aggregator

FEW, MANY, HEAVY = 1_000, 10_000, 4
ROUNDS = 3
WINDOW = 1_000
ASK_S = 0.02  # until a starting aggregator is asked again
TASK = """
[task]
name = "tiny"
stream = "wrist"
window = {window}
stride = 1
channels = 1
labels = ["up", "down", "still"]
normalise = "device"
rounds = {rounds}
[model]
layers = [{hidden}, 3]
[training]
epochs = 1
batch = 1
learning_rate = 0.1
[compression]
off = true
[cohort]
goal = {goal}
"""
OPERATOR = (
    "max_queued_messages 50000",
    "max_inflight_messages 1000",
    "max_packet_size 20000000",  # mosquitto 2.1 takes 2 MB without it
)


@dataclass(frozen=True, slots=True)
class Size:
    """A model whose update has about so many bytes."""

    name: str
    window: int
    hidden: int


SMALL, MEDIUM, LARGE = Size("4 KB", 60, 32), Size("160 KB", 784, 101), Size("16 MB", 1000, 8000)


@dataclass(frozen=True, slots=True)
class Round:
    """The three parts of a round, all of it until the aggregator rests, the longest stall in it."""

    join: Cost
    update: Cost
    fold: Cost
    whole: Cost
    asked_again: int
    stall_s: float


class Stage:
    """An aggregator with its devices, before it is started."""

    def __init__(self, directory: Path, size: Size, devices: int, rounds: int) -> None:
        self.mosquitto = Mosquitto(directory / "mosquitto", settings=OPERATOR)
        self.aggregator = Aggregator(directory / "aggregator", self.mosquitto.port)
        self.manager = ServiceManager()
        self.devices = keys(devices)
        self.ears = Ears(self.aggregator.topics, "tiny")
        certify(self.aggregator, self.devices)
        file = directory / "tiny.toml"
        file.write_text(
            TASK.format(window=size.window, hidden=size.hidden, rounds=rounds, goal=devices)
        )
        self.aggregator.run("task", "add", str(file))

    @property
    def pid(self) -> int:
        """Of the aggregator."""
        assert self.aggregator.process is not None
        if self.aggregator.process.poll() is not None:
            raise RuntimeError(f"the aggregator has ended:\n{self.aggregator.log_text()[-2000:]}")
        return self.aggregator.process.pid

    def start(self) -> None:
        self.aggregator.start(**self.manager.environment)

    def cost(self) -> Cost:
        """So far."""
        return Cost.now(self.pid, self.mosquitto.pid)

    @contextmanager
    def generator(self) -> Iterator[Generator]:
        """mosquitto and the load generator, connected."""
        with (
            self.mosquitto,
            Generator(self.mosquitto.port, self.ears.subscriptions, self.ears.hear) as generator,
        ):
            try:
                yield generator
            finally:
                self.aggregator.kill()
                self.manager.close()


@contextmanager
def stage(size: Size, devices: int, rounds: int = 1) -> Iterator[Stage]:
    """In a directory of its own, on the disk that the tree is on."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="aggregator-", dir=RESULTS) as name:
        yield Stage(Path(name), size, devices, rounds)


def play(on: Stage, generator: Generator, number: int) -> Round:
    """One round, when its plan is out and the aggregator has nothing left to do."""
    ears = on.ears
    generator.until(partial(ears.is_open, number), f"the plan of round {number}", PATIENCE_S)
    plan = ears.open_plan()
    assert isinstance(plan, Plan)
    packets = sign_round(plan, on.aggregator.topics, on.devices)
    ears.ticketed.clear()
    ears.accepted.clear()
    settle(on, generator)
    began, marks = time.time(), [on.cost()]
    joins = [(packet.device, packet.join) for packet in packets]
    updates = [(packet.device, packet.update) for packet in packets]
    again = ask_all(generator, joins, ears.ticketed, "tickets", WINDOW)
    marks.append(on.cost())
    again += ask_all(generator, updates[:-1], ears.accepted, "receipts", WINDOW)
    marks.append(on.cost())
    again += ask_all(generator, updates[-1:], ears.accepted, "last receipts", WINDOW)
    generator.until(partial(ears.has_model, plan.base_version + 1), "the next model", PATIENCE_S)
    marks.append(on.cost())
    settle(on, generator)
    ended, whole = time.time(), on.cost() - marks[0]
    generator.until(partial(on.manager.fed_since, ended), "a sign of life", PATIENCE_S)
    if ears.refused:
        raise RuntimeError(f"{len(ears.refused)} updates were refused")
    first, joined, updated, folded = marks
    return Round(
        joined - first, updated - joined, folded - updated, whole,
        again, on.manager.longest_stall_s(began, ended),
    )  # fmt: skip


def settle(on: Stage, generator: Generator) -> None:
    """Until the aggregator and mosquitto have nothing left to do."""
    for pid in (on.pid, on.mosquitto.pid):
        wait_quiet(generator, partial(is_quiet, pid))


def rounds(size: Size, devices: int, count: int, report: Report) -> list[Round]:
    """So many rounds with the same devices; a row each."""
    with stage(size, devices, count) as on, on.generator() as generator:
        on.start()
        played = [play(on, generator, number) for number in range(1, count + 1)]
        for one in played:
            report_round(report, size, devices, one)
        return played


def report_round(report: Report, size: Size, devices: int, one: Round) -> None:
    """CPU of the aggregator in ms per device, in all and by part; wall times in s."""
    report.row(
        update=size.name,
        devices=devices,
        cpu_ms=cpu_ms(one, devices),
        join_ms=1000 * one.join.aggregator_s / devices,
        update_ms=1000 * one.update.aggregator_s / devices,
        fold_ms=1000 * one.fold.aggregator_s / devices,
        mosquitto_ms=1000 * one.whole.mosquitto_s / devices,
        generator_ms=1000 * one.whole.generator_s / devices,
        join_s=one.join.wall_s,
        update_s=one.update.wall_s,
        fold_s=one.fold.wall_s,
        per_s=updates_per_s(one, devices),
        update_generator_s=one.update.generator_s,
        stall_ms=1000 * one.stall_s,
        asked_again=one.asked_again,
    )


def cpu_ms(one: Round, devices: int) -> float:
    """Of the aggregator, a device and round."""
    return 1000 * one.whole.aggregator_s / devices


def updates_per_s(one: Round, devices: int) -> float:
    """All but the last device's updates, by the wall time until their last receipt."""
    return (devices - 1) / one.update.wall_s


def median(played: Sequence[Round], devices: int, of: Callable[[Round, int], float]) -> float:
    return statistics.median(of(one, devices) for one in played)


# --- the parts -------------------------------------------------------------------------------


def small_rounds(report: Report) -> None:
    """4 KB: 1,000 devices, then 10,000."""
    few = rounds(SMALL, FEW, ROUNDS, report)
    (many,) = rounds(SMALL, MANY, 1, report)
    first = [few[0], *(one for _ in few[1:] for one in rounds(SMALL, FEW, 1, report))]
    small = median(few, FEW, cpu_ms)
    report.figure("cpu_ms_per_update_4k", small)
    report.figure("growth_1k_10k", cpu_ms(many, MANY) / small)
    report.figure("growth_of_first_round", cpu_ms(many, MANY) / median(first, FEW, cpu_ms))
    report.figure("updates_per_s", median(few, FEW, updates_per_s))
    report.figure("worst_stall_ms", 1000 * many.stall_s)


def medium_rounds(report: Report) -> None:
    played = rounds(MEDIUM, FEW, ROUNDS, report)
    report.figure("cpu_ms_per_update_160k", median(played, FEW, cpu_ms))


def forged_messages(report: Report) -> None:
    costs = forged.costs_us(keys(MANY))
    for kind, cost_us in costs.items():
        report.row(forged=kind, us=cost_us)
    report.figure("forged_us", max(costs[kind] for kind in forged.WITHOUT_KEY))
    report.figure("wrong_signature_us", costs[forged.WRONG_SIGNATURE])


def start(report: Report) -> None:
    """The first start signs anew what the root had certified; it has a row, the next one counts."""
    with stage(SMALL, MANY) as on, on.generator() as generator:
        for which in ("first", "next"):
            start_s, wall_s = start_of(on, generator)
            settle(on, generator)
            report.row(
                which=which, certificates=MANY, start_s=start_s, wall_s=wall_s,
                at_rest_s=cpu_s(on.pid),
            )  # fmt: skip
            on.aggregator.stop()
        report.figure("start_s", start_s)


def start_of(on: Stage, generator: Generator) -> tuple[float, float]:
    """CPU and wall time to the first answer: nobody can tell otherwise when it has subscribed."""
    join = join_packet(bytes(16), on.aggregator.topics, "tiny", on.devices[0])
    answered = on.ears.refused  # about a plan that is not known: a receipt says so
    answered.clear()
    began = time.monotonic()
    on.start()
    while not answered:
        generator.send(0, join)
        serve_for(generator, ASK_S)
        if time.monotonic() - began > PATIENCE_S:
            raise RuntimeError(f"no join was answered in {PATIENCE_S:.0f} s")
    return cpu_s(on.pid), time.monotonic() - began


def memory(report: Report) -> None:
    with stage(LARGE, HEAVY) as on, on.generator() as generator:
        on.start()
        play(on, generator, 1)
        peak_mb = peak_bytes(on.pid) / 1e6
        report.row(update=LARGE.name, devices=HEAVY, peak_mb=peak_mb)
        report.figure("peak_mb_16mb_model", peak_mb)


def disk(report: Report) -> None:
    """What an fsync costs here, for whoever compares updates_per_s."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=RESULTS) as file:
        times = []
        for _ in range(50):
            file.write(bytes(4096))
            file.flush()
            before = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - before)
    report.row(fsync_ms=1000 * statistics.median(times))


PARTS: dict[str, Callable[[Report], None]] = {
    "disk": disk,
    "small": small_rounds,
    "medium": medium_rounds,
    "forged": forged_messages,
    "start": start,
    "memory": memory,
}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--part", choices=PARTS, help="only this one")
    part: str | None = parser.parse_args(arguments).part
    report = Report("aggregator" if part is None else f"aggregator_{part}")
    for name, measure in PARTS.items():
        if part in (None, name):
            measure(report)
    report.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
