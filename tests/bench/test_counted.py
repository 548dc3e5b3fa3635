"""Instructions are counted exactly."""

import subprocess
from pathlib import Path

import pytest

from bench.support import counted
from tests.support.tools import need

# A loop of three instructions, around it what does not depend on how often.
LOOP = """
#include <stdlib.h>
int main(int argc, char **argv) {
    unsigned long left = strtoul(argv[argc - 1], NULL, 10);
    __asm__ volatile("1: subs %0, %0, #1\\n\\tnop\\n\\tb.ne 1b" : "+r"(left) : : "cc");
    return 0;
}
"""


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    need("qemu-aarch64", "qemu-user")
    compiler = need("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
    (tmp_path / "loop.c").write_text(LOOP)
    command = [compiler, "-static", "-O1", str(tmp_path / "loop.c"), "-o", str(tmp_path / "loop")]
    subprocess.run(command, check=True)
    return tmp_path / "loop"


def test_more_rounds_are_as_many_instructions_more(loop: Path) -> None:
    fewer, more = (counted.run(loop, "cortex-a72", rounds)[0] for rounds in (1000, 9000))
    assert more - fewer == 3 * 8000


def test_a_program_that_fails_ends_the_bench(tmp_path: Path) -> None:
    need("qemu-aarch64", "qemu-user")
    with pytest.raises(SystemExit, match="status"):
        counted.run(tmp_path / "absent", "cortex-a72", 1)
