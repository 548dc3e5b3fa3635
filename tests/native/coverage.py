"""Which lines and branches of native/src the golden vectors and the fuzzers' kept cases reach."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.native import selftest, vectors
from tests.native.compiler import ROOT
from tests.native.fuzz.build import FOLDER, HARNESSES, build_objects, corpus, link
from tests.support.tools import need

# A copy of what is always inlined would count for itself, and leave out what constants decide.
FLAGS = ["-O0", "--coverage", "-DINLINE=inline"]
SRC = ROOT / "native/src"


@dataclass
class File:
    """How often each line ran and each branch was taken, over all files that include this one."""

    lines: dict[int, int] = field(default_factory=dict)
    branches: dict[int, list[int]] = field(default_factory=dict)

    def add(self, line: int, count: int, branches: Sequence[int]) -> None:
        self.lines[line] = self.lines.get(line, 0) + count
        before = self.branches.get(line, [0] * len(branches))
        self.branches[line] = [a + b for a, b in zip(before, branches, strict=True)]

    def missed_lines(self) -> list[int]:
        return [line for line, count in self.lines.items() if count == 0]

    def missed_branches(self) -> list[int]:
        """Lines with a branch that was never taken, though the line ran."""
        return [line for line, counts in self.branches.items() if 0 in counts and self.lines[line]]

    def ran(self) -> bool:
        return any(self.lines.values())


@dataclass(frozen=True, slots=True)
class Share:
    """Of lines or branches."""

    reached: int
    total: int

    @property
    def percent(self) -> float:
        return 100 * self.reached / self.total if self.total else 100.0


def measure(folder: Path) -> dict[str, File]:
    """Build with counters, run everything, and read what was counted, by path below native/src."""
    golden = vectors.all_cases()
    selftest.run(selftest.build([need("gcc")], FLAGS, folder, golden))
    objects = build_objects("gcc", FLAGS, folder)
    for harness in HARNESSES:
        program = link("gcc", FLAGS, harness, objects, FOLDER / "replay.c")
        cases = sorted(corpus(harness).iterdir())
        subprocess.run([str(program), *map(str, cases)], check=True, capture_output=True)
    return _read(folder)


def _read(folder: Path) -> dict[str, File]:
    """The counters that the programs left in a folder."""
    counters = [path.name for path in sorted(folder.glob("*.gcda"))]
    command = [need("gcov", "gcc"), "--json-format", "--branch-probabilities", "--stdout"]
    done = subprocess.run([*command, *counters], cwd=folder, capture_output=True, check=True)
    files: dict[str, File] = {}
    for document in done.stdout.splitlines():
        for entry in json.loads(document)["files"]:
            path = Path(folder, entry["file"]).resolve()
            if not path.is_relative_to(SRC):
                continue
            file = files.setdefault(path.relative_to(SRC).as_posix(), File())
            for line in entry["lines"]:
                branches = [branch["count"] for branch in line["branches"]]
                file.add(line["line_number"], line["count"], branches)
    return files


def lines(files: Sequence[File]) -> Share:
    counts = [count for file in files for count in file.lines.values()]
    return Share(sum(count > 0 for count in counts), len(counts))


def branches(files: Sequence[File]) -> Share:
    counts = [count for file in files for line in file.branches.values() for count in line]
    return Share(sum(count > 0 for count in counts), len(counts))


def table(files: dict[str, File]) -> str:
    """Percentages of each file and what was missed in it; the files that did not run apart."""
    rows = [f"{'native/src':<20}{'lines':>8}{'branches':>10}  missed lines; lines missed in part"]
    ran = {name: file for name, file in files.items() if file.ran()}
    for name, file in ran.items():
        missed = f"{file.missed_lines() or ''}; {file.missed_branches() or ''}".rstrip("; ")
        rows.append(_row(name, [file]) + f"  {missed}".rstrip())
    rows.append(_row("all", list(ran.values())))
    idle = sorted(files.keys() - ran.keys())
    if idle:
        rows.append(f"not of this processor: {', '.join(idle)}")
    return "\n".join(rows)


def _row(name: str, files: Sequence[File]) -> str:
    return f"{name:<20}{lines(files).percent:>7.1f}%{branches(files).percent:>9.1f}%"
