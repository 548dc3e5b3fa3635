"""Instructions are counted exactly."""

import subprocess
from pathlib import Path

import pytest

from bench.support import counted
from tests.support.tools import absent, need

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
def emulator() -> str:
    """One whose plugins are as ours, or `absent`."""
    need("qemu-aarch64", "qemu-user")
    try:
        return counted.emulator()
    except SystemExit as error:
        absent(str(error))


@pytest.fixture
def loop(tmp_path: Path, emulator: str) -> Path:
    compiler = need("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
    (tmp_path / "loop.c").write_text(LOOP)
    command = [compiler, "-static", "-O1", str(tmp_path / "loop.c"), "-o", str(tmp_path / "loop")]
    subprocess.run(command, check=True)
    return tmp_path / "loop"


def test_more_rounds_are_as_many_instructions_more(loop: Path) -> None:
    fewer, more = (counted.run(loop, "cortex-a72", rounds)[0] for rounds in (1000, 9000))
    assert more - fewer == 3 * 8000


def test_a_program_that_fails_ends_the_bench(tmp_path: Path, emulator: str) -> None:
    with pytest.raises(SystemExit, match="status"):
        counted.run(tmp_path / "absent", "cortex-a72", 1)


@pytest.mark.parametrize("version", ["6.0.0", "7.2.22 (Debian 1:7.2+dfsg)", "8.2.10"])
def test_emulator_that_takes_the_plugin(version: str) -> None:
    assert counted.what_is_wrong(f"qemu-aarch64 version {version}\n") == ""


@pytest.mark.parametrize(
    ("said", "here"),
    [
        ("qemu-aarch64 version 5.2.0", "this is 5.2"),
        ("qemu-aarch64 version 9.0.0", "this is 9.0"),
        ("qemu-aarch64 version 10.1.2", "this is 10.1"),
        ("", "this one says ''"),
    ],
)
def test_emulator_that_takes_no_such_plugin_is_told_with_those_that_do(
    said: str, here: str
) -> None:
    wrong = counted.what_is_wrong(said)
    assert wrong == f"bench: instructions are counted by QEMU 6.0 to 8.2, and {here}"
