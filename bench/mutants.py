"""Breaks random lines of the shells, one at a time, and asks their tests.

    python -m bench.mutants [--lines 60] [--seed 1] [--files runner.py desk.py] [--json]
                            [--executed FILE] [--most 60]

A line is drawn among those of the service folders of both ends that have something to change
(bench/support/mutations.py), then one of its changes. The tests of that folder that execute the
line, the quick ones first, then schedules of a whole federation, must fail in a copy of the tree;
a test that does not come to an end within many times its usual time has failed, too. Who executes
what is asked of the tests once a run, for some minutes; --executed keeps the answer for the next
run, if neither code nor tests have changed. --most is how many seconds of tests are asked about one
line, which leaves out the slowest.

What survives is printed with file, line, before and after: it is to be looked at by somebody. Some
changes change nothing that anybody could see.

    mutants              lines that were broken
    mutants_found        of them, by a test
    mutants_found_share  by the lines that were broken
"""

import argparse
import bisect
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns

from bench.report import Report
from bench.support.executed import noted
from bench.support.mutations import Mutation, mutations
from tests.support.memory import ROOM_OF_ALL, memory

ROOT = Path(__file__).parent.parent
FOLDERS = {  # and their tests
    "agent/fedling_agent/service": "tests/agent/service",
    "broker/fedling_broker/service": "tests/broker/service",
}
PATH = [".", "native", "protocol", "agent", "broker", "firmware_sim"]
LEFT_OUT = ignore_patterns(".*", "build", "__pycache__")
PYTEST = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"]
ENDING_S = 30.0
QUICK_S = 4.0  # what a first process of tests may take
SCHEDULES = 20
WORLDS = f"""
from tests.support.shells.world import World
for seed in range({SCHEDULES}):
    World(seed).run()
"""

Executed = dict[str, tuple[float, dict[str, list[int]]]]  # seconds and lines of each test


@dataclass(frozen=True, slots=True)
class Mutant:
    """A line that is broken."""

    file: str
    mutation: Mutation

    @property
    def cells(self) -> dict[str, str]:
        """Where it is, and what it is."""
        mutation = self.mutation
        before, after = (" ".join(text.split()) for text in (mutation.before, mutation.after))
        line = f"{self.file}:{mutation.line}"
        return {"line": line, "what": mutation.what, "before": before, "after": after}


def modules() -> list[Path]:
    return [file for folder in FOLDERS for file in sorted((ROOT / folder).glob("*.py"))]


def draw(files: list[Path], lines: int, dice: random.Random) -> list[Mutant]:
    """So many lines of all that have something to change, and a change of each."""
    by_line: dict[tuple[str, int], list[Mutant]] = {}
    for file in files:
        for mutation in mutations(file.read_text()):
            mutant = Mutant(str(file.relative_to(ROOT)), mutation)
            by_line.setdefault((mutant.file, mutation.line), []).append(mutant)
    drawn = dice.sample(sorted(by_line), min(lines, len(by_line)))
    return [dice.choice(by_line[place]) for place in sorted(drawn)]


class Copy:
    """A copy of the tree, in which one line is broken at a time."""

    def __init__(self, directory: Path, most_s: float) -> None:
        """most_s: of tests that are asked about one line"""
        self._most_s = most_s
        self.root = directory / "tree"
        copytree(ROOT, self.root, ignore=LEFT_OUT)
        self._stamp = int(time.time())
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(self.root / folder) for folder in PATH),
            "PYTHONPYCACHEPREFIX": str(directory / "compiled"),
            "PYTEST_DEBUG_TEMPROOT": str(directory),
        }

    def write(self, file: str, source: str) -> None:
        """Each version at a second of its own: what was compiled of another is not taken for it."""
        self._stamp += 1
        (self.root / file).write_text(source)
        os.utime(self.root / file, (self._stamp, self._stamp))

    def passes(self, *words: str, limit_s: float | None) -> bool:
        """Whether a program of Python ends well, and in time."""
        return ends_well([sys.executable, *words], self.root, self._environment, limit_s)

    def executed(self, kept: Path | None) -> Executed:
        """What each test of the shells executes. Raises SystemExit: one fails unbroken."""
        digest = self._digest()
        known = json.loads(kept.read_text()) if kept is not None and kept.exists() else {}
        if digest not in known:
            known = {digest: self._ask()}
        if kept is not None:
            kept.write_text(json.dumps(known))
        found: Executed = known[digest]
        return found

    def _digest(self) -> str:
        """Of all files that the answer depends on."""
        files = sorted(self.root.rglob("*.py"))
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    def _ask(self) -> Executed:
        answer = self.root / "executed.json"
        sources = {str(file.relative_to(ROOT)): file.read_text() for file in modules()}
        for file, source in sources.items():
            self.write(file, noted(source, file))
        words = [*PYTEST, "-p", "bench.support.executed", "--executed", str(answer)]
        if not self.passes("-m", "pytest", *words, *FOLDERS.values(), limit_s=None):
            raise SystemExit(f"a test of {' '.join(FOLDERS.values())} fails with nothing broken")
        for file, source in sources.items():
            self.write(file, source)
        found: Executed = json.loads(answer.read_text())
        return found

    def finds(self, mutant: Mutant, executed: Executed) -> str:
        """By what the mutant is found; empty: it survives."""
        self.write(mutant.file, mutant.mutation.source)
        try:
            return self._found_by(seeing(mutant, executed))
        finally:
            self.write(mutant.file, (ROOT / mutant.file).read_text())

    def _found_by(self, tests: list[tuple[float, str]]) -> str:
        ends = list(itertools.accumulate(seconds for seconds, _ in tests))
        quick = max(1, bisect.bisect(ends, QUICK_S))
        for part in (tests[:quick], tests[quick : bisect.bisect(ends, self._most_s)]):
            names = self.root / "tests.txt"
            names.write_text("\n".join(test for _, test in part))
            limit_s = 60 + 10 * sum(seconds for seconds, _ in part)
            if part and not self.passes("-m", "pytest", *PYTEST, f"@{names}", limit_s=limit_s):
                return "tests"
        return "" if self.passes("-c", WORLDS, limit_s=60 * SCHEDULES) else "schedules"


def ends_well(
    command: list[str], where: Path, environment: dict[str, str], limit_s: float | None
) -> bool:
    """Whether a command returns 0 within so long; nothing of it goes on, and what we are told ends
    it, too. pytest has some time to end what its tests have begun."""
    with subprocess.Popen(
        command,
        cwd=where,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        try:
            return running.wait(limit_s) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                if running.poll() is None:
                    os.killpg(running.pid, signal.SIGINT)
                    running.wait(ENDING_S)
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


def seeing(mutant: Mutant, executed: Executed) -> list[tuple[float, str]]:
    """The tests that execute what is broken, the quick ones first; those named after it at once."""
    touched = mutant.mutation.touched
    own = f"test_{Path(mutant.file).name}"
    found = []
    for test, (seconds, lines) in executed.items():
        there = lines.get(mutant.file, ())
        if there if touched is None else any(line in touched for line in there):
            found.append((own not in test, seconds, test))
    return [(seconds, test) for _, seconds, test in sorted(found)]


def main(words: Sequence[str]) -> None:
    """Draw, break, ask; Ctrl-C and SIGTERM leave nothing behind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--lines", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", nargs="*", default=[], help="names of modules; none: all")
    parser.add_argument("--json", action="store_true", help="the survivors, a line of JSON each")
    parser.add_argument("--executed", type=Path, help="keeps who executes what, or has it")
    parser.add_argument("--most", type=float, default=60.0, help="seconds of tests about one line")
    arguments = parser.parse_args(words)
    if arguments.lines < 1 or arguments.most <= 0:
        parser.error("--lines and --most: more than 0")
    known = {name: file for file in modules() for name in (file.name, str(file.relative_to(ROOT)))}
    if strangers := [name for name in arguments.files if name not in known]:
        parser.error(f"--files: no module of the shells: {' '.join(strangers)}")
    named = set(arguments.files) or set(known)
    files = [f for f in modules() if {f.name, str(f.relative_to(ROOT))} & named]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what runs ends with us
    report = Report("mutants")
    found = 0
    with tempfile.TemporaryDirectory(dir=memory(ROOM_OF_ALL)) as directory:
        copy = Copy(Path(directory), arguments.most)
        executed = copy.executed(arguments.executed)
        drawn = draw(files, arguments.lines, random.Random(arguments.seed))
        for mutant in drawn:
            by = copy.finds(mutant, executed)
            found += bool(by)
            print(f"{by or 'SURVIVES'}: {'  '.join(mutant.cells.values())}", file=sys.stderr)
            if not by:
                report.row(**mutant.cells)
                if arguments.json:
                    print(json.dumps(mutant.cells), flush=True)
    report.figure("mutants", len(drawn))
    report.figure("mutants_found", found)
    report.figure("mutants_found_share", round(found / max(1, len(drawn)), 3))
    report.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
