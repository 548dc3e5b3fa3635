"""Cycles of the kernel's inner loops, as llvm-mca models a core.

An inner loop is a block of instructions that ends with a jump to its own start; of a function of
the table, and of what that calls, the one that does least beside its products. llvm-mca takes loads
to hit the first cache. Its models are LLVM's: to the Cortex-A72 and A76 it gives that of the A57,
with the A76's dot products beside.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.support.compiled import NATIVE, kernel_flags
from bench.support.counted import gcc
from fedling_sim.board.toolchain import tool

MULTIPLY = re.compile(r"\s(smull|smlal|smlsl|sdot|smmla)2?\s")
LABEL = re.compile(r"^([.\w]+):")
JUMP = re.compile(r"^\t(?:b\.?\w+|cbn?z|tbn?z)\t(?:.*, )?([.\w]+)$")
CALL = re.compile(r"^\tbl?\t([\w.]+)$")
ITERATIONS = 100


@dataclass(frozen=True, slots=True)
class Loop:
    """A block of assembly."""

    lines: tuple[str, ...]

    @property
    def products(self) -> tuple[str, ...]:
        return tuple(line for line in self.lines if MULTIPLY.search(line))


@dataclass(frozen=True, slots=True)
class Cycles:
    """What a loop costs once around, and what its products alone would cost."""

    loop: float
    bound: float

    @property
    def share(self) -> float:
        return self.bound / self.loop


def assembly(source: str) -> str:
    """A file of native/src, compiled as the kernel is installed on Linux."""
    with tempfile.TemporaryDirectory(prefix="fedling-bench-") as name:
        path = Path(name) / "loops.s"
        command = [gcc(), *kernel_flags(), f"-I{NATIVE / 'include'}", "-S"]
        subprocess.run([*command, str(NATIVE / "src" / source), "-o", str(path)], check=True)
        return path.read_text()


def functions(text: str) -> dict[str, list[str]]:
    """The lines of each function, by its symbol."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        label = LABEL.match(line)
        if label and not label[1].startswith("."):
            lines = found.setdefault(label[1], [])
        elif line.startswith("\t.size"):
            lines = []
        elif label or (line.startswith("\t") and line[1] not in ".#/"):
            lines.append(line)
    return found


def reached(all_functions: dict[str, list[str]], name: str) -> set[str]:
    """A function and what it calls, directly or not."""
    found, new = {name}, [name]
    while new:
        calls = (CALL.match(line) for line in all_functions[new.pop()])
        called = {call[1] for call in calls if call} & all_functions.keys()
        new.extend(called - found)
        found |= called
    return found


def loops(lines: list[str]) -> Iterator[Loop]:
    """The inner loops of a function."""
    start: str | None = None
    block: list[str] = []
    for line in lines:
        label, jump = LABEL.match(line), JUMP.match(line)
        if label:
            start, block = label[1], []
            continue
        block.append(line)
        if jump and jump[1] == start:
            yield Loop(tuple(block))


def densest(all_functions: dict[str, list[str]], name: str) -> Loop:
    """The inner loop of a table's function that has the most products an instruction."""
    candidates = (x for f in reached(all_functions, name) for x in loops(all_functions[f]))
    return max(candidates, key=lambda loop: len(loop.products) / len(loop.lines))


def measure(loop: Loop, core: str) -> Cycles:
    """Once around, in a row of many."""
    return Cycles(simulate(loop.lines, core)[0], simulate(loop.products, core)[1])


def simulate(lines: tuple[str, ...], core: str) -> tuple[float, float]:
    """Cycles of these instructions, and the least that each takes, added up."""
    program = tool("llvm-mca", "llvm")
    command = [program, "-mtriple=aarch64", f"-mcpu={core}", f"-iterations={ITERATIONS}", "-json"]
    text = "\n".join(lines) + "\n"
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    region = json.loads(done.stdout)["CodeRegions"][0]
    least = [float(row["RThroughput"]) for row in region["InstructionInfoView"]["InstructionList"]]
    return float(region["SummaryView"]["TotalCycles"]) / ITERATIONS, sum(least)
