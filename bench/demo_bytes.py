"""What devices of the demo send and receive in a round, by kind of message, beside plain float32.

    python -m bench.demo_bytes [--rounds 40] [--devices 20]

`fedling-sim run` of examples/watch/task.toml as `make demo` plays it, with its cut links and flat
batteries, but without TLS: so what passes a device's socket is MQTT and nothing else. Devices count
it, and of each message the whole packet by its kind; what is of no kind are MQTT's own packets:
CONNECT, SUBSCRIBE, PUBACK, PINGREQ and their answers. All of the run is in it, its first model too.

demo_bytes_round          of a device in a round, both ways, the mean
demo_bytes_ratio_float32  weights and biases as float32, once down and once up, by demo_bytes_round
demo_bytes_ratio_updates  likewise by all bytes of the fleet for one accepted update
demo_fixed_bytes_round    of demo_bytes_round what is neither update nor model nor change
demo_bytes_<kind>         of it each kind; demo_bytes_mqtt: of no kind
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.report import Report
from examples.watch import fetch
from fedling_agent.store.store import Store
from fedling_protocol.wire import counted
from fedling_protocol.wire.kinds import Kind
from fedling_sim import run
from fedling_sim.progress import Lines
from fedling_sim.record import Record

WATCH = Path(fetch.__file__).parent
OF_NO_KIND = "mqtt"
OF_THE_MODEL = {kind.word for kind in (Kind.UPDATE, Kind.MODEL, Kind.CHANGE, Kind.CHUNK)}
FLOAT32 = 4

Counts = dict[str, int]  # of one device, by their names


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes of all devices in a whole run, by kind."""

    sent: Counter[str]
    received: Counter[str]

    @property
    def both(self) -> Counter[str]:
        return self.sent + self.received


def moved(record: Record, devices: Sequence[Counts]) -> Moved:
    """Raises ValueError if kinds are more than what has passed the sockets."""
    return Moved(
        by_kind(devices, counted.sent, sum(device.agent_up for device in record.bytes)),
        by_kind(devices, counted.received, sum(device.agent_down for device in record.bytes)),
    )


def by_kind(
    devices: Sequence[Counts], name: Callable[[Kind], str], at_sockets: int
) -> Counter[str]:
    found = Counter({kind.word: sum(of.get(name(kind), 0) for of in devices) for kind in Kind})
    rest = at_sockets - found.total()
    if rest < 0:
        raise ValueError(f"messages have {-rest} bytes more than have passed the sockets")
    found[OF_NO_KIND] = rest
    return found


def play(task: Path, devices: int | None, rounds: int | None) -> tuple[Record, Moved]:
    """Play the federation to its end, in this process."""
    scenario, data = run.prepare(task, None, devices, rounds)
    with tempfile.TemporaryDirectory(prefix="fedling-bench-") as name:
        progress = Lines(Console(stderr=True))
        record = run.run(scenario, data, Path(name), progress, plain=True)
        assert record.sound, [record.verified, *record.faults]
        states = [Path(name) / "devices" / device / "state" for device in record.devices]
        return record, moved(record, [counts_of(state) for state in states])


def counts_of(state: Path) -> Counts:
    store = Store(state, read_only=True)
    try:
        return store.ledger.counters()
    finally:
        store.close()


def tell(report: Report, record: Record, of: Moved) -> None:
    shares, total = len(record.devices) * len(record.rounds), of.both.total()
    float32, updates = 2 * FLOAT32 * record.parameters, sum(len(r.accepted) for r in record.rounds)
    report.figure("demo_bytes_round", round(total / shares))
    report.figure("demo_bytes_ratio_float32", round(float32 * shares / total, 1))
    report.figure("demo_bytes_ratio_updates", round(float32 * updates / total, 1))
    fixed = sum(size for kind, size in of.both.items() if kind not in OF_THE_MODEL)
    report.figure("demo_fixed_bytes_round", round(fixed / shares))
    for kind, size in of.both.most_common():  # none of those that there were none of
        sent, received = of.sent[kind] / shares, of.received[kind] / shares
        report.row(kind=kind, bytes=size / shares, sent=sent, received=received)
        report.figure(f"demo_bytes_{kind}", round(size / shares, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description="Bytes of the demo's messages, by kind.")
    parser.add_argument("--rounds", type=int, help="of the run (default: the task's)")
    parser.add_argument("--devices", type=int, help="of the run (default: all)")
    args = parser.parse_args()
    print(fetch.fetch(WATCH / "data"))
    report = Report("demo_bytes")
    tell(report, *play(WATCH / "task.toml", args.devices, args.rounds))
    report.finish()


if __name__ == "__main__":
    main()
