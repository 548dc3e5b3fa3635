"""What TLS and enrolment cost a whole federation: CPU of all its processes, beside plain TCP.

    python -m bench.demo_cost [--runs 5] [--rounds 4] [--devices 6]

Both are `fedling-sim run` of examples/watch/task.toml with the same seed, in turns: one as it is,
one whose MQTT broker listens without TLS and whose devices are certified by hand. Medians.

demo_cpu_ratio        CPU with TLS and enrolment by CPU without, of all processes: devices, their
                      trainings, aggregator, MQTT broker, and the simulator with its proxy and tests
demo_fleet_cpu_ratio  the same without the simulator's own process
demo_tls_cpu_ratio    as demo_cpu_ratio, without what `enroll` took on devices: it is done once, and
                      weighs in so short a run what it does not in a longer one
demo_cpu_s            with TLS, of all processes
demo_plain_cpu_s      without
demo_enrol_cpu_s      a device's `fedling-agent enroll`, its start of Python included; it is in
                      demo_cpu_s. The other end's part of it is not in this figure
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.report import Report
from bench.support import meters
from examples.watch import fetch
from fedling_sim import run
from fedling_sim.observer import Now
from fedling_sim.record import Event

WATCH = Path(fetch.__file__).parent
TLS, PLAIN = "tls", "plain"
ENROL = "enrol by a token"  # the simulator says so when it begins; what it says next is the end
SEED = 1


@dataclass(frozen=True, slots=True)
class Played:
    """What one federation cost, in seconds of CPU."""

    own_s: float  # of the simulator's process
    others_s: float  # of all that it has started
    enrol_s: float  # of all devices' enrolment; 0: there was none
    learning_s: float  # by the clock
    updates: int

    @property
    def all_s(self) -> float:
        return self.own_s + self.others_s


class Stages:
    """Notes at each sentence of a run what the children that have ended have used until then."""

    def __init__(self) -> None:
        self._told: list[tuple[str, float]] = []

    def say(self, text: str) -> None:
        self._told.append((text, meters.children_cpu_s()))

    def show(self, now: Now, events: list[Event]) -> None: ...

    def close(self) -> None: ...

    def of_enrolment(self) -> float:
        """CPU from the one sentence to the next. Raises ValueError if it was never said."""
        begin = [ENROL in text for text, _ in self._told].index(True)
        return self._told[begin + 1][1] - self._told[begin][1]


def play(args: argparse.Namespace) -> Played:
    """Play one federation to its end, in this process, and count."""
    meters.adopt_orphans()
    scenario, data = run.prepare(args.task, SEED, args.devices, args.rounds)
    stages, plain = Stages(), args.play == PLAIN
    with tempfile.TemporaryDirectory(prefix="fedling-bench-") as name:
        record = run.run(scenario, data, Path(name), stages, plain=plain)
    assert record.sound, [record.verified, *record.faults]
    meters.await_children()
    return Played(
        meters.own_cpu_s(),
        meters.children_cpu_s(),
        0.0 if plain else stages.of_enrolment(),
        record.learning_s,
        sum(len(each.accepted) for each in record.rounds),
    )


def apart(over: str, args: argparse.Namespace, compiled: Path) -> Played:
    """Play in a process of its own, so that each begins with nothing used.

    compiled: where Python keeps the bytecode of all processes, as an installed package has it
    """
    command = [sys.executable, "-m", "bench.demo_cost", "--play", over]
    command += ["--task", str(args.task)]
    command += ["--rounds", str(args.rounds), "--devices", str(args.devices)]
    own = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    own["PYTHONPYCACHEPREFIX"] = str(compiled)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=own)
    return Played(**json.loads(done.stdout))


def take_turns(report: Report, args: argparse.Namespace) -> dict[str, list[Played]]:
    """Play each so often; the first time is not counted, since Python compiles then."""
    played: dict[str, list[Played]] = {PLAIN: [], TLS: []}
    with tempfile.TemporaryDirectory(prefix="fedling-bench-") as name:
        apart(TLS, args, Path(name))
        for _ in range(args.runs):
            for over, runs in played.items():
                one = apart(over, args, Path(name))
                runs.append(one)
                report.row(over=over, **asdict(one))
    return played


def tell(report: Report, played: dict[str, list[Played]], devices: int) -> None:
    tls, plain = played[TLS], played[PLAIN]
    with_s, without_s = (statistics.median(x.all_s for x in each) for each in (tls, plain))
    fleet = [statistics.median(x.others_s for x in each) for each in (tls, plain)]
    report.figure("demo_cpu_ratio", round(with_s / without_s, 3))
    report.figure("demo_fleet_cpu_ratio", round(fleet[0] / fleet[1], 3))
    report.figure("demo_cpu_s", round(with_s, 2))
    report.figure("demo_plain_cpu_s", round(without_s, 2))
    later_s = statistics.median(x.all_s - x.enrol_s for x in tls)
    report.figure("demo_tls_cpu_ratio", round(later_s / without_s, 3))
    enrol_s = statistics.median(x.enrol_s for x in tls)
    report.figure("demo_enrol_cpu_s", round(enrol_s / devices, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU of a federation with TLS, and without.")
    parser.add_argument("--runs", type=int, default=5, help="of each (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="of a run (default %(default)s)")
    parser.add_argument("--devices", type=int, default=6, help="of a run (default %(default)s)")
    parser.add_argument("--task", type=Path, default=WATCH / "task.toml", help="another task")
    parser.add_argument("--play", choices=[TLS, PLAIN], help="one run alone, told as JSON")
    args = parser.parse_args()
    if args.play:
        print(json.dumps(asdict(play(args))))
        return
    print(fetch.fetch(WATCH / "data"))
    report = Report("demo_cost")
    tell(report, take_turns(report, args), args.devices)
    report.finish()


if __name__ == "__main__":
    main()
