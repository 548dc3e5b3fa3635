"""One program makes all tables of the codec."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.first
def test_the_tables_are_what_the_program_makes() -> None:
    done = subprocess.run(
        [sys.executable, "native/design_codec.py", "--check"],
        cwd=ROOT,
        env={"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "tables of the codec: up to date\n", done.stderr
