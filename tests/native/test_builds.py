"""The same bits from builds that no device has: with sanitisers, signed or unsigned char."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.native import selftest, vectors
from tests.support.tools import need

SANITISED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
BUILDS = {
    "asan-ubsan": SANITISED,
    "asan-ubsan-plain": [*SANITISED, "-DFDL_ISA_PLAIN"],
    "unsigned-char": ["-O2", "-funsigned-char"],
    "native": ["-O3", "-march=native"],
    "whole-program": ["-O3", "-flto"],
}


# A sanitiser of each compiler, and the other sort of char; the others stand beside the matrix.
QUICK = {("clang", "asan-ubsan"), ("gcc", "asan-ubsan-plain"), ("gcc", "unsigned-char")}


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        pytest.param(
            compiler,
            flags,
            id=f"{name}-{compiler}",
            marks=() if (compiler, name) in QUICK else pytest.mark.long,
        )
        for name, flags in BUILDS.items()
        for compiler in ("gcc", "clang")
    ],
)
def test_golden_vectors(compiler: str, flags: Sequence[str], tmp_path: Path) -> None:
    cases = vectors.all_cases()
    program = selftest.build([need(compiler)], flags, tmp_path, cases)
    selftest.check(selftest.run(program), cases)
