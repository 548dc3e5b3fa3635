"""Large blocks go back to the system, whatever was freed before."""

import subprocess
import sys

# Blocks of 16 MB are freed, which is what glibc learns from; then a few of 8 MB, the last of which
# is kept: below it glibc would keep the others.
PROGRAM = """
from pathlib import Path
from fedling_protocol.runtime import memory

def resident_mb():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000

{call}
before = resident_mb()
for _ in range(3):
    bytearray(16 << 20)
blocks = [bytearray(8 << 20) for _ in range(8)]
kept = blocks.pop()
blocks.clear()
print(resident_mb() - before)
"""


def left_mb(call: str) -> float:
    """What a process has more at its end than at its beginning, when 8 MB of it are in use."""
    program = PROGRAM.format(call=call)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return float(done.stdout)


def test_give_back_large_blocks_leaves_only_what_is_in_use() -> None:
    assert left_mb("memory.give_back_large_blocks()") < 16


def test_without_it_glibc_keeps_what_was_freed() -> None:
    assert left_mb("") > 32
