"""Random schedules with every fault: the two machines alone, and the real services around them.

    python -m bench.schedules [MACHINES [SERVICES]]     numbers of schedules
    python -m bench.schedules machines SEED             one schedule again; or services SEED

A schedule is made from its seed alone; one that fails prints the command that plays it again. Each
has four devices or more, two rounds or more, faults at random times and just when something is
under way; then they stop, and it must come to its end. "machines": both state machines, with disks
that keep what was written; "services": what `run` and `serve` run, with SQLite and files, over a
virtual network; a schedule costs fifty times as much.

    schedules             of machines, played to their end
    service_schedules     of services
    violations            in either; the bench ends with 1 if there is one
    least_share_percent   of the schedules of machines that suffered the fault that is in the
                          fewest; with 1, too, if it is below 20
    planted_bugs_found    of machines, each by the first schedule that finds it
    pairs_met             of an event and a state of a machine
    pairs_unexplained     not met, and nobody says why; of the others the reasons are listed
"""

import os
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from statistics import median

from bench.report import Report
from tests.support.schedules.faults import LEAST_SHARE, Fault
from tests.support.schedules.pairs import Pair, gaps, missing, noted
from tests.support.schedules.planted import PLANTED
from tests.support.schedules.violation import Violation as MachineViolation
from tests.support.schedules.world import Machines
from tests.support.schedules.world import World as MachineWorld
from tests.support.shells.violation import Violation as ServiceViolation
from tests.support.shells.world import World as ServiceWorld

MACHINES, SERVICES = 100_000, 2_000
PIECE = {"machines": 1_000, "services": 50}  # schedules that a process plays in one go
SEEDS = 5_000  # among which a planted bug must be found


@dataclass(slots=True)
class Played:
    """What came of some schedules."""

    schedules: int = 0
    events: list[int] = field(default_factory=list)  # of each
    suffered: Counter[Fault] = field(default_factory=Counter)  # in how many
    pairs: Counter[Pair] = field(default_factory=Counter)
    failed: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: "Played") -> None:
        self.schedules += other.schedules
        self.events += other.events
        self.suffered += other.suffered
        self.pairs += other.pairs
        self.failed += other.failed


def play_machines(seeds: range) -> Played:
    played = Played()
    machines = noted(Machines(), played.pairs)
    for seed in seeds:
        world = MachineWorld(seed, machines)
        try:
            played.events.append(world.run())
        except (AssertionError, MachineViolation) as error:
            played.failed.append((seed, str(error)))
            continue
        if len(world.devices) < 4 or len(world.aggregator.journal) < 2:
            played.failed.append((seed, "fewer than four devices or two rounds"))
        played.schedules += 1
        played.suffered.update(fault for fault in Fault if world.seen[fault])
    return played


def play_services(seeds: range) -> Played:
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (what services log of all that befalls them)
    played = Played()
    for seed in seeds:
        try:
            played.events.append(ServiceWorld(seed).run())
        except (AssertionError, ServiceViolation) as error:
            played.failed.append((seed, str(error)))
            continue
        played.schedules += 1
    return played


PLAY: dict[str, Callable[[range], Played]] = {"machines": play_machines, "services": play_services}


def play(report: Report, pool: ProcessPoolExecutor, what: str, n: int) -> Played:
    size = PIECE[what]
    pieces = [range(first, min(first + size, n)) for first in range(0, n, size)]
    played = Played()
    for piece in pool.map(PLAY[what], pieces):
        played.add(piece)
        print(f"{what}: {played.schedules} of {n} without a fault", file=sys.stderr)
    for seed, why in played.failed:
        print(f"{why}\n  again: python -m bench.schedules {what} {seed}")
    if n:
        report.row(
            of=what,
            schedules=played.schedules,
            violations=len(played.failed),
            events_median=median(played.events),
            events_most=max(played.events),
        )
    return played


def found(bug: str) -> int | None:
    """The first schedule that finds a planted bug; None: none does."""
    for seed in range(SEEDS):
        try:
            MachineWorld(seed, PLANTED[bug]()).run()
        except MachineViolation:
            return seed
    return None


def tell_faults(played: Played) -> float:
    """Print the share of schedules that suffered each fault; the least, in percent."""
    shares = {fault: 100 * played.suffered[fault] / played.schedules for fault in Fault}
    for fault, percent in shares.items():
        print(f"{percent:5.1f} %  {fault}")
    return min(shares.values())


def tell_pairs(met: Counter[Pair]) -> None:
    """Print a line for each state: how often it met each event."""
    why = gaps()
    for state in dict.fromkeys(state for state, _ in met):
        events = {e: n for (s, e), n in met.items() if s is state}
        known = ", ".join(f"{event.__name__} {n}" for event, n in sorted(events.items(), key=str))
        print(f"{state.__module__.split('.')[0]} {state.__name__}: {known}")
    reasons: dict[str, list[str]] = {}
    for (state, event), reason in why.items():
        reasons.setdefault(reason, []).append(f"{state.__name__} {event.__name__}")
    for reason, pairs in reasons.items():
        print(f"never, since {reason}: {', '.join(sorted(pairs))}")


def again(what: str, seed: int) -> None:
    """Play one schedule in this process, so that whatever it raises is seen whole."""
    world = MachineWorld(seed) if what == "machines" else ServiceWorld(seed)
    print(f"schedule {seed} of {what}: {world.run()} events, no violation")


def main() -> None:
    arguments = sys.argv[1:]
    if arguments and arguments[0] in PLAY:
        again(arguments[0], int(arguments[1]))
        return
    n, of_services = (*map(int, arguments), *(MACHINES, SERVICES)[len(arguments) :])
    report = Report("schedules")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        machines = play(report, pool, "machines", n)
        services = play(report, pool, "services", of_services)
        bugs = dict(zip(PLANTED, pool.map(found, PLANTED), strict=True))
    least_share = tell_faults(machines)
    tell_pairs(machines.pairs)
    unmet = missing(machines.pairs)
    for state, event in unmet:
        print(f"not met: {state.__name__} {event.__name__}")
    for bug, seed in bugs.items():
        print(f"{bug}: " + ("not found" if seed is None else f"found by schedule {seed}"))
    violations = len(machines.failed) + len(services.failed)
    report.figure("schedules", machines.schedules)
    report.figure("service_schedules", services.schedules)
    report.figure("violations", violations)
    report.figure("least_share_percent", round(least_share, 1))
    report.figure("planted_bugs", len(bugs))
    report.figure("planted_bugs_found", sum(seed is not None for seed in bugs.values()))
    report.figure("pairs_met", len(machines.pairs))
    report.figure("pairs_unexplained", len(unmet))
    report.finish()
    if violations or None in bugs.values() or least_share < 100 * LEAST_SHARE:
        sys.exit(1)


if __name__ == "__main__":
    main()
