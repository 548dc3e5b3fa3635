"""How many cases a harness has run, and how many of them were past what is refused at once."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

LONGEST = 512  # bytes of a case


@dataclass(frozen=True, slots=True)
class Counted:
    """What a run was. broken: the promise that was not kept; empty: all were"""

    executions: int
    past: int
    broken: str = ""


def count(program: Path, kept: Path, found: Path, runs: int, seed: int) -> Counted:
    """Run a harness so often, from its kept cases on; leaks end it, as all that sanitisers see."""
    found.mkdir(parents=True)
    limits = [f"-runs={runs}", f"-seed={seed}", f"-max_len={LONGEST}", "-timeout=30"]
    told = ["-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={found}/"]
    command = [str(program), *limits, *told, str(found), str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    said = done.stderr
    broken = "" if done.returncode == 0 else said[-4000:]
    return Counted(_number("stat::number_of_executed_units", said), _number("past", said), broken)


def _number(word: str, said: str) -> int:
    found = re.search(rf"^{re.escape(word)}: +(\d+)$", said, re.MULTILINE)
    return int(found[1]) if found else 0
