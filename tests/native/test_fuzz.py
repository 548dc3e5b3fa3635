"""Every public function on untrusted bytes: the kept cases and thousands of new ones, sanitised."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.native.fuzz.build import FOLDER, HARNESSES, build_fuzzers, build_objects, corpus, link
from tests.native.fuzz.counted import count
from tests.support.tools import need

pytestmark = pytest.mark.long

RUNS = 5_000  # after the kept cases; python -m tests.native.fuzz goes on for as long as you like
FILE_BOUND = 1024  # bytes of a kept case

# No library of a sanitiser there: what is undefined ends the program.
TRAPS = ["-O1", "-static", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
PAST = re.compile(r"^past: \d+\n")
OTHERS = {"arm-linux-gnueabihf": "qemu-arm", "aarch64-linux-gnu": "qemu-aarch64"}


def test_no_promise_is_broken(tmp_path: Path) -> None:
    """And cases are no mere refusals: one in five, of each harness, is past the first look."""
    for harness, program in build_fuzzers(tmp_path, HARNESSES).items():
        found = tmp_path / f"{harness}-found"
        counted = count(program, corpus(harness), found, RUNS, seed=1)
        cases = [path.read_bytes().hex() for path in found.glob("*-*")]
        assert counted.broken == "", f"{harness}: {cases}"
        assert counted.executions >= RUNS
        assert counted.past > counted.executions / 5, harness


@pytest.mark.parametrize("harness", HARNESSES)
def test_kept_cases_are_small(harness: str) -> None:
    sizes = [path.stat().st_size for path in corpus(harness).iterdir()]
    assert 10 <= len(sizes) <= 100
    assert max(sizes) <= FILE_BOUND


@pytest.mark.parametrize("processor", OTHERS)
def test_kept_cases_hold_on_other_processors(processor: str, tmp_path: Path) -> None:
    """One has 32-bit sizes, the other tables of inner loops of its own."""
    compiler, emulator = f"{processor}-gcc", need(OTHERS[processor], "qemu-user")
    objects = build_objects(compiler, TRAPS, tmp_path)
    for harness in HARNESSES:
        program = link(compiler, TRAPS, harness, objects, FOLDER / "replay.c")
        cases = sorted(corpus(harness).iterdir())
        done = subprocess.run([emulator, program, *cases], capture_output=True, text=True)
        said = (done.stdout, PAST.sub("", done.stderr))
        assert said == (f"replayed {len(cases)} files\n", ""), harness
