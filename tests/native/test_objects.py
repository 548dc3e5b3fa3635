"""What the compiled kernel needs of its surroundings: no heap, no files, a bounded stack."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.native.driver import INCLUDES, SOURCES
from tests.support.tools import need

# What a compiler may call for loops and struct copies; any C library and every bare board has them.
ALLOWED = {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_"}
STACK_BOUND = 2048  # bytes below any public function, on a 64-bit machine


def compile_objects(folder: Path, *flags: str) -> list[Path]:
    command = [need("gcc"), "-std=c11", *flags, *INCLUDES, "-c", *map(str, SOURCES)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return sorted(folder.glob("*.o"))


def symbols(objects: list[Path], option: str) -> dict[str, str]:
    """Name and type of symbols that nm lists with one option."""
    command = [need("nm", "binutils"), "-P", option, *map(str, objects)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    fields = [line.split() for line in text.splitlines() if not line.endswith(":")]
    return {words[0]: words[1] for words in fields if words}


@pytest.mark.parametrize("level", ["-Os", "-O3"])
def test_objects_need_nothing_and_keep_nothing(tmp_path: Path, level: str) -> None:
    objects = compile_objects(tmp_path, level)
    defined = symbols(objects, "--defined-only")
    foreign = set(symbols(objects, "--undefined-only")) - set(defined) - ALLOWED
    assert foreign == set()
    changeable = {name for name, kind in defined.items() if kind in "BbDdCc"}
    assert changeable == set()
    assert all(name.startswith("fdl_") for name, kind in defined.items() if kind.isupper())


@pytest.mark.parametrize("level", ["-O0", "-Os", "-O2", "-O3"])
def test_stack_is_bounded(tmp_path: Path, level: str) -> None:
    compile_objects(tmp_path, level, "-fcallgraph-info=su")
    graph = "".join(path.read_text() for path in tmp_path.glob("*.ci"))
    frames = {
        name: int(size)
        for name, size in re.findall(
            r'node: \{ title: "([^"]+)" label: "[^"]*\\n(\d+) bytes', graph
        )
    }
    assert not re.search(r"bytes \(dynamic\)", graph)
    calls: dict[str, set[str]] = {}
    for caller, callee in re.findall(r'sourcename: "([^"]+)" targetname: "([^"]+)"', graph):
        calls.setdefault(caller, set()).add(callee)
    assert frames["fdl_step"] > 0
    deepest = max(frames, key=lambda name: depth(name, frames, calls))
    assert depth(deepest, frames, calls) <= STACK_BOUND, deepest


def depth(
    name: str, frames: dict[str, int], calls: dict[str, set[str]], above: tuple[str, ...] = ()
) -> int:
    """Bytes of stack from a function on, return addresses included; no recursion."""
    assert name not in above, f"{name} calls itself"
    below = [depth(x, frames, calls, (*above, name)) for x in calls.get(name, ())]
    return frames.get(name, 0) + 8 + max(below, default=0)
