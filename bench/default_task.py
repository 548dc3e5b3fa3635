"""What a task costs that says no more than it must: bytes on the wire and on disks, a day.

Two devices and an aggregator, the real services, one hour of virtual time from the first start on;
the task has the required keys only and a model of about 39,000 parameters, and devices train on the
same examples again, as if new ones had come before each round (`new_examples = 0`). A day is taken
for 24 such hours, although only the first has starts in it; the second row is of a whole day.

    default_sent_mb_per_day     sent by a device: MQTT packets, without TCP's and IP's headers
    default_written_mb_per_day  written by an end, the larger figure of the aggregator and a device

Written is what the process hands to write(), pwrite() and their like, as /proc/self/io counts it in
`wchar`: files, SQLite's pages, its write-ahead log and their way back into the database. A card's
own translation and the journal of its file system come on top. Calls of the aggregator's workers
are told apart; the rest is of the two devices, half each.
"""

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.report import Report
from fedling_agent.data.streams import Channel, Parser, Stream
from fedling_sim.virtual.fleet import Examples, Member, Setup, VirtualFleet
from fedling_sim.virtual.network import Weather
from fedling_sim.virtual.node import Habits
from fedling_sim.virtual.worker import Moment

DEVICES = 2
DAY_HOURS = 24
WINDOW, WINDOWS = 100, 40
LABELS = ("pendulum", "abduction")
CHANNELS = tuple(Channel(name, "g", 0.001) for name in "xyzuvw")
STREAM = Stream("wrist", CHANNELS)
TASK = f"""
[task]
name = "watch"
stream = "wrist"
window = {WINDOW}
stride = {WINDOW}
channels = {len(CHANNELS)}
labels = {list(LABELS)}
[model]
layers = [64, 7, 2]
[training]
epochs = 1
batch = 10
learning_rate = 0.05
new_examples = 0
[cohort]
goal = {DEVICES}
"""


def examples() -> Examples:
    """As many windows of each label as the other has."""
    lines = [",".join(("recording", "label", *(channel.name for channel in CHANNELS))) + "\n"]
    for label in LABELS:
        for at in range(WINDOW * WINDOWS // 2):
            values = ",".join(f"{at % (7 + n) / 10}" for n in range(len(CHANNELS)))
            lines.append(f"{label}-1,{label},{values}\n")
    return Examples(STREAM, list(Parser(STREAM, "csv").feed(lines)))


class Meter:
    """A hook of workers: what this process wrote while they were at work."""

    def __init__(self) -> None:
        self.written = 0
        self._before = 0

    def __call__(self, moment: Moment) -> None:
        if moment is Moment.BEFORE_CALL:
            self._before = written()
        elif moment is Moment.AFTER_CALL:
            self.written += written() - self._before


def written() -> int:
    """Bytes that this process has handed to the kernel to be written."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


@dataclass(frozen=True, slots=True)
class Spent:
    """Bytes of one run. sent, device: of the device that sent or wrote more."""

    sent: int
    device: int
    aggregator: int
    rounds: int

    def a_day(self, count: int, hours: int) -> float:
        """In MB."""
        return round(count * DAY_HOURS / hours / 1e6, 2)


def play(hours: int, directory: Path) -> Spent:
    meter = Meter()
    setup = Setup(
        DEVICES,
        (TASK,),
        examples(),
        weather=Weather(latency_s=0.02),
        aggregator=Habits(hook=meter),
    )
    fleet = VirtualFleet(setup, directory)
    before = written()
    fleet.start(within_s=1.0)
    fleet.run(lambda: False, limit_s=hours * 3600)
    devices = (written() - before - meter.written) // DEVICES
    sent = max(sent_by(member) for member in fleet.members)
    rounds = [found for found in fleet.rounds() if found.weight is not None]
    fleet.close()
    if not rounds:
        sys.exit("no round has ended")
    return Spent(sent, devices, meter.written, len(rounds))


def sent_by(member: Member) -> int:
    """As its own ledger says, with what is not written there yet."""
    process = member.process
    if process is None:
        sys.exit("a device has ended")
    process.service.link.take_traffic()
    rows = [*process.store.ledger.traffic(), *process.service.books.pending()]
    return sum(row.sent for row in rows)


def main() -> None:
    report = Report("default_task")
    for hours in (1, DAY_HOURS):
        directory = Path(tempfile.mkdtemp())
        try:
            spent = play(hours, directory)
        finally:
            shutil.rmtree(directory)
        sent, device, aggregator = (
            spent.a_day(count, hours) for count in (spent.sent, spent.device, spent.aggregator)
        )
        report.row(
            hours=hours,
            rounds=spent.rounds,
            device_sends_mb_a_day=sent,
            device_writes_mb_a_day=device,
            aggregator_writes_mb_a_day=aggregator,
        )
        if hours == 1:
            report.figure("default_sent_mb_per_day", sent)
            report.figure("default_written_mb_per_day", max(device, aggregator))
    report.finish()


if __name__ == "__main__":
    main()
