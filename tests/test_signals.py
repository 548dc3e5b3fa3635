"""What a test starts can be ended by a signal, whoever has started the tests."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CHILD = "import signal, sys; signal.raise_signal(int(sys.argv[1]))"
PARENT = f"""
import subprocess, sys
import tests.conftest
sys.exit(-subprocess.call([sys.executable, "-c", {CHILD!r}, sys.argv[1]]))
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_what_a_shell_ignores_is_ignored_in_no_child(number: signal.Signals) -> None:
    """nohup, or a & in a script."""
    start = f"trap '' HUP INT QUIT; ulimit -c 0; exec {sys.executable} -c \"$0\" {number.value}"
    done = subprocess.run(["sh", "-c", start, PARENT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == number, done.stderr
