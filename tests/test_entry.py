"""Ctrl-C while a program is still importing: at any import, of any program, it ends with 130."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedling_protocol.command.entry import INTERRUPTED
from fedling_protocol.exits import Exit
from tests.support.distributions import FOLDERS, project

SCRIPTS: dict[str, str] = {k: v for x in FOLDERS for k, v in project(x)["scripts"].items()}

# Counts what is imported after the first module of a program, and is Ctrl-C at one of them.
INTERRUPTER = """
import os, signal, sys

class Finder:
    seen = -1

    def find_spec(self, name, path=None, target=None):
        if name == os.environ["FIRST"] or self.seen >= 0:
            self.seen += 1
            if self.seen == int(os.environ["AT"]):
                os.kill(os.getpid(), signal.SIGINT)

finder = Finder()
sys.meta_path.insert(0, finder)
if os.environ["AT"] == "-1":
    import atexit
    atexit.register(lambda: print(finder.seen))
"""


def run(folder: Path, program: str, at: int) -> subprocess.CompletedProcess[str]:
    """What the console script of a program does, up to a wrong option."""
    module = SCRIPTS[program].partition(":")[0]
    (folder / "sitecustomize.py").write_text(INTERRUPTER)
    first = f"{module.rpartition('.')[0]}.cli"
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", f"import sys; from {module} import main; sys.exit(main())", "--no"],
        env=os.environ | {"PYTHONPATH": path, "FIRST": first, "AT": str(at)},
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("program", SCRIPTS)
def test_interrupt_at_an_import_is_130_and_not_a_word(tmp_path: Path, program: str) -> None:
    whole = run(tmp_path, program, -1)
    assert whole.returncode == Exit.USAGE
    count = int(whole.stdout.split()[-1])
    assert count > 10
    for at in {0, 1, count // 4, count // 2, 3 * count // 4, count}:
        done = run(tmp_path, program, at)
        assert (done.returncode, done.stdout, done.stderr) == (Exit.INTERRUPTED, "", ""), at


def test_the_code_is_that_of_all_commands() -> None:
    assert INTERRUPTED == Exit.INTERRUPTED
