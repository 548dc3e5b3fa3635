import subprocess
import sys

import pytest

from bench.support import meters

# A child burns CPU; its own parent is killed and waits for nobody.
ORPHAN = """
import os, signal, sys, time
from bench.support import meters

meters.adopt_orphans()
parent = os.fork()
if parent == 0:
    if os.fork() == 0:
        while time.process_time() < {burnt}:
            pass
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
meters.await_children()
print(meters.children_cpu_s())
"""
BURNT_S = 0.2


def test_children_cpu_counts_the_child_of_one_that_was_killed() -> None:
    program = ORPHAN.format(burnt=BURNT_S)
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert float(done.stdout) == pytest.approx(BURNT_S, rel=0.5)
    assert float(done.stdout) >= BURNT_S / 2


def test_await_children_without_any_returns() -> None:
    program = "from bench.support import meters; meters.await_children()"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_children_cpu_grows_by_what_a_child_used() -> None:
    before = meters.children_cpu_s()
    program = f"import time\nwhile time.process_time() < {BURNT_S}: pass"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert meters.children_cpu_s() - before >= BURNT_S / 2
