"""Hostile bytes for every decoder, and rightly signed hostile messages through both services.

    python -m bench.fuzz [MESSAGES [EXECUTIONS [SEED]]]     make fuzz N=200000 EXECUTIONS=10000000

Messages go through each whole service: real SQLite, files, folds, training sets; time, the link and
the training child are by hand. Executions are cases for decoders alone: half of them in C, under
libFuzzer with sanitisers and a search for leaks (tests/native/fuzz), half in Python
(tests/support/fuzz/decoders.py); both halves at once. What fails ends the bench, with its seed.

    fuzzed_agent, fuzzed_aggregator   messages without a fault
    fuzz_executions                   cases of decoders, and messages, in all
    fuzz_past_header                  the part of the decoders' that was not refused at first sight
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import ProcessPoolExecutor
from pathlib import Path

from bench.report import Report
from tests.native.fuzz.build import build_fuzzers, corpus
from tests.native.fuzz.counted import Counted, count
from tests.support.fuzz.agent import AgentFuzzer
from tests.support.fuzz.aggregator import AggregatorFuzzer
from tests.support.fuzz.decoders import DECODERS, fuzz
from tests.support.fuzz.run import scratch

MESSAGES, EXECUTIONS, SEED, PART = 20_000, 400_000, 1, 10_000
SHARES = {
    "layers": 597,
    "norm": 367,
    "predict": 15,
    "weights": 10,
    "step": 5,
    "codec": 3,
    "ring": 3,
}  # of 1,000 in C
DECODED_AT_ONCE = 50_000  # cases of a seed
LEAST_PAST = 0.2


def play(report: Report, end: str, make: type[AgentFuzzer | AggregatorFuzzer], n: int) -> int:
    """Parts of a run; each is another seed."""
    first = _argument(3, SEED)
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
    return done


def in_c(executions: int, seed: int) -> Iterator[tuple[str, Counted]]:
    """The harnesses of the kernel, one after the other. Raises RuntimeError."""
    with tempfile.TemporaryDirectory() as folder:
        for name, program in build_fuzzers(Path(folder), list(SHARES)).items():
            runs = executions * SHARES[name] // 1000
            found = count(program, corpus(name), Path(folder, "found", name), runs, seed)
            if found.broken:
                raise RuntimeError(f"{name}: seed {seed}: {found.broken}")
            yield f"C {name}", found


def in_python(executions: int, seed: int) -> list[tuple[str, Counted]]:
    """The decoders of messages, tokens, packets and rows. Raises Fault."""
    rows = []
    for decoder in DECODERS:
        left, done, past = executions * decoder.share // 1000, 0, 0
        while done < left:
            tally = fuzz(decoder, seed + done, min(DECODED_AT_ONCE, left - done))
            done, past = done + tally.executions, past + tally.past
        print(f"{decoder.name}: {done} cases", file=sys.stderr)
        rows.append((f"Python {decoder.name}", Counted(done, past)))
    return rows


def decode(report: Report, executions: int) -> int:
    """Both halves side by side; a thread waits for the one that is processes anyway."""
    seed = _argument(3, SEED)
    with ProcessPoolExecutor(1) as processes, ThreadPoolExecutor(1) as threads:
        python = processes.submit(in_python, executions // 2, seed)
        c = threads.submit(lambda: list(in_c(executions - executions // 2, seed)))
        found = [*c.result(), *python.result()]
    for name, counted in found:
        share = round(counted.past / max(1, counted.executions), 3)
        report.row(decoder=name, executions=counted.executions, past_header=share)
    done = sum(counted.executions for _, counted in found)
    past = sum(counted.past for _, counted in found) / max(1, done)
    report.figure("fuzz_past_header", round(past, 3))
    if past < LEAST_PAST:
        raise RuntimeError(f"only {past:.0%} of the cases are past the first header")
    return done


def _argument(place: int, otherwise: int) -> int:
    return int(sys.argv[place]) if len(sys.argv) > place and sys.argv[place] else otherwise


def main() -> None:
    report = Report("fuzz")
    messages, executions = _argument(1, MESSAGES), _argument(2, EXECUTIONS)
    done = play(report, "agent", AgentFuzzer, messages)
    done += play(report, "aggregator", AggregatorFuzzer, messages)
    report.figure("fuzz_executions", done + decode(report, executions))
    report.finish()


if __name__ == "__main__":
    main()
