"""A full disk: it is said, nothing receipted is lost, and it goes on when there is room."""

import subprocess
import sys
from pathlib import Path

from fedling_broker.mosquitto.process import Mosquitto
from tests.support.tools import own_tmpfs

ROOT = Path(__file__).parent.parent.parent


def test_full_disk_is_said_and_survived(tmp_path: Path, mosquitto: Mosquitto) -> None:
    state = tmp_path / "device" / "state"
    state.mkdir(parents=True)
    script = [sys.executable, "-m", "tests.end_to_end.full_disk"]
    result = subprocess.run(
        [*own_tmpfs(str(state), "4m"), *script, str(state.parent), str(mosquitto.port)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
