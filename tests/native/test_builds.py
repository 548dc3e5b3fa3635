"""The same bits from builds that no device has: with sanitisers, signed or unsigned char."""

from pathlib import Path

import pytest

from tests.native import selftest, vectors
from tests.support.quick import quick
from tests.support.tools import need

SANITISED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
BUILDS = {
    "asan-ubsan": SANITISED,
    "asan-ubsan-plain": [*SANITISED, "-DFDL_ISA_PLAIN"],
    "unsigned-char": ["-O2", "-funsigned-char"],
    "native": ["-O3", "-march=native"],
    "whole-program": ["-O3", "-flto"],
}


# The sanitisers, and the other sort of char; the others stand beside the matrix.
CASES = [f"{compiler} {name}" for compiler in ("gcc", "clang") for name in BUILDS]


@pytest.mark.parametrize("build", quick(["clang asan-ubsan", "gcc unsigned-char"], CASES))
def test_golden_vectors(build: str, tmp_path: Path) -> None:
    compiler, name = build.split()
    flags = BUILDS[name]
    cases = vectors.all_cases()
    program = selftest.build([need(compiler)], flags, tmp_path, cases)
    selftest.check(selftest.run(program), cases)
