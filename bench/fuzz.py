"""Rightly signed hostile messages through both whole services, as many as one likes.

    python -m bench.fuzz [MESSAGES [SEED]]     make fuzz N=200000

A run is parts of 10,000 messages, each from a seed of its own, counted on from SEED; what fails is
named by its seed and ends the bench. Both ends are real: SQLite, files, folds, training sets; time,
the link and the training child are by hand.

    fuzzed_agent, fuzzed_aggregator   messages without a fault
"""

import sys
import time
from collections import Counter

from bench.report import Report
from tests.support.fuzz.agent import AgentFuzzer
from tests.support.fuzz.aggregator import AggregatorFuzzer
from tests.support.fuzz.run import scratch

MESSAGES, SEED, PART = 20_000, 1, 10_000


def play(report: Report, end: str, make: type[AgentFuzzer | AggregatorFuzzer], n: int) -> None:
    """Parts of a run; each is another seed."""
    first = int(sys.argv[2]) if len(sys.argv) > 2 else SEED
    begun, done, reached = time.process_time(), 0, Counter[str]()
    for seed in range(first, first + -(-n // PART)):
        with scratch() as directory:
            fuzzer = make(seed, directory)
            try:
                fuzzer.run(min(PART, n - done))
                fuzzer.close()
            except BaseException:
                print(f"{end}: seed {seed}, message {fuzzer.count}", file=sys.stderr)
                raise
        done += fuzzer.count
        reached.update(fuzzer.reached)
        print(f"{end}: {done} of {n} messages without a fault", file=sys.stderr)
    refused = sum(count for word, count in reached.items() if word.startswith("refused: "))
    report.row(
        end=end,
        messages=done,
        seeds=f"{first} to {seed}",
        refused_or_told_so=refused,
        sorts_of_outcome=len(reached),
        cpu_ms_each=round(1000 * (time.process_time() - begun) / done, 2),
    )
    report.figure(f"fuzzed_{end}", done)


def main() -> None:
    report = Report("fuzz")
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES
    play(report, "agent", AgentFuzzer, messages)
    play(report, "aggregator", AggregatorFuzzer, messages)
    report.finish()


if __name__ == "__main__":
    main()
