"""Both federations that the bench compares learn, and only one has enrolled its devices."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.demo_cost import PLAIN, TLS, Played
from tests.support import small_task
from tests.support.quick import quick
from tests.support.tools import need

DEVICES, GOAL = 3, 2


@pytest.mark.parametrize("over", quick((TLS,), (PLAIN,)))
def test_play_counts_a_federation_that_learned(tmp_path: Path, over: str) -> None:
    need("mosquitto")
    task = small_task.write(tmp_path, devices=DEVICES, goal=GOAL)
    words = ["--play", over, "--task", str(task), "--devices", str(DEVICES), "--rounds", "1"]
    command = [sys.executable, "-m", "bench.demo_cost", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    played = Played(**json.loads(done.stdout))
    assert played.updates == GOAL
    assert 0 < played.own_s < played.all_s
    assert played.enrol_s < played.others_s
    assert (played.enrol_s > 0) == (over == TLS)
