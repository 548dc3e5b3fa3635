"""What an idle agent costs: memory, bytes on the wire, installed packages.

    pss_mb                  of the whole process tree: enrolled, connected by mutual TLS, a model,
                            no open plan
    rss_mb                  the same, as if no other process on the machine shared a page
    idle_ip_bytes_per_day   IPv4 bytes with headers, both ways, at the default keepalive, from the
                            end of one keepalive exchange to the end of the third after it
    install_mb              what `pip install 'fedling[agent]'` adds to a bare virtual environment

The bytes take 20 minutes at the default keepalive of 300 s. `--keepalive 20` looks quicker, and
writes its figure under another name; so does `--plain`, without TLS.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report import Report
from bench.support import wheel
from bench.support.meters import descendants
from bench.support.ordinary_agent import become_idle
from fedling_broker.mosquitto.process import Mosquitto, free_port
from tests.support.agent import Agent
from tests.support.aggregator import FakeAggregator
from tests.support.certificates import Authority, mosquitto_settings, mqtt_keys
from tests.support.tools import own_network

ROOT = Path(__file__).parent.parent
DEFAULT_KEEPALIVE_S = 300
EXCHANGES = 3
QUIET_S = 1.0  # after so long an exchange is over
SETTLE_S = 10.0  # the last word about its state, the aggregator's farewell
POLL_S = 0.02


def main(arguments: Sequence[str]) -> None:
    """Measure all of it, or with --inside the bytes alone, in a network of our own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keepalive", type=int, default=DEFAULT_KEEPALIVE_S, help="seconds")
    parser.add_argument("--plain", action="store_true", help="without TLS, for comparison")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.inside:
        bytes_and_memory(args.keepalive, plain=args.plain)
        return
    report = Report("agent_footprint")
    words = [sys.executable, "-m", "bench.agent_footprint", "--inside"]
    result = subprocess.run(
        [*own_network(), *words, "--keepalive", str(args.keepalive), *["--plain"] * args.plain],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    pss, rss, count, seconds, numpy = result.stdout.split()[-5:]
    per_day = int(count) / float(seconds) * 86_400
    quick = args.keepalive != DEFAULT_KEEPALIVE_S
    added = install_bytes()
    kind = ("_plain" if args.plain else "") + (f"_at_{args.keepalive}_s" if quick else "")
    report.row(keepalive_s=args.keepalive, ip_bytes=int(count), seconds=float(seconds))
    report.row(numpy_imported=numpy == "True")
    report.figure(f"pss_mb{'_plain' * args.plain}", int(pss) / 1e6)
    report.figure(f"rss_mb{'_plain' * args.plain}", int(rss) / 1e6)
    report.figure(f"idle_ip_bytes_per_day{kind}", per_day)
    report.figure("install_mb", added / 1e6)
    report.finish()


def bytes_and_memory(keepalive_s: int, *, plain: bool) -> None:
    """Prints PSS and RSS in bytes, IP bytes, seconds, whether numpy is mapped."""
    with tempfile.TemporaryDirectory() as name:
        authority, port = Authority(Path(name) / "authority"), free_port()
        listener = mosquitto_settings(authority, authority.server(), mutual=True)
        settings = [f"listener {port} 127.0.0.1", *listener]
        _bytes_and_memory(
            Path(name),
            settings,
            {} if plain else {"port": port, "mqtt": mqtt_keys(authority, authority.client("it"))},
            keepalive_s,
        )


def _bytes_and_memory(
    folder: Path, settings: Sequence[str], options: Mapping[str, Any], keepalive_s: int
) -> None:
    """The aggregator is on the plain listener, and leaves before anything is counted."""
    with Mosquitto(folder / "mosquitto", settings=settings) as mosquitto:
        words = {"port": mosquitto.port, "keepalive_s": keepalive_s, **options}
        agent = Agent(folder / "agent", **words)
        become_idle(agent, FakeAggregator(mosquitto.port))
        assert agent.process is not None
        pids = [agent.process.pid, *descendants(agent.process.pid)]
        count, seconds = idle_bytes()
        pss, rss = (sum(memory(pid, key) for pid in pids) for key in ("Pss:", "Rss:"))
        print(pss, rss, count, seconds, any(maps_numpy(pid) for pid in pids), flush=True)
        agent.stop()


def idle_bytes() -> tuple[int, float]:
    """From the end of one exchange to the end of the third after it."""
    time.sleep(SETTLE_S)
    end_of_exchange()
    before, start = ip_bytes(), time.monotonic()
    for _ in range(EXCHANGES):
        end_of_exchange()
    return ip_bytes() - before, time.monotonic() - start


def end_of_exchange() -> None:
    """Wait until bytes have moved and then none for QUIET_S."""
    last, moved, quiet_since = ip_bytes(), False, time.monotonic()
    while not moved or time.monotonic() - quiet_since < QUIET_S:
        time.sleep(POLL_S)
        current = ip_bytes()
        if current != last:
            last, moved, quiet_since = current, True, time.monotonic()


def ip_bytes() -> int:
    """IPv4 octets received in this network, headers included; on lo each packet comes once."""
    lines = Path("/proc/net/netstat").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("IpExt:"))
    return int(values[names.index("InOctets")])


def memory(pid: int, key: str) -> int:
    """Bytes, as smaps_rollup tells."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def maps_numpy(pid: int) -> bool:
    return "/numpy/" in Path(f"/proc/{pid}/maps").read_text()


def install_bytes() -> int:
    """The wheel of this tree with its packages, installed for real."""
    with tempfile.TemporaryDirectory() as name:
        venv = wheel.bare(Path(name))
        before = tree_bytes(venv)
        wheel.install(venv, Path(name))
        return tree_bytes(venv) - before


def tree_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main(sys.argv[1:])
