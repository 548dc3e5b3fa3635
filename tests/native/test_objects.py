"""What the compiled kernel needs of its surroundings: no heap, no files, a bounded stack; and what
builds that leave something out still do."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.native import stack
from tests.native.compiler import (
    CORTEX_M4,
    PORTABLE,
    ROOT,
    SOURCES,
    WARNINGS,
    compile_objects,
    run_compiler,
)
from tests.support.quick import quick
from tests.support.tools import need

# What a compiler may call for loops and struct copies; any C library and every bare board has them.
ALLOWED = {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_"}
ALLOWED |= {"__cpu_model", "__cpu_features2"}  # what an x86-64 has: of the compiler

PARTS = re.findall(r"define FDL_WITHOUT_(\w+) 0", (ROOT / "native/src/without.h").read_text())
WITHOUT = {part: [f"-DFDL_WITHOUT_{part}"] for part in PARTS}
WITHOUT |= {"nothing": [], "all": [flag for flags in WITHOUT.values() for flag in flags]}
EACH = quick(("all",), WITHOUT)  # quick is what is left when all goes
ABSENT = Path(__file__).parent / "absent.c"


def symbols(objects: list[Path], option: str) -> dict[str, str]:
    """Name and type of symbols that nm lists with one option."""
    command = [need("nm", "binutils"), "-P", option, *map(str, objects)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    fields = [line.split() for line in text.splitlines() if not line.endswith(":")]
    return {words[0]: words[1] for words in fields if words}


@pytest.mark.parametrize("build", quick(("gcc -O3",), ("gcc -Os", "clang -Os", "clang -O3")))
def test_objects_need_nothing_and_keep_nothing(tmp_path: Path, build: str) -> None:
    compiler, level = build.split()
    # -fno-pie: else const tables of functions are relocated, which nm cannot tell from data.
    objects = compile_objects(compiler, [level, "-fno-pie"], tmp_path)
    defined = symbols(objects, "--defined-only")
    foreign = set(symbols(objects, "--undefined-only")) - set(defined) - ALLOWED
    assert foreign == set()
    changeable = {name for name, kind in defined.items() if kind in "BbDdCc"}
    assert changeable == set()
    assert all(name.startswith("fdl_") for name, kind in defined.items() if kind.isupper())


# --- Builds that leave something out --------------------------------------------------------------


@pytest.mark.parametrize("part", EACH)
def test_builds_without_a_part_have_no_warnings(tmp_path: Path, part: str) -> None:
    for compiler, processor in (("clang", []), ("arm-none-eabi-gcc", CORTEX_M4)):
        flags = ["-fsyntax-only", *processor, *WARNINGS, *WITHOUT[part]]
        run_compiler(compiler, [*flags, *SOURCES], tmp_path)


@pytest.mark.parametrize("part", EACH)
def test_what_is_left_out_is_refused(tmp_path: Path, part: str) -> None:
    flags = ["-DFDL_ISA_PLAIN", *WARNINGS, *WITHOUT[part]]
    run_compiler("gcc", [*flags, *PORTABLE, ABSENT, "-o", "a"], tmp_path)
    done = subprocess.run([tmp_path / "a"], capture_output=True, text=True)
    assert done.stderr == ""
    left_out = set(PARTS) if part == "all" else {part} - {"nothing"}
    assert set(done.stdout.split()) == left_out


# --- The stack ------------------------------------------------------------------------------------


def check_stack(graph: stack.Graph, table: str) -> dict[str, int]:
    """Depths of the public functions, all within the bound."""
    assert graph.unbounded == []
    depths = graph.depths(table)
    assert depths["fdl_step"] > graph.frames["fdl_conv_each_gradient"] > 0
    assert max(depths.values()) <= stack.BOUNDS.get(table, stack.BOUND_OF_VECTORS), depths
    return depths


@pytest.mark.parametrize("level", quick(["-O2"], ["-O0", "-Os", "-O3"]))
def test_stack_is_bounded(tmp_path: Path, level: str) -> None:
    graph = stack.measure("gcc", [level], tmp_path)
    assert "fdl_plain" in graph.tables()
    for table in graph.tables():
        check_stack(graph, table)


@pytest.mark.parametrize("level", quick(["-O2"], ["-Os", "-O3"]))
def test_stack_is_bounded_on_aarch64(tmp_path: Path, level: str) -> None:
    graph = stack.measure("aarch64-linux-gnu-gcc", [level], tmp_path)
    assert {"fdl_plain", "fdl_neon", "fdl_dotprod"} <= set(graph.tables())
    for table in graph.tables():
        check_stack(graph, table)


def test_stack_is_bounded_on_cortex_m4(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    graph = stack.measure("arm-none-eabi-gcc", ["-O2", *CORTEX_M4], tmp_path)
    check_stack(graph, "fdl_plain")
    rows = [f"  {depth:5} {name}" for name, depth in check_stack(graph, "fdl_dsp").items()]
    record_property("counted", "\n".join(["bytes of stack, Cortex-M4, -O2:", *rows]))
