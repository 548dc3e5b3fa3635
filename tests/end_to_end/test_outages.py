"""Power cuts and `kill -9` of agents and aggregator in a federation over mutual TLS.

Each machine has an ext4 of its own on a loop file, whose power is cut. A witness hears all that
goes over the wire: what it has heard to be accepted is counted, once. bench/faults.py is the long
form of it.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.tools import need, own_loops

FORGETFUL = Path(__file__).parents[1] / "support" / "outages" / "forgetful.c"
LIMIT_S = 560


def campaign(
    seed: int, cuts: int, kills: int, preload: Mapping[str, Path] | None = None
) -> subprocess.CompletedProcess[str]:
    """A campaign in a process of its own; what it judged is on its standard output."""
    own_loops()
    for tool in ("mosquitto", "mkfs.ext4"):
        need(tool)
    libraries = [f"{name}={path}" for name, path in (preload or {}).items()]
    words = ("-m", "tests.support.outages.run", str(seed), str(cuts), str(kills), *libraries)
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=LIMIT_S)


def judged(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-12_000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.long
def test_nothing_receipted_is_lost_and_nothing_counts_twice() -> None:
    """A seed that fails is in the message; it draws the same outages again."""
    found = judged(campaign(10, cuts=12, kills=18))
    assert found["lost"] == found["twice"] == found["other"] == []
    assert found["receipted"] > 30
    assert found["rows"] > 0


@pytest.mark.long
@pytest.mark.parametrize("who", ["aggregator", "device"])
def test_a_program_that_syncs_nothing_is_found(tmp_path: Path, who: str) -> None:
    """A test of the test: power cuts take what was not synced, and the judge sees it."""
    library = tmp_path / "forgetful.so"
    command = [need("cc", "gcc"), "-shared", "-fPIC", "-o", str(library), str(FORGETFUL)]
    subprocess.run(command, check=True)
    done = campaign(2, cuts=6, kills=0, preload={who: library})
    if done.returncode == 0:
        found = judged(done)
        assert [*found["lost"], *found["twice"], *found["other"]]
    else:
        assert "AssertionError: waited in vain" in done.stderr
