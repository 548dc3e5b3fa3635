"""TCP payload of a device and round: Flower's and ours, for the same model of 784-200-10.

    python -m bench.flower_bytes [--flower .venv-flower] [--rounds 100]

Both on this machine and without TLS, each device's connection through the same proxy, which counts;
all of a run is in it, the first model too. Flower is not installed by this.

Flower: flower-superlink and one flower-supernode, ten rounds of FedAvg without evaluation, float32,
a client that adds noise where another would train. Ours: `fedling-sim run`, real processes that
learn MNIST, 20 devices of 100 pictures dealt at random (80 to train on), 16 in a round, E = 5,
B = 10, links that are never cut.

ratio_flower_bytes        Flower's bytes by ours with updates of a tenth of a bit a parameter
ratio_flower_bytes_usual  by ours at the default, a quarter of a bit
flower_bytes_round        of Flower's one node, both ways, mean of its rounds
fedling_bytes_round, fedling_usual_bytes_round        of a device, mean of all devices and rounds
fedling_accuracy, fedling_usual_accuracy              on a fifth of all pictures, of the final model
"""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from bench.report import Report
from bench.support import datasets, flower, pictures
from fedling_broker.tasks.task_file import USUAL_BITS
from fedling_sim import run
from fedling_sim.progress import Lines
from fedling_sim.record import Record

VENV = Path(__file__).parents[1] / ".venv-flower"
INSTALL = "python3 -m venv {venv} && {venv}/bin/pip install flwr==1.41.0"
DEVICES, GOAL, PICTURES = 20, 16, 100
FLOWER_ROUNDS = 10
WAYS = {"": 0.1, "usual_": None}  # bits of an update, a parameter


def bytes_a_round(record: Record) -> float:
    """Of a device, as the proxy counts them."""
    total = sum(device.proxy_up + device.proxy_down for device in record.bytes)
    return total / len(record.devices) / len(record.rounds)


def learn(bits: float | None, rounds: int) -> Record:
    """Play our federation to its end."""
    examples = datasets.mnist().train[: DEVICES * PICTURES]
    with tempfile.TemporaryDirectory(prefix="fedling-bench-") as name:
        task = pictures.write(
            Path(name), examples, devices=DEVICES, goal=GOAL, rounds=rounds, bits=bits
        )
        scenario, data = run.prepare(task, None, None, None)
        progress = Lines(Console(stderr=True))
        record = run.run(scenario, data, Path(name) / "run", progress, plain=True)
    assert record.sound, [record.verified, *record.faults]
    return record


def play_flower(venv: Path, report: Report) -> float:
    """Bytes of its node in a round."""
    with tempfile.TemporaryDirectory(prefix="fedling-bench-") as name:
        moved = flower.play(venv, FLOWER_ROUNDS, Path(name))
    up, down = moved.up / FLOWER_ROUNDS, moved.down / FLOWER_ROUNDS
    report.row(who=f"Flower {flower.version(venv)}", rounds=FLOWER_ROUNDS, up=up, down=down)
    report.figure("flower_bytes_round", round(up + down))
    return up + down


def main() -> None:
    parser = argparse.ArgumentParser(description="Bytes of a device and round beside Flower's.")
    parser.add_argument("--flower", type=Path, default=VENV, help="its venv (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=100, help="of ours (default %(default)s)")
    args = parser.parse_args()
    venv = args.flower.absolute()
    if not flower.version(venv):
        print(f"SKIPPED: no Flower: {INSTALL.format(venv=args.flower)}", file=sys.stderr)
        return
    report = Report("flower_bytes")
    of_flower = play_flower(venv, report)
    for word, bits in WAYS.items():
        record = learn(bits, args.rounds)
        shares = len(record.devices) * len(record.rounds)
        report.row(
            who="fedling", bits=bits or USUAL_BITS, rounds=len(record.rounds),
            accuracy=record.accuracy,
            up=sum(device.proxy_up for device in record.bytes) / shares,
            down=sum(device.proxy_down for device in record.bytes) / shares,
        )  # fmt: skip
        ours = bytes_a_round(record)
        report.figure(f"fedling_{word}bytes_round", round(ours))
        report.figure(f"ratio_flower_bytes{'_usual' if word else ''}", round(of_flower / ours, 1))
        if record.accuracy is not None:
            report.figure(f"fedling_{word}accuracy", round(record.accuracy, 4))
    report.finish()


if __name__ == "__main__":
    main()
