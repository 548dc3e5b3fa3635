"""A campaign as a program of its own, whose mounts nobody else sees.

python -m tests.support.outages.run SEED CUTS KILLS [aggregator=LIBRARY] [device=LIBRARY]
"""

import dataclasses
import json
import sys

from tests.support.crash import scratch
from tests.support.outages.campaign import play
from tests.support.outages.disk import own_mounts


def main() -> None:
    seed, cuts, kills = map(int, sys.argv[1:4])
    preload = dict(word.split("=", 1) for word in sys.argv[4:])
    own_mounts()
    with scratch.directory() as directory:
        result = play(directory / "federation", seed, cuts, kills, preload)
    worst = max(recovery.seconds for recovery in result.recoveries)
    print(json.dumps(dataclasses.asdict(result.judgement) | {"worst_recovery_s": worst}))


if __name__ == "__main__":
    main()
