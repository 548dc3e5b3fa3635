"""The real services of a fleet in virtual time: all but the arithmetic of training.

One aggregator and 1,000 devices hold rounds in one process, on one core, on a RAM disk: what a
device round costs when no device trains and nobody waits.

A fleet holds two rounds, another one twelve: what the second takes longer is ten rounds.

    device_rounds_per_s      devices x rounds / CPU seconds of those ten
    start_ms_per_device      CPU of all that comes once: processes, databases, who they are
    with_start_per_s         devices x rounds / CPU seconds of twelve rounds, with the start
    kb_per_device            memory of a device of the first fleet: service, SQLite connection, link
"""

import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench.report import Report
from fedling_agent.data.streams import Channel, Parser, Stream
from fedling_sim.virtual.clock import US
from fedling_sim.virtual.fleet import Examples, Setup, VirtualFleet

DEVICES, FEW, MANY = 1000, 2, 12
SHARED = Path("/dev/shm")
STREAM = Stream("wrist", (Channel("x", "g", 0.001), Channel("y", "g", 0.001)))
WINDOWS = 8
TASK = """
[task]
name = "watch"
stream = "wrist"
window = 4
stride = 4
channels = 2
labels = ["up", "down"]
normalise = "device"
rounds = {rounds}
[model]
layers = [2]
[training]
epochs = 1
batch = 8
learning_rate = 0.1
holdout = 0
[cohort]
goal = {goal}
over_selection = 0
"""


def examples() -> Examples:
    """A handful of windows, half of each class."""
    lines = ["recording,label,x,y\n"]
    half = 4 * WINDOWS // 2
    for i in range(2 * half):
        lines.append(f"r,{'up' if i < half else 'down'},{i % 7 / 10},{i % 3 / 10}\n")
    return Examples(STREAM, list(Parser(STREAM, "csv").feed(lines)))


def memory_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def play(report: Report, devices: int, rounds: int, directory: Path) -> float:
    """CPU seconds from the first start to the last fold."""
    begun = time.process_time()
    task = TASK.format(goal=devices, rounds=rounds)
    fleet = VirtualFleet(Setup(devices, (task,), examples()), directory)
    made = time.process_time()
    fleet.start(within_s=1.0)
    if not fleet.run(fleet.over):
        sys.exit("the rounds came to no end")
    spent_s = time.process_time() - made
    done = sum(round_.members for round_ in fleet.rounds())
    if done != devices * rounds:
        sys.exit(f"{done} device rounds, not {devices * rounds}")
    report.row(
        devices=devices,
        rounds=rounds,
        construction_ms_per_device=round(1000 * (made - begun) / devices, 2),
        cpu_ms_per_device_round=round(1000 * spent_s / done, 2),
        events_per_device_round=round(fleet.world.events / done, 1),
        virtual_s=round(fleet.world.now_us / US, 1),
    )
    fleet.close()
    return spent_s


def main() -> None:
    report = Report("virtual")
    directory = Path(tempfile.mkdtemp(dir=SHARED if SHARED.is_dir() else None))
    try:
        before_kb = memory_kb()
        few_s = play(report, DEVICES, FEW, directory / "few")
        kb = round((memory_kb() - before_kb) / DEVICES)
        many_s = play(report, DEVICES, MANY, directory / "many")
    finally:
        shutil.rmtree(directory)
    a_round_s = (many_s - few_s) / (MANY - FEW)
    report.figure("device_rounds_per_s", round(DEVICES / a_round_s, 1))
    report.figure("start_ms_per_device", round(1000 * (few_s - FEW * a_round_s) / DEVICES, 2))
    report.figure("kb_per_device", kb)
    report.figure("with_start_per_s", round(DEVICES * MANY / many_s, 1))
    report.finish()


if __name__ == "__main__":
    main()
