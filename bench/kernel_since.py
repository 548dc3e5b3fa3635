"""The kernel beside itself before weights were woven, in turns, with the inner loops of AVX2.

avx2_NET_bBATCH    its time then, by its time now; both end with the same weights
"""

import ctypes
import io
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from bench.kernel import BATCHES, NETS, step_seconds
from bench.report import Report
from bench.support.compiled import ROOT, kernel
from bench.support.contestants import Course, Fedling, course

# The last commit that had weights row by row, and a jump for each dead unit.
BEFORE = "6f1040d748373e41e1e68343021feb97c00ea2e1"
TABLE = "FDL_ISA_AVX2"
ROUNDS = 15


def tree_before(folder: Path) -> bool:
    """Put the kernel of that commit into a folder, unless this is no clone that has it."""
    command = ["git", "archive", BEFORE, "native", "bench/support/kernel.c"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    if done.returncode == 0:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tree:
            tree.extractall(folder, filter="data")
    return done.returncode == 0


def compare(of: Course, before: ctypes.CDLL) -> tuple[float, float]:
    """Median seconds of a step, then and now."""
    then, now = Fedling(of, before), Fedling(of, kernel(ROOT, TABLE))
    rounds = [(step_seconds(then), step_seconds(now)) for _ in range(ROUNDS)]
    if then.checksum != now.checksum:
        raise SystemExit(f"bench kernel_since: {of.name}: other weights than before")
    old, new = zip(*rounds, strict=True)
    return statistics.median(old), statistics.median(new)


def main() -> None:
    report = Report("kernel_since")
    with tempfile.TemporaryDirectory() as name:
        if platform.machine() != "x86_64" or not tree_before(Path(name)):
            print(f"SKIPPED: no x86-64, or no git history with {BEFORE}", file=sys.stderr)
            return
        before = kernel(Path(name), TABLE)
        for key, layers, batch in NETS:
            of = course(layers, batch, BATCHES)
            then, now = compare(of, before)
            report.row(net=of.name, batch=batch, before_us=then * 1e6, now_us=now * 1e6)
            report.figure(f"avx2_{key}_b{batch}", round(then / now, 2))
    report.finish()


if __name__ == "__main__":
    main()
