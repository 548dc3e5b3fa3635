"""Power cuts, `kill -9` and bad disks of agents and aggregator in a federation over mutual TLS.

Each machine has an ext4 of its own on a loop file, whose power is cut, or which is full, read-only
or failing for a while. A witness hears all that
goes over the wire: what it has heard to be accepted is counted, once. bench/faults.py is the long
form of it.
"""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.tools import need, own_loops

LIMIT_S = 560


def campaign(
    seed: int, cuts: int = 0, kills: int = 0, spells: int = 0, forgetful: str = ""
) -> subprocess.CompletedProcess[str]:
    """A campaign in a process of its own; what it judged is on its standard output."""
    own_loops()
    for tool, package in (("mosquitto", None), ("mkfs.ext4", "e2fsprogs"), ("cc", "gcc")):
        need(tool, package)
    numbers = [str(number) for number in (seed, cuts, kills, spells)]
    words = ["-m", "tests.support.outages.run", *numbers, *filter(None, [forgetful])]
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=LIMIT_S)


def judged(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-12_000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.long
@pytest.mark.parametrize(
    "outages",
    [(12, 18, 0), (0, 0, 20), (5, 5, 10)],
    ids=["power", "disks", "all"],
)
def test_nothing_receipted_is_lost_and_nothing_counts_twice(outages: tuple[int, int, int]) -> None:
    """A seed draws the same outages again."""
    found = judged(campaign(10, *outages))
    assert found["lost"] == found["twice"] == found["other"] == []
    assert found["receipted"] > 30
    assert found["rows"] > 0


@pytest.mark.long
@pytest.mark.parametrize("who", ["aggregator", "device"])
def test_a_disk_that_syncs_nothing_is_found(who: str) -> None:
    """A test of the test: power cuts take what was not synced, and the judge sees it.

    Also where nothing goes on after them: that alone could be a machine that is slow.
    """
    found = judged(campaign(2, cuts=6, forgetful=who))
    assert [*found["lost"], *found["twice"], *found["other"]]
