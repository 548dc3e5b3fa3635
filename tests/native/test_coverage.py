"""The golden vectors and the fuzzers' kept cases reach nearly all of the kernel."""

from collections.abc import Callable
from pathlib import Path

import pytest

import fedling_native
from tests.native import coverage
from tests.native.compiler import PORTABLE, SOURCES
from tests.native.test_matrix import TARGETS

LINES, BRANCHES = 95, 90  # percent, at least


def test_nearly_all_lines_and_branches_are_reached(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    files = coverage.measure(tmp_path)
    record_property("counted", coverage.table(files))
    ran = {name: file for name, file in files.items() if file.ran()}
    portable = {path.relative_to(coverage.SRC).as_posix() for path in PORTABLE}
    assert portable & (files.keys() - ran.keys()) == set()
    assert source_of(fedling_native.isa()) in ran
    assert coverage.lines(list(ran.values())).percent >= LINES
    assert coverage.branches(list(ran.values())).percent >= BRANCHES


@pytest.mark.parametrize("isa", sorted({target.isa for target in TARGETS.values()}))
def test_each_table_is_in_one_file(isa: str) -> None:
    """So that the test above finds that of the processor it runs on."""
    assert source_of(isa).startswith("loops/")


def source_of(isa: str) -> str:
    """The file that has a table of inner loops."""
    table = f"const fdl_kernels fdl_{isa} ="
    (path,) = [path for path in SOURCES if table in path.read_text()]
    return path.relative_to(coverage.SRC).as_posix()
