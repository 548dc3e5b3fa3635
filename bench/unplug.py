"""Unplugs a Debian that trains, as its packages installed it: python -m bench.unplug [--trials 50].

trials           how often
unplug_worst_s   from the moment that the change is readable to the end of the child, at worst
unplug_median_s  the same of the middle trial
worst_cpu_ms     of a processor that the child used meanwhile, at worst
again_median_s   from plugging in until a batch is done, in the middle trial; conditions must hold
                 for policy.dwell_s, 10 s, since the last reading that said no
wanted_s         what unplug_worst_s should be at most
within           trials that took no longer

A systemd in a folder runs the services, over TLS, with their units' limits; the policy is the one
that an owner gets, but for `mains = true` and the folder of a UPS hat. After plugging in, somebody
types `fedling-agent conditions`, which looks at once: the service by itself does so every minute.
Needs root.
"""

import argparse
import random
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.report import Report
from tests.support.hat import POLICY, SLOW_TASK, Hat
from tests.support.installed import BY_PIP, install, who
from tests.support.machine import DEBS, VERSIONS, WITH_APT, Machine, machine

NEED = Path(__file__).parent.parent / "packaging" / "need"
WANTED_S = 2.0
WATCH_S = 2.0  # without a child, before a trial is over
DAY = (30, 1200)  # recordings, and their samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=50)
    trials = parser.parse_args().trials
    subprocess.run([NEED, "deb", "boot"], check=True)
    report = Report("unplug")
    with tempfile.TemporaryDirectory() as name, machine(Path(name), WITH_APT) as pi:
        pi.run(f"apt-get install -y --no-install-recommends /{DEBS}/{VERSIONS[0]}/*.deb")
        measure(report, pi, trials)
    report.finish()


def measure(report: Report, pi: Machine, trials: int) -> None:
    install(pi, but=BY_PIP, task=SLOW_TASK, day=DAY)
    hat = Hat(pi, "slow")
    with (pi.root / "etc/fedling/agent.toml").open("a") as config:
        config.write(POLICY)
    pi.run("systemctl reload fedling-agent")
    who(pi)
    dice = random.Random(1)
    pulls, again = [], []
    for number in range(trials):
        hat.until_it_trains()
        time.sleep(dice.random())  # at any moment of a lease, of a batch, of a rest
        pulls.append(pull := hat.pull(WATCH_S))
        start = time.monotonic()
        hat.plug_in()
        pi.run("fedling-agent conditions")
        hat.until_it_trains()
        again.append(time.monotonic() - start)
        cells = {"gone_s": pull.gone_s, "cpu_ms": 1000 * pull.cpu_s, "again_s": again[-1]}
        report.row(trial=number + 1, **cells)
    gone = [pull.gone_s for pull in pulls]
    report.figure("trials", trials)
    report.figure("unplug_worst_s", max(gone))
    report.figure("unplug_median_s", median(gone))
    report.figure("worst_cpu_ms", 1000 * max(pull.cpu_s for pull in pulls))
    report.figure("again_median_s", median(again))
    report.figure("wanted_s", WANTED_S)
    report.figure("within", sum(seconds <= WANTED_S for seconds in gone))


if __name__ == "__main__":
    main()
