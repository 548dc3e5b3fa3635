"""A campaign as a program of its own, whose mounts nobody else sees.

python -m tests.support.outages.run SEED CUTS KILLS SPELLS [aggregator] [device]

The names are of those whose disks forget what is to be synced.
"""

import dataclasses
import json
import sys

from tests.support.crash import scratch
from tests.support.outages.campaign import play
from tests.support.outages.disk import own_mounts


def main() -> None:
    seed, cuts, kills, spells = map(int, sys.argv[1:5])
    own_mounts()
    with scratch.directory() as directory:
        result = play(directory / "federation", seed, cuts, kills, spells, sys.argv[5:])
    worst = max((recovery.seconds for recovery in result.recoveries), default=0.0)
    print(json.dumps(dataclasses.asdict(result.judgement) | {"worst_recovery_s": worst}))


if __name__ == "__main__":
    main()
