"""Memory of an idle agent on a Debian, as its packages installed it: python -m bench.idle_memory

    idle_pss_mb             PSS of all its processes on Debian 12, by mutual TLS, after it has
                            trained and sent in two rounds, with a model and no open plan
    idle_rss_mb             the same, as if no other process shared a page
    idle_pss_mb_debian13    on Debian 13
    idle_rss_mb_debian13

A systemd in a folder runs the service as its unit has it. No other Python runs there meanwhile: the
aggregator is stopped, so that its MQTT broker, systemd and D-Bus alone share pages. Needs root.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.report import Report
from tests.packaging.test_boot import learn
from tests.support.installed import BY_PIP, SERVICES, install, shown, status, who
from tests.support.machine import DEBIANS, DEBS, VERSIONS, WITH_APT, Machine, machine

NEED = Path(__file__).parent.parent / "packaging" / "need"
NAMES = dict(zip(DEBIANS, ("", "_debian13"), strict=True))
SETTLE_S = 30.0
AGENT, BROKER = SERVICES


def main(arguments: Sequence[str]) -> None:
    """Measure on both."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args(arguments)
    subprocess.run([NEED, "deb", "boot"], check=True)
    report = Report("idle_memory")
    for debian, name in NAMES.items():
        with tempfile.TemporaryDirectory() as folder, machine(Path(folder), WITH_APT, debian) as pi:
            pi.run(f"apt-get install -y --no-install-recommends /{DEBS}/{VERSIONS[0]}/*.deb")
            report.row(debian=debian, processes=measure(report, pi, name))
    report.finish()


def measure(report: Report, pi: Machine, name: str) -> int:
    """Measure on one, whose figures end with a name; how many processes there were."""
    install(pi, but=BY_PIP)
    who(pi)
    learn(pi)
    pi.until(lambda: "no open plan" in status(pi).get("doing", ""), "nothing to do")
    pi.run(f"systemctl stop {BROKER}")
    time.sleep(SETTLE_S)
    assert status(pi)["connection"]["connected"]
    main = shown(pi, AGENT, "MainPID")
    pids = [main, *pi.run(f"cat /proc/{main}/task/*/children").stdout.split()]
    for key in ("Pss", "Rss"):
        lines = [pi.run(f"grep ^{key}: /proc/{pid}/smaps_rollup").stdout for pid in pids]
        size = sum(int(line.split()[1]) * 1024 for line in lines)
        report.figure(f"idle_{key.lower()}_mb{name}", size / 1e6)
    return len(pids)


if __name__ == "__main__":
    main(sys.argv[1:])
