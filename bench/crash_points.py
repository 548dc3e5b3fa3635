"""Kills the aggregator, then one agent with its training child, at every point of a federation.

points      where a process was killed with SIGKILL: before each durable write, in the middle of
            each file written, before each publish, after its last byte, at each receive
mismatches  runs whose model hashes, verdicts or receipts differ from those of the undisturbed run,
            or that `round verify --all` finds wrong, or that did not come to their end

Six devices, four rounds, one crash a run; about ten minutes on two cores.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from bench.report import Report
from fedling_broker.mosquitto.process import free_port
from tests.support.crash import scratch
from tests.support.crash.federation import Subject
from tests.support.crash.keeper import Keeper
from tests.support.crash.series import Hit, Series

WORKERS = max(1, min(8, len(os.sched_getaffinity(0))))


def main() -> None:
    report = Report("crash_points")
    with ThreadPoolExecutor(WORKERS) as pool:
        shares = [pool.submit(share, number) for number in range(WORKERS)]
        hits = list(chain.from_iterable(each.result() for each in shares))
    for subject in Subject:
        of_subject = [hit for killed, hit in hits if killed is subject]
        wrong = sum(bool(hit.mismatch) for hit in of_subject)
        report.row(killed=str(subject), points=len(of_subject), mismatches=wrong)
    for killed, hit in hits:
        if hit.mismatch:
            print(f"{killed}, point {hit.at} ({hit.name}): {hit.mismatch}", file=sys.stderr)
    report.figure("points", len(hits))
    report.figure("mismatches", sum(bool(hit.mismatch) for _, hit in hits))
    report.finish()


def share(number: int) -> list[tuple[Subject, Hit]]:
    """Every WORKERS-th point, in a fleet of its own."""
    return list(hits_of(number))


def hits_of(number: int) -> Iterator[tuple[Subject, Hit]]:
    with scratch.directory() as directory, Keeper() as keeper:
        series = Series(keeper, directory, free_port())
        reference = series.undisturbed()
        for subject in Subject:
            for hit in series.hits(reference, subject, 1 + number, WORKERS):
                yield subject, hit


if __name__ == "__main__":
    main()
