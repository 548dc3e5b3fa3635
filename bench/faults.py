"""Power cuts, `kill -9` and bad disks of a federation over TLS: what is lost, what comes back.

    python -m bench.faults [SEED]

Six devices and an aggregator on one mosquitto with certificates both ways. Two of the devices and
the aggregator have machines of their own: an ext4 on a loop file each, whose power is cut (bytes
and names that ext4 had kept back are lost; a device's own cache is not emulated), and which is
mounted with several ways of writing, some of them harsher than any system's; or which is full,
read-only or failing for up to two seconds, by a library that stands before it (LD_PRELOAD). They
are struck one after another, each at a moment of a round that the seed draws, one in five while it
still comes back. Sensors' rows come all the while. Needs root; mounts are this process's own.

power_cuts, kills   of these machines, while the federation goes on without an end
disk_spells         of a bad disk
demo_kills          of processes of the simulator's small demo, without TLS
receipted_lost      updates that are not counted although a receipt was on the wire, where an
                    independent witness kept it, or is on a device's disk
counted_twice       updates in more than one sum, rounds whose updates do not add up to their sum
wrong_otherwise     models that `round verify` cannot recompute, rows of examples that a device said
                    it had stored and has not, or twice; updates that nobody sent
worst_recovery_s    from the start of a process, imports included, to its first word (a device's
                    state or join, the aggregator's answer to a question); on whatever else the
                    machine did: worst_recovery_cpu_s is what of it the process itself computed
worst_mending_s     from the end of a bad disk's spell to the next word: both ends try again in
                    times that grow

Five minutes of CPU.
"""

import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.report import Report
from tests.support.crash import scratch
from tests.support.outages import campaign, demo
from tests.support.outages.campaign import Recovery, Result, What
from tests.support.outages.disk import own_mounts
from tests.support.outages.federation import AGGREGATOR

CUTS, KILLS, SPELLS, DEMO_KILLS, SEED = 100, 200, 60, 20, 1


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else SEED
    try:
        own_mounts()  # before there is any other thread
    except OSError as error:
        sys.exit(f"faults: {error}")
    report = Report("faults")
    with scratch.directory() as directory:
        result = campaign.play(directory / "federation", seed, CUTS, KILLS, SPELLS)
    with tempfile.TemporaryDirectory() as name:
        played = demo.play(Path(name), seed, DEMO_KILLS)
    rows(report, result.recoveries)
    figures(report, result, played)
    report.finish()


def rows(report: Report, recoveries: Sequence[Recovery]) -> None:
    """One for each sort of machine and of outage."""
    for what in What:
        for aggregator in (True, False):
            some = [
                r
                for r in recoveries
                if r.outage.what is what and (r.outage.victim == AGGREGATOR) == aggregator
            ]
            if some:
                seconds = [r.seconds for r in some]
                report.row(
                    outage=str(what),
                    of="aggregator" if aggregator else "device",
                    recoveries=len(some),
                    median_s=statistics.median(seconds),
                    worst_s=max(seconds),
                    worst_cpu_s=None if what is What.SPELL else max(r.cpu_s for r in some),
                )


def figures(report: Report, result: Result, played: demo.Played) -> None:
    found = result.judgement
    report.row(judged="receipts", count=found.receipted)
    report.row(judged="rounds", count=found.rounds)
    report.row(judged="rows of examples", count=found.rows)
    report.row(judged="updates of the demo", count=played.updates)
    for fault in (*found.lost, *found.twice, *found.other, *played.accounts, *played.verify):
        print(fault, file=sys.stderr)
    report.figure("power_cuts", CUTS)
    report.figure("kills", KILLS)
    report.figure("disk_spells", SPELLS)
    report.figure("demo_kills", played.kills)
    report.figure("receipted_lost", len(found.lost) + len(played.accounts))
    report.figure("counted_twice", len(found.twice) + len(played.verify))
    report.figure("wrong_otherwise", len(found.other))
    spells = [r for r in result.recoveries if r.outage.what is What.SPELL]
    starts = [r for r in result.recoveries if r.outage.what is not What.SPELL]
    worst_s = max(r.seconds for r in starts)
    report.figure("worst_recovery_s", max(worst_s, played.worst_recovery_s))
    report.figure("worst_recovery_cpu_s", max(r.cpu_s for r in starts))
    report.figure("worst_mending_s", max(r.seconds for r in spells))


if __name__ == "__main__":
    main()
